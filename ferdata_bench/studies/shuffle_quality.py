"""How well does the window shuffle mix? Distances of a shard's neighbours, runs of a label, against a permutation.

Run ``python -m ferdata_bench.studies.shuffle_quality --out docs/figures`` on any machine: the order is arithmetic, so
no image is read, and half a minute is enough. Two orders in the shards are shuffled: the one ingest writes (a
permutation already), and one sorted by class, the worst that shards made elsewhere could hold. The answer stands in
docs/benchmarks.md.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ferdata.errors import FerdataError, OptionError
from ferdata.labels import AFFECTNET_8
from ferdata.plan.conditions import describe_machine
from ferdata.sources.affectnet.totals import AFFECTNET_TRAIN
from ferdata.sources.rafdb.totals import RAFDB_TRAIN
from ferdata.stream.memory.ring import window_batches_within
from ferdata.stream.order.sequence import OrderOptions, order_options, rank_order
from ferdata.training.report.style import (
    DOCUMENT_DPI,
    INK,
    SHADES,
    VAL_COLOR,
    WIDTH,
    new_figure,
    png_bytes,
    styled,
    thousands,
)

__all__ = ["QualityOptions", "draw_quality", "main", "measure_quality"]

DATA_SETS: Mapping[str, tuple[int, ...]] = {
    "affectnet": tuple(AFFECTNET_TRAIN[name] for name in AFFECTNET_8),
    "rafdb": tuple(RAFDB_TRAIN.values()),
}
STORED = ("as ingest writes", "sorted by class")
PERMUTATION = "true permutation"
COMPACT_RATIO = 2.62
"""How many times smaller ``compact`` makes photographs (docs/codecs.md): runs are sized as they are stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityOptions:
    """What to measure.

    Attributes:
        data_set: Whose class counts to take: ``affectnet`` or ``rafdb``.
        size: Side of the images in pixels.
        stored_bytes: Bytes of a sample in its shard, which decide how many neighbours are read together; None: as
            ``compact`` stores photographs of this size.
        batch_size: Samples of a batch.
        spans: Windows to try, in samples; the loader's default is always among them.
        epochs: Epochs measured and put together.
        seed: Of the orders.
        shard_bytes: Bytes of a shard, as ingest cuts them.
    """

    data_set: str = "affectnet"
    size: int = 224
    stored_bytes: int | None = None
    batch_size: int = 128
    spans: tuple[int, ...] = (512, 2048, 8192, 32768)
    epochs: int = 4
    seed: int = 0
    shard_bytes: int = 128 << 20

    def __post_init__(self) -> None:
        if self.data_set not in DATA_SETS:
            raise OptionError(f"data_set: {self.data_set!r} found, expected one of {', '.join(DATA_SETS)}")
        if self.epochs < 2 or self.size < 1 or not self.spans or min(self.spans) < self.batch_size:
            raise OptionError(f"{self}: expected at least 2 epochs, images of a pixel and spans of a batch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What one way of shuffling gives; every figure of a true permutation is what chance alone gives.

    Attributes:
        way: How the epoch was shuffled.
        stored: In which order the samples stand in the shards.
        run_samples: Neighbours that are read together, where the way knows such runs.
        neighbour_median: Median distance of two neighbours of a shard, as a fraction of the epoch; 0.29 by chance.
        neighbours_in_batch: Share of neighbours that meet in one batch.
        together_again: Share of pairs that meet in one batch and meet again in the next epoch's.
        label_run_mean: Mean length of a run of one label.
        label_run_longest: The longest such run.
        batch_balance: Variance of a class's count in a batch over that of a permutation, mean of classes; 1 by chance.
    """

    way: str
    stored: str
    run_samples: int | None
    neighbour_median: float
    neighbours_in_batch: float
    together_again: float
    label_run_mean: float
    label_run_longest: int
    batch_balance: float


def measure_quality(options: QualityOptions) -> dict[str, Any]:
    """Return the figures of every way and the distributions behind the pictures."""
    counts = DATA_SETS[options.data_set]
    in_order = np.repeat(np.arange(len(counts)), counts)
    permuted = np.random.default_rng((options.seed, len(in_order))).permutation(in_order)
    sizes = _shard_sizes(len(in_order), options)
    rows: list[Quality] = []
    distances: dict[str, list[float]] = {}
    runs: dict[str, dict[str, list[float]]] = {stored: {} for stored in STORED}
    for way, order in _ways(options).items():
        epochs = [_epoch(sizes, order, options, epoch) for epoch in range(options.epochs)]
        gaps = np.concatenate([_neighbour_distances(epoch, sizes) for epoch in epochs])
        distances[way] = np.quantile(gaps, QUANTILES).tolist()
        for stored, labels in zip(STORED, (permuted, in_order), strict=True):
            lengths = np.concatenate([_run_lengths(labels[epoch]) for epoch in epochs])
            runs[stored][way] = [float((lengths >= length).mean()) for length in RUN_LENGTHS]
            rows.append(
                Quality(
                    way=way,
                    stored=stored,
                    run_samples=order.run_samples if order is not None and order.shuffle == "window" else None,
                    neighbour_median=float(np.median(gaps)) / len(in_order),
                    neighbours_in_batch=float(
                        np.mean([_meeting(epoch, sizes, options.batch_size) for epoch in epochs])
                    ),
                    together_again=_together_again(epochs[0], epochs[1], options.batch_size),
                    label_run_mean=float(lengths.mean()),
                    label_run_longest=int(lengths.max()),
                    batch_balance=float(
                        np.mean([_batch_balance(labels[epoch], len(counts), options.batch_size) for epoch in epochs])
                    ),
                )
            )
    return {
        "samples": len(in_order),
        "shards": len(sizes),
        "ways": [_rounded(asdict(row)) for row in rows],
        "distributions": {
            "quantiles": QUANTILES,
            "distances": distances,
            "run_lengths": list(RUN_LENGTHS),
            "longer_runs": runs,
        },
    }


QUANTILES = [0.001, 0.002, 0.005, *(number / 100 for number in range(1, 100))]
RUN_LENGTHS = range(1, 41)


def _ways(options: QualityOptions) -> dict[str, OrderOptions | None]:
    """Return the ways to shuffle by name; None stands for a permutation that is none of the loader's making."""
    row_bytes = 3 * options.size**2
    limits: dict[int | None, int] = {
        None: window_batches_within(1 << 30, batch_size=options.batch_size, row_bytes=row_bytes),  # the loader's
        **{span: span // options.batch_size for span in options.spans},
    }
    orders = [
        order_options(
            shuffle="window",
            seed=options.seed,
            batch_size=options.batch_size,
            weights=None,
            draws=None,
            drop_last=False,
            window_samples=span,
            max_window_batches=most_batches,
            stored_bytes=options.stored_bytes or max(1, int(row_bytes / COMPACT_RATIO)),
        )
        for span, most_batches in limits.items()
    ]
    ways: dict[str, OrderOptions | None] = {
        f"window of {order.window_samples:,}": order for order in sorted(orders, key=lambda order: order.window_samples)
    }
    whole = replace(next(order for order in ways.values() if order is not None), shuffle="full", run_samples=1)
    return ways | {"full": whole, PERMUTATION: None}


def _epoch(sizes: np.ndarray, order: OrderOptions | None, options: QualityOptions, epoch: int) -> np.ndarray:
    total = int(sizes.sum())
    if order is None:
        return np.random.default_rng((options.seed, epoch, total)).permutation(total)
    return rank_order(sizes, order, epoch=epoch, rank=0, world_size=1)[:]


def _shard_sizes(total: int, options: QualityOptions) -> np.ndarray:
    """Return samples per shard: equal but for the last."""
    per_shard = max(1, min(total, options.shard_bytes // (3 * options.size**2)))
    return np.array([min(per_shard, total - start) for start in range(0, total, per_shard)], np.int64)


def _neighbours(epoch: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places in the epoch of every two samples that stand next to each other in a shard."""
    places = np.empty(len(epoch), np.int64)
    places[epoch] = np.arange(len(epoch))
    within = np.ones(len(epoch) - 1, bool)
    within[np.cumsum(sizes)[:-1] - 1] = False
    return places[:-1][within], places[1:][within]


def _neighbour_distances(epoch: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    one, other = _neighbours(epoch, sizes)
    gaps: np.ndarray = np.abs(one - other)
    return gaps


def _meeting(epoch: np.ndarray, sizes: np.ndarray, batch_size: int) -> float:
    one, other = _neighbours(epoch, sizes)
    return float((one // batch_size == other // batch_size).mean())


def _together_again(epoch: np.ndarray, following: np.ndarray, batch_size: int) -> float:
    batches = np.empty(len(epoch), np.int64)
    batches[following] = np.arange(len(epoch)) // batch_size
    whole = batches[epoch[: len(epoch) // batch_size * batch_size]].reshape(-1, batch_size)
    again = [int((np.unique(batch, return_counts=True)[1] ** 2).sum()) - batch_size for batch in whole]
    return sum(again) / float(whole.size * (batch_size - 1))


def _run_lengths(labels: np.ndarray) -> np.ndarray:
    ends = np.flatnonzero(np.diff(labels)) + 1
    lengths: np.ndarray = np.diff(np.concatenate([[0], ends, [len(labels)]]))
    return lengths


def _batch_balance(labels: np.ndarray, num_classes: int, batch_size: int) -> float:
    """Return the variance of class counts in batches over what drawing a batch without replacement gives."""
    whole = labels[: len(labels) // batch_size * batch_size].reshape(-1, batch_size)
    shares = np.bincount(labels, minlength=num_classes) / len(labels)
    counts = np.stack([(whole == label).sum(axis=1) for label in range(num_classes)])
    expected = batch_size * shares * (1 - shares) * (len(labels) - batch_size) / (len(labels) - 1)
    return float((counts.var(axis=1) / expected).mean())


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in values.items()}


def as_markdown(result: Mapping[str, Any]) -> str:
    """Return the figures as a table."""
    head = "way | stored | run | median distance | neighbours in one batch | together again"
    head += " | label run | longest | balance"
    lines = [f"| {head} |", f"|{'---|' * 2}{'---:|' * (head.count(' | ') - 1)}"]
    for row in result["ways"]:
        cells = (
            *(row["way"], row["stored"], "" if row["run_samples"] is None else str(row["run_samples"])),
            *(f"{row['neighbour_median']:.1%}", f"{row['neighbours_in_batch']:.2%}", f"{row['together_again']:.3%}"),
            *(f"{row['label_run_mean']:.2f}", f"{row['label_run_longest']:,}", f"{row['batch_balance']:.2f}"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


@styled
def draw_quality(result: Mapping[str, Any]) -> bytes:
    """Return a PNG of how far apart neighbours come to stand, and how long runs of a label are."""
    values = result["distributions"]
    figure = new_figure(WIDTH, 5.4)
    first, *others = figure.subplot_mosaic([["distances"] * len(STORED), [*STORED]]).values()
    looks = _looks(list(values["distances"]))
    for way, distances in values["distances"].items():
        first.plot(distances, values["quantiles"], **looks[way], label=way)
    first.set(xscale="log", xlabel="distance in the epoch, samples", ylabel="share of neighbours that are nearer")
    first.set_title("Neighbours of a shard")
    first.xaxis.set_major_formatter(thousands)
    for axes, stored in zip(others, STORED, strict=True):
        for way, shares in values["longer_runs"][stored].items():
            axes.plot(values["run_lengths"], [share if share > 0 else np.nan for share in shares], **looks[way])
        axes.set(yscale="log", xlabel="samples of one label in a row")
        axes.set_title(f"Labels, shards {stored}")
        axes.yaxis.set_major_formatter(thousands)
    others[0].set_ylabel("share of runs as long or longer")
    figure.legend(loc="outside upper left", ncols=4)
    return png_bytes(figure, dpi=DOCUMENT_DPI)


def _looks(ways: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return a line's look for each way: the larger the window, the darker."""
    windows = [way for way in ways if way.startswith("window")]
    looks: dict[str, dict[str, Any]] = {way: {"color": VAL_COLOR} for way in ways}
    looks |= {way: {"color": SHADES(rank / max(1, len(windows) - 1))} for rank, way in enumerate(windows)}
    return looks | {PERMUTATION: {"color": INK, "linestyle": ":"}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure, print; write JSON, picture and table where asked."""
    parser = argparse.ArgumentParser(
        prog="python -m ferdata_bench.studies.shuffle_quality", description="Measure how well shuffles mix."
    )
    parser.add_argument("--out", type=Path, help="folder for shuffle.json, shuffle.png and shuffle.md")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--plot", type=Path, help="draw the distributions to this PNG")
    parser.add_argument("--data-set", default="affectnet", help=f"whose class counts: {' or '.join(DATA_SETS)}")
    parser.add_argument("--size", type=int, default=224, help="side of the images in pixels")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    try:
        options = QualityOptions(
            data_set=given.data_set, size=given.size, batch_size=given.batch_size, epochs=given.epochs, seed=given.seed
        )
        result = measure_quality(options)
    except FerdataError as error:
        print(error)
        return 1
    print(as_markdown(result), end="")
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "shuffle.md").write_text(as_markdown(result))
    command = f"python -m ferdata_bench.studies.shuffle_quality --data-set {options.data_set} --size {options.size}"
    for path in (given.json, given.out and given.out / "shuffle.json"):
        if path:
            values = {"command": command, "conditions": {**describe_machine(), **asdict(options)}, **result}
            path.write_text(json.dumps(values, indent=1) + "\n")
    for path in (given.plot, given.out and given.out / "shuffle.png"):
        if path:
            path.write_bytes(draw_quality(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
