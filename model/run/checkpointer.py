"""A run's checkpoints: when they are written, which of them were good, and what to do where a run ends early.

In: a network and all that moves with it. Out: ``last.pt``, all that a resume needs, and ``best.pt``, the best weights.
"""

from pathlib import Path

from ferdata.errors import StateError, TrainError
from ferdata.program import go_on
from ferdata.stream import Loader, Normalize
from ferdata.training.nets.initial_weights import load_weights
from ferdata.training.options import TrainOptions
from ferdata.training.run.checkpoint import BEST_NAME, LAST_NAME, Checkpoint, NetworkRecord, Normalisation
from ferdata.training.run.process_group import Ranks
from ferdata.training.run.train_state import TrainState
from ferdata.training.step import Stepper

__all__ = ["Checkpointer"]


class Checkpointer:
    """Writes a run's checkpoints on the first rank, reads them back, and makes the errors that name them.

    Args:
        folder: The run's.
        stepper: Holds the network, the optimizer and the scale of the gradients.
        loader: Of the train split; its state says which sample is next.
        options: The run's settings.
        ranks: This process among those of the run.
    """

    def __init__(self, folder: Path, stepper: Stepper, loader: Loader, options: TrainOptions, ranks: Ranks) -> None:
        self._folder, self._stepper, self._loader, self._options, self._ranks = folder, stepper, loader, options, ranks
        self._steps: dict[str, int] = {}

    def save(self, name: str, state: TrainState) -> None:
        """Write one checkpoint; all ranks must call this.

        Raises:
            TrainError: If weights are not finite, which never reach the disk.
        """
        weights = self._stepper.network.bare.state_dict()
        if not all(bool(value.isfinite().all()) for value in weights.values() if value.is_floating_point()):
            raise self.diverged(f"weights that are not finite after step {state.step}", state.step)
        self._ranks.from_first(lambda: self._checkpoint(state, to_resume=name == LAST_NAME).write(self._folder / name))
        self._steps[name] = state.step

    def load(self, steps_per_epoch: int) -> TrainState:
        """Load everything from ``last.pt`` and return where the run stands.

        Raises:
            TrainError: If the file is damaged, or another network's.
            StateError: If it belongs to another data set.
        """
        path = self._folder / LAST_NAME
        checkpoint = Checkpoint.read(path, to_resume=True)
        assert checkpoint.optimizer is not None and checkpoint.scaler is not None and checkpoint.loader is not None
        self._check_ranks(path, checkpoint.loader.get("world_size"))
        try:
            self._loader.load_state_dict(checkpoint.loader)
        except StateError as error:
            raise StateError(
                f"{path}: {error}; name the data set that the run was trained on with shards=, or begin another run "
                f"with init_from={self._folder}"
            ) from error
        load_weights(self._stepper.network, checkpoint, str(path))
        try:
            self._stepper.optimizer.load_state_dict(checkpoint.optimizer)
            self._stepper.scaler.load_state_dict(checkpoint.scaler)
            if self._stepper.averaged is not None:
                self._stepper.averaged.load_state_dict(checkpoint.averaged or {})
        except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise TrainError(
                f"{path}: {reason}, expected what a run of these settings needs to go on; "
                "start again with it as init_from="
            ) from error
        state = checkpoint.state
        self._steps[LAST_NAME] = state.step
        if state.best_epoch >= 0:
            self._steps[BEST_NAME] = (state.best_epoch + 1) * steps_per_epoch
        return state

    def _check_ranks(self, path: Path, found: object) -> None:
        if self._options.assign == "windows" and found != self._ranks.world_size:
            raise TrainError(
                f"{path}: a run of {found} ranks that read windows of their own found, expected one of "
                f"{self._ranks.world_size}, as there are now; go on with {found} (runs with assign=rows go on with "
                "any number)"
            )

    def diverged(self, found: str, step: int) -> TrainError:
        """Return the error for figures that are not finite after ``step`` steps; it names the last good checkpoint.

        A loss is one of the weights before its step: a checkpoint just before a bad one holds the weights that gave it.
        """
        good = {name: at for name, at in self._steps.items() if at < step}
        last, again = self._folder / LAST_NAME, ""
        if good:
            best = self._folder / max(good, key=lambda name: (good[name], name))
            kept, again = f"the last good checkpoint is {best}", f" and init_from={best}"
        elif last.exists():
            kept = f"{last} holds the weights that gave it, and no other was kept"
        else:
            kept = "no checkpoint was written yet"
        return self._ranks.error(
            f"{self._folder}: {found} found, expected finite ones; {kept}; "
            f"start again with a lower lr=, or amp=off{again}"
        )

    def stopped(self, state: TrainState, total_steps: int) -> TrainError:
        """Return the error that a run ends with where it was asked to stop."""
        done = f"stopped on request after step {state.step} of {total_steps}, all of it is in {LAST_NAME}"
        return self._ranks.error(f"{self._folder}: {done}; {self.how_to_go_on()}")

    def how_to_go_on(self) -> str:
        """Return what to type to go on with this run."""
        if not (self._folder / LAST_NAME).exists():
            return "start again: no checkpoint was written yet"
        return f"go on with: {go_on(self._folder, num_processes=self._ranks.world_size)}"

    def _checkpoint(self, state: TrainState, *, to_resume: bool) -> Checkpoint:
        stepper, index, options = self._stepper, self._loader.index, self._options
        normalise = Normalize.of(index)
        return Checkpoint(
            model=(stepper.network if to_resume else stepper.measured).bare.state_dict(),
            network=NetworkRecord(
                name=options.model_name,
                size=options.input_size(index.spec.shape),
                channels=index.spec.shape[0],
                dropout=stepper.network.dropout.probability,
                valence_arousal=options.valence_arousal,
            ),
            classes=index.classes,
            normalisation=Normalisation(mean=normalise.mean, std=normalise.std),
            transform={name: index.transform[name] for name in ("fingerprint", "settings")},
            dataset=index.fingerprint,
            region=options.region,
            state=state,
            optimizer=stepper.optimizer.state_dict() if to_resume else None,
            scaler=stepper.scaler.state_dict() if to_resume else None,
            loader=self._loader.state_dict() if to_resume else None,
            averaged=stepper.averaged.state_dict() if to_resume and stepper.averaged is not None else None,
        )
