"""grain over an ArrayRecord file of ready pixels, batched in its worker processes.

In: JPEG files, decoded once into records of a label byte and the pixels. Out: uint8 batches. Whole-set shuffle,
by seed and epoch alone.
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

import grain
import numpy as np
import torch
from absl import flags
from array_record.python.array_record_module import ArrayRecordWriter

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.common import Epochs, list_source, read_pixels, read_samples

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest"]

NAME = "grain-raw"
CODEC = "raw"
SHUFFLE = "whole set"
LOSSLESS = True
BLANK = 255
READ_THREADS = 0
"""Threads of every worker process that read records. The records are in the page cache, and grain's ReadOptions
recommends 0 for data in memory, since threads would wait for Python's lock; its default of 16 is meant for remote
disks."""


def ingest(source: Path, out: Path) -> None:
    """Write ``data.arrayrecord``, uncompressed, one record per group, as grain advises for random access."""
    out.mkdir(parents=True)
    paths, _ = list_source(source)
    height, width, channels = read_pixels(paths[0]).shape
    np.save(out / "shape.npy", np.array([channels, height, width]))
    writer = ArrayRecordWriter(str(out / "data.arrayrecord"), "group_size:1,uncompressed")
    for pixels, label in read_samples(source):
        writer.write(bytes([label]) + pixels.tobytes())
    writer.close()


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return grain's pipeline: shuffle, parse, batch in the workers' shared memory, ``mp_prefetch``.

    One endless iterator is cut into epochs, because every new one would start new worker processes (seconds each). For
    that an epoch is filled up with blank samples to a whole number of batches for every worker; they come last and are
    taken off again.
    """
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["ferdata_bench"])  # grain's worker processes read absl flags
    shape = tuple(np.load(out / "shape.npy").tolist())
    records = grain.sources.ArrayRecordDataSource([str(out / "data.arrayrecord")])
    samples = grain.MapDataset.source(records).shuffle(seed=seed)
    blanks = -len(records) % (batch_size * max(1, num_workers))
    if blanks:
        samples = grain.MapDataset.concatenate(
            [samples, grain.MapDataset.source([bytes([BLANK]) + bytes(prod(shape))] * blanks)]
        )
    reading = grain.ReadOptions(num_threads=READ_THREADS)
    batched = samples.map(partial(_parse, shape)).repeat().to_iter_dataset(read_options=reading).batch(batch_size)
    if num_workers:
        batched = batched.mp_prefetch(
            grain.multiprocessing.MultiprocessingOptions(num_workers=num_workers, per_worker_buffer_size=2)
        )
    return Epochs(partial(_one_epoch, iter(batched), (len(records) + blanks) // batch_size))


def _one_epoch(endless: Iterator[Any], num_batches: int, epoch: int) -> Iterator[Batch]:
    for images, labels in islice(endless, num_batches):
        real = labels != BLANK
        if real.all():
            yield torch.from_numpy(images), torch.from_numpy(labels)
        elif real.any():
            yield torch.from_numpy(images[real]), torch.from_numpy(labels[real])


def _parse(shape: tuple[int, ...], record: bytes) -> tuple[np.ndarray, np.int64]:
    return np.frombuffer(record, np.uint8, offset=1).reshape(shape), np.int64(record[0])
