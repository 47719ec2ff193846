"""mosaicml-streaming over the JPEG files' own bytes, decoded by torchvision in the workers.

In: the JPEG files, packed into MDS shards as they are. Out: uint8 batches, shuffled as in ``streaming_raw``.
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from streaming import MDSWriter, StreamingDataset

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.common import decode_with_torchvision, list_source
from ferdata_bench.contenders.streaming_raw import SHUFFLE, open_loader

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest"]

NAME = "streaming-jpeg"
CODEC = "jpeg"
LOSSLESS = False


class Decoded(StreamingDataset):
    """Gives (uint8 tensor ``[3, H, W]``, label)."""

    def __getitem__(self, index: Any) -> tuple[torch.Tensor, int]:
        sample = super().__getitem__(index)
        return decode_with_torchvision(sample["image"]), sample["label"]


def ingest(source: Path, out: Path) -> None:
    """Write shards of ``image`` (JPEG bytes) and ``label``."""
    paths, labels = list_source(source, shuffled=True)
    with MDSWriter(out=str(out), columns={"image": "bytes", "label": "int"}) as writer:
        for path, label in zip(paths, labels.tolist(), strict=True):
            writer.write({"image": path.read_bytes(), "label": label})


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return a ``DataLoader`` over the shards."""
    return open_loader(Decoded, out, batch_size=batch_size, num_workers=num_workers, seed=seed)
