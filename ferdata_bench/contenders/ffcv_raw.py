"""FFCV with ready pixels: compiled threads copy samples from a mapped file into recycled buffers. The one to beat.

In: JPEG files, decoded once into one ``.beton``. Out: uint8 batches, channels last (FFCV's default: a permuted view, no
copy), in buffers that are overwritten a few batches later. Whole-set shuffle, as for data that fits the page cache.
"""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ffcv.fields import IntField, RGBImageField
from ffcv.fields.basics import IntDecoder
from ffcv.fields.rgb_image import SimpleRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import Squeeze, ToTensor, ToTorchImage
from ffcv.writer import DatasetWriter

from ferdata_bench.contenders import Batch
from ferdata_bench.contenders.common import list_source, read_pixels

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "ingest", "write_beton"]

NAME = "ffcv-raw"
CODEC = "raw"
SHUFFLE = "whole set"
LOSSLESS = True


class Pairs:
    """Indexed data set of (uint8 ``[H, W, 3]``, label), the form FFCV's writer takes."""

    def __init__(self, source: Path) -> None:
        self._paths, self._labels = list_source(source)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return read_pixels(self._paths[index]), int(self._labels[index])


def write_beton(source: Path, out: Path, *, write_mode: str) -> None:
    """Write ``data.beton`` with two writer processes."""
    out.mkdir(parents=True)
    fields = {"image": RGBImageField(write_mode=write_mode, jpeg_quality=90), "label": IntField()}
    DatasetWriter(str(out / "data.beton"), fields, num_workers=2).from_indexed_dataset(Pairs(source))


def ingest(source: Path, out: Path) -> None:
    """Write ready pixels."""
    write_beton(source, out, write_mode="raw")


def batches(out: Path, *, batch_size: int, num_workers: int, seed: int) -> Iterable[Batch]:
    """Return FFCV's loader, in its settings for data that fits the page cache; ``num_workers`` are threads."""
    loader: Iterable[Batch] = Loader(
        str(out / "data.beton"),
        batch_size=batch_size,
        num_workers=max(1, num_workers),
        order=OrderOption.RANDOM,
        os_cache=True,
        seed=seed,
        drop_last=False,
        pipelines={
            "image": [SimpleRGBImageDecoder(), ToTensor(), ToTorchImage()],
            "label": [IntDecoder(), ToTensor(), Squeeze(1)],
        },
    )
    return loader
