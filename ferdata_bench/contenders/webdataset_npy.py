"""WebDataset over zstd-compressed tar shards of ``.npy`` members, read through ``pipe:zstd -dc``: the obvious way.

In: JPEG files, decoded once. Out: uint8 batches made in the workers, mixed as in ``webdataset_jpeg``. Needs the
command ``zstd``, which decompresses in a process beside each worker.
"""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import zstandard

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.common import list_source, read_planes
from ferdata_bench.contenders.webdataset_jpeg import SHARDS, open_loader, write_tar

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest"]

NAME = "webdataset-npy"
CODEC = "zstd"
SHUFFLE = "shards, then a buffer of 1,000 samples"
LOSSLESS = True
LEVEL = 1


def ingest(source: Path, out: Path) -> None:
    """Write 16 shards ``.tar.zst`` of ``<key>.npy`` and ``<key>.cls``, mixed once, at zstd level 1."""
    out.mkdir(parents=True)
    paths, labels = list_source(source, shuffled=True)
    for shard in range(SHARDS):
        with (
            open(out / f"{shard:06d}.tar.zst", "wb") as file,
            zstandard.ZstdCompressor(LEVEL).stream_writer(file) as packed,
        ):
            write_tar(packed, ((i, "npy", _npy(paths[i]), int(labels[i])) for i in range(shard, len(paths), SHARDS)))


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return a ``WebLoader`` whose workers parse ``.npy`` members and batch."""
    urls = [f"pipe:zstd -dc '{path}'" for path in sorted(out.glob("*.tar.zst"))]
    return open_loader(urls, "npy", _decode, batch_size=batch_size, num_workers=num_workers, seed=seed)


def _npy(path: Path) -> bytes:
    file = io.BytesIO()
    np.save(file, read_planes(path))
    return file.getvalue()


def _decode(content: bytes) -> torch.Tensor:
    return torch.from_numpy(np.load(io.BytesIO(content), allow_pickle=False))
