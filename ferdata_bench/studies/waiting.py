"""Does training wait for data? The same step fed by the loader, and on one resident batch, timed in turns.

    python -m ferdata_bench.studies.waiting --shards DIR --model mod4 --batch-size 256 --amp bf16 --json out.json

In: settings, and shards; without them, photographs are drawn and converted. Out: images/s of both, their ratio, and the
share of the time the loader-fed steps waited. The resident batch is the compute limit: augmentation and all else a step
does are in both. Rounds alternate, so that a machine that slows down slows both; medians count.
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ferdata.mixing import weighted
from ferdata.plan.conditions import describe_machine
from ferdata.stream.sets import open_split
from ferdata.training.data import StepBatch, TrainData, resize_of
from ferdata.training.nets.augment import training_transform
from ferdata.training.nets.initial_weights import make_network
from ferdata.training.options import TrainOptions
from ferdata.training.run.clock import WaitClock
from ferdata.training.run.process_group import join_ranks
from ferdata.training.step import Stepper
from ferdata_bench.loaders.photos import shard_tree, write_photos

__all__ = ["Throughput", "measure_throughput"]

_DRAWN = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """What was measured; rates in images/s, medians over rounds.

    Attributes:
        loader: Fed by the loader.
        resident: On one resident batch.
        ratio: ``loader / resident``, of the medians.
        data_wait_share: Of the loader-fed steps' time.
        loader_rounds: Every round's rate.
        resident_rounds: Likewise.
        conditions: What was run, and where.
    """

    loader: float
    resident: float
    ratio: float
    data_wait_share: float
    loader_rounds: tuple[float, ...]
    resident_rounds: tuple[float, ...]
    conditions: dict[str, Any]


def measure_throughput(options: TrainOptions, *, steps: int, rounds: int) -> Throughput:
    """Time ``rounds`` rounds of ``steps`` steps in both ways, after a warm-up round of each.

    Args:
        options: Settings of a run; nothing is written.
        steps: Steps of a round.
        rounds: Rounds that count.
    """
    assert options.shards is not None
    index = open_split(options.roots, "train", resize=resize_of(options)).index
    height, width = index.spec.shape[1:]
    options = options.resolved(min(height, width))
    ranks = join_ranks(options.device)
    network, _ = make_network(options, shape=index.spec.shape, classes=index.classes, resumes=False)
    transform, total_steps = training_transform(options, index), steps * (rounds + 1)
    stepper = Stepper(
        network,
        options,
        ranks,
        transform=transform,
        num_classes=len(index.classes),
        weights=None,
        total_steps=total_steps,
    )
    data = TrainData(options, ranks)
    try:
        batches = _endless(data)
        first = next(batches)
        values = None if first.values is None else first.values.clone()
        resident = replace(first, images=first.images.clone(), labels=first.labels.clone(), values=values)
        clock = WaitClock(ranks.device)
        fed_rates, resident_rates = [], []
        for number in range(rounds + 1):
            resident_rates.append(_time(stepper, itertools.repeat(resident), steps, options, WaitClock(ranks.device)))
            clock = WaitClock(ranks.device) if number <= 1 else clock
            clock.skip()
            fed_rates.append(_time(stepper, batches, steps, options, clock))
    finally:
        data.loader.close()
    loader, compute = statistics.median(fed_rates[1:]), statistics.median(resident_rates[1:])
    on_gpu = ranks.device.type == "cuda"
    return Throughput(
        loader=loader,
        resident=compute,
        ratio=loader / compute,
        data_wait_share=clock.wait_share,
        loader_rounds=tuple(fed_rates[1:]),
        resident_rounds=tuple(resident_rates[1:]),
        conditions={
            **describe_machine(),
            "device": torch.cuda.get_device_name(ranks.device) if on_gpu else "cpu",
            "torch_threads": torch.get_num_threads(),
            "model": options.model_name,
            "size": list(options.input_size(index.spec.shape)),
            "batch_size": options.batch_size,
            "amp": options.amp,
            "channels_last": options.channels_last,
            "compile": options.compile,
            "augment": list(options.augment),
            "num_workers": data.loader.num_workers,
            "codec": index.codec.name,
            "samples": data.loader.num_samples,
            "steps": steps,
            "rounds": rounds,
        },
    )


def _endless(data: TrainData) -> Iterator[StepBatch]:
    for epoch in itertools.count():
        yield from data.epoch(epoch, 0)


def _time(stepper: Stepper, batches: Iterator[StepBatch], steps: int, options: TrainOptions, clock: WaitClock) -> float:
    """Return images/s over some steps, the device's work included."""
    _finish(options)
    start = time.perf_counter()
    for number, batch in enumerate(itertools.islice(batches, steps)):
        clock.batch_arrived()
        stepper.step(batch, number)
        clock.step_done(options.batch_size)
        del batch
    _finish(options)
    clock.settle()
    return steps * options.batch_size / (time.perf_counter() - start)


def _finish(options: TrainOptions) -> None:
    if options.device != "cpu" and torch.cuda.is_available():
        torch.cuda.synchronize()


def _drawn(work: Path) -> str:
    """Return shards of photographs of 224 px."""
    write_photos(work / "photos", count=_DRAWN, size=224)
    shard_tree(work / "photos", work / "shards", size=224, codec="zstd")
    return str(work / "shards")


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(
        prog="python -m ferdata_bench.studies.waiting", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--shards", action="append", help="several, with weights, as train takes them; or drawn")
    parser.add_argument("--model")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--size", type=int)
    parser.add_argument("--amp", default="off")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--workers", type=int, dest="num_workers")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = vars(parser.parse_args())
    path, steps, rounds = given.pop("json"), given.pop("steps"), given.pop("rounds")
    with tempfile.TemporaryDirectory(prefix="ferdata-waiting-") as work:
        shards = given.pop("shards") or [_drawn(Path(work))]
        options = TrainOptions(**given, shards=weighted(shards))
        result = asdict(measure_throughput(options, steps=steps, rounds=rounds))
    text = json.dumps(result, indent=1)
    print(text)
    if path is not None:
        path.write_text(text + "\n")


if __name__ == "__main__":
    main()
