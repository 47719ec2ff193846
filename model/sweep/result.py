"""What a sweep comes to: every run's figures, and mean and spread over seeds of each combination of settings."""

import csv
import io
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ferdata.training.sweep.spec import SweepSpec

__all__ = ["Finished", "Group", "SweepResult", "text_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A run that has ended.

    Attributes:
        name: Of its folder.
        settings: What is varied.
        seed: Its seed.
        result: What ``result.json`` says; None if it failed.
        problem: Why it failed.
    """

    name: str
    settings: Mapping[str, Any]
    seed: int
    result: Mapping[str, Any] | None
    problem: str | None = None

    @property
    def accuracy(self) -> float | None:
        """On the split that stands for the run: ``val``, else ``test``, else ``train``."""
        return None if self.result is None else float(self.result["accuracy"][self.result["main_split"]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One combination of settings.

    Attributes:
        settings: What is varied.
        runs: One for each seed.
    """

    settings: Mapping[str, Any]
    runs: tuple[Finished, ...]

    def figures(self, split: str) -> list[float]:
        """Return the accuracy of each run that has one, on a split."""
        return [run.result["accuracy"][split] for run in self.runs if run.result and split in run.result["accuracy"]]

    @property
    def mean(self) -> float | None:
        """Mean accuracy over the seeds; None if a run failed."""
        values = [run.accuracy for run in self.runs]
        known = [value for value in values if value is not None]
        return statistics.fmean(known) if len(known) == len(values) else None

    @property
    def spread(self) -> float:
        """Standard deviation of the accuracy over the seeds, of a sample; 0 of a single one."""
        known = [value for run in self.runs if (value := run.accuracy) is not None]
        return statistics.stdev(known) if len(known) > 1 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """What a sweep comes to.

    Attributes:
        out: Its folder.
        spec: What was varied.
        groups: Best first; those with failed runs last.
        importance: Setting -> share of the spread that it explains; empty if there is too little to tell.
    """

    out: str
    spec: SweepSpec = field(repr=False)
    groups: tuple[Group, ...] = field(repr=False)
    importance: Mapping[str, float] = field(default_factory=dict)

    @property
    def failed(self) -> list[Finished]:
        """Runs that failed."""
        return [run for group in self.groups for run in group.runs if run.problem is not None]

    @property
    def splits(self) -> list[str]:
        """Splits that runs were measured on, the one that stands for them first."""
        found = [run.result for group in self.groups for run in group.runs if run.result]
        main = [result["main_split"] for result in found[:1]]
        return [*main, *dict.fromkeys(name for result in found for name in result["accuracy"] if name not in main)]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "spec": self.spec.to_json(),
            "importance": dict(self.importance),
            "groups": [
                {
                    "settings": dict(group.settings),
                    "mean": group.mean,
                    "spread": group.spread,
                    "runs": [
                        {"name": run.name, "seed": run.seed, "problem": run.problem, "result": run.result}
                        for run in group.runs
                    ],
                }
                for group in self.groups
            ],
        }

    def table(self) -> str:
        """Return one line a run as CSV: settings, seed, accuracy of every split, figures of the main one, speed."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        more = ("balanced_accuracy", "best_epoch", "images_per_second")
        accuracies = [f"{split}_accuracy" for split in self.splits]
        writer.writerow(["run", *self.spec.vary, "seed", *accuracies, *more, "problem"])
        for run in (run for group in self.groups for run in group.runs):
            result = run.result or {}
            measured = [result.get("accuracy", {}).get(split, "") for split in self.splits]
            settings = [_cell(run.settings[name]) for name in self.spec.vary]
            writer.writerow(
                [run.name, *settings, run.seed, *measured, *(result.get(name, "") for name in more), run.problem or ""]
            )
        return buffer.getvalue()


def text_of(value: Any) -> str:
    """Return a setting's value in a few letters."""
    if isinstance(value, tuple):
        return "+".join(value) or "none"
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def _cell(value: Any) -> Any:
    return "+".join(map(str, value)) or "none" if isinstance(value, tuple) else "none" if value is None else value
