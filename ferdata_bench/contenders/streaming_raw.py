"""mosaicml-streaming over ready pixels: MDS shards read by ``DataLoader`` workers.

In: JPEG files, decoded once into MDS shards. Out: uint8 batches, shuffled in blocks that span shards (the default).
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from streaming import MDSWriter, StreamingDataset
from streaming.base.util import clean_stale_shared_memory
from torch.utils.data import DataLoader

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.common import list_source, read_pixels, read_planes

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest", "open_loader"]

NAME = "streaming-raw"
CODEC = "raw"
SHUFFLE = "blocks of samples that span shards"
LOSSLESS = True

warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # collating copies it at once


class Pixels(StreamingDataset):
    """Gives (uint8 tensor ``[3, H, W]``, label)."""

    def __getitem__(self, index: Any) -> tuple[torch.Tensor, int]:
        sample = super().__getitem__(index)
        return torch.from_numpy(sample["image"]), sample["label"]


def ingest(source: Path, out: Path) -> None:
    """Write shards of ``image`` (an array of fixed shape, so that no header is stored) and ``label``."""
    paths, labels = list_source(source, shuffled=True)
    height, width, channels = read_pixels(paths[0]).shape
    with MDSWriter(
        out=str(out), columns={"image": f"ndarray:uint8:{channels},{height},{width}", "label": "int"}
    ) as writer:
        for path, label in zip(paths, labels.tolist(), strict=True):
            writer.write({"image": read_planes(path), "label": label})


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return a ``DataLoader`` over the shards."""
    return open_loader(Pixels, out, batch_size=batch_size, num_workers=num_workers, seed=seed)


def open_loader(
    kind: type[StreamingDataset], out: Path, *, batch_size: int, num_workers: int, seed: int
) -> Iterable[Batch]:
    """Return a ``DataLoader`` over a streaming data set that lies in a local folder."""
    clean_stale_shared_memory()
    dataset = kind(local=str(out), shuffle=True, shuffle_seed=seed, batch_size=batch_size)
    return DataLoader(dataset, batch_size=batch_size, num_workers=num_workers, persistent_workers=num_workers > 0)
