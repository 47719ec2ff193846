"""What does the first day feel like? From a folder of JPEG files to the first batch, and to the end of two epochs.

    python -m ferdata_bench.studies.first_day --json docs/figures/first-day.json

In: photographs in AffectNet's class folders, as many as AffectNet has; they are drawn first, once for a work folder
(some minutes, 4 GB). Out: for ferdata's codecs and three rivals the seconds of conversion, first batch and two epochs,
from a cold and from a warm page cache, memory and disk; JSON after every contender. Contenders take their turns, and
what one wrote is removed before the next writes: the largest has 48 GB. Every part is a process of its own, timed from
its start. A run that was stopped goes on with the contenders that its file lacks. About 25 minutes on two cores.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ferdata.errors import FerdataError
from ferdata.parallel import available_memory
from ferdata.plan.conditions import describe_machine
from ferdata.plan.timing import now
from ferdata_bench.contenders import OURS, Entry, find
from ferdata_bench.figures.common import (
    Figure,
    FigureOptions,
    photo_tree,
    run_verb,
    script_command,
    script_parser,
    tree_bytes_per_image,
)
from ferdata_bench.figures.first_day import memory
from ferdata_bench.loaders.process import PACKAGE_ROOT, ContenderError, find_interpreter
from ferdata_bench.loaders.subject import Subject
from ferdata_bench.loaders.usage import SLOW_SAMPLE_SECONDS, MemoryUse, PeakMemory
from ferdata_bench.loaders.work import folder_bytes, forget, way_to_forget

__all__ = ["CONTENDERS", "FirstDayOptions", "main", "run_first_day"]

SIZE, COUNT, QUICK_COUNT = 224, 290_000, 64
CONTENDERS = (
    *("ferdata-compact", "ferdata-jpeg"),
    *("imagefolder-torchvision", "webdataset-jpeg", "ffcv-jpg"),
    "ferdata-raw",  # the largest, and so the first to have no room
)
QUICK_CONTENDERS = ("ferdata-jpeg", "imagefolder-torchvision")
STANDS_IN = {"ffcv-jpg": "litdata-jpeg"}
"""Measured where the first is not installed."""
CONVERSION_SECONDS = 3_600.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstDayOptions(FigureOptions):
    """What the study is asked.

    Attributes:
        count: Images.
        only: Contenders by name; others of the file stay if its conditions are the same. Empty: all.
        environments: Folders to look in for the rivals' environments, beside the working folder and the checkout.
    """

    count: int = COUNT
    only: tuple[str, ...] = ()
    environments: tuple[Path, ...] = ()


def run_first_day(options: FirstDayOptions, *, path: Path | None = None, command: str = "", say: Say = print) -> Figure:
    """Measure each contender, and write ``path`` after each.

    Raises:
        OptionError: If a contender's name is unknown.
    """
    machine, notes = describe_machine(), list[str]()
    chosen = _installed(options, notes)
    say(f"{options.count:,} photographs of {SIZE} px: drawn now if they are not there yet, half a millisecond each")
    tree = photo_tree(options, size=SIZE, count=options.count)
    conditions = machine | {
        "images": options.count,
        "image": f"uint8 [3, {SIZE}, {SIZE}], not resized",
        "source": "photographs, JPEG quality 90, in class folders",
        "source_bytes_per_image": tree_bytes_per_image(options, size=SIZE, count=options.count),
        "workers": options.num_workers,
        "batch_size": options.batch_size,
        "cold": way_to_forget(all_caches=not options.quick),
        "warm": "files that the epochs before have read",
        "consumer": "reads one byte of every image",
        "quick": options.quick,
    }
    rows = _kept(path, conditions, options.only, say)
    waiting = [(entry, python) for entry, python in chosen if entry.name not in rows]
    while True:
        left = [entry.name for entry, _ in waiting]
        figure = Figure(conditions=conditions, results={"rows": [*rows.values()], "notes": notes, "left": left})
        if path:
            figure.write(path, command=command)
        if not waiting:
            return figure
        entry, python = waiting.pop(0)
        try:
            rows[entry.name] = _measure(entry, python, tree, options, say)
        except FerdataError as error:
            notes.append(f"left out: {error}")
            say(notes[-1])


def _installed(options: FirstDayOptions, notes: list[str]) -> list[tuple[Entry, str]]:
    """Return the contenders that can run here with their interpreters, and note those that can't."""
    found, folders = [], [*options.environments, Path.cwd(), PACKAGE_ROOT]
    names = [*(options.only or (QUICK_CONTENDERS if options.quick else CONTENDERS))]
    for name in names:
        entry = find(name)
        python, reason = find_interpreter(entry, folders)
        if reason is None:
            found.append((entry, python))
        else:
            notes.append(f"{name}: left out, {reason}")
            names += [STANDS_IN[name]] if name in STANDS_IN else []
    return found


