"""The plain ``DataLoader`` that both ``ferdata_plain_raw`` and ``ferdata_plain_zstd`` use.

In: a data set folder. Out: batches collated by torch from the map-style data set.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from ferdata import ShardDataset
from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.ferdata_shards import first_split

__all__ = ["SHUFFLE", "batches"]

SHUFFLE = "whole set"


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return a ``DataLoader`` over ``ferdata.ShardDataset``."""
    return DataLoader(
        ShardDataset(out, split=first_split(out)),
        batch_size=batch_size,
        shuffle=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        generator=torch.Generator().manual_seed(seed),
    )
