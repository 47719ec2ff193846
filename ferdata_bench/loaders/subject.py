"""One contender in one setting, as the harness sees it: its runner, its files, and what was measured of it so far.

In: an entry of the table of contenders, an interpreter, a folder. Out: replies of its runner, and bytes on disk.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ferdata import read_index
from ferdata.format import INDEX_NAME
from ferdata.store import Store
from ferdata_bench.contenders import Entry
from ferdata_bench.contenders.ferdata_shards import first_split
from ferdata_bench.loaders.process import ContenderError, RunnerProcess
from ferdata_bench.loaders.work import folder_bytes

__all__ = ["Subject", "sizes_beside", "split_to_fit", "stored_bytes"]

EPOCH_SECONDS = 600.0


@dataclass(slots=True, kw_only=True)
class Subject:
    """One contender in one setting."""

    entry: Entry
    python: str
    out: Path
    workers: int
    batch_size: int
    given: bool = False
    sweep: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    runner: RunnerProcess | None = None
    greeted: bool = False

    def launch(self, folder: Path, stack: ExitStack) -> None:
        """Start a runner, which imports the contender's library meanwhile; ``stack`` ends it at the latest."""
        self.runner = RunnerProcess(self.entry.name, python=self.python, folder=folder)
        stack.callback(self.runner.close)
        self.runner.send("hello")
        self.greeted = False

    def greet(self) -> None:
        """Wait until the library is imported, and note what the runner says of it."""
        assert self.runner is not None
        facts = self.runner.receive("hello", timeout_seconds=EPOCH_SECONDS)
        if facts["unavailable"]:
            raise ContenderError(f"{self.entry.name}: {facts['unavailable']}")
        self.facts |= facts
        self.greeted = True

    def ask(self, verb: str, *, timeout_seconds: float = EPOCH_SECONDS, **arguments: Any) -> dict[str, Any]:
        """Ask its runner."""
        assert self.runner is not None
        return self.runner.ask(verb, timeout_seconds=timeout_seconds, **arguments)

    def open(self, out: Path, *, seed: int) -> None:
        """Make its loader over the files in ``out``."""
        self.ask("open", out=str(out), batch_size=self.batch_size, num_workers=self.workers, seed=seed)

    def record(self, run: dict[str, Any]) -> None:
        """Keep a timed run, if it gave what the epoch that was checked gave."""
        warm = self.facts["warm"]
        if (run["images"], run["sums"]) != (warm["images"], warm["sums"]):
            raise ContenderError(
                f"{self.entry.name}: {run['images']:,.0f} images with sums {run['sums']} found while timed, "
                f"expected {warm['images']:,} with {warm['sums']} as when it was checked; mend the contender"
            )
        self.runs.append(run)

    def end(self) -> None:
        """End its runner, if it has one."""
        if self.runner is not None:
            self.runner.close()
            self.runner = None


def stored_bytes(out: Path, *, is_ours: bool) -> tuple[int, int]:
    """Return the bytes of a contender's files, and of those that an epoch reads: of shards, only one split's."""
    if not is_ours:
        return folder_bytes(out), folder_bytes(out)
    index, split = read_index(Store(out)), first_split(out)
    beside = (out / INDEX_NAME).stat().st_size + sum(info.num_bytes for info in index.files)
    read = sum(info.num_bytes for info in index.shards if info.split == split)
    return beside + sum(info.num_bytes for info in index.shards), read


def sizes_beside(subjects: Sequence[Subject], counted: Sequence[Path]) -> list[int]:
    """Return the bytes each subject adds to files that are counted already; some share a folder."""
    seen, sizes = set(counted), []
    for subject in subjects:
        sizes.append(0 if subject.out in seen else folder_bytes(subject.out))
        seen.add(subject.out)
    return sizes


def split_to_fit(subjects: Sequence[Subject], sizes: Sequence[int], room: float) -> list[list[Subject]]:
    """Return the subjects in groups, in order, each of at most ``room`` bytes unless one alone has more."""
    groups: list[list[Subject]] = [[]]
    used = 0
    for subject, size in zip(subjects, sizes, strict=True):
        if groups[-1] and used + size > room:
            groups.append([])
            used = 0
        groups[-1].append(subject)
        used += size
    return groups
