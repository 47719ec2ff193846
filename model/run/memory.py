"""What to say when the memory is full: not that it is full, but how many images fit.

In: the step that failed. Out: the largest number of images, by halving, that one was really carried out with.
"""

import gc

import torch

from ferdata.errors import TrainError
from model.step import Stepper

__all__ = ["is_out_of_memory", "out_of_memory"]


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error is torch's or Python's way to say that memory is full."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        part in text for part in ("can't allocate memory", "not enough memory", "out of memory", "could not create a")
    )


def out_of_memory(
    stepper: Stepper, *, reason: str, shape: tuple[int, ...], micro_batch_size: int, accumulate: int, world_size: int
) -> TrainError:
    """Return the error to raise, after trying smaller micro-batches.

    Args:
        stepper: What ran out of memory; the network's weights are of no use afterwards.
        reason: First line of the error.
        shape: ``(3, H, W)`` of an image.
        micro_batch_size: Images of the micro-batch that did not fit.
        accumulate: Micro-batches of a rank's part of a step.
        world_size: Number of ranks.
    """
    fitting = _largest_fitting(stepper, shape, micro_batch_size)
    tried = f"training step: memory is full with {micro_batch_size} images at a time on each rank ({reason})"
    if fitting == 0:
        return TrainError(f"{tried}, and not even one image fits; use a smaller --size or --model, or another device")
    rank_samples = micro_batch_size * accumulate
    parts = next(count for count in range(1, rank_samples + 1) if rank_samples % count == 0 and rank_samples // count <= fitting)
    kept = f" with --accumulate {accumulate} as it is" if accumulate > 1 else ""
    return TrainError(
        f"{tried}, expected at most {fitting}, tried with a quarter to spare; use --batch-size {fitting * accumulate * world_size}{kept}, "
        f"or --accumulate {parts}, which keeps batches of {rank_samples * world_size}"
    )


def _largest_fitting(stepper: Stepper, shape: tuple[int, ...], micro_batch_size: int) -> int:
    size = micro_batch_size // 2
    while size >= 1:
        stepper.optimizer.zero_grad(set_to_none=True)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if _fits(stepper, shape, size):
            return size
        size //= 2
    return 0


def _fits(stepper: Stepper, shape: tuple[int, ...], size: int) -> bool:
    """Tell whether a step of a quarter more images goes through: memory that is full to the brim today is too full tomorrow."""
    try:
        device = next(stepper.network.parameters()).device
        stepper.rehearse(torch.zeros(size + -(-size // 4), *shape, dtype=torch.uint8, device=device))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True
