"""What the measuring scripts share: options, one work folder of photographs and shards, turns, memory, the JSON file.

In: a command line. Out: data made once and found again by the next script; a JSON file that holds its own command and
conditions.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferdata.dataset.builtin import has_shards
from ferdata.errors import IngestError, OptionError
from ferdata.plan.timing import now
from ferdata_bench.loaders.photos import shard_tree, write_photos
from ferdata_bench.loaders.process import PACKAGE_ROOT
from ferdata_bench.loaders.usage import SLOW_SAMPLE_SECONDS, PeakMemory
from ferdata_bench.loaders.work import folder_bytes

__all__ = [
    "QUICK_VARIABLE",
    "Figure",
    "FigureOptions",
    "VerbRun",
    "is_quick",
    "parse",
    "photo_shards",
    "photo_tree",
    "run_verb",
    "script_command",
    "script_parser",
    "summary",
    "tree_bytes_per_image",
]

QUICK_VARIABLE = "FERDATA_QUICK"
"""Environment variable: anything but empty or 0 makes every script use tens of images, to see that it works."""
WORK = Path("build/figures")


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureOptions:
    """What every script is asked.

    Attributes:
        work: Folder for photographs and shards, shared by all scripts and kept.
        quick: Tens of images and short runs: the figures mean nothing.
        rounds: Timed rounds, in which everything compared takes its turn.
        num_workers: Worker processes.
        batch_size: Images of a batch.
        seed: Of photographs and orders.
    """

    work: Path = WORK
    quick: bool = False
    rounds: int = 5
    num_workers: int = 2
    batch_size: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rounds", "num_workers", "batch_size"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name}: {getattr(self, name)} found, expected at least 1; give a larger number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measurement as it goes to its JSON file.

    Attributes:
        conditions: The machine before the run, and its settings.
        results: Everything measured.
    """

    conditions: dict[str, Any]
    results: dict[str, Any]

    def write(self, path: Path, *, command: str) -> None:
        """Write the file with the command that made it."""
        values = {"command": command, "conditions": self.conditions, **self.results}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def parse(
    module: str, description: str, arguments: Sequence[str] | None, *, rounds: int = 5
) -> tuple[FigureOptions, Path | None, str]:
    """Return options, the JSON file asked for, and the command that repeats the run."""
    parser = script_parser(module, description)
    parser.add_argument("--rounds", type=int, default=rounds, help="timed rounds")
    given = parser.parse_args(arguments)
    options = FigureOptions(
        work=given.work,
        quick=given.quick,
        rounds=1 if given.quick else given.rounds,
        batch_size=8 if given.quick else 128,
    )
    asked = [f"--rounds {given.rounds}"] if given.rounds != rounds else []
    return options, given.json, script_command(module, given, asked)


def script_parser(module: str, description: str) -> argparse.ArgumentParser:
    """Return a parser of what every script takes."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument(
        "--work", type=Path, default=WORK, help="folder for photographs and shards, shared by all scripts and kept"
    )
    parser.add_argument(
        "--quick", action="store_true", default=is_quick(), help=f"tens of images; also with {QUICK_VARIABLE}=1"
    )
    return parser


def script_command(module: str, given: argparse.Namespace, asked: Sequence[str]) -> str:
    """Return the command that repeats a run: what it was asked beside what every script takes is in ``asked``."""
    quick, written = ["--quick"] if given.quick else [], [f"--json {_shown(given.json)}"] if given.json else []
    return " ".join([f"python -m {module}", *asked, *quick, *written])


@dataclass(frozen=True, slots=True, kw_only=True)
class VerbRun:
    """What a command of ``ferdata`` took.

    Attributes:
        report: What it wrote with ``--json``.
        started: The clock's seconds when it was started.
        seconds: From start to end, Python's own start included.
        memory: Of its process tree.
    """

    report: dict[str, Any]
    started: float
    seconds: float
    memory: PeakMemory


def run_verb(script: str, arguments: Sequence[str], report: Path) -> VerbRun:
    """Run ``cli.py`` with these arguments, and remove its report.

    Raises:
        IngestError: If it fails.
    """
    command = [sys.executable, str(PACKAGE_ROOT / "cli.py"), *arguments, "--json", str(report.resolve())]
    started = now()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        with PeakMemory(process.pid, every_seconds=SLOW_SAMPLE_SECONDS) as memory:
            words, _ = process.communicate()
    finally:
        process.terminate()  # if it was we who were stopped: what it writes is removed next
        process.wait()
    seconds = now() - started
    if process.returncode:
        raise IngestError(
            f"{script}: {arguments[0]} ended with code {process.returncode}, expected 0: {words.strip()[-500:]}"
        )
    said = json.loads(report.read_text())
    report.unlink()
    return VerbRun(report=said, started=started, seconds=seconds, memory=memory)


def is_quick() -> bool:
    """Tell whether the environment asks for tiny sizes."""
    return os.environ.get(QUICK_VARIABLE, "0") not in ("", "0")


def photo_tree(options: FigureOptions, *, size: int, count: int) -> Path:
    """Return a class-folder tree of photographs (below its ``train``), written if it does not exist yet."""
    root = options.work / f"photos-{size}-{count}-{options.seed}"
    if not root.exists():
        written = root.with_name(f"{root.name}.part-{os.getpid()}")
        write_photos(written, count=count, size=size, seed=options.seed)
        written.rename(root)
    return root


def photo_shards(options: FigureOptions, *, size: int, count: int, codec: str) -> Path:
    """Return shards of :func:`photo_tree`, made by the ingest itself if they do not exist yet."""
    tree = photo_tree(options, size=size, count=count)
    out = tree.with_name(f"{tree.name}.{codec}")
    if not has_shards(out):
        shard_tree(tree, out, size=size, codec=codec)
    return out


def tree_bytes_per_image(options: FigureOptions, *, size: int, count: int) -> int:
    """Return the mean size of a JPEG file of :func:`photo_tree`."""
    return round(folder_bytes(photo_tree(options, size=size, count=count)) / count)


def summary(rates: Sequence[float]) -> dict[str, Any]:
    """Return median, spread (best minus worst, as a fraction of the median) and every run."""
    middle = statistics.median(rates)
    return {
        "images_per_second": round(middle, 1),
        "spread": round((max(rates) - min(rates)) / middle, 4),
        "runs": [round(r, 1) for r in rates],
    }


def _shown(path: Path) -> str:
    """Return a path as it may stand in a page: never one of this machine's own folders."""
    if path.is_relative_to(PACKAGE_ROOT):
        path = path.relative_to(PACKAGE_ROOT)
    return path.name if path.is_absolute() else path.as_posix()
