"""The training loop, from the settings to the report.

In: :class:`TrainOptions`. Out: a run's folder and a :class:`TrainResult`. Every random number depends on the seed and the step alone, so a
run that was stopped anywhere and resumed ends in the same bits as one that was not.
"""

import math
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ferdata.dataset.info import shard_command
from ferdata.errors import OptionError, ShardMissingError, TrainError, WorkerError
from ferdata.format import DatasetIndex, read_index
from ferdata.program import go_on
from ferdata.store import Store
from ferdata.stream import Loader
from model.data import StepBatch, TrainData, open_evaluation
from model.evaluate import Evaluation, evaluate
from model.nets.augment import evaluation_transform, training_transform
from model.nets.losses import class_weights
from model.nets.optim import describe_longer, learning_rate
from model.nets.transfer import load_weights
from model.options import TrainOptions
from model.report.advice import advise
from model.report.scores import Mistake, SplitScores
from model.report.write import write_report
from model.run.attempts import AUTO, find_resume
from model.run.checkpoint import BEST_NAME, LAST_NAME, WEIGHTS, load_checkpoint
from model.run.checkpointer import Keeper, Standing
from model.run.clock import WaitClock
from model.run.folder import RunLog, keep_run, make_run, open_run
from model.run.memory import is_out_of_memory, out_of_memory
from model.run.progress import EpochStatus, StepStatus, TrainProgress
from model.run.ranks import Ranks, join_ranks
from model.run.result import TrainResult
from model.run.stopping import StopSignal
from model.setup import make_facts, make_network, require_values
from model.step import Stepper

__all__ = ["train"]

SETTLE_STEPS = {"cpu": 1, "cuda": 20}
"""Steps between two looks at the losses: looking makes this process wait for a GPU, which should never wait for this process."""

NUM_MISTAKES = 27


def train(options: TrainOptions, *, progress: TrainProgress | None = None, given: Collection[str] | None = None) -> TrainResult:
    """Train a network and measure it; under ``torchrun``, together with the other processes.

    Args:
        options: Everything that can be set.
        progress: Told how it goes, on the first rank.
        given: Names of the settings that a resumed run was asked for. None: all that are not the defaults.

    Returns:
        The figures of the best weights (by validation accuracy; the last ones where there is no ``val`` split).

    Raises:
        OptionError: If a setting does not fit the data or the machine.
        TrainError: If the loss is not finite, memory is full, a run does not fit, or the run was asked to stop.
    """
    path: Path | None = None
    epochs_before: int | None = None
    options, given = find_resume(options.located(), given)
    if options.resume not in (None, AUTO):
        path, saved = open_run(options.resume)
        options = replace(options.resumed(saved.located(), str(path), given), resume=None)
        epochs_before = saved.epochs
    options = options.resolved(min(_open_index(options, path).spec.shape[1:]))
    ranks = join_ranks(options.device)
    with ExitStack() as stack:
        stop = stack.enter_context(StopSignal())
        training = _Training(options, ranks, stop, progress, path, stack)
        stack.enter_context(ranks.watched(training.how_to_go_on))
        training.note_unseen(epochs_before)
        for epoch in range(training.standing.epoch, options.epochs):
            training.train_epoch(epoch)
            training.finish_epoch(epoch)
        return training.conclude()


