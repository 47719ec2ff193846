"""What must not get slower: each case is a piece of ferdata and a yardstick that does the bare work by other means.

In: a small set of photographs. Out: pairs of functions to be timed in turns. A yardstick uses no code of ours, so a
loss of ours cannot hide in it, and a slow moment of the machine affects both alike.
"""

import io
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
import zstandard
from PIL import Image

from ferdata import Loader
from ferdata.dataset.recode import recode
from ferdata.format import CODECS, DatasetIndex, ShardReader, read_index, read_samples, scatter
from ferdata.format.codecs.compact import PixelCoder
from ferdata.ingest import IngestOptions, ingest
from ferdata.sources.affectnet_npy.detector import AN_NPY
from ferdata.store import Store
from ferdata.stream.order.sequence import OrderOptions, rank_order
from ferdata.training.nets.networks import build_network
from ferdata_bench.loaders.photos import write_photos

__all__ = ["CASES", "Case", "GuardData", "Pair"]

COUNT = 768
"""Photographs: enough that a run lasts tens of milliseconds, few enough that all cases take about a minute."""
EPOCHS = 12
"""Of a loader's run: the window that is read ahead at its end belongs to the next run, so there must be many."""
TRAIN_BATCH = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two functions to be timed in turns: ours, and the yardstick."""

    ours: Callable[[], object]
    yardstick: Callable[[], object]


class GuardData:
    """The photographs and their shards, made once in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = folder / "source"
        self.shards = {codec: str(folder / codec) for codec in ("zstd", "raw", "compact")}
        write_photos(self.source, count=COUNT, layout=AN_NPY.name)
        options = IngestOptions(source="affectnet", src=str(self.source), out=self.shards["zstd"], codec=CODECS["zstd"])
        ingest(replace(options, num_workers=2))
        for codec in ("raw", "compact"):
            recode(self.shards["zstd"], out=self.shards[codec], codec=codec)
        self.jpegs = [path.read_bytes() for path in sorted((self.source / "train_set" / "images").glob("*.jpg"))]
        self.pixels = np.stack([_decode(jpeg) for jpeg in self.jpegs]).reshape(len(self.jpegs), -1)
        compressor = zstandard.ZstdCompressor(level=-1, write_checksum=True)
        self.frames = [compressor.compress(row.tobytes()) for row in self.pixels]
        self.rows = np.random.default_rng(0).permutation(len(self.pixels))
        self.batch = np.ones_like(self.pixels)

    def index(self, codec: str) -> DatasetIndex:
        """Return the index of one codec's shards."""
        return read_index(Store(self.shards[codec]))

    def inflate(self) -> None:
        """Yardstick of everything that decodes: bare zstd into a warm buffer."""
        decompressor, out = zstandard.ZstdDecompressor(), self.batch[0]
        for frame in self.frames:
            decompressor.stream_reader(frame).readinto(out)

    def copy(self) -> None:
        """Yardstick of everything that copies: NumPy, row by row, into warm memory."""
        for row, pixels in zip(self.rows.tolist(), self.pixels, strict=True):
            self.batch[row] = pixels


Case = Callable[[GuardData, ExitStack], Pair]


def _decode_case(codec: str) -> Case:
    def make(data: GuardData, stack: ExitStack) -> Pair:
        store, index = Store(data.shards[codec]), data.index(codec)
        readers = [stack.enter_context(ShardReader(store, info, index)) for info in index.shards]

        def ours() -> None:
            for reader in readers:
                positions = np.arange(len(reader))
                reader.read_rows(positions, data.batch, positions, verify=False)

        return Pair(ours=ours, yardstick=data.copy if codec == "raw" else data.inflate)

    return make


def _coder_case(data: GuardData, stack: ExitStack) -> Pair:
    coder = PixelCoder((3, 224, 224))
    payloads = [coder.encode(row.reshape(3, 224, 224)) for row in data.pixels[:256]]

    def ours() -> None:
        for payload, row in zip(payloads, data.batch, strict=False):
            coder.decode_into(payload, row)

    return Pair(ours=ours, yardstick=data.copy)


def _scatter_case(data: GuardData, stack: ExitStack) -> Pair:
    return Pair(ours=lambda: scatter(data.pixels, data.batch, data.rows), yardstick=data.copy)


def _order_case(data: GuardData, stack: ExitStack) -> Pair:
    sizes = np.full(200, 1000)
    options = OrderOptions(batch_size=128)
    ours = lambda: rank_order(sizes, options, epoch=1, rank=0, world_size=1)[:]  # noqa: E731
    return Pair(ours=ours, yardstick=lambda: np.random.default_rng(0).permutation(200_000))


def _index_case(data: GuardData, stack: ExitStack) -> Pair:
    store, path = Store(data.shards["zstd"]), Path(data.shards["zstd"]) / "samples.parquet"

    def ours() -> None:
        for _ in range(10):
            read_samples(store, read_index(store), ["label", "split"])

    def yardstick() -> None:
        for _ in range(10):
            pq.read_table(io.BytesIO(path.read_bytes()), columns=["label", "split"])

    return Pair(ours=ours, yardstick=yardstick)


def _loader_case(codec: str) -> Case:
    def make(data: GuardData, stack: ExitStack) -> Pair:
        loader = stack.enter_context(Loader(data.shards[codec], batch_size=64, num_workers=2))

        def ours() -> None:
            for _ in range(EPOCHS):
                for images, _labels in loader:
                    int(images[:, 0, 0, 0].sum())

        return Pair(ours=ours, yardstick=data.copy if codec == "raw" else data.inflate)

    return make


def _ingest_case(data: GuardData, stack: ExitStack) -> Pair:
    numbers: Iterator[int] = iter(range(10_000))
    compressor = zstandard.ZstdCompressor(level=-1, write_checksum=True)

    def ours() -> None:
        out = data.folder / f"ingest-{next(numbers)}"
        ingest(IngestOptions(source="affectnet", src=str(data.source), out=str(out), num_workers=2))
        for file in out.iterdir():
            os.remove(file)

    def yardstick() -> None:
        for jpeg in data.jpegs:
            compressor.compress(_decode(jpeg).tobytes())

    return Pair(ours=ours, yardstick=yardstick)


def _train_case(data: GuardData, stack: ExitStack) -> Pair:
    loader = stack.enter_context(Loader(data.shards["zstd"], batch_size=TRAIN_BATCH, num_workers=1))
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    network = build_network("mod4", num_classes=8, size=(224, 224))
    resident = torch.randint(0, 256, (TRAIN_BATCH, 3, 224, 224), dtype=torch.uint8)

    def step(images: torch.Tensor) -> None:
        network.zero_grad()
        network(images.float() / 255)[0].sum().backward()

    def ours() -> None:
        step(next(batches).images)

    def yardstick() -> None:
        step(resident)

    return Pair(ours=ours, yardstick=yardstick)


def _decode(jpeg: bytes) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(Image.open(io.BytesIO(jpeg))).transpose(2, 0, 1))


CASES: dict[str, Case] = {
    "decode-raw": _decode_case("raw"),
    "decode-zstd": _decode_case("zstd"),
    "decode-compact": _decode_case("compact"),
    "pixel-coder": _coder_case,
    "scatter": _scatter_case,
    "order": _order_case,
    "index": _index_case,
    "loader-raw": _loader_case("raw"),
    "loader-zstd": _loader_case("zstd"),
    "loader-compact": _loader_case("compact"),
    "ingest": _ingest_case,
    "train-step": _train_case,
}
"""Name -> how to make the pair."""
