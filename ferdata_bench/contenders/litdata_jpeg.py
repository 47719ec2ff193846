"""litdata over the JPEG files' own bytes, decoded by torchvision in the workers.

In: the JPEG files, packed as they are. Out: uint8 batches, shuffled as in ``litdata_raw``.
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import litdata
import torch
from torchvision.io import ImageReadMode, decode_jpeg

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.litdata_raw import SHUFFLE, open_loader, write_chunks

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest"]

NAME = "litdata-jpeg"
CODEC = "jpeg"
LOSSLESS = False


class Decoded(litdata.StreamingDataset):
    """Decodes what the chunk holds when a sample is asked for, as litdata's documentation does."""

    def __getitem__(self, index: Any) -> tuple[torch.Tensor, int]:
        content, label = super().__getitem__(index)
        return decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), mode=ImageReadMode.RGB), label


def ingest(source: Path, out: Path) -> None:
    """Write chunks of (JPEG bytes, label)."""
    write_chunks(source, out, Path.read_bytes)


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return litdata's loader over decoding samples."""
    return open_loader(Decoded(str(out), shuffle=True, seed=seed), batch_size=batch_size, num_workers=num_workers)
