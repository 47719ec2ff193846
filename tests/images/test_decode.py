"""Decoding: every mode becomes RGB; what is cut short, damaged or no image is a reject with its reason."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import HEIGHT, WEBP, WIDTH, apply, encoded, expected, gradient, item, sixteen_bit_rgb_png
from PIL import Image, features

from ferdata.errors import TransformError
from ferdata.images.colours import to_rgb
from ferdata.images.transform import (
    BoxInvalidError,
    ImageCorruptError,
    ImageTooLargeError,
    ImageUnsupportedError,
    Transform,
    TransformOptions,
)


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
    """Opaque it says nothing; zero throughout comes from broken writers, and white would stand in place of faces."""
    picture = gradient(24, 24).convert("RGBA")
    picture.putalpha(alpha)

    result = apply(encoded(picture, "PNG"))

    assert np.array_equal(result.pixels, np.asarray(gradient(24, 24)).transpose(2, 0, 1))
    assert result.repairs == ("alpha_dropped",)


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(format_name: str) -> None:
    """A plain convert() in older Pillow turns everything above 255 white."""
    values = np.linspace(0, 65535, 24 * 24).round().astype(np.uint16).reshape(24, 24)
    data = (
        encoded(Image.fromarray(values), format_name)
        if format_name != "PPM"
        else b"P5 24 24 65535\n" + values.astype(">u2").tobytes()
    )

    result = apply(data)

    assert np.array_equal(result.pixels, np.stack([values >> 8] * 3))
    assert result.repairs == ("depth_reduced",)


def test_a_crop_of_a_sixteen_bit_image_is_scaled_too() -> None:
    """The crop comes before the conversion."""
    values = (np.arange(900, dtype=np.uint16) * 72).reshape(30, 30)

    result = apply(encoded(Image.fromarray(values), "PNG"), box=(2.0, 3.0, 24.0, 24.0))

    assert np.array_equal(result.pixels[1], values[3:27, 2:26] >> 8)


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
    "values",
    [np.full((24, 24), 1e6, np.float32), np.full((24, 24), -3.0, np.float32), np.full((24, 24), np.nan, np.float32)],
)
def test_values_without_an_agreed_scale_are_rejected(values: np.ndarray) -> None:
    """Guessing would store a blank picture."""
    with pytest.raises(ImageUnsupportedError, match=r"a.jpg: grey values .* found, expected 16 bits"):
        apply(encoded(Image.fromarray(values), "TIFF"))


def test_the_first_page_of_several_is_taken() -> None:
    """Multi-page TIFF and animated GIF occur; the page is said."""
    pages = [Image.new("RGB", (24, 24), (value, 0, 0)) for value in (200, 100)]
    for format_name in ("TIFF", "GIF", *WEBP):
        data = encoded(
            pages[0],
            format_name,
            save_all=True,
            append_images=pages[1:],
            **({"lossless": True} if format_name == "WEBP" else {}),
        )

        result = apply(data)

        assert (result.pixels[0] == 200).all() and result.repairs[0] == "first_page"


def corrupt_reason(data: bytes) -> str:
    with pytest.raises(
        ImageCorruptError, match=r"^faces/7\.jpg: .* found, expected|^faces/7\.jpg: .*, expected an intact image"
    ) as caught:
        apply(data, path="faces/7.jpg")
    assert caught.value.reason == "image_corrupt"
    return str(caught.value)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_rows": 1}], ids=["baseline", "progressive", "restart"]
)
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


@pytest.mark.parametrize("format_name", ["PNG", "BMP", "GIF", "TIFF", *WEBP, "PPM"])
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


@given(
    position=st.integers(0, 10_000),
    value=st.integers(0, 255),
    kind=st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "TIFF", *WEBP]),
    channels=st.sampled_from([1, 3]),
)
@settings(max_examples=150, deadline=None)
def test_damaged_files_never_raise_anything_but_a_reject(position: int, value: int, kind: str, channels: int) -> None:
    """One byte of two million files must not end the run."""
    data = bytearray(encoded(gradient(), kind))
    data[position % len(data)] = value
    try:
        result = apply(bytes(data), channels=channels)
    except TransformError as error:
        assert error.reason.startswith("image_")  # type: ignore[attr-defined]
        return
    assert result.pixels.shape == (channels, 24, 24)


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    """A 100 kB file can ask for gigabytes; neither Pillow's warning nor its error leaks."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = sixteen_bit_rgb_png(np.zeros((1, 1, 3), np.uint16)).replace(
        struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0), header
    )
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
