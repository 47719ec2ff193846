"""The transform: every kind of image file people have becomes the tensor Pillow gives, or a reject with its reason."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, features

from ferdata.decode import to_rgb
from ferdata.errors import OptionError, TransformError
from ferdata.sample import SourceItem
from ferdata.transform import (
    BoxInvalidError,
    ImageCorruptError,
    ImageTooLargeError,
    ImageUnsupportedError,
    Transform,
    TransformOptions,
    crop_box,
)

WIDTH, HEIGHT = 40, 30
ORIENTATION_TAG = 0x0112


def gradient(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """An RGB picture whose every pixel differs from its neighbours and whose corners all differ."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 6 % 256, y * 8 % 256, (x * 3 + y * 5) % 256], axis=2).astype(np.uint8))


def encoded(image: Image.Image, format_name: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format_name, **options)
    return file.getvalue()


def item(**fields: object) -> SourceItem:
    return SourceItem(**({"key": "a", "path": "a.jpg", "split": "train", "label": 0, "source_label": "0"} | fields))


def apply(data: bytes, *, size: int = 24, crop: str = "box", **fields: object):
    return Transform(TransformOptions(size=size, crop=crop)).apply(data, item(**fields))


def expected(image: Image.Image, size: int = 24) -> np.ndarray:
    """What plain Pillow gives."""
    return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


def test_an_rgb_jpeg_of_the_right_size_is_exactly_its_decoded_pixels() -> None:
    """The common case must not touch a pixel, and must say so for the codec that keeps source bytes."""
    data = encoded(gradient(24, 24), "JPEG", quality=90)

    result = apply(data)

    assert np.array_equal(result.pixels, np.asarray(Image.open(io.BytesIO(data))).transpose(2, 0, 1))
    assert result.pixels.dtype == np.uint8 and result.pixels.flags.c_contiguous and result.pixels.flags.writeable
    assert result.unchanged and result.repairs == () and result.source_size == (24, 24)


def test_a_file_of_another_size_is_resized_as_pillow_does() -> None:
    """Antialiased bilinear, without keeping the aspect ratio."""
    data = encoded(gradient(), "JPEG", quality=90)

    result = apply(data)

    assert np.array_equal(result.pixels, expected(Image.open(io.BytesIO(data))))
    assert not result.unchanged and result.source_size == (WIDTH, HEIGHT)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_the_content_decides_the_format_and_not_the_name(format_name: str) -> None:
    """AffectNet holds PNG and BMP files called .jpg."""
    data = encoded(gradient(), format_name)

    result = apply(data, path="face.JPG")

    assert np.array_equal(result.pixels, expected(Image.open(io.BytesIO(data))))


def test_two_calls_give_arrays_of_their_own() -> None:
    """A reused buffer would overwrite the sample before it is stored."""
    first = apply(encoded(Image.new("RGB", (24, 24), (9, 9, 9)), "PNG")).pixels
    second = apply(encoded(Image.new("RGB", (24, 24), (200, 0, 0)), "PNG")).pixels

    assert (first == 9).all() and (second[0] == 200).all()


# Modes


@pytest.mark.parametrize(
    ("mode", "format_name", "repair"),
    [
        ("L", "JPEG", "grey_to_rgb"),
        ("L", "PNG", "grey_to_rgb"),
        ("1", "PNG", "grey_to_rgb"),
        ("P", "PNG", "palette_to_rgb"),
        ("P", "GIF", "palette_to_rgb"),
        ("CMYK", "TIFF", "cmyk_to_rgb"),
    ],
)
def test_every_mode_becomes_the_rgb_that_pillow_converts_it_to(mode: str, format_name: str, repair: str) -> None:
    """And the repair is named, so that the summary can count it."""
    data = encoded(gradient().convert(mode), format_name)

    result = apply(data)

    assert np.array_equal(result.pixels, expected(Image.open(io.BytesIO(data))))
    assert result.repairs == (repair,)


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "RGBX"])
def test_rare_colour_modes_are_converted(mode: str) -> None:
    """Files of these modes are hard to come by, and older Pillow cannot write them."""
    rgb, repairs = to_rgb(gradient().convert(mode), (255, 255, 255), where="a")

    assert np.array_equal(np.asarray(rgb), np.asarray(gradient().convert(mode).convert("RGB")))
    assert repairs == ([] if mode == "RGBX" else ["colour_to_rgb"])


