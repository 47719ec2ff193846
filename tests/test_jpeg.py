"""JPEG members: the very pixels Pillow gives, planar, in the batch's row; anything else is refused."""

import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from ferdata.errors import OptionError, ShardCorruptError
from ferdata.format import jpeg
from ferdata.format.jpeg import JpegDecoder, jpeg_problem
from ferdata_bench.photos import find_photographs

ROOT = Path(jpeg.__file__).resolve().parents[2]
SIZES = [(1, 1), (1, 17), (16, 1), (7, 9), (8, 8), (31, 33), (100, 100), (101, 57)]


def picture(height: int, width: int, kind: str = "ramps") -> np.ndarray:
    """uint8 [H, W, 3]: a piece of a photograph, ramps that saturate, or noise."""
    if kind == "photo":
        with Image.open(find_photographs()[0]) as photograph:
            return np.asarray(photograph.convert("RGB").crop((40, 30, 40 + width, 30 + height)))
    y, x = np.mgrid[:height, :width]
    ramps = np.stack([x * 9 - 40, y * 11 - x, 255 - x * y], axis=2)
    noise = np.random.default_rng(height * 1000 + width).integers(-30, 30, ramps.shape) * (kind == "noise")
    return np.clip(ramps % 400 + noise, 0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **({"quality": 90} | options))
    return file.getvalue()


def pillow(source: bytes) -> np.ndarray:
    """uint8 [3, H, W], as everybody who uses Pillow sees the image."""
    with Image.open(io.BytesIO(source)) as image:
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def decoded(source: bytes, shape: tuple[int, int, int], *, fast: bool = True) -> np.ndarray:
    row = np.full(shape[0] * shape[1] * shape[2], 99, np.uint8)
    JpegDecoder(shape, fast=fast).decode_into(source, row)
    return row.reshape(shape)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("kind", ["photo", "ramps", "noise"])
