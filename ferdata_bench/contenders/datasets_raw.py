"""Hugging Face datasets over ready pixels: a memory-mapped Arrow table behind a ``DataLoader``.

In: JPEG files, decoded once into an ``Array3D`` column, as its documentation asks for arrays of one shape. Out: uint8
batches; a worker asks for the rows of a whole batch at once. Whole-set shuffle of the rows.
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Array3D, Dataset, Features, Value, load_from_disk
from torch.utils.data import default_collate

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.common import list_source, open_whole_set, read_pixels, read_samples

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest", "save"]

NAME = "datasets-raw"
CODEC = "raw"
SHUFFLE = "whole set"
LOSSLESS = True


def ingest(source: Path, out: Path) -> None:
    """Write a table of uint8 ``[3, H, W]`` and labels."""
    height, width, channels = read_pixels(list_source(source)[0][0]).shape
    features = Features({"image": Array3D((channels, height, width), "uint8"), "label": Value("int64")})

    def rows() -> Iterator[dict[str, Any]]:
        for pixels, label in read_samples(source):
            yield {"image": pixels, "label": label}

    save(out, lambda cache: Dataset.from_generator(rows, features=features, cache_dir=cache))


def save(out: Path, make: Any) -> None:
    """Save the data set that ``make(cache folder)`` gives, and remove what the library kept beside it."""
    cache = out / "cache"
    cache.mkdir(parents=True)
    make(str(cache)).save_to_disk(str(out / "set"))
    shutil.rmtree(cache)


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return a ``DataLoader`` over the table in the library's format for torch, whose integers would be int64."""
    return open_whole_set(
        load_from_disk(str(out / "set")).with_format("torch", dtype=torch.uint8),
        batch_size=batch_size,
        num_workers=num_workers,
        seed=seed,
        collate=_collate,
    )


def _collate(rows: list[dict[str, torch.Tensor]]) -> Batch:
    columns = default_collate(rows)
    return columns["image"], columns["label"]
