"""SPDL over one ``.npy`` file per image: threads read and parse outside the interpreter lock.

In: JPEG files, decoded once into ``.npy`` files. Out: uint8 batches. Whole-set shuffle of the paths.
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import spdl.io
import torch
from spdl.pipeline import PipelineBuilder

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.common import Epochs, read_samples

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest", "run_epoch"]

NAME = "spdl-npy"
CODEC = "raw"
SHUFFLE = "whole set"
LOSSLESS = True


def ingest(source: Path, out: Path) -> None:
    """Write ``<number>.npy`` uint8 ``[3, H, W]`` for every image, and ``labels.npy``."""
    out.mkdir(parents=True)
    labels = []
    for number, (pixels, label) in enumerate(read_samples(source)):
        np.save(out / f"{number:08d}.npy", pixels)
        labels.append(label)
    np.save(out / "labels.npy", np.array(labels, np.int64))


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return SPDL's pipeline; ``num_workers`` are threads."""
    labels = np.load(out / "labels.npy")
    paths = [str(path) for path in sorted(out.glob("0*.npy"))]
    return Epochs(partial(run_epoch, _load_batch, paths, labels, batch_size, max(1, num_workers), seed))


def run_epoch(
    load: Callable[[list[str]], torch.Tensor],
    paths: list[str],
    labels: np.ndarray,
    batch_size: int,
    num_threads: int,
    seed: int,
    epoch: int,
) -> Iterator[Batch]:
    """Yield one epoch: threads call ``load`` with the paths of a batch."""
    order = np.random.default_rng((seed, epoch)).permutation(len(paths))
    rows = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

    def work(taken: np.ndarray) -> Batch:
        return load([paths[row] for row in taken]), torch.from_numpy(labels[taken])

    pipeline = (
        PipelineBuilder()
        .add_source(rows)
        .pipe(work, concurrency=num_threads)
        .add_sink(2)
        .build(num_threads=num_threads, max_failures=0)
    )
    with pipeline.auto_stop():
        yield from pipeline


def _load_batch(paths: list[str]) -> torch.Tensor:
    first = np.asarray(spdl.io.load_npy(Path(paths[0]).read_bytes()))
    images = np.empty((len(paths), *first.shape), np.uint8)
    images[0] = first
    for row, path in enumerate(paths[1:], start=1):
        with open(path, "rb") as file:
            images[row] = spdl.io.load_npy(file.read())
    return torch.from_numpy(images)
