"""FFCV with JPEG inside: compiled threads decode with libjpeg-turbo into recycled buffers.

In: JPEG files, decoded and encoded again by FFCV's writer at quality 90. Out: uint8 batches, shuffled
as in ``ffcv_raw``.
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"

from pathlib import Path

from ferdata_bench.contenders.ffcv_raw import SHUFFLE, batches, write_beton

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest"]

NAME = "ffcv-jpg"
CODEC = "jpeg"
LOSSLESS = False


def ingest(source: Path, out: Path) -> None:
    """Write JPEG images."""
    write_beton(source, out, write_mode="jpg")
