"""The guard against getting slower: each case's time over its yardstick's, in the same run, beside the recorded ratio.

    python -m ferdata_bench.guard check     fails if a case lost 20 % or more of its speed (make bench-check)
    python -m ferdata_bench.guard record    rewrites recorded_ratios.json (make bench-record)

Ours and the yardstick are timed in turns and the median of the pairs' ratios is taken, so that the machine's drift
affects both. A loss is believed only if it shows in each of three attempts: noise makes a case slower for a while,
never faster than it is.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ferdata.errors import FerdataError, OptionError
from ferdata.plan.conditions import describe_machine
from ferdata.plan.timing import now
from ferdata_bench.guard.cases import CASES, GuardData

__all__ = ["ALLOWED_LOSS", "RECORD", "Verdict", "check", "main", "measure", "record"]

RECORD = Path(__file__).with_name("recorded_ratios.json")
ALLOWED_LOSS = 0.2
"""Fraction of the recorded speed that a case may lose."""
ATTEMPTS = 3
PAIRS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One case now and as recorded; ratios are time over the yardstick's time, so less is faster."""

    name: str
    ratio: float
    recorded: float

    @property
    def speed(self) -> float:
        """Speed now as a fraction of the recorded speed."""
        return self.recorded / self.ratio

    @property
    def ok(self) -> bool:
        """Whether less than ``ALLOWED_LOSS`` is lost."""
        return self.speed > 1 - ALLOWED_LOSS


def measure(name: str, data: GuardData, *, pairs: int = PAIRS) -> float:
    """Return the median ratio of a case's time to its yardstick's, timed in turns after one warm-up of both."""
    if name not in CASES:
        raise OptionError(f"guard: case {name!r} found, expected one of {', '.join(CASES)}")
    with ExitStack() as stack:
        pair = CASES[name](data, stack)
        ratios = []
        for _ in range(pairs + 1):
            start = now()
            pair.yardstick()
            middle = now()
            pair.ours()
            ratios.append((now() - middle) / (middle - start))
    return statistics.median(ratios[1:])


def check(names: Iterable[str] = tuple(CASES), *, folder: Path | None = None, recorded: Path = RECORD) -> list[Verdict]:
    """Measure cases and compare them with the record; one that seems slower is measured again before it is believed."""
    names = list(names)
    if not recorded.exists():
        raise OptionError(f"{recorded}: no such file, expected the recorded ratios; make them with `make bench-record`")
    ratios = json.loads(recorded.read_text())["ratios"]
    if missing := [name for name in names if name not in ratios]:
        raise OptionError(
            f"{recorded}: no ratio of {', '.join(missing)} found, expected one of every case; "
            "record anew with `make bench-record`"
        )
    verdicts = []
    with tempfile.TemporaryDirectory(dir=folder) as place:
        data = GuardData(Path(place))
        for name in names:
            best = float("inf")
            for _ in range(ATTEMPTS):
                best = min(best, measure(name, data))
                if Verdict(name=name, ratio=best, recorded=ratios[name]).ok:
                    break
            verdicts.append(Verdict(name=name, ratio=best, recorded=ratios[name]))
    return verdicts


def record(path: Path = RECORD) -> dict[str, float]:
    """Measure every case, each ``ATTEMPTS`` times, and write the median ratios with the machine they are from."""
    with tempfile.TemporaryDirectory() as place:
        data = GuardData(Path(place))
        ratios = {name: round(statistics.median(measure(name, data) for _ in range(ATTEMPTS)), 4) for name in CASES}
    path.write_text(json.dumps({"machine": describe_machine(), "ratios": ratios}, indent=1) + "\n")
    return ratios


def main(arguments: list[str] | None = None) -> int:
    """Run ``check`` or ``record``; exit code 1 if a case lost too much."""
    parser = argparse.ArgumentParser(prog="python -m ferdata_bench.guard")
    parser.add_argument("verb", choices=["check", "record"])
    parser.add_argument("--case", action="append", choices=list(CASES), help="only this case; may be repeated")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    if chosen.verb == "record":
        for name, ratio in record().items():
            print(f"{name:16} {ratio:8.3f}")
        return 0
    try:
        verdicts = check(chosen.case or tuple(CASES))
    except FerdataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    table = Table(
        "case",
        "time / yardstick",
        "recorded",
        "speed",
        "",
        title="guard: speed beside the record",
        title_justify="left",
    )
    for verdict in verdicts:
        word = "ok" if verdict.ok else f"LOST {1 - verdict.speed:.0%}"
        table.add_row(verdict.name, f"{verdict.ratio:.3f}", f"{verdict.recorded:.3f}", f"{verdict.speed:.2f}", word)
    Console().print(table)
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(verdict) for verdict in verdicts], indent=1) + "\n")
    return 0 if all(verdict.ok for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
