"""NVIDIA DALI on the CPU: its own threads read, decode and batch the JPEG files.

In: the JPEG files as they are. Out: uint8 batches, channels last (a permuted view). Whole-set shuffle.
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from nvidia.dali import fn, pipeline_def, types
from nvidia.dali.plugin.base_iterator import LastBatchPolicy
from nvidia.dali.plugin.pytorch import DALIGenericIterator

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.common import Epochs, link_source, list_source

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest"]

NAME = "dali"
CODEC = "jpeg"
SHUFFLE = "whole set"
LOSSLESS = False

ingest = link_source


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return DALI's iterator over a CPU pipeline; ``num_workers`` are threads."""
    paths, labels = list_source(out)
    pipeline = _pipeline(
        [str(path) for path in paths],
        labels.tolist(),
        seed,
        batch_size=batch_size,
        num_threads=max(1, num_workers),
        device_id=None,
        seed=seed,
    )
    pipeline.build()
    iterator = DALIGenericIterator(
        pipeline, ["images", "labels"], reader_name="reader", last_batch_policy=LastBatchPolicy.PARTIAL, auto_reset=True
    )
    return Epochs(partial(_one_epoch, iterator))


@pipeline_def
def _pipeline(files: list[str], labels: list[int], shuffle_seed: int) -> Any:
    contents, label = fn.readers.file(
        files=files,
        labels=labels,
        shuffle_after_epoch=True,
        shuffle_after_epoch_seed=shuffle_seed,
        pad_last_batch=True,
        name="reader",
        prefetch_queue_depth=2,
    )
    return fn.decoders.image(contents, device="cpu", output_type=types.RGB), label


def _one_epoch(iterator: Any, epoch: int) -> Iterator[Batch]:
    for (batch,) in iterator:
        images: torch.Tensor = batch["images"]
        yield images.permute(0, 3, 1, 2), batch["labels"].squeeze(1)
