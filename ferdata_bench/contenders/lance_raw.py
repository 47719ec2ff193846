"""Lance over ready pixels: rows of a columnar file, taken a batch at a time by the workers of its safe ``DataLoader``.

In: JPEG files, decoded once into a table whose column of bytes has as many in each row. Out: uint8 batches. Whole-set
shuffle of the rows. Workers are spawned, as Lance's documentation asks: its own threads do not live through a fork.
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import torch
from lance.torch.data import SafeLanceDataset, get_safe_loader
from torch.utils.data import default_collate

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.common import list_source, read_pixels, read_planes

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest", "open_loader", "write_table"]

NAME = "lance-raw"
CODEC = "raw"
SHUFFLE = "whole set"
LOSSLESS = True
ROWS_AT_ONCE = 64

warnings.filterwarnings("ignore", message="The given buffer is not writable")  # collating copies it at once


def ingest(source: Path, out: Path) -> None:
    """Write a table of the bytes of uint8 ``[3, H, W]`` and labels, and ``shape.npy`` beside it."""
    height, width, channels = read_pixels(list_source(source)[0][0]).shape
    write_table(source, out, pa.binary(channels * height * width), lambda path: read_planes(path).tobytes())
    np.save(out / "shape.npy", np.array([channels, height, width]))


def write_table(source: Path, out: Path, kind: pa.DataType, read: Callable[[Path], bytes]) -> None:
    """Write one row ``read(path), label`` per image."""
    out.mkdir(parents=True)
    paths, labels = list_source(source)
    schema = pa.schema([("image", kind), ("label", pa.int64())])

    def rows() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(paths), ROWS_AT_ONCE):
            taken = slice(start, start + ROWS_AT_ONCE)
            yield pa.record_batch([[read(path) for path in paths[taken]], labels[taken]], schema=schema)

    lance.write_dataset(rows(), str(out / "images.lance"), schema=schema)


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return Lance's safe loader; ``num_workers`` are processes, of which it takes one at least."""
    shape = tuple(np.load(out / "shape.npy").tolist())
    return open_loader(out, partial(_view, shape), batch_size=batch_size, num_workers=num_workers, seed=seed)


def open_loader(
    out: Path, decode: Callable[[bytes], torch.Tensor], *, batch_size: int, num_workers: int, seed: int
) -> Iterable[Batch]:
    """Return the safe loader over a table, whose workers live on between epochs."""
    return get_safe_loader(
        SafeLanceDataset(str(out / "images.lance")),
        batch_size=batch_size,
        shuffle=True,
        num_workers=max(1, num_workers),
        collate_fn=partial(_collate, decode),
        generator=torch.Generator().manual_seed(seed),
    )


def _collate(decode: Callable[[bytes], torch.Tensor], rows: list[dict[str, Any]]) -> Batch:
    images, labels = default_collate([(decode(row["image"]), row["label"]) for row in rows])
    return images, labels


def _view(shape: tuple[int, ...], content: bytes) -> torch.Tensor:
    return torch.frombuffer(content, dtype=torch.uint8).view(shape)
