"""What a run tells its user beside its figures. In: settings, the state of the run. Out: sentences, each said once."""

from collections.abc import Iterator

from ferdata.dataset.info import shard_command
from ferdata.format import DatasetIndex
from ferdata.training.nets.optim import learning_rate
from ferdata.training.options import TrainOptions
from ferdata.training.report.waiting import Advice
from ferdata.training.run.progress import TrainProgress
from ferdata.training.run.train_state import TrainState

__all__ = ["Notes", "opening_notes"]


class Notes:
    """Keeps notes for the report, and tells each new one.

    Args:
        state: The run's, which keeps the notes, so that a resumed run knows them.
        progress: Whom to tell, on the first rank.
    """

    def __init__(self, state: TrainState, progress: TrainProgress | None) -> None:
        self._notes, self._advised, self._progress = state.notes, state.advised, progress

    def add(self, text: str) -> None:
        """Keep and tell a note that is a new one."""
        self.tell(self.keep(text))

    def keep(self, text: str) -> str | None:
        """Return the note if it is a new one, which is then kept."""
        if text in self._notes:
            return None
        self._notes.append(text)
        return text

    def keep_advice(self, epoch: int, advice: Advice | None) -> str | None:
        """Return what an epoch advises as a note, if nothing of the kind was said before."""
        if advice is None or advice.kind in self._advised:
            return None
        self._advised.append(advice.kind)
        return self.keep(f"epoch {epoch + 1}: {advice.text}")

    def tell(self, note: str | None) -> None:
        """Tell a note, if there is one."""
        if note is not None and self._progress is not None:
            self._progress.on_note(note)


def opening_notes(
    options: TrainOptions,
    index: DatasetIndex,
    *,
    world_size: int,
    epochs_before: int | None,
    step: int,
    steps_per_epoch: int,
) -> Iterator[str]:
    """Yield what settings do that nobody would see: nothing, or more than they say.

    Args:
        options: The run's settings.
        index: Of the data set.
        world_size: Number of ranks.
        epochs_before: Epochs that a resumed run had been begun with; None for a new run.
        step: The step the run begins or goes on with.
        steps_per_epoch: Steps of an epoch.
    """
    if "val" not in index.splits:
        kept = "no val split: the last weights are kept as the best"
        made = f"{options.roots[0]}-val" if len(options.roots) == 1 else None
        yield kept if made is None else f"{kept}; to cut one off train: {shard_command(index, made, val=0.1)}"
    if options.assign == "windows" and world_size == 1:
        yield "assign windows: one process reads every window anyway, so this is as if it had been left out"
    if epochs_before not in (None, options.epochs):
        before = learning_rate(options, step, epochs_before * steps_per_epoch)
        now = learning_rate(options, step, options.epochs * steps_per_epoch)
        if now != before:
            yield (
                f"epochs {options.epochs}, {epochs_before} before: the schedule spans all of them, so the learning "
                f"rate of step {step} is {now:.2g} instead of {before:.2g}; "
                f"a run begun with {options.epochs} epochs would have come here by another way"
            )
