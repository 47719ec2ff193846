"""Lance over the JPEG files' own bytes, decoded by torchvision in the workers.

In: the JPEG files, as a column of bytes. Out: uint8 batches, read and shuffled as in ``lance_raw``.
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.common import decode_with_torchvision
from ferdata_bench.contenders.lance_raw import SHUFFLE, open_loader, write_table

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest"]

NAME = "lance-jpeg"
CODEC = "jpeg"
LOSSLESS = False


def ingest(source: Path, out: Path) -> None:
    """Write a table of JPEG bytes and labels."""
    write_table(source, out, pa.binary(), Path.read_bytes)


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return Lance's safe loader over decoding rows."""
    return open_loader(out, decode_with_torchvision, batch_size=batch_size, num_workers=num_workers, seed=seed)
