"""litdata over the JPEG files' own bytes, stored as what it calls ``Jpeg`` and so decoded by itself in the workers.

In: the JPEG files, packed as they are. Out: uint8 batches, shuffled as in ``litdata_raw``.
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"

from pathlib import Path
from typing import Any

import litdata

from ferdata_bench.contenders.litdata_raw import SHUFFLE, batches, write_chunks

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest"]

NAME = "litdata-jpeg"
CODEC = "jpeg"
LOSSLESS = False


def ingest(source: Path, out: Path) -> None:
    """Write chunks of (JPEG bytes, label)."""
    write_chunks(source, out, _read)


def _read(path: Path) -> Any:
    return litdata.Jpeg(path=str(path))