def test_a_lab_picture_is_converted_or_rejected() -> None:
    """Pillow needs its colour management for it, which some builds lack; neither may end the run."""
    try:
        rgb, repairs = to_rgb(Image.new("LAB", (4, 4), (255, 128, 128)), (255, 255, 255), where="a")
    except ImageUnsupportedError as error:
        assert str(error).startswith("a: mode LAB: ")
        assert not features.check("littlecms2")
    else:
        assert repairs == ["colour_to_rgb"] and min(rgb.getpixel((0, 0))) > 240


def test_a_grey_jpeg_counts_as_unchanged() -> None:
    """A decoder asked for RGB gives its grey three times, so its own bytes can be kept."""
    assert apply(encoded(gradient(24, 24).convert("L"), "JPEG")).unchanged
    assert not apply(encoded(gradient(24, 24).convert("CMYK"), "JPEG")).unchanged


@pytest.mark.parametrize("kind", ["CMYK", "YCCK"])
def test_cmyk_jpegs_are_not_negatives(kind: str) -> None:
    """Adobe stores CMYK inverted; a reader that does not mind it turns every face into a negative."""
    cyan, magenta, yellow, black = Image.new("RGB", (24, 24), (250, 40, 30)).convert("CMYK").split()
    if kind == "YCCK":
        stored = Image.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr").split()
        cyan, magenta, yellow = (plane.point(lambda value: 255 - value) for plane in stored)
    data = bytearray(encoded(Image.merge("CMYK", (cyan, magenta, yellow, black)), "JPEG", quality=100, subsampling=0))
    transform_flag = data.index(b"Adobe") + 11
    assert data[transform_flag] == 0
    data[transform_flag] = 2 if kind == "YCCK" else 0

    result = apply(bytes(data))

    assert np.abs(result.pixels[:, 12, 12].astype(int) - [250, 40, 30]).max() <= 3
    assert np.array_equal(result.pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).transpose(2, 0, 1))
    assert result.repairs == ("cmyk_to_rgb",)


def alpha_picture(mode: str) -> Image.Image:
    picture = gradient(24, 24).convert("RGBA")
    picture.putalpha(Image.fromarray(np.tile(np.arange(24, dtype=np.uint8) * 11, (24, 1))))
    return picture.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("background", [(255, 255, 255), (10, 200, 30)])
def test_transparency_shows_the_stated_background(mode: str, background: tuple[int, int, int]) -> None:
    """Dropping alpha would show whatever colour the editor left under the transparent parts."""
    picture = alpha_picture(mode)
    result = Transform(TransformOptions(size=24, background=background)).apply(encoded(picture, "PNG"), item())

    rgba = np.asarray(picture.convert("RGBA")).astype(float)
    alpha = rgba[..., 3:] / 255
    blended = rgba[..., :3] * alpha + np.array(background) * (1 - alpha)
    assert np.abs(result.pixels.transpose(1, 2, 0) - blended).max() <= 1
    assert "alpha_flattened" in result.repairs and not result.unchanged


def test_a_palette_with_transparent_entries_shows_the_background() -> None:
    """GIF and PNG8 mark a colour as transparent; it is not the colour that was meant to be seen."""
    picture = Image.new("P", (24, 24), 1)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.paste(0, (0, 0, 12, 24))

    result = apply(encoded(picture, "PNG", transparency=0))

    assert (result.pixels[:, :, :12] == 255).all() and result.pixels[:, 0, 23].tolist() == [0, 0, 255]
    assert result.repairs == ("palette_to_rgb", "alpha_flattened")


def test_a_palette_with_partial_transparency_is_blended() -> None:
    """PNG8 gives every entry its own alpha, as bytes."""
    picture = Image.new("P", (24, 24), 0)
    picture.putpalette([0, 0, 0, 9, 9, 9])

    assert apply(encoded(picture, "PNG", transparency=bytes([127, 255]))).pixels.mean() == pytest.approx(128, abs=1)


def test_a_colour_key_shows_the_background() -> None:
    """PNG can declare one RGB or grey value as transparent."""
    picture = Image.new("RGB", (24, 24), (1, 2, 3))
    picture.paste((50, 60, 70), (12, 0, 24, 24))

    result = apply(encoded(picture, "PNG", transparency=(1, 2, 3)))

    assert (result.pixels[:, :, :12] == 255).all() and result.pixels[:, 0, 23].tolist() == [50, 60, 70]


