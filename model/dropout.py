"""Dropout whose masks are arithmetic: what is left out of a sample depends on (seed, epoch, position) and on nothing else.

In: features and one key per sample. Out: features. So the masks are the same after a resume, for any number of ranks and however a
batch is cut into pieces, which no state of a random generator can promise.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

__all__ = ["SampleDropout", "sample_keys"]

_PURPOSE = 4
"""Keeps the keys apart from the loader's own random streams, which use 1 to 3."""

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
_SECOND = 0x94D049BB133111EB - (1 << 64)
"""Constants of SplitMix64 (Steele, Lea and Flood 2014) as signed numbers, since torch has no arithmetic on unsigned ones."""


def sample_keys(seed: int, epoch: int, positions: np.ndarray) -> torch.Tensor:
    """Return int64 ``[N]``, a key for each position (int64 ``[N]``) of an epoch's global order."""
    start = np.random.SeedSequence((seed, epoch, _PURPOSE)).generate_state(1, np.uint64).astype(np.int64)
    return _mix(torch.from_numpy(start + positions.astype(np.int64) * np.int64(_GOLDEN)))


class SampleDropout(nn.Module):
    """Sets each feature to zero with a probability, by the sample's key; plain dropout where no keys are given."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, features: torch.Tensor, keys: torch.Tensor | None = None) -> torch.Tensor:
        """Return features float ``[N, F]``, left as they are outside training."""
        if not self.training or self.probability == 0:
            return features
        if keys is None:
            return functional.dropout(features, self.probability)
        counters = torch.arange(1, features.shape[1] + 1, device=features.device) * _GOLDEN
        bits = _mix(keys[:, None] + counters)
        kept = _shift_right(bits, 40) >= round(self.probability * (1 << 24))
        return features * kept.to(features.dtype) / (1 - self.probability)


def _mix(values: torch.Tensor) -> torch.Tensor:
    values = (values ^ _shift_right(values, 30)) * _FIRST
    values = (values ^ _shift_right(values, 27)) * _SECOND
    return values ^ _shift_right(values, 31)


def _shift_right(values: torch.Tensor, count: int) -> torch.Tensor:
    """Shift as an unsigned number would: torch's own shift repeats the sign."""
    return (values >> count) & ((1 << (64 - count)) - 1)
