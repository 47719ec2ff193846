"""The one clock of the benchmarks, and what its seconds amount to: median and spread of several runs."""

import statistics
import time
from dataclasses import dataclass

from ferdata.errors import OptionError

__all__ = ["Timing", "now"]

now = time.perf_counter
"""The clock, in seconds; only differences mean anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds of each timed run, warm-up left out, and how much work one run was.

    Attributes:
        seconds: One entry a run, in the order they ran.
        work: Units of work (images, bytes) in each run; as long as ``seconds``.
    """

    seconds: tuple[float, ...]
    work: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.seconds or len(self.seconds) != len(self.work) or min(self.seconds) <= 0:
            raise OptionError(
                f"timing: {len(self.seconds)} runs {list(self.seconds)} with {len(self.work)} amounts of work found, "
                "expected at least one run, each longer than 0 s and with its work; time more work"
            )

    @property
    def rates(self) -> tuple[float, ...]:
        """Units of work a second, of each run."""
        return tuple(work / seconds for work, seconds in zip(self.work, self.seconds, strict=True))

    @property
    def rate(self) -> float:
        """Median units of work a second."""
        return statistics.median(self.rates)

    @property
    def spread(self) -> float:
        """Distance between the best and the worst rate, as a fraction of the median: 0.1 means within 10 %."""
        return (max(self.rates) - min(self.rates)) / self.rate