@pytest.mark.parametrize("alpha", [0, 255])
def test_an_alpha_channel_that_is_the_same_everywhere_is_dropped(alpha: int) -> None:
    """Opaque it says nothing; zero throughout comes from broken writers, and white pictures would be put in place of faces."""
    picture = gradient(24, 24).convert("RGBA")
    picture.putalpha(alpha)

    result = apply(encoded(picture, "PNG"))

    assert np.array_equal(result.pixels, np.asarray(gradient(24, 24)).transpose(2, 0, 1))
    assert result.repairs == ("alpha_dropped",)


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(format_name: str) -> None:
    """A plain convert() in older Pillow turns everything above 255 white."""
    values = np.linspace(0, 65535, 24 * 24).round().astype(np.uint16).reshape(24, 24)
    data = encoded(Image.fromarray(values), format_name) if format_name != "PPM" else b"P5 24 24 65535\n" + values.astype(">u2").tobytes()

    result = apply(data)

    assert np.array_equal(result.pixels, np.stack([values >> 8] * 3))
    assert result.repairs == ("depth_reduced",)


def test_a_crop_of_a_sixteen_bit_image_is_scaled_too() -> None:
    """The crop comes before the conversion."""
    values = (np.arange(900, dtype=np.uint16) * 72).reshape(30, 30)

    result = apply(encoded(Image.fromarray(values), "PNG"), box=(2.0, 3.0, 24.0, 24.0))

    assert np.array_equal(result.pixels[1], values[3:27, 2:26] >> 8)


def sixteen_bit_rgb_png(values: np.ndarray) -> bytes:
    """Pillow writes none, so the chunks are made here."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)


def test_sixteen_bit_colour_keeps_its_high_byte() -> None:
    """The same scale as grey, so that both look alike."""
    values = (np.arange(24 * 24 * 3) * 37).astype(np.uint16).reshape(24, 24, 3)

    assert np.array_equal(apply(sixteen_bit_rgb_png(values)).pixels, (values >> 8).transpose(2, 0, 1))


@pytest.mark.parametrize(("scale", "factor"), [(1.0, 255.0), (255.0, 1.0), (60000.0, 1 / 256)])
def test_float_images_are_read_by_their_range(scale: float, factor: float) -> None:
    """Scientific TIFF holds 0..1, 0..255 or 16-bit values as floats."""
    values = np.linspace(0, scale, 24 * 24, dtype=np.float32).reshape(24, 24)

    result = apply(encoded(Image.fromarray(values), "TIFF"))

    assert np.abs(result.pixels[0] - values * factor).max() <= 1


@pytest.mark.parametrize(
    "values", [np.full((24, 24), 1e6, np.float32), np.full((24, 24), -3.0, np.float32), np.full((24, 24), np.nan, np.float32)]
)
def test_values_without_an_agreed_scale_are_rejected(values: np.ndarray) -> None:
    """Guessing would store a blank picture."""
    with pytest.raises(ImageUnsupportedError, match=r"a.jpg: grey values .* found, expected 16 bits"):
        apply(encoded(Image.fromarray(values), "TIFF"))


def test_the_first_page_of_several_is_taken() -> None:
    """Multi-page TIFF and animated GIF occur; the page is said."""
    pages = [Image.new("RGB", (24, 24), (value, 0, 0)) for value in (200, 100)]
    for format_name in ("TIFF", "GIF", "WEBP"):
        data = encoded(
            pages[0], format_name, save_all=True, append_images=pages[1:], **({"lossless": True} if format_name == "WEBP" else {})
        )

        result = apply(data)

        assert (result.pixels[0] == 200).all() and result.repairs[0] == "first_page"


# EXIF orientation


def oriented(orientation: int, format_name: str, image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    if format_name == "TIFF":
        return encoded(image, "TIFF", tiffinfo={ORIENTATION_TAG: orientation})
    return encoded(image, format_name, exif=exif, **({"quality": 95, "subsampling": 0} if format_name == "JPEG" else {}))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF"])
def test_pictures_are_turned_upright(orientation: int, format_name: str) -> None:
    """All eight EXIF orientations give what Pillow's own exif_transpose gives."""
    data = oriented(orientation, format_name, gradient())
    upright = Image.open(io.BytesIO(data))
    upright.load()
    upright = upright if format_name == "TIFF" else ImageOps.exif_transpose(upright)

    result = apply(data)

    assert np.array_equal(result.pixels, expected(upright))
    assert result.source_size == (WIDTH, HEIGHT)
    assert ("exif_rotated" in result.repairs) == (orientation != 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF"])
def test_box_and_landmarks_are_given_in_stored_pixels(orientation: int, format_name: str) -> None:
    """The crop is cut before the turn, and a landmark still sits on its pixel afterwards."""
    size, box, points = 24, (8.0, 4.0, 24.0, 24.0), [(13, 9), (26, 21), (8, 4), (31, 27)]
    picture = Image.new("RGB", (WIDTH, HEIGHT))
    for number, point in enumerate(points):
        picture.putpixel(point, (90 + 50 * number, 0, 0))
    if format_name == "JPEG":
        picture = picture.resize((WIDTH * 8, HEIGHT * 8), Image.Resampling.NEAREST)
        size, box, points = 192, tuple(8 * v for v in box), [(8 * x + 4, 8 * y + 4) for x, y in points]
    data = oriented(orientation, format_name, picture)

    result = apply(data, size=size, box=box, landmarks=[value for point in points for value in point])

    assert result.landmarks is not None
    for number, (x, y) in enumerate(result.landmarks.reshape(-1, 2)):
        assert result.pixels[0, round(y), round(x)] == pytest.approx(90 + 50 * number, abs=6), (number, x, y)
        assert abs(x - round(x)) < 1e-6


def test_landmarks_follow_a_resize() -> None:
    """Pixel centres: the centre of the picture stays its centre, and a corner pixel's centre moves by half a pixel's change."""
    result = apply(encoded(gradient(48, 96), "PNG"), landmarks=[23.5, 47.5, 0.0, 0.0])

    assert result.landmarks is not None
    assert result.landmarks.tolist() == [11.5, 11.5, -0.25, -0.375]


def test_landmarks_stay_as_they_are_where_the_pixels_do() -> None:
    """No rounding, no shift."""
    values = [0.1, 5.25, 23.9, -3.0]

    result = apply(encoded(gradient(24, 24), "PNG"), landmarks=values)

    assert result.landmarks is not None and result.landmarks.tolist() == values
    assert apply(encoded(gradient(24, 24), "PNG")).landmarks is None


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage that is no TIFF", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03"]
)
def test_a_damaged_exif_block_does_not_cost_the_picture(exif: bytes, recwarn: pytest.WarningsRecorder) -> None:
    """Pillow warns or raises there; the pixels are intact."""
    data = encoded(gradient(24, 24), "JPEG", quality=90)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif

    result = apply(data[:2] + segment + data[2:])

    assert np.array_equal(result.pixels, apply(data).pixels)
    assert not recwarn.list


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    """Some cameras write 0 for unknown."""
    result = apply(oriented(orientation, "JPEG", gradient()))

    assert "exif_rotated" not in result.repairs