def _kept(path: Path | None, conditions: dict[str, Any], only: Sequence[str], say: Say) -> dict[str, dict[str, Any]]:
    """Return what stays of a file with the same conditions: all if it is unfinished, else what is beside ``only``."""
    if path is None or not path.exists():
        return {}
    values = json.loads(path.read_text(encoding="utf-8"))
    if {**values["conditions"], "load_before": 0} != {**conditions, "load_before": 0}:
        return {}
    stays = {row["name"]: row for row in values["rows"] if values["left"] or (only and row["name"] not in only)}
    if stays:
        say(f"{path} has {', '.join(stays)} already")
    return stays


def _measure(entry: Entry, python: str, tree: Path, options: FirstDayOptions, say: Say) -> dict[str, Any]:
    """Convert, then stream from a cold and from a warm cache, and remove what was written."""
    out = options.work / f"first-day-{entry.name}"
    subject = Subject(entry=entry, python=python, out=out, workers=options.num_workers, batch_size=options.batch_size)
    _remove(out)
    _require_room(entry, options)
    try:
        say(f"{entry.name}: conversion")
        forget(tree, all_caches=not options.quick)
        conversion = (_shard if entry in OURS else _ingest)(subject, tree, options)
        stored = folder_bytes(out)
        say(f"{entry.name}: two epochs from a cold cache, {stored / 1e9:.1f} GB")
        forget(out, all_caches=not options.quick)
        cold = _stream(subject, options, epochs=2)
        fits = stored < available_memory()
        say(f"{entry.name}: {'an epoch from a warm cache' if fits else 'memory is too small for a warm cache'}")
        warm = _stream(subject, options, epochs=1) if fits else None
    finally:
        _remove(out)
    facts = {name: subject.facts[name] for name in ("codec", "version", "shuffle")}
    return {"name": entry.name, **facts, "bytes": stored, "conversion": conversion, "cold": cold, "warm": warm}


def _remove(out: Path) -> None:
    if out.is_symlink():
        out.unlink()
    elif out.exists():
        shutil.rmtree(out)


def _require_room(entry: Entry, options: FirstDayOptions) -> None:
    needed = int(entry.stored * options.count * 3 * SIZE**2)
    free = shutil.disk_usage(options.work).free
    if needed > free:
        raise ContenderError(
            f"{entry.name}: {free / 1e9:.1f} GB free in {options.work} found, expected {needed / 1e9:.1f} GB; "
            "make room or take fewer images (--count)"
        )


def _shard(subject: Subject, tree: Path, options: FirstDayOptions) -> dict[str, Any]:
    """Convert by the command line."""
    places = ["--src", str(tree), "--out", str(subject.out)]
    settings = ["--size", str(SIZE), "--codec", subject.entry.codec, "--workers", str(options.num_workers)]
    run = run_verb("first_day", ["shard", "affectnet", *places, *settings], options.work / "first-day-shard.json")
    if run.report["accepted"] != options.count:
        raise ContenderError(
            f"{subject.entry.name}: {run.report['accepted']:,} images in shards found, expected {options.count:,}"
        )
    ingested = run.report["seconds"]
    scan_ended = run.started + run.seconds - ingested  # but for the time that a process takes to end
    parts = {
        "scan": {"seconds": run.report["scan_seconds"], **_memory(run.memory.peak_until(scan_ended))},
        "ingest": {"seconds": ingested, "images_per_second": round(run.report["images_per_second"], 1)},
    }
    return {"seconds": round(run.seconds, 2), **_memory(run.memory.peak), **parts}


