"""Dropout whose masks are arithmetic: what is left out of a sample depends on (seed, epoch, position) alone.

In: one key per sample, and features. Out: a mask, and features. So the masks are the same after a resume, for any
number of ranks and however a batch is cut into micro-batches, which no state of a random generator can promise.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ferdata.randomness import GOLDEN_RATIO, Stream, first_bits, shift_right, splitmix64

__all__ = ["SampleDropout", "dropout_mask", "sample_keys"]


def sample_keys(seed: int, epoch: int, positions: np.ndarray) -> torch.Tensor:
    """Return int64 ``[N]``, a key for each position (int64 ``[N]``) of an epoch's global order."""
    return torch.from_numpy(
        splitmix64(first_bits(Stream.DROPOUT.seed(seed, epoch)) + positions.astype(np.int64) * GOLDEN_RATIO)
    )


def dropout_mask(keys: torch.Tensor, num_features: int, probability: float) -> torch.Tensor:
    """Return bool ``[N, num_features]``: which features of each sample stay, by the samples' keys (int64 ``[N]``).

    To be called outside of a compiled network: the arithmetic overflows on purpose, which is no defined number in the
    code that ``torch.compile`` writes for a CPU, and its compiler (torch 2.15) breaks its own memory over the table of
    counters.
    """
    counters = torch.arange(1, num_features + 1, device=keys.device) * GOLDEN_RATIO
    bits = splitmix64(keys[:, None] + counters)
    return shift_right(bits, 40) >= round(probability * (1 << 24))


class SampleDropout(nn.Module):
    """Sets features to zero with a probability: those a mask says, or without a mask any, as plain dropout does."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, features: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return features float ``[N, F]``, left as they are outside training; ``mask`` is bool ``[N, F]``."""
        if not self.training or self.probability == 0:
            return features
        if mask is None:
            return functional.dropout(features, self.probability)
        return features * mask.to(features.dtype) / (1 - self.probability)