# Boxes


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ((5.0, 6.0, 10.0, 12.0), (5, 6, 10, 12)),
        ((-4.0, -3.0, 20.0, 20.0), (0, 0, 16, 17)),
        ((30.0, 20.0, 50.0, 50.0), (30, 20, 10, 10)),
        ((4.6, 4.4, 10.0, 10.0), (5, 4, 10, 10)),
        ((-100.0, -100.0, 1000.0, 1000.0), (0, 0, 40, 30)),
    ],
)
def test_a_box_is_clamped_to_the_picture(box: tuple[float, float, float, float], inside: tuple[int, int, int, int]) -> None:
    """Rows y to y + h, columns x to x + w, each edge rounded and then clamped."""
    x, y, width, height = inside

    result = apply(encoded(gradient(), "PNG"), box=box)

    assert np.array_equal(result.pixels, expected(gradient().crop((x, y, x + width, y + height))))
    assert (result.repairs == ("box_clamped",)) == (box[2:] != (width, height))


@pytest.mark.parametrize(
    "box",
    [
        (40.0, 0.0, 5.0, 5.0),
        (0.0, 30.0, 5.0, 5.0),
        (-9.0, 0.0, 9.0, 5.0),
        (3.0, 3.0, 0.0, 5.0),
        (3.0, 3.0, 5.0, -2.0),
        (float("nan"), 0.0, 5.0, 5.0),
        (0.0, 0.0, float("inf"), 5.0),
        (3.1, 3.1, 0.2, 0.2),
    ],
)
def test_a_box_without_pixels_is_rejected_where_crops_are_asked_for(box: tuple[float, float, float, float]) -> None:
    """And ignored where they are not."""
    with pytest.raises(BoxInvalidError, match=r"a.jpg: box x .* found, expected one with pixels inside 40 x 30; correct the row") as caught:
        apply(encoded(gradient(), "PNG"), box=box)

    assert caught.value.reason == "box_invalid" and isinstance(caught.value, TransformError)
    assert np.array_equal(apply(encoded(gradient(), "PNG"), crop="none", box=box).pixels, expected(gradient()))


