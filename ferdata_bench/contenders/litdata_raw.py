"""litdata over ready pixels: binary chunks read by the workers of its own ``DataLoader``.

In: JPEG files, decoded once into 64 MB chunks, which are mapped. Out: uint8 batches. Chunks are shuffled, then blocks
of 256 samples in each chunk, and the samples of each block (the default).
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import litdata
import torch

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.common import list_source, read_planes

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest", "write_chunks"]

NAME = "litdata-raw"
CODEC = "raw"
SHUFFLE = "chunks, blocks of 256 samples in each, and samples in a block"
LOSSLESS = True
CHUNK_BYTES = "64MB"


def ingest(source: Path, out: Path) -> None:
    """Write chunks of (uint8 ``[3, H, W]``, label)."""
    write_chunks(source, out, _read)


def write_chunks(source: Path, out: Path, read: Any) -> None:
    """Write one sample ``read((path, label))`` per image, mixed once; by number, since litdata copies paths' files."""
    paths, labels = list_source(source, shuffled=True)
    litdata.optimize(
        fn=partial(_sample, [str(path) for path in paths], labels.tolist(), read),
        inputs=list(range(len(paths))),
        output_dir=str(out),
        num_workers=2,
        chunk_bytes=CHUNK_BYTES,
        verbose=False,
    )


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return litdata's loader, with workers that live on between epochs."""
    loader: Iterable[Batch] = litdata.StreamingDataLoader(
        litdata.StreamingDataset(str(out), shuffle=True, seed=seed),
        batch_size=batch_size,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
    )
    return loader


def _sample(paths: list[str], labels: list[int], read: Any, index: int) -> tuple[Any, int]:
    return read(Path(paths[index])), labels[index]


def _read(path: Path) -> torch.Tensor:
    return torch.from_numpy(read_planes(path))
