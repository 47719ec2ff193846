"""SPDL over the JPEG files: threads decode a whole batch with FFmpeg's decoder outside the interpreter lock.

In: the JPEG files as they are. Out: uint8 batches. Whole-set shuffle of the paths.
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import spdl.io
import torch

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.common import Epochs, link_source, list_source
from ferdata_bench.contenders.spdl_npy import run_epoch

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest"]

NAME = "spdl-jpg"
CODEC = "jpeg"
SHUFFLE = "whole set"
LOSSLESS = False

ingest = link_source


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return SPDL's pipeline; ``num_workers`` are threads."""
    paths, labels = list_source(out)
    return Epochs(
        partial(run_epoch, _load_batch, [str(path) for path in paths], labels, batch_size, max(1, num_workers), seed)
    )


def _load_batch(paths: list[str]) -> torch.Tensor:
    pixels = spdl.io.to_torch(spdl.io.load_image_batch(paths, width=None, height=None, pix_fmt="rgb24"))
    return pixels.permute(0, 3, 1, 2)