def test_a_box_that_is_the_whole_picture_leaves_it_unchanged() -> None:
    """Re-released crops carry such boxes."""
    assert apply(encoded(gradient(24, 24), "JPEG"), box=(0.0, 0.0, 24.0, 24.0)).unchanged


@given(
    box=st.tuples(*[st.floats(-60, 60), st.floats(-60, 60), st.floats(-5, 90), st.floats(-5, 90)]),
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
)
@settings(max_examples=200, deadline=None)
def test_a_crop_never_leaves_the_picture(box: tuple[float, float, float, float], size: tuple[int, int]) -> None:
    """Pillow would pad such a crop with black."""
    try:
        left, top, width, height = crop_box(box, size, where="a")
    except BoxInvalidError:
        return

    assert left >= 0 and top >= 0 and width > 0 and height > 0
    assert left + width <= size[0] and top + height <= size[1]
    assert abs(left - max(box[0], 0)) <= 0.5 and abs(left + width - min(box[0] + box[2], size[0])) <= 0.5


# Bad files


def corrupt_reason(data: bytes) -> str:
    with pytest.raises(ImageCorruptError, match=r"^faces/7\.jpg: .* found, expected|^faces/7\.jpg: .*, expected an intact image") as caught:
        apply(data, path="faces/7.jpg")
    assert caught.value.reason == "image_corrupt"
    return str(caught.value)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}], ids=["baseline", "progressive", "restart"])
def test_a_jpeg_cut_short_anywhere_is_rejected(options: dict[str, object]) -> None:
    """Never filled with grey: from the first byte to the missing end marker."""
    data = encoded(gradient(64, 64), "JPEG", quality=90, **options)

    for cut in [*range(0, len(data), 37), *range(len(data) - 12, len(data))]:
        corrupt_reason(data[:cut])


def test_a_jpeg_whose_tail_was_never_copied_is_rejected() -> None:
    """Interrupted copies leave zeros, which libjpeg decodes as grey without a word."""
    data = encoded(gradient(64, 64), "JPEG", quality=90)

    for cut in (len(data) // 2, len(data) - 40):
        corrupt_reason(data[:cut] + bytes(len(data) - cut))


def test_an_end_marker_in_the_exif_thumbnail_does_not_count() -> None:
    """The thumbnail is a whole JPEG of its own, in front of the scan."""
    data = encoded(gradient(64, 64), "JPEG", quality=90)
    exif = b"Exif\0\0" + encoded(gradient(8, 8), "JPEG")
    with_thumbnail = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]

    corrupt_reason(with_thumbnail[:-2])
    assert np.array_equal(apply(with_thumbnail).pixels, apply(data).pixels)


@pytest.mark.parametrize("tail", [b"\0" * 5000, b"trailing text", b"\xff\xd8\xff"])
def test_garbage_after_the_picture_does_no_harm(tail: bytes) -> None:
    """Phones append videos, forums append text."""
    data = encoded(gradient(24, 24), "JPEG", quality=90)

    assert np.array_equal(apply(data + tail).pixels, apply(data).pixels)


def test_a_png_with_a_wrong_checksum_is_rejected() -> None:
    """Pillow skips the checksums of pixel chunks."""
    data = bytearray(encoded(gradient(), "PNG"))
    for position in (20, data.index(b"IDAT") + 30, len(data) - 14):
        broken = bytearray(data)
        broken[position] ^= 1
        corrupt_reason(bytes(broken))


@pytest.mark.parametrize("format_name", ["PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_other_formats_cut_short_are_rejected(format_name: str) -> None:
    """None of them may come back with an invented lower half."""
    data = encoded(gradient(), format_name)

    for cut in (1, 9, 30, len(data) // 3, len(data) // 2, len(data) - len(data) // 5):
        corrupt_reason(data[:cut])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\xff\xd8\xff",
        b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        bytes(4096),
        bytes(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8)),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
        b"\x89PNG\r\n\x1a\n",
        b"version https://git-lfs.github.com/spec/v1\n",
    ],
    ids=["empty", "one byte", "marker", "html", "zeros", "noise", "eps", "png signature", "lfs pointer"],
)
def test_what_is_no_image_is_rejected(data: bytes) -> None:
    """Download errors saved under image names, and formats that would start a program."""
    corrupt_reason(data)


