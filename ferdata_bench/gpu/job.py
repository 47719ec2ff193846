"""What a part of the run is told, how it tells its results, and how ways are timed in turns.

In: a device, a folder, a deadline. Out: a JSON file of flat rows, replaced after every round, so that what is cut off
was not in vain; medians over rounds in which every way takes its turn.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ferdata.plan.timing import Timing, now

__all__ = ["Go", "Job", "Row", "Way", "repeated", "time_in_turns"]

ROUNDS = 5
_MOST_REPEATS = 1 << 16

Row = dict[str, Any]
"""One line of a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """One go of a way.

    Attributes:
        work: How much was done: images, or bytes.
        seconds: In what time.
        waited_seconds: How much of it a loader's consumer waited, if there is a loader.
    """

    work: float
    seconds: float
    waited_seconds: float | None = None


Way = Callable[[], Go]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One part's orders.

    Attributes:
        device: ``cuda``, or ``cpu`` to see that everything runs.
        quick: Toy sizes: the figures mean nothing.
        work: Folder of the data sets, shared by all parts.
        out: File of the results.
        deadline: By the clock of :func:`now`.
    """

    device: torch.device
    quick: bool
    work: Path
    out: Path
    deadline: float

    @property
    def sizes(self) -> tuple[int, int]:
        """Sides of the images, the larger one first; ``mod4`` takes none that are smaller than those of a quick run."""
        return (48, 44) if self.quick else (224, 100)

    @property
    def seconds(self) -> float:
        """How long one go of a way takes at least."""
        return 0.01 if self.quick else 0.4

    def shards(self, size: int, codec: str) -> Path:
        """Return the folder of a data set."""
        return self.work / f"{size}.{codec}"

    def files(self, size: int) -> Path:
        """Return the folder of JPEG files that the data sets of a size were made from."""
        return self.work / f"{size}.jpeg"

    def share(self, number: int, count: int) -> float:
        """Return when task ``number`` of ``count`` should end, if those that follow are to have as much time."""
        return now() + (self.deadline - now()) / (count - number)

    def tell(self, rows: list[Row]) -> None:
        """Replace what was told so far."""
        written = self.out.with_suffix(".part")
        written.write_text(json.dumps(rows), encoding="utf-8")
        written.replace(self.out)

    def finish(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def time_in_turns(
    job: Job,
    told: list[Row],
    about: Mapping[str, Any],
    ways: Mapping[str, Way],
    unit: str,
    *,
    until: float,
    scale: float = 1.0,
    ceilings: Mapping[str, str] | None = None,
) -> None:
    """Time ways until there are enough rounds, or no time for another one; tell the rows after each.

    The first go of a way is its warm-up; a way that fails there is left out, and its row says why.

    Args:
        job: Where to tell.
        told: Rows that were told before; these are added.
        about: What every row begins with.
        ways: Name -> one go.
        unit: Name of the rates.
        until: When no further round is begun that would end later.
        scale: What rates are divided by.
        ceilings: Way -> the way whose rate its own is compared with.
    """
    goes: dict[str, list[Go]] = {}
    rows = {name: dict(about) | {"way": name} for name in ways}
    for name, way in ways.items():
        try:
            way()
            goes[name] = []
        except Exception as error:
            rows[name]["failed"] = f"{type(error).__name__}: {error}"
    rates: dict[str, float] = {}
    for _ in range(1 if job.quick else ROUNDS):
        began = now()
        for name, each in goes.items():
            each.append(ways[name]())
            timing = Timing(work=tuple(go.work / scale for go in each), seconds=tuple(go.seconds for go in each))
            rates[name] = timing.rate
            runs = [_rounded(rate) for rate in timing.rates]
            rows[name] |= {unit: _rounded(timing.rate), "spread": round(timing.spread, 3), "runs": runs}
            if each[0].waited_seconds is not None:
                waited = sum(go.waited_seconds or 0.0 for go in each)
                rows[name]["data wait share"] = round(waited / sum(timing.seconds), 4)
        for name, other in (ceilings or {}).items():
            if name in rates and other in rates:
                rows[name]["of the ceiling"] = round(rates[name] / rates[other], 4)
        job.tell([*told, *rows.values()])
        if 2 * now() - began > until:
            break
    told += rows.values()
    job.tell(told)


def repeated(job: Job, function: Callable[[], object], work: float) -> Way:
    """Return a way that calls a function as often as fills the time of a go, and then waits for the device once."""
    repeats = 1

    def way() -> Go:
        nonlocal repeats
        while True:
            job.finish()
            start = now()
            for _ in range(repeats):
                function()
            job.finish()
            seconds = now() - start
            if seconds >= job.seconds or repeats >= _MOST_REPEATS:
                return Go(work=work * repeats, seconds=seconds)
            repeats = min(_MOST_REPEATS, max(2 * repeats, int(1.3 * repeats * job.seconds / seconds)))

    return way


def _rounded(rate: float) -> float:
    return float(f"{rate:.5g}")
