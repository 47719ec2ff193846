"""Where a run stands. In: figures of steps and epochs. Out: plain values, a part of every checkpoint."""

from dataclasses import dataclass, field, replace

from ferdata.training.run.clock import WaitClock

__all__ = ["TrainState"]


@dataclass(slots=True, kw_only=True)
class TrainState:
    """Where a run stands.

    Attributes:
        epoch: The one under way, counted from 0.
        step: Finished steps of the run.
        losses: Sum of the epoch's losses so far.
        correct: Samples of the epoch so far that were classified rightly.
        seen: Samples of the epoch so far.
        images: Images of the run, over all ranks.
        seconds: Time of the run's steps, waits included.
        wait_seconds: Time of it that was spent waiting for data.
        best_epoch: The epoch after which the weights were best; -1 before the first.
        best_accuracy: Their accuracy on val.
        notes: What the user was told, for the report.
        advised: Kinds of advice that were given already.
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
    notes: list[str] = field(default_factory=list)
    advised: list[str] = field(default_factory=list)

    def add_step(self, loss: float, correct: float, seen: float) -> None:
        """Count a step."""
        self.step += 1
        self.losses += loss
        self.correct += round(correct)
        self.seen += round(seen)

    def timed(self, clock: WaitClock) -> "TrainState":
        """Return the state with the time of the epoch under way."""
        return replace(
            self,
            images=self.images + clock.images,
            seconds=self.seconds + clock.seconds,
            wait_seconds=self.wait_seconds + clock.wait_seconds,
        )

    def next_epoch(self) -> None:
        """Begin an epoch's sums anew."""
        self.epoch, self.losses, self.correct, self.seen = self.epoch + 1, 0.0, 0, 0
