"""What does size cost? The loader's speed, start-up and memory from 8,000 to 100,000 images.

Run ``python -m ferdata_bench.figures.scale --json docs/figures/scale.json`` on a quiet machine: about 3 minutes. Every
size has a fresh process of its own, and they take turns. The images are 2,000 photographs over and over: pixels do not
matter here, numbers do.
"""

import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from ferdata.errors import WorkerError
from ferdata.plan.conditions import describe_machine
from ferdata.plan.timing import now
from ferdata_bench.figures.common import Figure, FigureOptions, parse, photo_shards, summary
from ferdata_bench.figures.scale_data import first_shards, read_pixels, tile
from ferdata_bench.loaders.usage import memory_of_tree

__all__ = ["main", "run_scale"]

SIZE = 100
COUNTS = (8_000, 25_000, 50_000, 100_000)
CODECS = ("raw", "zstd")
PHOTOGRAPHS, SAMPLES_PER_SHARD = 2_000, 1_000
QUICK_COUNTS, QUICK_PHOTOGRAPHS, QUICK_SAMPLES_PER_SHARD = (24, 48), 12, 12
EPOCH_SECONDS = 1.0
REPLY_SECONDS = 120.0


class Subject:
    """One data set and the fresh process that its loader lives in."""

    def __init__(self, codec: str, count: int, root: Path, options: FigureOptions) -> None:
        self.codec, self.count = codec, count
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        settings = {"batch_size": options.batch_size, "num_workers": options.num_workers, "seed": options.seed}
        self._process = context.Process(target=_serve, args=(str(root), settings, theirs))
        self._process.start()
        theirs.close()

    def ask(self, verb: str, *arguments: Any) -> Any:
        """Let the process do one thing, and wait for it."""
        try:
            self._ours.send((verb, arguments))
            if self._ours.poll(REPLY_SECONDS):
                return self._ours.recv()
        except (EOFError, OSError):
            self._process.join(1)
        raise WorkerError(
            f"scale: the process of {self.codec} {self.count:,} gave no answer to {verb!r} "
            f"(exit code {self._process.exitcode}), expected one; see its message above"
        )

    def close(self) -> None:
        """End the process and its workers."""
        self._ours.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()


def run_scale(options: FigureOptions, say: Callable[[str], None] = print) -> Figure:
    """Measure every size and codec."""
    machine = describe_machine()
    counts, photographs = (QUICK_COUNTS, QUICK_PHOTOGRAPHS) if options.quick else (COUNTS, PHOTOGRAPHS)
    results: list[dict[str, Any]] = []
    for codec in CODECS[:1] if options.quick else CODECS:
        say(f"{codec}: writing {max(counts):,} images of {SIZE} px")
        roots = _data_sets(codec, counts, photographs, options)
        subjects: list[Subject] = []
        try:
            for count, root in roots.items():
                subjects.append(Subject(codec, count, root, options))
            results += _measure(subjects, options, say)
        finally:
            for subject in subjects:
                subject.close()
    conditions = machine | {
        "image": f"uint8 [3, {SIZE}, {SIZE}]",
        "source": f"{photographs:,} photographs, repeated",
        "workers": options.num_workers,
        "batch_size": options.batch_size,
        "rounds": options.rounds,
        "start_method": "fork",
        "cache": "warm: page cache, second epoch on",
        "consumer": "reads one byte of every image",
        "quick": options.quick,
    }
    return Figure(conditions=conditions, results={"rows": results})


