"""The transform: crops, turns and resizes as Pillow does, with landmarks that stay on their pixels."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import HEIGHT, ORIENTATION_TAG, WEBP, WIDTH, apply, encoded, expected, gradient, item
from PIL import Image, ImageOps

from ferdata.errors import OptionError, TransformError
from ferdata.images.transform import (
    BoxInvalidError,
    Transform,
    TransformOptions,
    crop_box,
)


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


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "BMP", "GIF", "TIFF", *WEBP, "PPM"])
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


def oriented(orientation: int, format_name: str, image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    if format_name == "TIFF":
        return encoded(image, "TIFF", tiffinfo={ORIENTATION_TAG: orientation})
    return encoded(
        image, format_name, exif=exif, **({"quality": 95, "subsampling": 0} if format_name == "JPEG" else {})
    )


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
    """Pixel centres: the picture's centre stays its centre; a corner pixel's moves by half of a pixel's change."""
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
    "exif",
    [
        b"Exif\0\0garbage that is no TIFF",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03",
    ],
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
def test_a_box_is_clamped_to_the_picture(
    box: tuple[float, float, float, float], inside: tuple[int, int, int, int]
) -> None:
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
    """Where they are not, it is taken away: nobody who reads the box from a shard could use it."""
    with pytest.raises(
        BoxInvalidError, match=r"a.jpg: box x .* found, expected one with pixels inside 40 x 30; correct the row"
    ) as caught:
        apply(encoded(gradient(), "PNG"), box=box)

    assert caught.value.reason == "box_invalid" and isinstance(caught.value, TransformError)
    whole = apply(encoded(gradient(), "PNG"), crop="none", box=box)
    assert np.array_equal(whole.pixels, expected(gradient()))
    assert (whole.box, whole.repairs) == (None, ("box_invalid",))
    assert apply(encoded(gradient(), "PNG"), crop="none", box=(39.0, -5.0, 90.0, 8.0)).box == (39.0, -5.0, 90.0, 8.0)


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


def test_the_fingerprint_changes_with_every_setting_that_changes_a_pixel() -> None:
    """And with nothing else, so that a lower memory limit does not ask for new shards."""
    variants = [
        {},
        {"size": 100},
        {"crop": "none"},
        {"resample": "lanczos"},
        {"background": (0, 0, 0)},
        {"channels": 1},
    ]

    prints = [Transform(TransformOptions(**options)).fingerprint() for options in variants]

    assert len(set(prints)) == len(variants)
    assert prints[0] == Transform(TransformOptions(max_pixels=1000)).fingerprint()
    assert all(len(text) == 32 and int(text, 16) >= 0 for text in prints)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": 0}, "size: 0 found, expected 1 to 4,096"),
        ({"crop": "face"}, "crop: 'face' found, expected box or none"),
        ({"resample": "area"}, "resample: 'area' found, expected nearest, box, bilinear"),
        ({"background": (0, 0, 256)}, r"background: \(0, 0, 256\) found"),
        ({"channels": 2}, "channels: 2 found, expected 3 or 1"),
        ({"max_pixels": 10**9}, "max_pixels: 1,000,000,000 found"),
    ],
)
def test_settings_outside_their_range_are_refused(options: dict[str, object], text: str) -> None:
    """Before the first image is read."""
    with pytest.raises(OptionError, match=text):
        TransformOptions(**options)


@pytest.mark.parametrize("size", [24, (WIDTH, HEIGHT)], ids=["as it is", "resized"])
@pytest.mark.parametrize(
    ("mode", "format_name", "repairs"),
    [
        ("RGB", "JPEG", ("colour_to_grey",)),
        ("RGB", "PNG", ("colour_to_grey",)),
        ("P", "PNG", ("palette_to_rgb", "colour_to_grey")),
        ("CMYK", "TIFF", ("cmyk_to_rgb", "colour_to_grey")),
        ("L", "JPEG", ()),
        ("L", "PNG", ()),
        ("L", "PPM", ()),
        ("1", "PNG", ()),
        ("LA", "PNG", ("alpha_dropped",)),
    ],
)
def test_one_channel_is_pillows_own_grey(
    mode: str, format_name: str, repairs: tuple[str, ...], size: int | tuple[int, int]
) -> None:
    """ITU-R BT.601 luma, before anything is resized; what is grey already stays as it is, bit for bit."""
    shape = (size, size) if isinstance(size, int) else size
    data = encoded(gradient(*shape).convert(mode), format_name)
    plain = Image.open(io.BytesIO(data)).convert("RGB").convert("L")

    result = apply(data, channels=1)

    assert np.array_equal(result.pixels, np.asarray(plain.resize((24, 24), Image.Resampling.BILINEAR))[None])
    assert (result.repairs, result.unchanged, result.pixels.flags.c_contiguous) == (repairs, False, True)
    assert Transform(TransformOptions(size=24, channels=1)).spec.shape == result.pixels.shape == (1, 24, 24)


@given(colour=st.tuples(*[st.integers(0, 255)] * 3))
@settings(max_examples=60, deadline=None)
def test_grey_is_the_luma_that_the_text_gives(colour: tuple[int, int, int]) -> None:
    """Another program must be able to compute it."""
    result = apply(encoded(Image.new("RGB", (24, 24), colour), "PNG"), channels=1)
    red, green, blue = colour
    assert (result.pixels == (19_595 * red + 38_470 * green + 7_471 * blue + 32_768) // 65_536).all()


def test_grey_is_turned_and_cut_like_colour() -> None:
    """Boxes and orientations are the same whatever the channels are."""
    data = oriented(6, "PNG", gradient())
    fields = {"box": (8.0, 4.0, 24.0, 20.0), "landmarks": [13.0, 9.0]}
    grey, colour = apply(data, channels=1, **fields), apply(data, **fields)
    plain = Image.fromarray(colour.pixels.transpose(1, 2, 0)).convert("L")
    assert np.abs(grey.pixels[0].astype(int) - np.asarray(plain)).max() <= 2
    assert (grey.box, grey.landmarks.tolist()) == (colour.box, colour.landmarks.tolist())


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
