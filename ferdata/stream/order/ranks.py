"""Which rank this process is. In: the caller's word, torch.distributed, the environment. Out: rank and world size."""

import os

import torch.distributed

from ferdata.errors import OptionError

__all__ = ["find_rank"]


def find_rank(rank: int | None = None, world_size: int | None = None, *, early: bool = False) -> tuple[int, int]:
    """Return ``(rank, world_size)``: as given, from ``torch.distributed``, from the environment, or (0, 1).

    Args:
        rank: This rank, if the caller knows it.
        world_size: Number of ranks, likewise.
        early: Return (0, 1) if ``WORLD_SIZE`` is set without ``RANK``: some launchers tell the rank to
            ``torch.distributed`` alone, and later.

    Raises:
        OptionError: If only one of the two is known, or they contradict each other.
    """
    if (rank is None) != (world_size is None):
        raise OptionError(f"rank {rank}, world_size {world_size}: expected both or neither")
    if rank is None or world_size is None:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
        else:
            rank, world_size = _number("RANK", 0), _number("WORLD_SIZE", 1)
            if world_size > 1 and not os.environ.get("RANK"):
                if early:
                    return 0, 1
                raise OptionError(
                    f"rank: WORLD_SIZE {world_size} found in the environment without RANK, expected both or neither; "
                    "initialise torch.distributed first, or give rank and world_size"
                )
    if not 0 <= rank < world_size:
        raise OptionError(f"rank {rank} of {world_size}: expected 0 <= rank < world_size; check RANK and WORLD_SIZE")
    return rank, world_size


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if text and not text.isdecimal():
        raise OptionError(f"{name}: {text!r} found in the environment, expected a whole number")
    return int(text) if text else default
