"""datago over the JPEG files: threads of its Rust engine read and decode them, and Python takes one image at a time.

In: the JPEG files as they are. Out: uint8 batches, made in the main process. Whole-set shuffle of the paths, by a seed
that nobody can choose; for each epoch its engine starts anew and lists the folder again.
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"

import json
import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from datago import DatagoClient

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.common import Epochs, link_source, list_source, read_pixels

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest"]

NAME = "datago"
CODEC = "jpeg"
SHUFFLE = "whole set"
LOSSLESS = False
BUFFER_SAMPLES = 256
"""As in the benchmark of its own repository."""

ingest = link_source


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return datago's samples in batches; ``num_workers`` are images that it decodes at a time."""
    os.environ["DATAGO_MAX_TASKS"] = str(max(1, num_workers))
    paths, labels = list_source(out.resolve())
    config = {
        "source_type": "file",
        "source_config": {"root_path": str(out.resolve()), "random_sampling": True},
        "limit": len(paths),
        "samples_buffer_size": BUFFER_SAMPLES,
    }
    known = {str(path): int(label) for path, label in zip(paths, labels, strict=True)}
    return Epochs(partial(_one_epoch, DatagoClient(json.dumps(config)), known, read_pixels(paths[0]).shape, batch_size))


def _one_epoch(
    client: DatagoClient, labels: dict[str, int], shape: tuple[int, ...], batch_size: int, epoch: int
) -> Iterator[Batch]:
    client.start()
    for start in range(0, len(labels), batch_size):
        images = np.empty((min(batch_size, len(labels) - start), *shape), np.uint8)
        found = np.empty(len(images), np.int64)
        for row in range(len(images)):
            sample = client.get_sample()
            images[row] = sample.image.to_numpy_array()
            found[row] = labels[json.loads(sample.id)]
        yield torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(found)
    client.stop()