def _ingest(subject: Subject, tree: Path, options: FirstDayOptions) -> dict[str, Any] | None:
    """Let the contender write its files; None if it reads the source as it is."""
    with _running(subject, options) as (start, memory):
        source = str(tree / "train")
        subject.ask("ingest", timeout_seconds=CONVERSION_SECONDS, source=source, out=str(subject.out.resolve()))
        seconds = now() - start
    return None if subject.out.is_symlink() else {"seconds": round(seconds, 2), **_memory(memory.peak)}


def _stream(subject: Subject, options: FirstDayOptions, *, epochs: int) -> dict[str, Any]:
    """Time a process from its start: the first batch, the end of the first epoch, and the second epoch's own time."""
    with _running(subject, options) as (start, memory):
        imported = now() - start
        subject.open(subject.out.absolute(), seed=options.seed)
        first = subject.facts["warm"] = subject.ask("warm", timeout_seconds=CONVERSION_SECONDS)
        times = {
            "first_batch": imported + first["first_batch_seconds"],
            "first_epoch": now() - start,
        }
        if epochs > 1:
            second = subject.ask("epoch", timeout_seconds=CONVERSION_SECONDS, min_seconds=0.0)
            subject.record(second)
            times["second_epoch"] = second["seconds"]
    if first["images"] != options.count:
        raise ContenderError(
            f"{subject.entry.name}: an epoch of {first['images']:,} images found, expected {options.count:,}"
        )
    return {f"{name}_seconds": round(value, 3) for name, value in times.items()} | _memory(memory.peak)


@contextmanager
def _running(subject: Subject, options: FirstDayOptions) -> Iterator[tuple[float, PeakMemory]]:
    """Start a contender's process; yield when that was, and what notes its memory until the block ends."""
    with ExitStack() as stack:
        start = now()
        subject.launch(options.work, stack)
        assert subject.runner is not None
        with PeakMemory(subject.runner.pid, every_seconds=SLOW_SAMPLE_SECONDS) as memory:
            subject.greet()
            yield start, memory


def _memory(use: MemoryUse) -> dict[str, int]:
    return {"peak_bytes": use.total_bytes, "peak_private_bytes": use.anonymous_bytes + use.shared_bytes}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write JSON if asked."""
    module = "ferdata_bench.studies.first_day"
    parser = script_parser(module, "From a folder of JPEG files to the end of two epochs.")
    parser.add_argument("--count", type=int, help=f"images; {COUNT:,}")
    parser.add_argument("--only", default="", help=f"some contenders, such as {', '.join(CONTENDERS)}")
    parser.add_argument(
        "--environments", type=Path, action="append", default=[], help="look here for the rivals' environments, too"
    )
    given = parser.parse_args(arguments)
    options = FirstDayOptions(
        work=given.work.resolve(),
        quick=given.quick,
        rounds=1,
        batch_size=8 if given.quick else 128,
        count=given.count or (QUICK_COUNT if given.quick else COUNT),
        only=tuple(name for name in given.only.split(",") if name),
        environments=tuple(given.environments),
    )
    asked = [f"--count {given.count}"] if given.count else []
    command = script_command(module, given, [*asked, *([f"--only {given.only}"] if given.only else [])])
    figure = run_first_day(options, path=given.json, command=command)
    Console().print(_table(figure.results["rows"]))
    for note in figure.results["notes"]:
        print(f"note: {note}")
    return 0


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    names = ("seconds", "GB", "convert", "1st batch", "1st epoch", "2nd", "warm: 1st", "epoch", "own MB")
    table = Table(*names, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for row in rows:
        cold, warm, conversion = row["cold"], row["warm"], row["conversion"]
        table.add_row(
            *(row["name"], f"{row['bytes'] / 1e9:.1f}", f"{conversion['seconds']:,.1f}" if conversion else ""),
            *(f"{cold[f'{name}_seconds']:,.1f}" for name in ("first_batch", "first_epoch", "second_epoch")),
            *(f"{warm[f'{name}_seconds']:,.1f}" if warm else "" for name in ("first_batch", "first_epoch")),
            f"{memory(row) / 1e6:,.0f}",
        )
    return table


if __name__ == "__main__":
    raise SystemExit(main())