@given(position=st.integers(0, 10_000), value=st.integers(0, 255), kind=st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"]))
@settings(max_examples=150, deadline=None)
def test_damaged_files_never_raise_anything_but_a_reject(position: int, value: int, kind: str) -> None:
    """One byte of two million files must not end the run."""
    data = bytearray(encoded(gradient(), kind))
    data[position % len(data)] = value
    try:
        result = apply(bytes(data))
    except TransformError as error:
        assert error.reason.startswith("image_")  # type: ignore[attr-defined]
        return
    assert result.pixels.shape == (3, 24, 24)


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    """A 100 kB file can ask for gigabytes; neither Pillow's warning nor its error leaks."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = sixteen_bit_rgb_png(np.zeros((1, 1, 3), np.uint16)).replace(struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0), header)
    chunk = bomb.index(b"IHDR")
    bomb = bomb[: chunk + 17] + struct.pack(">I", zlib.crc32(bomb[chunk : chunk + 17])) + bomb[chunk + 21 :]
    warned = bytearray(bomb)
    warned[chunk + 4 : chunk + 12] = struct.pack(">II", 10_000, 10_000)
    warned[chunk + 17 : chunk + 21] = struct.pack(">I", zlib.crc32(warned[chunk : chunk + 17]))

    for data in (bomb, bytes(warned)):
        with pytest.raises(ImageTooLargeError, match=r"a\.jpg: .*expected at most 89,478,485") as caught:
            apply(data)
        assert caught.value.reason == "image_too_large"


def test_the_limit_on_pixels_can_be_lowered() -> None:
    """For machines with little memory."""
    transform = Transform(TransformOptions(size=24, max_pixels=WIDTH * HEIGHT - 1))

    with pytest.raises(ImageTooLargeError, match=r"a\.jpg: 40 x 30 pixels found, expected at most 1,199; shrink it"):
        transform.apply(encoded(gradient(), "PNG"), item())


def test_errors_survive_the_way_from_another_process() -> None:
    """They are rebuilt from their message alone."""
    import pickle

    error = pickle.loads(pickle.dumps(BoxInvalidError("a: b found, expected c; do d")))

    assert str(error) == "a: b found, expected c; do d" and error.reason == "box_invalid"


# Fingerprint and options


def test_the_fingerprint_changes_with_every_setting_that_changes_a_pixel() -> None:
    """And with nothing else, so that a lower memory limit does not ask for new shards."""
    variants = [{}, {"size": 100}, {"crop": "none"}, {"resample": "lanczos"}, {"background": (0, 0, 0)}]

    prints = [Transform(TransformOptions(**options)).fingerprint() for options in variants]

    assert len(set(prints)) == len(variants)
    assert prints[0] == Transform(TransformOptions(max_pixels=1000)).fingerprint()
    assert all(len(text) == 32 and int(text, 16) >= 0 for text in prints)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": 0}, "size: 0 found, expected 1 to 4096 pixels"),
        ({"crop": "face"}, "crop: 'face' found, expected box or none"),
        ({"resample": "area"}, "resample: 'area' found, expected one of nearest, box"),
        ({"background": (0, 0, 256)}, r"background: \(0, 0, 256\) found"),
        ({"max_pixels": 10**9}, "max_pixels: 1,000,000,000 found"),
    ],
)
def test_settings_outside_their_range_are_refused(options: dict[str, object], text: str) -> None:
    """Before the first image is read."""
    with pytest.raises(OptionError, match=text):
        TransformOptions(**options)


@pytest.mark.parametrize("resample", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
def test_every_resampling_filter_is_pillows_own(resample: str) -> None:
    """Named as in Pillow."""
    result = Transform(TransformOptions(size=17, resample=resample)).apply(encoded(gradient(), "PNG"), item())

    plain = gradient().resize((17, 17), Image.Resampling[resample.upper()])
    assert np.array_equal(result.pixels, np.asarray(plain).transpose(2, 0, 1))


def test_real_photographs_come_out_as_pillow_gives_them() -> None:
    """Whatever pictures the installed packages ship."""
    skimage = pytest.importorskip("skimage")
    for path in sorted((Path(skimage.__file__).parent / "data").glob("*.[jp][pn]g"))[:8]:
        image = Image.open(path)
        if image.mode in ("RGB", "L"):
            assert np.array_equal(apply(path.read_bytes(), size=64).pixels, expected(image, 64)), path
