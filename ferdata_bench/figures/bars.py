"""Does the loader reach what it promises? Its fraction of the ceilings, and its lead over a plain ``DataLoader``.

Run ``python -m ferdata_bench.figures.bars --json docs/figures/bars.json`` on a quiet machine: about 4 minutes. In every
round the ceilings, the loader and the plain ``DataLoader`` of each codec follow each other, so that drift affects all
alike; fractions are medians over the rounds.
"""

import gc
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ferdata.plan.ceilings import Job, Team
from ferdata.plan.conditions import describe_machine
from ferdata.plan.timing import now
from ferdata_bench.figures.bars_ways import COPIES, DECODERS, copying, read_epoch, start_loader, start_plain
from ferdata_bench.figures.common import Figure, FigureOptions, parse, photo_shards, summary, tree_bytes_per_image

__all__ = ["SETS", "BarSet", "main", "measure_set", "run_bars"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BarSet:
    """One set of photographs and what is asked of the loader on it.

    Attributes:
        size: Side in pixels.
        count: Photographs.
        fractions: Codec -> fraction of the lower ceiling that is asked for.
        ratios: Codec -> times a plain ``DataLoader`` that are asked for; None: measured, nothing asked.
    """

    size: int
    count: int
    fractions: dict[str, float]
    ratios: dict[str, float | None]


SETS = (
    BarSet(
        size=224,
        count=8_192,
        fractions={"compact": 0.85, "raw": 0.8, "zstd": 0.85, "jpeg": 0.9},
        ratios={"compact": None, "raw": 8.0, "zstd": 4.0},
    ),
    BarSet(
        size=100,
        count=12_000,
        fractions={"compact": 0.7, "raw": 0.7, "zstd": 0.7, "jpeg": 0.7},
        ratios={"compact": None, "raw": None, "zstd": None},
    ),
)
QUICK_COUNT = 48
CEILING_SECONDS = 0.4
LOADER_SECONDS = 0.8


def run_bars(options: FigureOptions, say: Callable[[str], None] = print) -> Figure:
    """Measure every set.

    Raises:
        AssertionError: If two loaders gave other images: then neither speed means anything.
    """
    machine = describe_machine()
    results = [measure_set(bar_set, options, say) for bar_set in SETS]
    conditions = machine | {
        "workers": options.num_workers,
        "batch_size": options.batch_size,
        "rounds": options.rounds,
        "cache": "warm: page cache, second epoch on",
        "consumer": "reads one byte of every image",
        "source": "photographs, JPEG quality 90",
        "quick": options.quick,
    }
    return Figure(conditions=conditions, results={"sets": results})


def measure_set(bar_set: BarSet, options: FigureOptions, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Measure one set: ceilings, loader and plain ``DataLoader`` of every codec, in turns."""
    count = QUICK_COUNT if options.quick else bar_set.count
    say(f"{bar_set.size} px: preparing {count:,} photographs")
    folders = {codec: photo_shards(options, size=bar_set.size, count=count, codec=codec) for codec in bar_set.fractions}
    rates: dict[tuple[str, str, str], list[float]] = {}
    with ExitStack() as stack:
        codecs = list(bar_set.fractions)
        ceilings = {codec: stack.enter_context(_ceilings(codec, folders, options)) for codec in codecs}
        starts: dict[str, Any] = {
            "batch_size": options.batch_size,
            "num_workers": options.num_workers,
            "seed": options.seed,
        }
        loaders: dict[tuple[str, str], Any] = {
            (codec, "loader"): start_loader(folders[codec], **starts) for codec in codecs
        }
        for codec, _ in list(loaders):
            stack.callback(loaders[codec, "loader"].close)
        loaders |= {(codec, "plain"): start_plain(folders[codec], **starts) for codec in bar_set.ratios}
        truth = {read_epoch(loader) for loader in loaders.values()}  # warm up, and what every epoch must give
        assert len(truth) == 1, f"{bar_set.size} px: loaders gave different images: {truth}"
        for number in range(options.rounds):
            say(f"{bar_set.size} px: round {number + 1} of {options.rounds}")
            for codec in codecs if number % 2 == 0 else codecs[::-1]:
                for (kind, way), team in ceilings[codec].items():
                    rates.setdefault((codec, kind, way), []).append(
                        team.run(0.05 if options.quick else CEILING_SECONDS)[0]
                    )
                for kind in ("loader", "plain"):
                    if (codec, kind) in loaders:
                        rate = _time_loader(loaders[codec, kind], truth, 0.0 if options.quick else LOADER_SECONDS)
                        rates.setdefault((codec, kind, ""), []).append(rate)
        loaders.clear()
        gc.collect()  # the plain loaders' workers end with their iterators
    return {
        "size": bar_set.size,
        "images": count,
        "bytes_per_image": 3 * bar_set.size**2,
        "source_bytes_per_image": tree_bytes_per_image(options, size=bar_set.size, count=count),
        "rows": [_row(codec, bar_set.fractions[codec], rates) for codec in codecs],
        "ratios": [_ratio(codec, bar, rates) for codec, bar in bar_set.ratios.items()],
    }


@contextmanager
def _ceilings(codec: str, folders: dict[str, Path], options: FigureOptions) -> Iterator[dict[tuple[str, str], Team]]:
    """Start the processes of one codec's ceilings; they rest between their turns."""
    jobs: dict[tuple[str, str], Job] = {
        ("copy", name): copying(folders["raw"], move=move, batch_size=options.batch_size)
        for name, move in COPIES.items()
    }
    jobs |= {("decode", name): make(folders[codec]) for name, make in DECODERS[codec].items()}
    with ExitStack() as stack:
        teams = {}
        for key, job in jobs.items():
            teams[key] = Team(job, num_processes=options.num_workers)
            stack.callback(teams[key].close)
        yield teams


def _time_loader(loader: Any, truth: set[tuple[int, int, int]], min_seconds: float) -> float:
    images, found, start = 0, [], now()
    while True:
        found.append(read_epoch(loader))
        images += found[-1][0]
        if (seconds := now() - start) >= min_seconds:
            break
    assert set(found) == truth, f"an epoch gave {found}, expected {truth} as in the first"
    return images / seconds


def _best(codec: str, kind: str, rates: dict[tuple[str, str, str], list[float]]) -> tuple[str, list[float]] | None:
    """Return the way that measured best at the median, and its rates."""
    ways = {way: runs for (name, each, way), runs in rates.items() if (name, each) == (codec, kind)}
    return max(ways.items(), key=lambda item: statistics.median(item[1])) if ways else None


def _row(codec: str, bar: float, rates: dict[tuple[str, str, str], list[float]]) -> dict[str, Any]:
    ceilings = {kind: best for kind in ("copy", "decode") if (best := _best(codec, kind, rates))}
    lower = min(ceilings, key=lambda kind: statistics.median(ceilings[kind][1]))
    loader = rates[codec, "loader", ""]
    fractions = [ours / theirs for ours, theirs in zip(loader, ceilings[lower][1], strict=True)]
    return {
        "codec": codec,
        **summary(loader),
        "ceilings": {kind: {"way": way, **summary(runs)} for kind, (way, runs) in ceilings.items()},
        "lower_ceiling": lower,
        "fraction": round(statistics.median(fractions), 4),
        "fraction_runs": [round(fraction, 4) for fraction in fractions],
        "bar": bar,
    }


def _ratio(codec: str, bar: float | None, rates: dict[tuple[str, str, str], list[float]]) -> dict[str, Any]:
    plain = rates[codec, "plain", ""]
    times = [ours / theirs for ours, theirs in zip(rates[codec, "loader", ""], plain, strict=True)]
    return {
        "codec": codec,
        "plain": summary(plain),
        "ratio": round(statistics.median(times), 3),
        "ratio_runs": [round(each, 3) for each in times],
        "bar": bar,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print beside the bars, write JSON if asked."""
    options, path, command = parse(
        "ferdata_bench.figures.bars", "Measure the loader next to this machine's ceilings.", arguments
    )
    figure = run_bars(options)
    for each in figure.results["sets"]:
        Console().print(_table(each))
    if path:
        figure.write(path, command=command)
    return 0


def _table(results: dict[str, Any]) -> Table:
    table = Table(
        *("codec", "images/s", "spread", "lower ceiling", "fraction", "asked", "plain", "times", "asked"),
        title=f"{results['images']:,} images of {results['size']} px",
        title_justify="left",
    )
    ratios = {ratio["codec"]: ratio for ratio in results["ratios"]}
    for row in results["rows"]:
        ceiling, ratio = row["ceilings"][row["lower_ceiling"]], ratios.get(row["codec"])
        lead = (
            (f"{ratio['plain']['images_per_second']:,.0f}", f"{ratio['ratio']:.1f}", f"{ratio['bar'] or ''}")
            if ratio
            else ("", "", "")
        )
        table.add_row(
            row["codec"],
            f"{row['images_per_second']:,.0f}",
            f"{row['spread']:.0%}",
            f"{row['lower_ceiling']} {ceiling['images_per_second']:,.0f}",
            f"{row['fraction']:.2f}",
            f"{row['bar']:.2f}",
            *lead,
        )
    return table


if __name__ == "__main__":
    raise SystemExit(main())