def _data_sets(codec: str, counts: Sequence[int], photographs: int, options: FigureOptions) -> dict[int, Path]:
    """Return count -> folder: the largest one written, the others its first shards."""
    pixels = read_pixels(photo_shards(options, size=SIZE, count=photographs, codec="raw"))
    per_shard = QUICK_SAMPLES_PER_SHARD if options.quick else SAMPLES_PER_SHARD
    largest = options.work / f"scale-{SIZE}-{max(counts)}.{codec}"
    tile(pixels, largest, count=max(counts), codec=codec, samples_per_shard=per_shard, num_workers=options.num_workers)
    roots = {}
    for count in counts:
        roots[count] = largest if count == max(counts) else options.work / f"scale-{SIZE}-{count}.{codec}"
        if roots[count] != largest:
            first_shards(largest, roots[count], pixels=pixels, num_shards=count // per_shard)
    return roots


def _measure(subjects: Sequence[Subject], options: FigureOptions, say: Callable[[str], None]) -> list[dict[str, Any]]:
    before = {subject.count: subject.ask("memory") for subject in subjects}
    first = {subject.count: subject.ask("start") for subject in subjects}
    after = {subject.count: (subject.ask("epoch", 0.0), subject.ask("memory"))[1] for subject in subjects}
    rates: dict[int, list[float]] = {subject.count: [] for subject in subjects}
    again: dict[int, list[float]] = {subject.count: [] for subject in subjects}
    for number in range(options.rounds):
        say(f"{subjects[0].codec}: round {number + 1} of {options.rounds}")
        for subject in subjects if number % 2 == 0 else subjects[::-1]:
            again[subject.count].append(subject.ask("start"))
            subject.ask("epoch", 0.0)
            rates[subject.count].append(subject.ask("epoch", 0.0 if options.quick else EPOCH_SECONDS))
    base = subjects[0].count
    return [
        {
            "codec": subject.codec,
            "images": subject.count,
            **summary(rates[subject.count]),
            "relative": round(
                statistics.median(ours / least for ours, least in zip(rates[subject.count], rates[base], strict=True)),
                4,
            ),
            "first_batch_seconds": round(first[subject.count], 4),
            "first_batch_again_seconds": round(statistics.median(again[subject.count]), 4),
            "before": before[subject.count],
            "after": after[subject.count],
        }
        for subject in subjects
    ]


def _serve(root: str, settings: dict[str, Any], theirs: Connection) -> None:
    """Answer in a fresh process: its imports are done before anything is timed, as in any training script."""
    from ferdata import Loader
    from ferdata_bench.figures.bars_ways import read_epoch

    loader: Any = None
    epochs: Any = None
    while True:
        try:
            verb, arguments = theirs.recv()
        except EOFError:
            break
        if verb == "start":
            if loader is not None:
                epochs = None
                loader.close()
            start = now()
            loader = Loader(root, drop_last=False, start_method="fork", **settings)
            epochs = iter(loader)
            images, _ = next(epochs)
            int(images[:, 0, 0, 0].sum())
            theirs.send(now() - start)
            del images
        elif verb == "epoch":
            epochs, num_images, start = None, 0, now()
            while True:
                num_images += read_epoch(loader)[0]
                if (seconds := now() - start) >= arguments[0]:
                    break
            theirs.send(num_images / seconds)
        else:
            theirs.send(_memory())
    if loader is not None:
        loader.close()


def _memory() -> dict[str, int]:
    """Return this process's own figures: resident, proportional with and without workers, and what is private to it."""
    resident = psutil.Process().memory_info()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    sizes = {
        name: int(amount) * 1024 for name, amount, *_ in (line.split() for line in lines if ":" in line.split()[0])
    }
    tree = memory_of_tree(psutil.Process().pid)
    return {
        "rss_bytes": resident.rss,
        "pss_bytes": sizes["Pss:"],
        "own_bytes": sizes["Anonymous:"],
        "tree_pss_bytes": tree.total_bytes,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write JSON if asked."""
    options, path, command = parse("ferdata_bench.figures.scale", "The loader from 8,000 to 100,000 images.", arguments)
    figure = run_scale(options)
    table = Table(
        "codec", "images", "images/s", "spread", "to the smallest", "first batch s", "again s", "own MB", "RSS MB"
    )
    for row in figure.results["rows"]:
        table.add_row(
            *(
                row["codec"],
                f"{row['images']:,}",
                f"{row['images_per_second']:,.0f}",
                f"{row['spread']:.0%}",
                f"{row['relative']:.2f}",
            ),
            *(f"{row['first_batch_seconds']:.2f}", f"{row['first_batch_again_seconds']:.2f}"),
            *(f"{row['after'][name] / 1e6:,.0f}" for name in ("own_bytes", "rss_bytes")),
        )
    Console().print(table)
    if path:
        figure.write(path, command=command)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
