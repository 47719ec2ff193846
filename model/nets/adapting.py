"""A weight that was made for other images, in the shape these need. In: a tensor. Out: another one, or None."""

from math import prod

import torch

__all__ = ["adapted_weight"]

_GREY, _COLOUR = 1, 3


def adapted_weight(
    weight: torch.Tensor, shape: torch.Size, old: tuple[int, int, int] | None, new: tuple[int, int, int] | None
) -> tuple[torch.Tensor, str] | None:
    """Return a weight in another shape, and what was done to it; None if it is another layer's.

    Args:
        weight: Of the other run's network.
        shape: Of this one's.
        old: What its first linear layer reads, ``[C, H, W]``; None for averages.
        new: What this one's reads.
    """
    if weight.shape == shape:
        return weight, ""
    if weight.ndim != len(shape) or weight.shape[:1] + weight.shape[2:] != shape[:1] + shape[2:]:
        return None
    if weight.ndim == 4 and (weight.shape[1], shape[1]) == (_GREY, _COLOUR):
        return weight.expand(shape) / _COLOUR, f"spread over {_COLOUR} channels"
    if weight.ndim == 4 and (weight.shape[1], shape[1]) == (_COLOUR, _GREY):
        return weight.sum(1, keepdim=True), f"summed over {_COLOUR} channels"
    if weight.ndim == 2 and old and new and old[0] == new[0] and (weight.shape[1], shape[1]) == (prod(old), prod(new)):
        rows, columns = (_overlap(old[axis], new[axis]) for axis in (1, 2))
        resized = rows @ weight.reshape(-1, *old) @ columns.T
        return resized.flatten(1), f"resized from {old[1]} x {old[2]} cells to {new[1]} x {new[2]}"
    return None


def _overlap(old: int, new: int) -> torch.Tensor:
    """Return float ``[new, old]``, the part of each old cell that each new one covers if both divide the same length.

    What is summed over an even image stays the same, since every column adds up to one.
    """
    edges, others = torch.arange(new + 1) * old / new, torch.arange(old + 1.0)
    ends = torch.minimum(edges[1:, None], others[1:])
    return (ends - torch.maximum(edges[:-1, None], others[:-1])).clamp(min=0)
