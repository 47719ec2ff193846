"""What a part of the run is told, how it tells its results, and how ways are timed in turns.

In: a device, a folder, a deadline. Out: a JSON file that is replaced after every round, so that what is cut off was not
in vain; medians over rounds in which every way takes its turn.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ferdata.plan.timing import Timing, now

__all__ = ["Job", "Way", "in_turns", "repeated"]

Way = Callable[[], tuple[float, float]]
"""One go: how much work was done, and in how many seconds."""
ROUNDS = 5
_MOST_REPEATS = 1 << 16


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
        """Sides of the images, larger one first; ``mod4`` takes no smaller ones than those of a quick run."""
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

    def tell(self, results: Any) -> None:
        """Replace what was told so far."""
        written = self.out.with_suffix(".part")
        written.write_text(json.dumps(results), encoding="utf-8")
        written.replace(self.out)

    def finish(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def in_turns(
    job: Job, ways: Mapping[str, Way], unit: str, *, scale: float = 1.0, until: float | None = None
) -> Iterator[dict[str, dict[str, Any]]]:
    """Yield the medians after every round, until there are enough rounds or no time for another one.

    The first go of a way is its warm-up; a way that fails there says why, and is left out.

    Args:
        job: Its deadline holds if no other one is given.
        ways: Name -> one go.
        unit: Name of a rate.
        scale: What a rate is divided by.
        until: When no further round is begun that would end later.
    """
    rows: dict[str, dict[str, Any]] = {}
    goes: dict[str, list[tuple[float, float]]] = {}
    for name, way in ways.items():
        try:
            way()
            goes[name] = []
        except Exception as error:
            rows[name] = {"failed": f"{type(error).__name__}: {error}"}
    for _ in range(1 if job.quick else ROUNDS):
        began = now()
        for name, each in goes.items():
            each.append(ways[name]())
            work, seconds = zip(*each, strict=True)
            timing = Timing(work=work, seconds=seconds)
            rates = [float(f"{rate / scale:.5g}") for rate in timing.rates]
            rows[name] = {unit: float(f"{timing.rate / scale:.5g}"), "spread": round(timing.spread, 3), "runs": rates}
        yield {name: rows[name] for name in ways}
        if 2 * now() - began > (job.deadline if until is None else until):
            return


def repeated(job: Job, function: Callable[[], object], work: float) -> Way:
    """Return a way that calls a function as often as fills the time of a go, and then waits for the device once."""
    repeats = 1

    def way() -> tuple[float, float]:
        nonlocal repeats
        while True:
            job.finish()
            start = now()
            for _ in range(repeats):
                function()
            job.finish()
            seconds = now() - start
            if seconds >= job.seconds or repeats >= _MOST_REPEATS:
                return work * repeats, seconds
            repeats = min(_MOST_REPEATS, max(2 * repeats, int(1.3 * repeats * job.seconds / seconds)))

    return way
