"""The training loop, from the settings to the report.

In: :class:`TrainOptions`. Out: a run's folder and a :class:`TrainResult`. Every random number depends on the seed and
the step alone, so a run that was stopped anywhere and resumed ends in the same bits as one that was not.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from ferdata.errors import OptionError, ShardMissingError, WorkerError
from ferdata.format import DatasetIndex, keeping_indexes
from ferdata.optional import needs
from ferdata.stream import Loader
from ferdata.stream.sets import open_split
from ferdata.training.cover import common_indices
from ferdata.training.data import TrainData, open_evaluation, resize_of
from ferdata.training.nets.augment import evaluation_transform, training_transform
from ferdata.training.nets.designs import OBJECT_PREFIX
from ferdata.training.nets.initial_weights import load_weights, make_network
from ferdata.training.nets.interface import ExpressionNetwork
from ferdata.training.nets.losses import class_weights
from ferdata.training.nets.optim import learning_rate
from ferdata.training.options import TrainOptions
from ferdata.training.report.scores import Mistake, SplitScores
from ferdata.training.report.waiting import advise
from ferdata.training.run.attempts import AUTO, Attempt, find_attempt
from ferdata.training.run.checkpoint import BEST_NAME, LAST_NAME, Checkpoint
from ferdata.training.run.checkpointer import Checkpointer
from ferdata.training.run.clock import WaitClock
from ferdata.training.run.folder import RunLog, keep_run, make_run, open_run
from ferdata.training.run.memory import take_step
from ferdata.training.run.notes import Notes, opening_notes
from ferdata.training.run.process_group import Ranks, join_ranks
from ferdata.training.run.progress import EpochCallback, EpochStatus, StepStatus, TrainProgress
from ferdata.training.run.result import TrainResult
from ferdata.training.run.resumption import resumed_options
from ferdata.training.run.stopping import StopSignal
from ferdata.training.run.train_state import TrainState
from ferdata.training.step import Stepper

with needs("train", "training", "tensorboard"):
    from ferdata.training.evaluate import Evaluation, evaluate
    from ferdata.training.report.write import write_report
    from ferdata.training.run.film import Film

__all__ = ["train"]

SETTLE_STEPS = {"cpu": 1, "cuda": 20}
"""Steps between two looks at the losses: a look waits for the GPU, which should never wait for this process."""

NUM_MISTAKES = 27


@keeping_indexes()
def train(
    options: TrainOptions,
    *,
    progress: TrainProgress | None = None,
    given: Collection[str] | None = None,
    network: nn.Module | None = None,
    callbacks: Sequence[EpochCallback] = (),
) -> TrainResult:
    """Train a network and measure it; under ``torchrun``, together with the other processes.

    Args:
        options: Everything that can be set.
        progress: Told how it goes, on the first rank.
        given: Names of the settings that a resumed run was asked for. None: all that are not the defaults.
        network: A network of your own, in place of ``options.model``: it takes float ``[N, C, H, W]`` and returns
            logits ``[N, classes]``, or (logits, valence and arousal ``[N, 2]``). Its weights change in place.
        callbacks: Called on the first rank after every epoch, see :class:`EpochCallback`.

    Returns:
        The figures of the best weights (by validation accuracy; the last ones where there is no ``val`` split).

    Raises:
        OptionError: If a setting does not fit the data or the machine.
        TrainError: If the loss is not finite, memory is full, a run does not fit, or the run was asked to stop.

    Example:
        >>> mine = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(8))
        >>> ferdata.training.train(TrainOptions(shards="shards/affectnet", epochs=1), network=mine).model
        'network=Sequential'
    """
    resumed: Path | None = None
    epochs_before: int | None = None
    options = options.located()
    attempt = find_attempt(options)
    options, given = attempt.settings(options, given)
    if options.resume not in (None, AUTO):
        resumed, saved = open_run(options.resume)
        options = replace(resumed_options(options, saved.located(), str(resumed), given), resume=None)
        epochs_before = saved.epochs
    options = _named(options, network).resolved(min(_open_index(options, resumed).spec.shape[1:]))
    ranks = join_ranks(options.device)
    with ExitStack() as stack:
        stop = stack.enter_context(StopSignal())
        trainer = _Trainer(options, ranks, stop, progress, attempt, resumed, epochs_before, stack, network, callbacks)
        stack.enter_context(ranks.watched(trainer.checkpointer.how_to_go_on))
        for epoch in range(trainer.state.epoch, options.epochs):
            trainer.train_epoch(epoch)
            trainer.finish_epoch(epoch)
        return trainer.conclude()


class _Trainer:
    """One run: what it is made of, and what it does in each epoch."""

    def __init__(
        self,
        options: TrainOptions,
        ranks: Ranks,
        stop: StopSignal,
        progress: TrainProgress | None,
        attempt: Attempt,
        resumed: Path | None,
        epochs_before: int | None,
        stack: ExitStack,
        given: nn.Module | None,
        callbacks: Sequence[EpochCallback],
    ) -> None:
        self.options, self.ranks, self.stop = options, ranks, stop
        self.progress = progress if ranks.is_first else None
        self.callbacks = callbacks if ranks.is_first else ()
        self.data = TrainData(options, ranks)
        stack.callback(self.data.loader.close)
        self.index = self.data.loader.index
        self.total_steps = options.epochs * self.data.steps_per_epoch
        self.eval_transform = evaluation_transform(options, self.index)
        resident = "val" in self.data.held
        self.val = self._open("val", resident=resident) if "val" in self.index.splits else None
        if self.val is not None:
            stack.callback(self.val.close)

        self.network, origin = make_network(
            options,
            shape=self.index.spec.shape,
            classes=self.index.classes,
            resumes=resumed is not None,
            given=given,
        )
        self.stepper = Stepper(
            self.network,
            options,
            ranks,
            transform=training_transform(options, self.index),
            num_classes=len(self.index.classes),
            weights=class_weights(self.data.class_counts) if options.class_weights else None,
            total_steps=self.total_steps,
        )
        self.path = resumed or ranks.from_first(lambda: make_run(options, ranks, attempt, source=self.index.source))
        self.checkpointer = Checkpointer(self.path, self.stepper, self.data.loader, options, ranks)
        self.state = TrainState()
        if resumed is not None:
            self._load(attempt)
        self.log = stack.enter_context(
            RunLog(self.path, active=ranks.is_first, first_step=self.state.step, first_epoch=self.state.epoch)
        )

        if options.watch and ranks.is_first:
            self.callbacks = (*self.callbacks, Film(options, self.index, self.data.covers, ranks.device))
        self.notes = Notes(self.state, self.progress)
        steps = {"step": self.state.step, "steps_per_epoch": self.data.steps_per_epoch}
        opening = opening_notes(options, self.index, world_size=ranks.world_size, epochs_before=epochs_before, **steps)
        if attempt.begun is not None:
            at = (
                f"goes on at step {self.state.step} of {self.total_steps}" if resumed else "begins again: no checkpoint"
            )
            self.notes.tell(f"{self.path}: {at}, {ranks.world_size} rank{'s' * (ranks.world_size > 1)}")
        for note in (origin, *self.data.describe(), *opening):
            if note is not None:
                self.notes.add(note)
        if self.state.epoch == options.epochs:
            trained = f"{self.path}: all of its {options.epochs} epochs are trained"
            self.notes.tell(f"{trained}; measuring it again (epochs= makes it longer)")

    def train_epoch(self, epoch: int) -> None:
        """Take the steps of an epoch that are still to be taken."""
        self.clock = WaitClock(self.ranks.device)
        self.pending: list[torch.Tensor] = []
        step, last = self.state.step, (epoch + 1) * self.data.steps_per_epoch
        try:
            for batch in self.data.epoch(epoch, step - epoch * self.data.steps_per_epoch):
                self.clock.batch_arrived()
                self.pending.append(take_step(self.stepper, batch, step))
                self.clock.step_done(self.options.batch_size)
                del batch
                step += 1
                due = self.options.checkpoint_steps > 0 and step % self.options.checkpoint_steps == 0
                if due or step == last or len(self.pending) == SETTLE_STEPS[self.ranks.device.type]:
                    self._settle(epoch, due)
        except WorkerError:
            # Ctrl-C reaches workers that were not forked from this process too, and ends them
            if not self.stop.requested or self.ranks.world_size > 1:
                raise
            self._settle(epoch, due=False)

    def _settle(self, epoch: int, due: bool) -> None:
        """Look at the losses of the steps since the last look, on all ranks; checkpoint or stop where that is due."""
        wish = torch.tensor([float(self.stop.requested)], dtype=torch.float64, device=self.ranks.device)
        *sums, wishes = self.ranks.sum(torch.cat([*self.pending, wish])).tolist()
        self.clock.settle()
        self.pending.clear()
        state = self.state
        for loss, correct, seen in zip(sums[::3], sums[1::3], sums[2::3], strict=True):
            if not math.isfinite(loss):
                raise self.checkpointer.diverged(f"loss {loss} at step {state.step}", state.step)
            rate = learning_rate(self.options, state.step, self.total_steps)
            self.log.write("step", state.step, {"epoch": epoch, "loss": loss, "lr": rate})
            state.add_step(loss, correct, seen)
        if self.progress is not None and sums:
            self.progress.on_step(
                StepStatus(
                    epoch=epoch,
                    epochs=self.options.epochs,
                    step=state.step - 1,
                    total_steps=self.total_steps,
                    loss=loss,
                    images_per_second=self.clock.images_per_second,
                    data_wait_share=self.clock.wait_share,
                )
            )
        asked = wishes > 0 or (self.stop.requested and self.ranks.world_size == 1)
        if due or asked:
            self.checkpointer.save(LAST_NAME, state.timed(self.clock))
        if asked:
            raise self.checkpointer.stopped(state, self.total_steps)

    def finish_epoch(self, epoch: int) -> None:
        """Measure the network on the val split, and keep its weights."""
        clock = self.clock
        self.state = state = self.state.timed(clock)
        val = None if self.val is None else self._evaluate(self.stepper.measured, self.val, "val")
        status = EpochStatus(
            epoch=epoch,
            epochs=self.options.epochs,
            loss=state.losses / max(1, self.data.steps_per_epoch),
            train_accuracy=state.correct / max(1, state.seen),
            images_per_second=clock.images_per_second,
            data_wait_share=clock.wait_share,
            seconds=clock.seconds,
            val=None if val is None else val.scores,
            val_sets={} if val is None else val.by_set,
        )
        self.log.write("epoch", state.step - 1, status.to_json())
        self.log.flush()
        accuracy = -1.0 if status.val is None else status.val.accuracy
        is_best = status.val is None or accuracy > state.best_accuracy
        if is_best:
            state.best_epoch, state.best_accuracy = epoch, accuracy
        state.next_epoch()
        shares_batches = self.options.assign == "rows" and self.ranks.world_size > 1
        advice = advise(clock, self.data.loader, ranks_share_batches=shares_batches) if clock.images else None
        # kept before the checkpoint is written, so that a resumed run knows it; told after the epoch's own line
        note = self.notes.keep_advice(epoch, advice)
        if is_best:
            self.checkpointer.save(BEST_NAME, state)
        self.checkpointer.save(LAST_NAME, state)
        if self.progress is not None:
            self.progress.on_epoch(status)
        for callback in self.callbacks:
            network = self.stepper.measured.eval()
            with torch.no_grad():
                callback(network.bare, epoch, self.path)
        self.notes.tell(note)
        self._stop_if_asked()

    def conclude(self) -> TrainResult:
        """Measure the best weights on every split and write the report."""
        self.data.loader.close()
        if self.val is not None:
            self.val.close()
        self.ranks.wait()
        best = self.path / BEST_NAME
        load_weights(self.network, Checkpoint.read(best), str(best))
        main_split = next(split for split in ("val", "test", "train") if split in self.index.splits)
        scores: dict[str, SplitScores] = {}
        set_scores: dict[str, Mapping[str, SplitScores]] = {}
        mistakes: tuple[Mistake, ...] = ()
        for split in self.index.splits:
            self._stop_if_asked()
            with self._open(split) as loader:
                wanted = NUM_MISTAKES if split == main_split else 0
                evaluation = self._evaluate(self.network, loader, split, num_mistakes=wanted)
            scores[split] = evaluation.scores
            set_scores |= {split: evaluation.by_set} if evaluation.by_set else {}
            mistakes += evaluation.mistakes
        state = self.state
        result = TrainResult(
            run=str(self.path),
            model=self.options.model_name,
            parameters=self.network.num_parameters,
            classes=self.index.classes,
            scores=scores,
            main_split=main_split,
            best_epoch=state.best_epoch,
            epochs=state.epoch,
            steps=state.step,
            images_per_second=state.images / state.seconds if state.seconds else 0.0,
            data_wait_share=state.wait_seconds / state.seconds if state.seconds else 0.0,
            notes=tuple(state.notes),
            set_scores=set_scores,
        )
        final = {"accuracy": result.accuracy, "balanced_accuracy": result.balanced_accuracy}
        self.log.write("final", max(0, state.step - 1), final)
        self.log.flush()
        if self.ranks.is_first:
            write_report(self.path, result, self.options, self.index, mistakes)
        return result

    def _load(self, attempt: Attempt) -> None:
        self.state, steps = self.checkpointer.load(self.data.steps_per_epoch), self.data.steps_per_epoch
        if self.state.step > self.total_steps:
            raise OptionError(
                f"epochs: {self.options.epochs} found, but {self.path} has trained {self.state.step / steps:.3g} "
                f"already, expected at least {-(-self.state.step // steps)}; pass epochs="
            )
        self.ranks.from_first(lambda: keep_run(self.path, self.options, self.ranks, attempt))

    def _open(self, split: str, *, resident: bool = False) -> Loader:
        # what is called accuracy on train is of images that were trained on
        indices = self.data.indices if split == "train" else common_indices([self.data.covers.get(split)])
        size = self.data.micro_batch_size
        return open_evaluation(
            self.options,
            self.ranks,
            split,
            classes=self.index.classes,
            resize=self.data.resize,
            batch_size=size,
            indices=indices,
            resident=resident,
        )

    def _evaluate(self, network: ExpressionNetwork, loader: Loader, split: str, num_mistakes: int = 0) -> Evaluation:
        evaluation = evaluate(
            network,
            loader,
            transform=self.eval_transform,
            options=self.options,
            ranks=self.ranks,
            cover=self.data.covers.get(split),
            num_mistakes=num_mistakes,
        )
        if not math.isfinite(evaluation.scores.loss):
            found = f"loss {evaluation.scores.loss} on {split} after step {self.state.step}"
            raise self.checkpointer.diverged(found, self.state.step)
        return evaluation

    def _stop_if_asked(self) -> None:
        """Stop where everything is saved, on all ranks together."""
        wish = torch.tensor([float(self.stop.requested)], device=self.ranks.device)
        if float(self.ranks.sum(wish)) > 0:
            raise self.checkpointer.stopped(self.state, self.total_steps)


def _named(options: TrainOptions, network: nn.Module | None) -> TrainOptions:
    """Return the settings with what stands for a network that was given as an object."""
    if network is None or (options.model or "").startswith(OBJECT_PREFIX):
        return options
    if options.model is not None:
        raise OptionError(
            f"network: one given beside model={options.model}, expected one of the two; leave one out, and go on with "
            "a run as it was begun"
        )
    return replace(options, model=f"{OBJECT_PREFIX}{type(network).__name__}")


def _open_index(options: TrainOptions, resumed: Path | None) -> DatasetIndex:
    if options.shards is None:
        raise OptionError("shards: none found, expected the folder of a data set; pass shards=DIR")
    try:
        return open_split(options.roots, "train", resize=resize_of(options)).index
    except ShardMissingError as error:
        if resumed is None:
            raise
        raise ShardMissingError(
            f"{error}; if the shards of {resumed} have moved, say where to: resume={resumed} shards=DIR"
        ) from error
