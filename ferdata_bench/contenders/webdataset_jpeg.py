"""WebDataset over tar shards of the JPEG files, decoded in the workers.

In: the JPEG files, packed as they are. Out: uint8 batches made in the workers. Mixes shards, then a buffer of samples.
"""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import webdataset as wds
from torch.utils.data import default_collate

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.common import decode_with_torchvision, list_source

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest", "open_loader", "write_tar"]

NAME = "webdataset-jpeg"
CODEC = "jpeg"
SHUFFLE = "shards, then a buffer of 1,000 samples"
LOSSLESS = False
SHARDS = 16
BUFFER_SAMPLES = 1_000


def ingest(source: Path, out: Path) -> None:
    """Write 16 tar shards of ``<key>.jpg`` and ``<key>.cls``, mixed once as WebDataset asks."""
    out.mkdir(parents=True)
    paths, labels = list_source(source, shuffled=True)
    for shard in range(SHARDS):
        with open(out / f"{shard:06d}.tar", "wb") as file:
            write_tar(
                file, [(i, "jpg", paths[i].read_bytes(), int(labels[i])) for i in range(shard, len(paths), SHARDS)]
            )


def write_tar(file: Any, samples: Iterable[tuple[int, str, bytes, int]]) -> None:
    """Write ``(number, extension, bytes, label)`` as tar members ``<number>.<extension>`` and ``<number>.cls``."""
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
        for number, extension, content, label in samples:
            for name, data in ((f"{number:08d}.{extension}", content), (f"{number:08d}.cls", b"%d" % label)):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return a ``WebLoader`` whose workers decode with torchvision and batch."""
    urls = [str(path) for path in sorted(out.glob("*.tar"))]
    return open_loader(urls, "jpg", decode_with_torchvision, batch_size=batch_size, num_workers=num_workers, seed=seed)


def open_loader(
    urls: list[str], extension: str, decode: Any, *, batch_size: int, num_workers: int, seed: int
) -> Iterable[Batch]:
    """Return the loader of WebDataset's documentation: shuffle, decode, batch in the worker, no collating outside."""
    dataset = (
        wds.WebDataset(urls, shardshuffle=len(urls), seed=seed, empty_check=False)
        .shuffle(BUFFER_SAMPLES)
        .to_tuple(extension, "cls")
        .map_tuple(decode, int)
        .batched(batch_size, collation_fn=default_collate)
    )
    loader: Iterable[Batch] = wds.WebLoader(
        dataset, batch_size=None, num_workers=num_workers, persistent_workers=num_workers > 0
    )
    return loader
