"""The ways of storing images that the codec study compares: our codecs, and lossless ones that others publish.

In: pixels, or their JPEG files. Out: stored bodies, and what undoes one of them. All are called image by image, with
one thread; those of ``imagecodecs`` give interleaved pixels, the others planes.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from ferdata.format import make_codec
from ferdata.sample import TensorSpec

__all__ = ["PUBLISHED", "Photographs", "Way", "our_ways"]

ZSTD_LEVELS = (-20, -10, -5, -1, 1, 3)
Decode: TypeAlias = Callable[[Any, np.ndarray], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Photographs:
    """Real images of one size.

    Attributes:
        pixels: uint8 ``[N, 3, H, W]``.
        jpegs: The files that these are the pixels of; empty where they never were JPEG.
    """

    pixels: np.ndarray
    jpegs: Sequence[bytes] = ()

    @property
    def kind(self) -> str:
        """What the study calls them."""
        return "JPEG" if self.jpegs else "pristine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to store images.

    Attributes:
        name: For tables.
        library: Whose it is.
        stored: One body for each photograph.
        decode: Undoes a body into a row, uint8 ``[3 * H * W]``.
        is_planar: Whether the row is then ``[3, H, W]``, not ``[H, W, 3]``.
    """

    name: str
    library: str
    stored: Sequence[bytes]
    decode: Decode
    is_planar: bool = False


def our_ways(images: Photographs) -> list[Way]:
    """Return every codec of ferdata, ``zstd`` at several levels; ``jpeg`` only where there are files."""
    settings: list[tuple[str, int | None]] = [("raw", None), ("compact", None)]
    settings += [("zstd", level) for level in ZSTD_LEVELS]
    return [_ours(name, level, images) for name, level in [*settings, *([("jpeg", None)] if images.jpegs else [])]]


def _ours(name: str, level: int | None, images: Photographs) -> Way:
    codec, spec = make_codec(name, level), TensorSpec(dtype="uint8", shape=images.pixels.shape[1:])
    encode, stored = codec.encoder(spec), []
    sources = images.jpegs or itertools.repeat(None, len(images.pixels))
    for pixels, source in zip(images.pixels, sources, strict=True):
        pieces: list[Any] = []
        codec.container.writer(pieces.append).add(b"", b"head", memoryview(encode(pixels, source)).cast("B"))
        stored.append(bytes(pieces[-1]))
    label = name if level is None else f"{name} {level}"
    return Way(name=label, library="ferdata", stored=stored, decode=codec.decoder(spec).one, is_planar=True)


def _imagecodecs_ways(images: Photographs, ic: ModuleType) -> list[Way]:
    shape = (*images.pixels.shape[2:], 3)
    pixels = [np.ascontiguousarray(each.transpose(1, 2, 0)) for each in images.pixels]

    def way(name: str, encode: Callable[[np.ndarray], bytes], decode: Callable[..., Any], *, flat: bool = False) -> Way:
        into = (
            (lambda body, row: decode(body, out=row))
            if flat
            else lambda body, row: decode(body, out=row.reshape(shape))
        )
        return Way(name=name, library="imagecodecs", stored=[encode(each) for each in pixels], decode=into)

    def blosc(name: str, compressor: str) -> Way:
        options = {"compressor": compressor, "shuffle": ic.BLOSC.SHUFFLE.BITSHUFFLE, "typesize": 1, "numthreads": 1}
        encode = lambda each: ic.blosc_encode(each.tobytes(), level=5, **options)  # noqa: E731
        return way(name, encode, partial(ic.blosc_decode, numthreads=1), flat=True)

    def png_in_zstd() -> Way:
        stored_png = partial(ic.png_encode, level=0, strategy=ic.PNG.STRATEGY.FILTERED, filter=ic.PNG.FILTER.ALL)
        encode = lambda each: ic.zstd_encode(stored_png(each), level=1)  # noqa: E731
        decode = lambda body, out: ic.png_decode(ic.zstd_decode(body), out=out)  # noqa: E731
        return way("PNG's filters + zstd 1", encode, decode)

    def jpeg_xl(effort: int) -> Way:
        encode = partial(ic.jpegxl_encode, effort=effort, lossless=True, numthreads=1)
        return way(f"JPEG XL, effort {effort}", encode, partial(ic.jpegxl_decode, numthreads=1))

    return [
        way("QOI", ic.qoi_encode, ic.qoi_decode),
        way(
            "PNG",
            partial(ic.png_encode, level=6, strategy=ic.PNG.STRATEGY.RLE, filter=ic.PNG.FILTER.ALL),
            ic.png_decode,
        ),
        png_in_zstd(),
        way("WebP", partial(ic.webp_encode, lossless=True, level=100, method=4), ic.webp_decode),
        way("JPEG-LS", ic.jpegls_encode, ic.jpegls_decode),
        *(jpeg_xl(effort) for effort in (1, 2, 3)),
        way("HTJ2K", partial(ic.htj2k_encode, reversible=True), ic.htj2k_decode),
        blosc("Blosc, bit shuffle + zstd", "zstd"),
        blosc("Blosc, bit shuffle + LZ4", "lz4"),
    ]


def _openzl_ways(images: Photographs, zl: ModuleType) -> list[Way]:
    nodes, graphs = zl.nodes, zl.graphs

    def way(name: str, build: Callable[[Any], Any]) -> Way:
        compressor = zl.Compressor()
        compressor.select_starting_graph(build(compressor))
        return Way(
            name=name,
            library="openzl",
            stored=[encode(compressor, each) for each in images.pixels],
            decode=decode,
            is_planar=True,
        )

    def encode(compressor: Any, pixels: np.ndarray) -> bytes:
        context = zl.CCtx()
        context.ref_compressor(compressor)
        context.set_parameter(zl.CParam.FormatVersion, zl.MAX_FORMAT_VERSION)
        data = pixels.tobytes()  # an Input does not keep it alive
        return bytes(context.compress([zl.Input(zl.Type.Serial, data)]))

    def decode(body: bytes, row: np.ndarray) -> None:
        (output,) = zl.DCtx().decompress(body)
        row[:] = output.content.as_nparray()

    def differences(compressor: Any) -> Any:
        graph = graphs.Huffman()(compressor)
        for node in (nodes.Zigzag, nodes.DeltaInt, nodes.ConvertSerialToNum8):
            graph = node()(compressor, graph)
        return graph

    return [way("OpenZL, differences + Huffman", differences), way("OpenZL as it comes", graphs.Compress())]


PUBLISHED: dict[str, tuple[str, Callable[[Photographs, ModuleType], list[Way]]]] = {
    "imagecodecs": ("imagecodecs", _imagecodecs_ways),
    "openzl": ("openzl.ext", _openzl_ways),
}
"""Library -> the module to import, and its lossless codecs at the settings that are worth their time."""
