"""What to say when a step does not go through: not that the memory is full, but how many images fit.

In: a step. Out: its outcome, or the largest number of images, by halving, that one was really carried out with.
"""

import gc

import torch

from ferdata.errors import OptionError, TrainError
from ferdata.training.data import StepBatch
from ferdata.training.step import Stepper

__all__ = ["is_out_of_memory", "out_of_memory", "take_step"]


def take_step(stepper: Stepper, batch: StepBatch, number: int) -> torch.Tensor:
    """Return what :meth:`Stepper.step` does.

    Raises:
        OptionError: If micro-batches are too small for batch normalisation.
        TrainError: If they are too large for the memory.
    """
    micro_batch_size = len(batch.images) // stepper.options.accumulate
    try:
        return stepper.step(batch, number)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise OptionError(
            f"batch_size: micro-batches of {micro_batch_size} on each rank found, expected more than one value a "
            "channel for the batch normalisation of this network; "
            "use a larger batch_size=, a smaller accumulate= or a larger size="
        ) from error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
    # outside of the block above, so that the failed step's tensors are free
    raise out_of_memory(stepper, reason, (micro_batch_size, *batch.images.shape[1:]))


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error is torch's or Python's way to say that memory is full."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        part in text for part in ("can't allocate memory", "not enough memory", "out of memory", "could not create a")
    )


def out_of_memory(stepper: Stepper, reason: str, shape: tuple[int, ...]) -> TrainError:
    """Return the error to raise, after trying smaller micro-batches.

    Args:
        stepper: What ran out of memory; the network's weights are of no use afterwards.
        reason: First line of the error.
        shape: ``(N, 3, H, W)`` of the micro-batch that did not fit.
    """
    accumulate, world_size = stepper.options.accumulate, stepper.ranks.world_size
    fitting = _largest_fitting(stepper, shape)
    tried = f"training step: memory is full with {shape[0]} images at a time on each rank ({reason})"
    if fitting == 0:
        return TrainError(f"{tried}, and not even one image fits; use a smaller size= or model=, or another device")
    rank_samples = shape[0] * accumulate
    parts = next(
        count for count in range(1, rank_samples + 1) if rank_samples % count == 0 and rank_samples // count <= fitting
    )
    kept = f" with accumulate={accumulate} as it is" if accumulate > 1 else ""
    return TrainError(
        f"{tried}, expected at most {fitting}, tried with a quarter to spare; "
        f"use batch_size={fitting * accumulate * world_size}{kept}, "
        f"or accumulate={parts}, which keeps batches of {rank_samples * world_size}"
    )


def _largest_fitting(stepper: Stepper, shape: tuple[int, ...]) -> int:
    size = shape[0] // 2
    while size >= 1:
        stepper.optimizer.zero_grad(set_to_none=True)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if _fits(stepper, (size, *shape[1:])):
            return size
        size //= 2
    return 0


def _fits(stepper: Stepper, shape: tuple[int, ...]) -> bool:
    """Tell whether a step of a quarter more images goes through: memory that is full today is too full tomorrow."""
    try:
        device = next(stepper.network.parameters()).device
        stepper.rehearse(torch.zeros(shape[0] + -(-shape[0] // 4), *shape[1:], dtype=torch.uint8, device=device))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True
