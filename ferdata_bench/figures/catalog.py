"""Every measurement of docs/benchmarks.md, in the order it is run and shown: its file, its question, its command.

In: folders. Out: command lines. What has no command needs a machine or a decision that ``make bench-docs`` cannot take.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CATALOG", "FIGURES", "Entry"]

FIGURES = Path("docs/figures")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One measurement.

    Attributes:
        name: Stem of its JSON file.
        title: Heading on the page.
        question: What it answers, in a sentence.
        arguments: What follows ``python``; ``{json}``, ``{figures}``, ``{work}`` are paths. Empty: ``needs`` says how.
        quick: What is added if only tens of images are asked for; None leaves the measurement out.
        needs: In words, how to get it if there is no command.
    """

    name: str
    title: str
    question: str
    arguments: tuple[str, ...] = ()
    quick: tuple[str, ...] | None = None
    needs: str = ""

    def command(self, *, figures: Path, work: Path, quick: bool = False) -> list[str]:
        """Return what follows ``python``."""
        places = {"json": str(figures / f"{self.name}.json"), "figures": str(figures), "work": str(work)}
        return [argument.format(**places) for argument in (*self.arguments, *((self.quick or ()) if quick else ()))]

    @property
    def how(self) -> str:
        """How to make its file, for people."""
        return (
            f"`python {' '.join(self.command(figures=FIGURES, work=Path('build/figures')))}`"
            if self.arguments
            else self.needs
        )


def _bench(size: int, count: int) -> tuple[str, ...]:
    settings = ("--size", str(size), "--count", str(count), "--workers", "2", "--against", "all")
    return ("cli.py", "bench-loader", *settings, "--json", "{json}")


def _rivals(size: int, count: int) -> tuple[str, ...]:
    settings = ("--size", str(size), "--count", str(count), "--workers", "2", "--sweep", "workers")
    return ("cli.py", "bench-loader", *settings, "--against", "ffcv-raw,ffcv-jpg,memmap", "--json", "{json}")


_MOD4 = ("--model", "mod4", "--batch-size", "8", "--workers", "1", "--steps", "3", "--rounds", "3")
_SCRIPT = ("--work", "{work}", "--json", "{json}")
_BENCH_QUICK = ("--count", "48", "--batch-size", "8", "--against", "memmap")

CATALOG: Sequence[Entry] = (
    Entry(
        name="bars",
        title="The loader next to this machine's ceilings",
        question="How much of the best that the machine can do arrives in the training loop, "
        "and how much through a plain DataLoader?",
        arguments=("-m", "ferdata_bench.figures.bars", *_SCRIPT),
        quick=("--quick",),
    ),
    Entry(
        name="bench-224",
        title="Every contender, 224 px",
        question="How fast do other loaders feed the same photographs at 224 px?",
        arguments=_bench(224, 8192),
        quick=_BENCH_QUICK,
    ),
    Entry(
        name="bench-100",
        title="Every contender, 100 px",
        question="And at 100 px, where the cost of handling a sample counts more than its bytes?",
        arguments=_bench(100, 12000),
        quick=_BENCH_QUICK,
    ),
    *(
        Entry(
            name=f"rivals-{size}",
            title=f"By the number of workers, beside the fastest others, {size} px",
            question=f"What do FFCV and a memory map reach with as many workers at {size} px?",
            arguments=_rivals(size, count),
            quick=_BENCH_QUICK,
        )
        for size, count in ((224, 8192), (100, 12000))
    ),
    Entry(
        name="scale",
        title="The cost of scale",
        question="Do speed, start-up or memory suffer when a data set grows?",
        arguments=("-m", "ferdata_bench.figures.scale", *_SCRIPT),
        quick=("--quick",),
    ),
    Entry(
        name="ingest",
        title="Ingest next to its limit",
        question="How close does `shard` come to bare decoding plus bare compression, and does its memory grow?",
        arguments=("-m", "ferdata_bench.figures.ingest_limit", *_SCRIPT),
        quick=("--quick",),
    ),
    Entry(
        name="pipeline",
        title="The whole way through the command line",
        question="What do drawing, converting and verifying cost through the command line?",
        arguments=("-m", "ferdata_bench.figures.pipeline", *_SCRIPT),
        quick=("--quick",),
    ),
    Entry(
        name="first-day",
        title="The first day with AffectNet",
        question="How long does it take from a folder of 290,000 JPEG files to the first batch, "
        "and to the end of two epochs?",
        arguments=("-m", "ferdata_bench.studies.first_day", *_SCRIPT),
        quick=("--quick",),
    ),
    Entry(
        name="shuffle",
        title="How well the window shuffle mixes",
        question="How far apart are neighbours of a shard after shuffling, against a true permutation?",
        arguments=("-m", "ferdata_bench.studies.shuffle_quality", "--json", "{json}"),
    ),
    Entry(
        name="study",
        title="The codec study",
        question="How small, how fast, beside the lossless codecs that others publish? "
        "[codecs.md](codecs.md) has the reasons for ours.",
        arguments=("-m", "ferdata_bench.studies.codecs", "--json", "{json}"),
    ),
    Entry(
        name="plan",
        title="What `plan` says about this machine, and whether it is right",
        question="Which codec and how many workers are right here, how fast will they be, and how fast are they?",
        arguments=("-m", "ferdata_bench.studies.plan_check", "--json", "{json}"),
    ),
    Entry(
        name="plan-tight",
        title="What `plan` says about a set that does not fit in memory",
        question="And if the page cache cannot hold it: is the recommended codec still the fastest?",
        arguments=("-m", "ferdata_bench.studies.plan_check", "--leave-gb", "3", "--count", "24576", "--json", "{json}"),
    ),
    Entry(
        name="train",
        title="Training from shards",
        question="How long does training wait for its data?",
        arguments=("cli.py", "train", "--json", "{json}"),
    ),
    Entry(
        name="wait",
        title="Does training wait for data?",
        question="How much slower is a step fed by the loader than the same step on one resident batch?",
        arguments=("-m", "ferdata_bench.studies.waiting", *_MOD4, "--json", "{json}"),
    ),
    Entry(
        name="gpu",
        title="Into a GPU",
        question="Does the loader keep the bus to a GPU, and a network on it, busy?",
        needs=f"a machine with a CUDA GPU, where `make gpu` leaves `{FIGURES.as_posix()}/gpu.json`",
    ),
)
