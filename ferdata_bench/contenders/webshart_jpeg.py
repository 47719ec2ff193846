"""webshart over tar shards of the JPEG files: an index beside each gives random access, torchvision decodes in workers.

In: the JPEG files, packed as they are. Out: uint8 batches; a worker reads the files of a whole batch in one call.
Whole-set shuffle, by the ``DataLoader``: webshart's own loaders decode nothing, and only shuffle buckets of one shape.
Its versions after 0.4.6 need Python 3.12.
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"

import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webshart
from torch.utils.data import Dataset

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.common import decode_with_torchvision, list_source, open_whole_set

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest"]

NAME = "webshart-jpeg"
CODEC = "jpeg"
SHUFFLE = "whole set"
LOSSLESS = False
SHARD_IMAGES = 1_000


class Decoded(Dataset[tuple[torch.Tensor, int]]):
    """Map-style data set over the shards, which each worker opens for itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._labels: list[int] = np.load(folder / "labels.npy").tolist()
        self._shards: Any = None

    def __len__(self) -> int:
        return len(self._labels)

    def __getitems__(self, indices: list[int]) -> list[tuple[torch.Tensor, int]]:
        if self._shards is None:
            self._shards = webshart.discover_dataset(self._folder)
        contents = webshart.read_files_batch(self._shards, [divmod(index, SHARD_IMAGES) for index in indices])
        return [
            (decode_with_torchvision(content), self._labels[index])
            for index, content in zip(indices, contents, strict=True)
        ]


def ingest(source: Path, out: Path) -> None:
    """Write tar shards of 1,000 images, their indices by webshart's own extractor, and ``labels.npy``."""
    out.mkdir(parents=True)
    paths, labels = list_source(source)
    np.save(out / "labels.npy", labels)
    for start in range(0, len(paths), SHARD_IMAGES):
        with tarfile.open(out / f"shard_{start // SHARD_IMAGES:04d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for number, path in enumerate(paths[start : start + SHARD_IMAGES], start):
                tar.add(path, arcname=f"{number:08d}.jpg")
    webshart.MetadataExtractor().extract_metadata(source=str(out), destination=str(out), max_workers=2)


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return a ``DataLoader`` over the shards."""
    return open_whole_set(Decoded(out), batch_size=batch_size, num_workers=num_workers, seed=seed)
