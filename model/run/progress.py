"""What a run shows while it runs. In: figures of steps and epochs. Out: a live line, and a row an epoch, on screen."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from torch import nn

from ferdata.bars import FittingProgress, is_kept_whole
from ferdata.program import as_typed
from ferdata.training.report.scores import SplitScores

__all__ = ["EpochCallback", "EpochStatus", "RichProgress", "StepStatus", "TrainProgress"]

_VAL_FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "loss", "ccc", "rmse")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStatus:
    """Where a run stands: ``step`` of ``total_steps`` of the run, and figures of the epoch so far."""

    epoch: int
    epochs: int
    step: int
    total_steps: int
    loss: float
    images_per_second: float
    data_wait_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochStatus:
    """Figures of an epoch: of its steps, and after it of the val split (None where there is none).

    Of several data sets, ``val_sets`` has the figures of each one's val by its name; else it is empty.
    """

    epoch: int
    epochs: int
    loss: float
    train_accuracy: float
    images_per_second: float
    data_wait_share: float
    seconds: float
    val: SplitScores | None
    val_sets: Mapping[str, SplitScores] = field(default_factory=dict)

    @property
    def accuracy(self) -> dict[str, float]:
        """Accuracy by split."""
        return {"train": self.train_accuracy} | ({} if self.val is None else {"val": self.val.accuracy})

    @property
    def balanced_accuracy(self) -> float | None:
        """Mean recall over the classes of val."""
        return None if self.val is None else self.val.balanced_accuracy

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain values, a line of ``metrics.jsonl``."""
        figures = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.name not in ("epochs", "val", "val_sets")
        }
        if self.val is not None:
            figures["val"] = _figures(self.val)
        if self.val_sets:
            figures["val_sets"] = {name: _figures(scores) for name, scores in self.val_sets.items()}
        return figures


def _figures(scores: SplitScores) -> dict[str, Any]:
    return {name: getattr(scores, name) for name in _VAL_FIGURES}


class TrainProgress(Protocol):
    """What :func:`model.train` tells of its progress, on the first rank."""

    def on_step(self, status: StepStatus) -> None:
        """Take the state after every step on a CPU, every 20 on a GPU."""

    def on_epoch(self, status: EpochStatus) -> None:
        """Take the figures after every epoch's evaluation."""

    def on_note(self, text: str) -> None:
        """Take a sentence for the user."""


class EpochCallback(Protocol):
    """What is done with the network after each epoch: pictures, figures of one's own, copies of weights."""

    def __call__(self, network: nn.Module, epoch: int, run: Path) -> None:
        """Look at the network, which is in evaluation mode, without gradients, on the run's device.

        It is called on the first rank, when the epoch's figures and checkpoints are on the disk. What it changes in the
        network, the run goes on with, but not one that is resumed from here. It must not wait for other ranks.

        Args:
            network: The network, with averaged weights if the run keeps them; somebody's own module as it was given.
            epoch: Which one has ended, counted from 0.
            run: The run's folder.
        """


class RichProgress:
    """Shows a live line in a terminal, and a row per epoch there and anywhere else; a context manager.

    The line appears with the first step, so that ranks that are told nothing leave the terminal alone.

    Args:
        console: Where to; None for standard error's.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        length, steps = BarColumn(bar_width=8), MofNCompleteColumn()
        left = TimeRemainingColumn(compact=True), TextColumn("left")
        waits = TextColumn("waits {task.fields[wait]:.1%},")
        self._bar = FittingProgress(
            TextColumn("epoch {task.fields[epoch]}"),
            length,
            steps,
            TextColumn("{task.fields[rate]:,.0f} images/s, loss {task.fields[loss]:.3f},"),
            waits,
            *left,
            spare=[(length,), (waits,), (steps,), left],
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar.live.is_started:
            self._bar.stop()

    def on_step(self, status: StepStatus) -> None:
        """Move the bar."""
        fields: dict[str, Any] = {
            "epoch": f"{status.epoch + 1}/{status.epochs}",
            "rate": status.images_per_second,
            "loss": status.loss,
            "wait": status.data_wait_share,
        }
        if self._task is None:
            # a resumed run's time left is reckoned from the steps it takes, not from those it found done
            self._bar.start()
            self._task = self._bar.add_task("", total=status.total_steps, completed=status.step, **fields)
        self._bar.update(self._task, completed=status.step + 1, **fields)

    def on_epoch(self, status: EpochStatus) -> None:
        """Print a row."""
        accuracies = "  ".join(f"{split} {value:.3f}" for split, value in status.accuracy.items())
        balanced = "" if status.balanced_accuracy is None else f" (balanced {status.balanced_accuracy:.3f})"
        balanced += "".join(f"  {escape(name)} {one.accuracy:.3f}" for name, one in status.val_sets.items())
        self._tell(
            f"epoch {status.epoch + 1:>3}/{status.epochs}  loss {status.loss:.3f}  accuracy {accuracies}{balanced}  "
            f"{status.images_per_second:,.0f} images/s  waits {status.data_wait_share:.1%}  {status.seconds:.1f} s"
        )

    def on_note(self, text: str) -> None:
        """Print a sentence."""
        self._tell(escape(as_typed(text)))

    def _tell(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=is_kept_whole(line, self._console))
