"""How fast are shards behind a URL? Epochs from a far server, beside the same client fetching whole shards, and a disk.

Run ``python -m ferdata_bench.studies.bucket --json bucket.json`` on a quiet machine. Photographs are drawn and sharded,
a server in a process of its own has them, so far away and so narrow as is asked, and each figure is taken in a
fresh process; what is compared takes turns, and medians count. The first epoch is timed from before the loader is made
to its last batch, whole shards from before the index is read; the second and third epochs, with a cache that was empty
and of a local folder, by themselves.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ferdata.errors import FerdataError, OptionError
from ferdata.format import read_index
from ferdata.plan.conditions import describe_machine
from ferdata.store import Store
from ferdata.stream import Loader
from ferdata.stream.fetch.fetcher import CONNECTIONS
from ferdata_bench.loaders.photos import shard_tree, write_photos
from ferdata_bench.network import Proxy

__all__ = ["BucketOptions", "Timing", "main", "measure_bucket"]

BATCH_SIZE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketOptions:
    """What to time.

    Attributes:
        images: Photographs in the set.
        size: Their side in pixels.
        codec: How they are stored.
        latencies_ms: Round trips to try.
        workers: Numbers of workers to try.
        megabytes_per_second: Of each connection.
        connections: Of the client that fetches whole shards.
        rounds: How often each figure is taken.
    """

    images: int = 24_000
    size: int = 224
    codec: str = "compact"
    latencies_ms: tuple[int, ...] = (20, 100)
    workers: tuple[int, ...] = (2, 8)
    megabytes_per_second: float = 80.0
    connections: int = CONNECTIONS
    rounds: int = 3

    def __post_init__(self) -> None:
        if min(self.images, self.size, self.connections, self.rounds, *self.workers) < 1 or min(self.latencies_ms) < 0:
            raise OptionError(f"{self}: expected at least one of each")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One figure.

    Attributes:
        way: ``whole shards``, ``first epoch``, ``local folder``, ``second epoch`` or ``third epoch``; the last two end
            with ``, cached`` or ``, local``.
        latency_ms: The round trip; 0 for a local folder.
        workers: Workers, or connections for whole shards.
        images_per_second: Median of the rounds.
        first_batch_seconds: Median time from before the loader is made to its first batch; None for whole shards.
        share: Images per second over those of whole shards at this latency, or of a local folder's same epoch; None
            where that has no meaning.
    """

    way: str
    latency_ms: int
    workers: int
    images_per_second: float
    first_batch_seconds: float | None = None
    share: float | None = None


def measure_bucket(options: BucketOptions, tell: Callable[[str], None] = print) -> list[Timing]:
    """Return every figure."""
    with tempfile.TemporaryDirectory(prefix="ferdata-bucket-") as work:
        folder = Path(work)
        write_photos(folder / "photos", count=options.images, size=options.size)
        shard_tree(folder / "photos", folder / "set", size=options.size, codec=options.codec)
        timings: list[Timing] = []

        def add(*found: Timing) -> None:
            timings.extend(found)
            for timing in found:
                tell(_line(timing))

        for latency in options.latencies_ms:
            speed = {"latency_seconds": latency / 1000, "bytes_per_second": options.megabytes_per_second * 1e6}
            with Proxy(folder, **speed) as server:
                remote = f"{server.url}/set"
                whole, *epochs = _medians(
                    [("whole shards", remote, latency, options.connections)]
                    + [("first epoch", remote, latency, workers) for workers in options.workers],
                    options.rounds,
                )
                add(whole, *(_shared(each, whole) for each in epochs))
                if latency == options.latencies_ms[-1]:
                    for workers in options.workers:
                        for epoch in ("second epoch", "third epoch"):
                            ways = (f"{epoch}, local", folder / "set", 0), (f"{epoch}, cached", remote, latency)
                            local, cached = _medians([(*way, workers) for way in ways], options.rounds)
                            add(local, _shared(cached, local))
        add(*_medians([("local folder", folder / "set", 0, workers) for workers in options.workers], options.rounds))
        return timings


def _shared(timing: Timing, whole: Timing) -> Timing:
    return Timing(**asdict(timing) | {"share": timing.images_per_second / whole.images_per_second})


def _medians(ways: Sequence[tuple[str, str | Path, int, int]], rounds: int) -> list[Timing]:
    """Return each way's medians of rounds, which it takes in turns with the others.

    Every time is in a process of its own: no connection is warm.
    """
    commands = [
        [sys.executable, "-m", __spec__.name, "--one", way, str(where), str(workers)] for way, where, _, workers in ways
    ]
    rows = [
        [json.loads(subprocess.run(each, check=True, stdout=subprocess.PIPE).stdout) for each in commands]
        for _ in range(rounds)
    ]
    return [_median(*way, runs) for way, runs in zip(ways, zip(*rows, strict=True), strict=True)]


