"""The short way for usual JPEGs gives Pillow's pixels, sees damage Pillow fills in, and leaves the rest to Pillow."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ferdata.images.decode import decode
from ferdata.images.jpeg_file import DamagedJpegError, decode_rgbx, read_head
from ferdata.images.transform import ImageCorruptError, Transform, TransformOptions
from ferdata.sample import SourceItem

simplejpeg = pytest.importorskip("simplejpeg")


def picture(width: int, height: int, seed: int) -> Image.Image:
    """A smooth picture with noise, as photographs are."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    return Image.fromarray(
        np.clip(np.asarray(coarse) + random.normal(0, 8, (height, width, 3)), 0, 255).astype(np.uint8)
    )


def encoded(image: Image.Image, **fields: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **fields)
    return file.getvalue()


@given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    quality=st.sampled_from([10, 60, 90, 95, 100]),
    subsampling=st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
    progressive=st.booleans(),
    grey=st.booleans(),
    seed=st.integers(0, 5),
)
@settings(max_examples=150, deadline=None)
def test_the_pixels_are_pillows(
    width: int, height: int, quality: int, subsampling: str, progressive: bool, grey: bool, seed: int
) -> None:
    """Bit for bit, for every size and every way Pillow encodes; and it is really taken."""
    image = picture(width, height, seed).convert("L" if grey else "RGB")
    data = encoded(image, quality=quality, subsampling=subsampling, progressive=progressive)

    head = read_head(data)

    assert head is not None and (head.width, head.height, head.is_grey) == (width, height, grey) and head.is_usual
    pixels = decode_rgbx(data, head)
    assert pixels is not None and np.array_equal(
        pixels[:, :, :3], np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    )


@pytest.mark.parametrize("size", [24, 40])
@pytest.mark.parametrize("box", [None, (3.0, 5.0, 20.0, 11.0)])
def test_crops_and_resizes_start_from_the_same_pixels(size: int, box: tuple[float, ...] | None) -> None:
    """The transform joins both ways after the decoder."""
    data = encoded(picture(40, 40, 1), quality=90)
    item = SourceItem(key="a", path="a.jpg", split="train", label=0, source_label="0", box=box)

    pixels = Transform(TransformOptions(size=size)).apply(data, item).pixels

    image = Image.open(io.BytesIO(data))
    image = image.crop((3, 5, 23, 16)) if box else image
    expected = image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BILINEAR)
    assert np.array_equal(pixels, np.asarray(expected).transpose(2, 0, 1))


def test_the_start_of_the_scan_is_found_behind_every_kind_of_segment() -> None:
    """Comments, profiles and fill bytes stand in front of it."""
    data = encoded(
        picture(20, 10, 0), comment=b"a comment \xff\xda in which a scan seems to begin", icc_profile=b"p" * 70_000
    )
    padded = data[:2] + b"\xff\xff\xff" + data[2:]

    for variant in (data, padded):
        head = read_head(variant)
        assert head is not None and (head.width, head.height) == (20, 10) and not head.has_app1
        assert variant[head.scan_start - 12 - 2 : head.scan_start - 12] == b"\xff\xda"


def test_an_exif_block_is_seen() -> None:
    """So that its orientation is read."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(picture(20, 10, 0), exif=exif)

    assert read_head(data).has_app1
    decoded = decode(data, max_pixels=1000, where="a")
    assert decoded.orientation == 6 and decoded.size == (20, 10) and decoded.rgbx is not None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xe0",
        b"\xff\xd8\xff\xe0\x00\x00",
        b"\xff\xd8\xff\xda\x00\x02",
        b"\xff\xd8" + b"\xff" * 9,
        bytes(50),
    ],
)
def test_heads_that_end_early_are_left_to_pillow(data: bytes) -> None:
    """No index error, no endless loop."""
    assert read_head(data) is None


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    """Heads come from strangers."""
    read_head(b"\xff\xd8\xff" + data)


def test_unusual_jpegs_are_left_to_pillow() -> None:
    """CMYK, RGB without the YCbCr step, and 4:4:0, which Pillow cannot write and the two were not compared on."""
    image = picture(32, 32, 0)
    upright = bytearray(encoded(image, subsampling="4:2:2"))
    sampling = upright.index(b"\xff\xc0") + 11
    assert upright[sampling] == 0x21
    upright[sampling] = 0x12
    plain = encoded(image)
    adobe_rgb = plain[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00" + plain[2:]
    variants = [encoded(image.convert("CMYK")), adobe_rgb, bytes(upright)]

    for data in variants:
        head = read_head(data)
        assert head is not None and not head.is_usual and decode_rgbx(data, head) is None
        assert decode(data, max_pixels=10_000, where="a").image is not None


def scan_bytes(data: bytes) -> tuple[int, int]:
    head = read_head(data)
    assert head is not None
    return head.scan_start, len(data) - 2


@pytest.mark.parametrize("progressive", [False, True])
def test_a_scan_that_stops_early_is_damage(progressive: bool) -> None:
    """With an end marker in its middle, Pillow returns a picture whose lower part is made up."""
    data = encoded(picture(64, 64, 2), quality=90, progressive=progressive)
    start, end = scan_bytes(data)
    cut = data[: (start + end) // 2] + b"\xff\xd9"
    Image.open(io.BytesIO(cut)).load()

    with pytest.raises(DamagedJpegError, match=r"(?i)premature end"):
        decode_rgbx(cut, read_head(cut))
    with pytest.raises(ImageCorruptError, match=r"a: DamagedJpegError: .*premature end.*, expected an intact image"):
        decode(cut, max_pixels=10_000, where="a")


def test_damage_in_the_scan_is_never_another_pixel_than_pillows() -> None:
    """Overwritten stretches are either seen, or decoded as Pillow decodes them."""
    data = encoded(picture(64, 64, 3), quality=90)
    start, end = scan_bytes(data)
    compared = 0
    for position in range(start, end - 8, 17):
        damaged = data[:position] + b"\x00\x00\x5a\xa5\x00\x11\x22" + data[position + 7 :]
        try:
            pixels = decode_rgbx(damaged, read_head(damaged))
        except DamagedJpegError:
            continue
        if pixels is not None:
            assert np.array_equal(pixels[:, :, :3], np.asarray(Image.open(io.BytesIO(damaged))))
            compared += 1
    assert compared > 0


@pytest.mark.parametrize("first", [(64, 64), (16, 16), (32, 31)])
def test_two_frame_headers_of_different_sizes_are_left_to_pillow(first: tuple[int, int]) -> None:
    """The memory is made from what our reader of the head found; libjpeg must have found the same."""
    data = encoded(picture(32, 32, 0))
    second = data.index(b"\xff\xc0")
    frame = data[second : second + 19]
    other = frame[:5] + struct.pack(">HH", *first) + frame[9:]

    for headers in (other + frame, frame + other):
        doubled = data[:second] + headers + data[second + 19 :]
        head = read_head(doubled)
        assert head is not None
        try:
            assert decode_rgbx(doubled, head) is None
        except DamagedJpegError:
            assert first == (64, 64)
