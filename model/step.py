"""One optimizer step, for any number of ranks and micro-batches: its loss and gradients are those of the whole batch.

In: a batch. Out: changed weights, and sums that are added over ranks for the log.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.transforms import v2

from ferdata.errors import OptionError
from ferdata.randomness import Stream
from ferdata.stream import BatchContext, BatchTransform
from ferdata.training.data import StepBatch
from ferdata.training.nets.dropout import dropout_mask, sample_keys
from ferdata.training.nets.interface import ExpressionNetwork
from ferdata.training.nets.layers import freeze, keep_still
from ferdata.training.nets.losses import concordance_loss, cross_entropy_sum, focal_sum
from ferdata.training.nets.optim import learning_rate, make_optimizer
from ferdata.training.options import TrainOptions
from ferdata.training.run.process_group import Ranks

__all__ = ["Stepper", "run_network"]

_AMP_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Stepper:
    """Trains a network step by step.

    Args:
        network: What is trained; its weights change in place.
        options: The run's settings.
        ranks: This process among those of the run.
        transform: Augments and normalises.
        num_classes: Classes.
        weights: float ``[classes]``, weights of the classes' losses, or None.
        total_steps: Steps of the whole run, for the learning rate.

    Raises:
        OptionError: If the device cannot do what the settings ask for.
    """

    def __init__(
        self,
        network: ExpressionNetwork,
        options: TrainOptions,
        ranks: Ranks,
        *,
        transform: BatchTransform,
        num_classes: int,
        weights: torch.Tensor | None,
        total_steps: int,
    ) -> None:
        if options.amp == "fp16" and ranks.device.type == "cpu":
            raise OptionError("amp: fp16 found on a CPU, expected a GPU for it; use bf16 or off")
        network.to(ranks.device)
        if options.channels_last:
            network.to(memory_format=torch.channels_last)
        if options.freeze is not None:
            freeze(network, options.freeze)
        if ranks.world_size > 1 and ranks.device.type == "cuda":
            # statistics of the batch and not of the rank; torch has this on GPUs only
            torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        self.network = network
        self.averaged = (
            AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(options.ema), use_buffers=True)  # type: ignore[no-untyped-call]
            if options.ema
            else None
        )
        self._mixup = v2.MixUp(alpha=options.mixup, num_classes=num_classes) if options.mixup else None
        self.optimizer = make_optimizer(network, options, ranks.device)
        self.scaler = torch.amp.GradScaler(ranks.device.type, enabled=options.amp == "fp16")
        self.options, self.ranks, self.total_steps, self._transform = options, ranks, total_steps, transform
        self._weights = None if weights is None else weights.to(ranks.device)
        self._wrapped = ranks.wrap(network, some_unused=network.gives_more)
        self._run = torch.compile(self._wrapped) if options.compile else self._wrapped
        # two numbers add up to the same, however they are laid out
        self._is_settled = ranks.world_size <= 2

    @property
    def measured(self) -> ExpressionNetwork:
        """The network that is measured and kept: the average of the weights, if there is one."""
        averaged: Any = self.averaged
        return self.network if averaged is None else averaged.module

    def step(self, batch: StepBatch, number: int) -> torch.Tensor:
        """Take a step and return float64 ``[3]``: this rank's part of the mean loss, samples right, samples.

        Args:
            batch: This rank's part of the batch.
            number: The step's number in the run, counted from 0.
        """
        micro_batches = batch.micro_batches(self.options.accumulate)
        if not self._is_settled:
            self._settle(micro_batches[0].images)
        self._begin(number)
        outcome = torch.zeros(3, dtype=torch.float64, device=self.ranks.device)
        for micro_batch in micro_batches[:-1]:
            with self.ranks.without_sync(self._wrapped):
                outcome += self._backward(micro_batch)
        outcome += self._backward(micro_batches[-1])
        self._end()
        return outcome

    def rehearse(self, images: torch.Tensor) -> None:
        """Do a step with one micro-batch (uint8 ``[n, 3, H, W]``), without other ranks; only to see whether it fits."""
        self._begin(0)
        self._pass_through(self.network, images)
        self._end()
        self.optimizer.zero_grad(set_to_none=True)

    def _settle(self, images: torch.Tensor) -> None:
        """Have gradients take the order in memory that they keep: torch finds it in a first backward pass.

        What more than two ranks add up depends in its last bits on where it lies, so that without this the first step
        after a resume would not be the uninterrupted run's.
        """
        self.network.eval()  # statistics of batches stay as they are
        self._pass_through(self._run, images)
        self.optimizer.zero_grad(set_to_none=True)
        self._is_settled = True

    def _pass_through(self, run: Callable[..., Any], images: torch.Tensor) -> None:
        """Compute some gradients."""
        context = BatchContext(seed=0, epoch=0, rank=0, positions=np.arange(len(images)))
        logits, values = self._forward(run, self._transform(images, context), context)
        loss = logits.float().sum() + (0 if values is None else values.float().sum())
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def _begin(self, number: int) -> None:
        options = self.options
        self.network.train()
        if options.freeze is not None:
            keep_still(self.network)
        rate = learning_rate(options, number, self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("factor", 1.0)
        # a backbone's own random layers depend on the step alone, so that a resumed run draws as the uninterrupted one
        seed = np.random.SeedSequence(Stream.TRAINING_STEPS.seed(options.seed, number, self.ranks.rank))
        torch.manual_seed(int(seed.generate_state(1)[0]))
        self.optimizer.zero_grad(set_to_none=True)

    def _end(self) -> None:
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)

    def _backward(self, micro_batch: StepBatch) -> torch.Tensor:
        """Add a micro-batch's gradients; return its part of the step's outcome."""
        options, ranks = self.options, self.ranks
        context = BatchContext(seed=options.seed, epoch=micro_batch.epoch, rank=0, positions=micro_batch.positions)
        inputs, labels = self._transform(micro_batch.images, context), micro_batch.labels
        if self._mixup is not None:  # draws what the step's own seed gives
            inputs, labels = self._mixup(inputs, labels)
        logits, values = self._forward(self._run, inputs, context)
        total = self._expression_loss(logits, labels)
        expression = total / options.batch_size
        loss = total if options.loss_reduction == "sum" else expression
        logged = expression.detach()
        if values is not None and micro_batch.values is not None:
            feeling = concordance_loss(ranks.gather_rows(values.float()), ranks.gather_rows(micro_batch.values))
            feeling = feeling * options.va_weight / options.accumulate
            loss = loss + feeling
            logged = logged + feeling.detach() / ranks.world_size
        # gradients are averaged over ranks, while the parts of a loss add up to it
        self.scaler.scale(loss * ranks.world_size).backward()  # type: ignore[no-untyped-call]
        correct = (logits.detach().argmax(1) == micro_batch.labels).sum()
        return torch.stack(
            [logged.double(), correct.double(), torch.full_like(logged, len(micro_batch.labels)).double()]
        )

    def _expression_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        weights, smoothing = self._weights, self.options.label_smoothing
        if self.options.focal:
            return focal_sum(logits, labels, weights=weights, smoothing=smoothing, gamma=self.options.focal)
        return cross_entropy_sum(logits, labels, weights=weights, smoothing=smoothing)

    def _forward(
        self, run: Callable[..., Any], inputs: torch.Tensor, context: BatchContext
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        mask = None
        if self.network.dropout.probability > 0:
            keys = sample_keys(context.seed, context.epoch, context.positions).to(inputs.device, non_blocking=True)
            mask = dropout_mask(keys, self.network.num_features, self.network.dropout.probability)
        return run_network(run, inputs, self.options, mask)


def run_network(
    run: Callable[..., Any],
    inputs: torch.Tensor,
    options: TrainOptions,
    mask: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return what a network says of a batch, in the run's precision and memory format.

    Args:
        run: The network, however it is wrapped.
        inputs: Normalised images, float ``[N, 3, H, W]``.
        options: The run's settings.
        mask: Which features dropout leaves; None outside training.
    """
    if options.channels_last:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    with torch.autocast(inputs.device.type, _AMP_TYPES.get(options.amp), enabled=options.amp != "off"):
        logits, values = run(inputs, mask)
    return logits, values