def _median(way: str, _: str | Path, latency: int, workers: int, runs: Sequence[dict[str, Any]]) -> Timing:
    firsts = [run["first_batch_seconds"] for run in runs]
    return Timing(
        way=way,
        latency_ms=latency,
        workers=workers,
        images_per_second=statistics.median(run["images_per_second"] for run in runs),
        first_batch_seconds=None if None in firsts else statistics.median(firsts),
    )


def time_one(way: str, where: str, workers: int) -> dict[str, float | None]:
    """Return images/s and the time to the first batch of one way, in this process."""
    if way == "whole shards":
        begun = time.perf_counter()
        store = Store(where)
        index = read_index(store)
        with ThreadPoolExecutor(workers) as pool:
            for _ in pool.map(lambda info: len(store.read(info.name)), index.shards):
                pass
        return {"images_per_second": index.num_samples() / (time.perf_counter() - begun), "first_batch_seconds": None}
    if way.startswith(("second", "third")):
        epochs = 1 if way.startswith("second") else 2
        return {"images_per_second": _epoch_after(epochs, where, workers), "first_batch_seconds": None}
    begun, images, first = time.perf_counter(), 0, 0.0
    with Loader(where, batch_size=BATCH_SIZE, num_workers=workers, drop_last=False) as loader:
        for batch in loader:
            first = first or time.perf_counter() - begun
            images += len(batch.labels)
        seconds = time.perf_counter() - begun
    return {"images_per_second": images / seconds, "first_batch_seconds": first}


def _epoch_after(epochs: int, where: str, workers: int) -> float:
    """Return images/s of an epoch after others; what is behind a URL is kept in a cache that was empty before them."""
    options: Any = {"batch_size": BATCH_SIZE, "num_workers": workers, "drop_last": False}
    with tempfile.TemporaryDirectory(prefix="ferdata-cache-") as cache, Loader(where, cache=cache, **options) as loader:
        for _ in range(epochs):
            for _ in loader:
                pass
        begun = time.perf_counter()
        images = sum(len(batch.labels) for batch in loader)
        return images / (time.perf_counter() - begun)


def _line(timing: Timing) -> str:
    who = f"{timing.workers} {'connections' if timing.way == 'whole shards' else 'workers'}"
    text = f"{timing.way:20} {timing.latency_ms:4} ms  {who:15} {timing.images_per_second:9,.0f} images/s"
    if timing.share is not None:
        text += f"  {timing.share:.2f} of {'a local folder' if timing.way.endswith('cached') else 'whole shards'}"
    if timing.first_batch_seconds is not None:
        text += f"  first batch {timing.first_batch_seconds:.2f} s"
        if timing.latency_ms:
            text += f" ({1000 * timing.first_batch_seconds / timing.latency_ms:.0f} round trips)"
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, time, print; write JSON where asked."""
    parser = argparse.ArgumentParser(
        prog="python -m ferdata_bench.studies.bucket", description="Time epochs from a far server."
    )
    usual = BucketOptions()
    parser.add_argument("--one", nargs=3, metavar=("WAY", "WHERE", "WORKERS"), help="time one way, once; print JSON")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--codec", default=usual.codec)
    for name in ("images", "size", "connections", "rounds"):
        parser.add_argument(f"--{name}", type=int, default=getattr(usual, name))
    parser.add_argument("--megabytes-per-second", type=float, default=usual.megabytes_per_second)
    for name in ("latencies-ms", "workers"):
        parser.add_argument(f"--{name}", type=int, nargs="+", default=getattr(usual, name.replace("-", "_")))
    given: dict[str, Any] = vars(parser.parse_args(arguments))
    one, path = given.pop("one"), given.pop("json")
    try:
        if one:
            print(json.dumps(time_one(one[0], one[1], int(one[2]))))
            return 0
        lists: Any = {name: tuple(given.pop(name)) for name in ("latencies_ms", "workers")}
        options = BucketOptions(**lists, **given)
        timings = measure_bucket(options)
    except FerdataError as error:
        print(error)
        return 1
    if path:
        conditions = {**describe_machine(), **asdict(options)}
        values = {"conditions": conditions, "timings": [asdict(timing) for timing in timings]}
        path.write_text(json.dumps(values, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
