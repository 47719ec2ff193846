"""Where a run stands, and its checkpoints, which say so.

In: a network and all that moves with it. Out: ``last.pt``, which holds all that a resume needs, and ``best.pt``, the best weights.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ferdata.errors import TrainError
from ferdata.stream import Loader
from model.nets.transfer import load_weights
from model.run.checkpoint import LAST_NAME, WEIGHTS, load_checkpoint, save_checkpoint
from model.run.clock import WaitClock
from model.step import Stepper

__all__ = ["Keeper", "Standing"]

_TO_GO_ON = (*WEIGHTS, "optimizer", "scaler", "loader", "notes", "advised")


@dataclass(slots=True, kw_only=True)
class Standing:
    """Where a run stands; a part of every checkpoint.

    ``epoch`` is the one under way, ``step`` counts the run's finished steps; ``losses``, ``correct`` and ``seen`` are sums over the
    epoch so far, ``images``, ``seconds`` and ``wait_seconds`` over the run; the best weights so far are those after ``best_epoch``.
    """

    epoch: int = 0
    step: int = 0
    losses: float = 0.0
    correct: int = 0
    seen: int = 0
    images: int = 0
    seconds: float = 0.0
    wait_seconds: float = 0.0
    best_epoch: int = -1
    best_accuracy: float = -1.0

    def add_time(self, clock: WaitClock) -> None:
        """Add the time of an epoch's steps."""
        self.images += clock.images
        self.seconds += clock.seconds
        self.wait_seconds += clock.wait_seconds

    def next_epoch(self) -> None:
        """Begin an epoch's sums anew."""
        self.epoch, self.losses, self.correct, self.seen = self.epoch + 1, 0.0, 0, 0


class Keeper:
    """Writes a run's checkpoints, reads them back, and knows which of them were good.

    Args:
        stepper: Holds the network, the optimizer and the scale of the gradients.
        loader: Of the train split; its state says which sample is next.
        facts: What the network is and what it was trained on: see :func:`model.setup.make_facts`.
    """

    def __init__(self, stepper: Stepper, loader: Loader, facts: Mapping[str, Any]) -> None:
        self._stepper, self._loader, self._facts = stepper, loader, dict(facts)
        self._steps: dict[str, int] = {}

    def save(self, path: Path, standing: Standing, clock: WaitClock, *, notes: list[str], advised: list[str]) -> None:
        """Write one checkpoint; ``clock`` is what the epoch under way adds to the times."""
        now = Standing(**asdict(standing))
        now.add_time(clock)
        record = {"model": self._stepper.network.state_dict(), **self._facts, "standing": asdict(now)}
        if path.name == LAST_NAME:
            record |= {
                "optimizer": self._stepper.optimizer.state_dict(),
                "scaler": self._stepper.scaler.state_dict(),
                "loader": self._loader.state_dict(),
                "notes": notes,
                "advised": advised,
            }
        save_checkpoint(path, record)

    def saved(self, name: str, step: int) -> None:
        """Take note of a checkpoint of the weights after ``step`` steps; on all ranks."""
        self._steps[name] = step

    def load(self, path: Path) -> tuple[Standing, list[str], list[str]]:
        """Load everything from ``last.pt`` and return where the run stands, its notes, and the kinds of advice it was given.

        Raises:
            TrainError: If the file is damaged, or another network's.
            StateError: If it belongs to another data set.
        """
        record = load_checkpoint(path, needed=_TO_GO_ON)
        self._loader.load_state_dict(record["loader"])
        load_weights(self._stepper.network, record, str(path))
        try:
            standing = Standing(**record["standing"])
            self._stepper.optimizer.load_state_dict(record["optimizer"])
            self._stepper.scaler.load_state_dict(record["scaler"])
            notes, advised = list(record["notes"]), list(record["advised"])
        except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise TrainError(
                f"{path}: {reason}, expected what a run of these settings needs to go on; start again with --init-from it"
            ) from error
        self.saved(LAST_NAME, standing.step)
        return standing, notes, advised

    def last_good(self, folder: Path, step: int) -> Path | None:
        """Return the newest checkpoint that has proved good where the weights after ``step`` steps have not, or None.

        A loss is one of the weights before its step: a checkpoint written just before a bad loss holds the weights that gave it.
        """
        good = {name: at for name, at in self._steps.items() if at < step}
        return folder / max(good, key=lambda name: (good[name], name)) if good else None
