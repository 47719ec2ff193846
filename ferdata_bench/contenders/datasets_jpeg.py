"""Hugging Face datasets over the JPEG files' own bytes: its ``imagefolder``, whose ``Image`` column Pillow decodes.

In: the JPEG files, packed as they are. Out: uint8 batches, read and shuffled as in ``datasets_raw``.
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"

from pathlib import Path

from datasets import load_dataset

from ferdata_bench.contenders.datasets_raw import SHUFFLE, batches, save

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest"]

NAME = "datasets-jpeg"
CODEC = "jpeg"
LOSSLESS = True


def ingest(source: Path, out: Path) -> None:
    """Write a table of JPEG bytes and labels."""
    save(out, lambda cache: load_dataset("imagefolder", data_dir=str(source), split="train", cache_dir=cache))