@pytest.mark.parametrize("height, width", SIZES)
def test_pixels_are_those_of_pillow(height: int, width: int, kind: str, fast: bool) -> None:
    """Whoever moves from a folder of JPEGs to shards must not train on other pixels, however the JPEG was made."""
    pixels = picture(height, width, kind)
    for subsampling in (0, 1, 2):
        for options in (
            {},
            {"quality": 30},
            {"quality": 100},
            {"progressive": True},
            {"optimize": True},
            {"restart_marker_blocks": 1},
            {"restart_marker_rows": 1, "progressive": True},
            {"exif": b"Exif\0\0" + b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"},
        ):
            source = encoded(pixels, subsampling=subsampling, **options)
            assert np.array_equal(decoded(source, (3, height, width), fast=fast), pillow(source)), (subsampling, options)


@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411", "Gray"])
@pytest.mark.parametrize("height, width", SIZES)
def test_rarer_ways_to_thin_out_colours_are_right_too(subsampling: str, height: int, width: int) -> None:
    """Pillow reads layouts that it cannot write; cameras and converters write them."""
    source = simplejpeg.encode_jpeg(np.ascontiguousarray(picture(height, width, "photo")), quality=85, colorsubsampling=subsampling)

    assert np.array_equal(decoded(source, (3, height, width)), pillow(source))


def test_grey_jpegs_become_three_equal_planes() -> None:
    """AffectNet holds grey images, and a batch has three channels."""
    grey = picture(40, 50)[..., 0]
    for options in ({}, {"progressive": True}):
        source = encoded(grey, **options)

        pixels = decoded(source, (3, 40, 50))

        assert np.array_equal(pixels, pillow(source))
        assert np.array_equal(pixels[0], pixels[2])


def test_rgb_stored_without_a_colour_transform_is_read_as_rgb() -> None:
    """Adobe's marker says what the three components are."""
    source = encoded(picture(30, 30), keep_rgb=True)

    assert np.array_equal(decoded(source, (3, 30, 30)), pillow(source))


def test_what_libjpeg_only_warns_of_is_still_read_as_pillow_reads_it() -> None:
    """Junk between or behind segments is common in the wild, and Pillow does not mind."""
    source = encoded(picture(30, 44))
    scan = source.index(b"\xff\xda")
    for odd in (source + b"trailing junk", source[:20] + b"\0\0\0" + source[20:], source[:scan] + b"\0\0" + source[scan:]):
        assert np.array_equal(decoded(odd, (3, 30, 44)), pillow(odd))


@pytest.mark.parametrize("fast", [True, False])
def test_cmyk_is_refused(fast: bool) -> None:
    """Four inks have no exact RGB; such images go through the transform and another codec."""
    for pixels in (picture(16, 24), picture(16, 24, "photo")):
        file = io.BytesIO()
        Image.fromarray(pixels).convert("CMYK").save(file, "JPEG")
        with pytest.raises(ShardCorruptError, match="a JPEG of CMYK 16 x 24 pixels found, expected RGB or L 16 x 24"):
            decoded(file.getvalue(), (3, 16, 24), fast=fast)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("height, width", [(30, 40), (41, 30), (40, 31), (20, 15), (30, 40)])
def test_another_size_is_refused(height: int, width: int, fast: bool) -> None:
    """A row has room for one size; the same number of pixels in another shape is as wrong."""
    source = encoded(picture(height, width))

    with pytest.raises(ShardCorruptError, match=f"a JPEG of RGB {height} x {width} pixels found, expected RGB or L 40 x 30"):
        decoded(source, (3, 40, 30), fast=fast)


@pytest.mark.parametrize("fast", [True, False])
def test_what_is_no_whole_jpeg_is_refused(fast: bool) -> None:
    """A cut file must not become a half grey image; other formats are not what the member's name says."""
    source = encoded(picture(64, 64, "noise"))
    png = io.BytesIO()
    Image.fromarray(picture(64, 64)).save(png, "PNG")
    for damaged in (b"", b"\xff\xd8", source[:100], source[: len(source) // 2], source[:-200], png.getvalue(), b"\0" * 500):
        with pytest.raises(ShardCorruptError, match=f"{len(damaged):,} bytes are not a whole JPEG"):
            decoded(damaged, (3, 64, 64), fast=fast)


def test_a_jpeg_that_claims_to_be_huge_is_refused_without_its_memory() -> None:
    """The claim alone must cost nothing."""
    source = encoded(picture(16, 16))
    frame = source.index(b"\xff\xc0")
    huge = source[: frame + 5] + struct.pack(">HH", 65000, 65000) + source[frame + 9 :]

    with pytest.raises(ShardCorruptError, match=r"not a whole JPEG|expected RGB or L 16 x 16"):
        decoded(huge, (3, 16, 16))


def test_bits_that_flip_give_pillows_pixels_or_an_error() -> None:
    """Entropy-coded data has no checksum of its own: what comes out must at least never depend on the decoder."""
    source, rng = encoded(picture(48, 48, "noise"), subsampling=2), np.random.default_rng(1)
    for _ in range(200):
        damaged = bytearray(source)
        damaged[rng.integers(2, len(source))] ^= 1 << rng.integers(0, 8)
        try:
            expected = pillow(bytes(damaged))
        except (OSError, SyntaxError, ValueError):
            expected = None
        try:
            found = decoded(bytes(damaged), (3, 48, 48))
        except ShardCorruptError:
            continue
        assert expected is not None
        assert np.array_equal(found, expected)


def test_a_row_of_a_batch_is_filled_and_its_neighbours_are_not() -> None:
    """Rows are neighbours in shared memory."""
    source = encoded(picture(21, 19))
    ring = np.full((3, 3 * 21 * 19), 0x5A, np.uint8)

    JpegDecoder((3, 21, 19)).decode_into(memoryview(source), ring[1])

    assert np.array_equal(ring[1].reshape(3, 21, 19), pillow(source))
    assert (ring[[0, 2]] == 0x5A).all()


def test_only_what_decodes_to_the_very_pixels_may_stand_for_them() -> None:
    """The codec keeps source bytes; it may not keep those of an image that the transform has changed."""
    source = encoded(picture(24, 32))
    pixels = np.ascontiguousarray(pillow(source))
    changed = pixels.copy()
    changed[1, 5, 5] ^= 1

    assert jpeg_problem(source, pixels) == ""
    assert jpeg_problem(source, changed) == "the transform changed its pixels"
    assert "a JPEG of RGB 24 x 32 pixels found, expected RGB or L 20 x 20" in jpeg_problem(source, np.zeros((3, 20, 20), np.uint8))
    assert "not a whole JPEG" in jpeg_problem(b"no image", pixels)
    assert "expected [3, H, W]" in jpeg_problem(source, pixels[:1])


def test_shapes_that_no_jpeg_has_are_refused() -> None:
    """The codec is for RGB images."""
    for shape in ((1, 8, 8), (3, 0, 8), (3, 8)):
        with pytest.raises(OptionError, match=r"expected \[3, H, W\]"):
            JpegDecoder(shape)
    for memory in (np.empty((8, 8, 2), np.uint8), np.empty((3, 8, 8), np.int8), np.empty((8, 3, 8), np.uint8).swapaxes(0, 1)):
        with pytest.raises(OptionError, match=r"expected contiguous uint8 memory for pixels \[3, 8, 8\]"):
            JpegDecoder((3, 8, 8)).decode_into(encoded(picture(8, 8)), memory)


def test_without_simplejpeg_pillow_does_the_work(tmp_path: Path) -> None:
    """simplejpeg is a matter of speed, never of what can be read."""
    source = encoded(picture(33, 18, "photo"))
    (tmp_path / "simplejpeg.py").write_text("raise ImportError('not installed')\n")
    (tmp_path / "face.jpg").write_bytes(source)
    script = (
        "import sys, numpy as np\nfrom ferdata.format.jpeg import JpegDecoder\nout = np.empty((3, 33, 18), np.uint8)\n"
        "JpegDecoder(out.shape).decode_into(open('face.jpg', 'rb').read(), out); sys.stdout.buffer.write(out.tobytes())\n"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""},
        capture_output=True,
        check=True,
        timeout=60,
    )

    assert done.stdout == pillow(source).tobytes()