class _Training:
    """One run: what it is made of, and what it does in each epoch."""

    def __init__(
        self, options: TrainOptions, ranks: Ranks, stop: StopSignal, progress: TrainProgress | None, path: Path | None, stack: ExitStack
    ) -> None:
        self.options, self.ranks, self.stop = options, ranks, stop
        self.progress = progress if ranks.is_first else None
        self.standing = Standing()
        self.notes: list[str] = []
        self.advised: list[str] = []
        self.data = TrainData(options, ranks)
        stack.callback(self.data.loader.close)
        self.index = self.data.loader.index
        self.total_steps = options.epochs * self.data.steps_per_epoch
        self.eval_transform = evaluation_transform(options, self.index)
        require_values(options, self.index, self.data.indices)
        self.val = self._open("val") if "val" in self.index.splits else None
        if self.val is not None:
            stack.callback(self.val.close)

        network, note = make_network(options, self.index, resumes=path is not None)
        self._note(note)
        self._note(self.data.describe_limit())
        self.stepper = Stepper(
            network,
            options,
            ranks,
            transform=training_transform(options, self.index),
            weights=class_weights(self.data.class_counts) if options.class_weights else None,
            total_steps=self.total_steps,
        )
        self.network = self.stepper.network
        self.keeper = Keeper(self.stepper, self.data.loader, make_facts(options, self.index, network))
        self.clock = WaitClock(ranks.device)

        if path is not None:
            self._load(path)
            self.path = ranks.from_first(lambda: keep_run(path, options, ranks))
        else:
            self.path = ranks.from_first(lambda: make_run(options, ranks, source=self.index.source))
        self.log = stack.enter_context(
            RunLog(self.path, active=ranks.is_first, first_step=self.standing.step, first_epoch=self.standing.epoch)
        )
        if self.val is None:
            made = shard_command(self.index, f"{options.shards}-val", val=0.1)
            self._note(f"no val split: the last weights are kept as the best; to cut one off train: {made}")
        if self.standing.epoch == options.epochs:
            self._tell(f"{self.path}: all of its {options.epochs} epochs are trained; measuring it again (--epochs makes it longer)")

    def note_unseen(self, epochs_before: int | None) -> None:
        """Say what settings do that nobody would see: nothing, or more than they say."""
        if self.options.assign == "windows" and self.ranks.world_size == 1:
            self._note("assign windows: one process reads every window anyway, so this is as if it had been left out")
        if epochs_before is not None:
            self._note(describe_longer(self.options, self.standing.step, epochs_before, self.data.steps_per_epoch))

    def train_epoch(self, epoch: int) -> None:
        """Take the steps of an epoch that are still to be taken."""
        self.clock = WaitClock(self.ranks.device)
        self.pending: list[torch.Tensor] = []
        first_step = self.standing.step - epoch * self.data.steps_per_epoch
        step = self.standing.step
        for batch in self._batches(epoch, first_step):
            self.clock.batch_arrived()
            self.pending.append(self._step(batch, step))
            self.clock.step_done(self.options.batch_size)
            del batch
            step += 1
            due = self.options.checkpoint_steps > 0 and step % self.options.checkpoint_steps == 0
            if due or step == (epoch + 1) * self.data.steps_per_epoch or len(self.pending) == SETTLE_STEPS[self.ranks.device.type]:
                self._settle(epoch, due)

    def finish_epoch(self, epoch: int) -> None:
        """Measure the network on the val split, and keep its weights."""
        standing, clock = self.standing, self.clock
        figures: dict[str, Any] = {
            "epoch": epoch,
            "loss": standing.losses / max(1, self.data.steps_per_epoch),
            "train_accuracy": standing.correct / max(1, standing.seen),
            "images_per_second": clock.images_per_second,
            "data_wait_share": clock.wait_share,
            "seconds": clock.seconds,
        }
        is_best = self.val is None
        if self.val is not None:
            scores = self._evaluate(self.val, "val").scores
            names = ("accuracy", "balanced_accuracy", "macro_f1", "loss", "ccc", "rmse")
            figures["val"] = {name: value for name, value in scores.to_json().items() if name in names}
            is_best = scores.accuracy > standing.best_accuracy
        self.log.write("epoch", standing.step - 1, figures)
        self.log.flush()
        standing.add_time(clock)
        if is_best:
            standing.best_epoch = epoch
            standing.best_accuracy = figures.get("val", {}).get("accuracy", -1.0)
        standing.next_epoch()
        shares_batches = self.options.assign == "rows" and self.ranks.world_size > 1
        advice = advise(clock, self.data.loader, ranks_share_batches=shares_batches) if clock.images else None
        note = None
        if advice is not None and advice.kind not in self.advised:
            # kept before the checkpoint is written, so that a resumed run knows it; told after the epoch's own line
            self.advised.append(advice.kind)
            note = self._keep(f"epoch {epoch + 1}: {advice.text}")
        self.clock = WaitClock(self.ranks.device)
        if is_best:
            self._save(BEST_NAME)
        self._save(LAST_NAME)
        if self.progress is not None:
            self.progress.on_epoch(
                EpochStatus(
                    epoch=epoch,
                    epochs=self.options.epochs,
                    loss=figures["loss"],
                    accuracy={"train": figures["train_accuracy"]} | ({"val": figures["val"]["accuracy"]} if "val" in figures else {}),
                    balanced_accuracy=figures["val"]["balanced_accuracy"] if "val" in figures else None,
                    images_per_second=figures["images_per_second"],
                    data_wait_share=figures["data_wait_share"],
                    seconds=figures["seconds"],
                )
            )
        self._tell(note)
        self._stop_if_asked()

    def conclude(self) -> TrainResult:
        """Measure the best weights on every split and write the report."""
        self.data.loader.close()
        if self.val is not None:
            self.val.close()
        self.ranks.wait()
        load_weights(self.network, load_checkpoint(self.path / BEST_NAME, needed=WEIGHTS), str(self.path / BEST_NAME))
        main_split = next(split for split in ("val", "test", "train") if split in self.index.splits)
        scores: dict[str, SplitScores] = {}
        mistakes: tuple[Mistake, ...] = ()
        for split in self.index.splits:
            self._stop_if_asked()
            with self._open(split) as loader:
                evaluation = self._evaluate(loader, split, num_mistakes=NUM_MISTAKES if split == main_split else 0)
            scores[split] = evaluation.scores
            if split == main_split:
                mistakes = evaluation.mistakes
        standing = self.standing
        result = TrainResult(
            run=str(self.path),
            model=self.options.model_name,
            parameters=self.network.num_parameters,
            classes=self.index.classes,
            scores=scores,
            main_split=main_split,
            best_epoch=standing.best_epoch,
            epochs=standing.epoch,
            steps=standing.step,
            images_per_second=standing.images / standing.seconds if standing.seconds else 0.0,
            data_wait_share=standing.wait_seconds / standing.seconds if standing.seconds else 0.0,
            notes=tuple(self.notes),
        )
        self.log.write("final", max(0, standing.step - 1), {"accuracy": result.accuracy, "balanced_accuracy": result.balanced_accuracy})
        self.log.flush()
        if self.ranks.is_first:
            write_report(self.path, result, self.options, self.index, mistakes)
        return result

    def _batches(self, epoch: int, first_step: int) -> Iterator[StepBatch]:
        try:
            yield from self.data.epoch(epoch, first_step)
        except WorkerError:
            # Ctrl-C reaches workers that were not forked from this process too, and ends them
            if not self.stop.requested or self.ranks.world_size > 1:
                raise
            self._settle(epoch, due=False)

    def _step(self, batch: StepBatch, number: int) -> torch.Tensor:
        try:
            return self.stepper.step(batch, number)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise OptionError(
                f"batch_size: micro-batches of {self.data.micro_batch_size} on each rank found, expected more than one value a channel for "
                "the batch normalisation of this network; use a larger --batch-size, a smaller --accumulate or a larger --size"
            ) from error
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0]
        # outside of the block above, so that the failed step's tensors are free
        raise out_of_memory(
            self.stepper,
            reason=reason,
            shape=self.index.spec.shape,
            micro_batch_size=self.data.micro_batch_size,
            accumulate=self.options.accumulate,
            world_size=self.ranks.world_size,
        )

    def _settle(self, epoch: int, due: bool) -> None:
        """Look at the losses of the steps since the last look, on all ranks together; checkpoint or stop where that is due."""
        device = self.ranks.device
        wish = torch.tensor([float(self.stop.requested)], dtype=torch.float64, device=device)
        sums = self.ranks.sum(torch.cat([*self.pending, wish])).tolist()
        self.clock.settle()
        self.pending.clear()
        standing = self.standing
        for first in range(0, len(sums) - 1, 3):
            loss, correct, seen = sums[first : first + 3]
            if not math.isfinite(loss):
                raise self._diverged(f"loss {loss} at step {standing.step}")
            rate = learning_rate(self.options, standing.step, self.total_steps)
            self.log.write("step", standing.step, {"epoch": epoch, "loss": loss, "lr": rate})
            standing.losses += loss
            standing.correct += round(correct)
            standing.seen += round(seen)
            standing.step += 1
        if self.progress is not None and len(sums) > 1:
            self.progress.on_step(
                StepStatus(
                    epoch=epoch,
                    epochs=self.options.epochs,
                    step=standing.step - 1,
                    total_steps=self.total_steps,
                    loss=loss,
                    images_per_second=self.clock.images_per_second,
                    data_wait_share=self.clock.wait_share,
                )
            )
        asked = sums[-1] > 0 or (self.stop.requested and self.ranks.world_size == 1)
        if due or asked:
            self._save(LAST_NAME)
        if asked:
            raise self._stopped()

    def _stop_if_asked(self) -> None:
        """Stop where everything is saved, on all ranks together."""
        wish = torch.tensor([float(self.stop.requested)], device=self.ranks.device)
        if float(self.ranks.sum(wish)) > 0:
            raise self._stopped()

    def _stopped(self) -> TrainError:
        done = f"stopped on request after step {self.standing.step} of {self.total_steps}, all of it is in {LAST_NAME}"
        return self.ranks.error(f"{self.path}: {done}; {self.how_to_go_on()}")

    def how_to_go_on(self) -> str:
        """Return what to type to go on with this run."""
        if not (self.path / LAST_NAME).exists():
            return "start again: no checkpoint was written yet"
        return f"go on with: {go_on(self.path, num_processes=self.ranks.world_size)}"

    def _save(self, name: str) -> None:
        if not all(bool(value.isfinite().all()) for value in self.network.state_dict().values() if value.is_floating_point()):
            raise self._diverged(f"weights that are not finite after step {self.standing.step}")
        self.ranks.from_first(lambda: self.keeper.save(self.path / name, self.standing, self.clock, notes=self.notes, advised=self.advised))
        self.keeper.saved(name, self.standing.step)

    def _load(self, path: Path) -> None:
        self.standing, self.notes, self.advised = self.keeper.load(path / LAST_NAME)
        standing, steps = self.standing, self.data.steps_per_epoch
        if standing.best_epoch >= 0:
            self.keeper.saved(BEST_NAME, (standing.best_epoch + 1) * steps)
        if standing.step > self.total_steps:
            raise OptionError(
                f"epochs: {self.options.epochs} found, but {path} has trained {standing.step / steps:.3g} already, "
                f"expected at least {-(-standing.step // steps)}; pass --epochs"
            )

    def _diverged(self, found: str) -> TrainError:
        good = self.keeper.last_good(self.path, self.standing.step)
        kept = f"the last good checkpoint is {good}"
        if good is None:
            last = self.path / LAST_NAME
            kept = f"{last} holds the weights that gave it, and no other was kept" if last.exists() else "no checkpoint was written yet"
        again = f" and --init-from {good}" if good else ""
        return self.ranks.error(
            f"{self.path}: {found} found, expected finite ones; {kept}; start again with a lower --lr, or --amp off{again}"
        )

    def _open(self, split: str) -> Loader:
        indices = self.data.indices if split == "train" else None  # what is called accuracy on train is of images that were trained on
        return open_evaluation(self.options, self.ranks, split, batch_size=self.data.micro_batch_size, indices=indices)

    def _evaluate(self, loader: Loader, split: str, num_mistakes: int = 0) -> Evaluation:
        evaluation = evaluate(
            self.network, loader, transform=self.eval_transform, options=self.options, ranks=self.ranks, num_mistakes=num_mistakes
        )
        if not math.isfinite(evaluation.scores.loss):
            raise self._diverged(f"loss {evaluation.scores.loss} on {split} after step {self.standing.step}")
        return evaluation

    def _note(self, text: str | None) -> None:
        self._tell(self._keep(text) if text is not None else None)

    def _keep(self, text: str) -> str | None:
        """Return the note if it is a new one, which the run then keeps."""
        if text in self.notes:
            return None
        self.notes.append(text)
        return text

    def _tell(self, note: str | None) -> None:
        if note is not None and self.progress is not None:
            self.progress.on_note(note)


def _open_index(options: TrainOptions, path: Path | None) -> DatasetIndex:
    if options.shards is None:
        raise OptionError("shards: none found, expected the folder of a data set; pass --shards DIR")
    try:
        return read_index(Store(options.shards))
    except ShardMissingError as error:
        if path is None:
            raise
        raise ShardMissingError(f"{error}; if the shards of {path} have moved, say where to: --resume {path} --shards DIR") from error
