"""From the bytes of one image file to ``uint8 [C, H, W]``: decode, crop, turn upright, resize. Deterministic.

In: file bytes and a :class:`SourceItem`. Out: a :class:`Transformed`, or an error that carries the reject's reason. A
plain RGB JPEG of the right size costs its Pillow decoding and a few percent.
"""

import hashlib
import json
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from PIL import Image

from ferdata.errors import OptionError
from ferdata.images.colours import GREY_TO_RGB, to_grey, to_rgb
from ferdata.images.decode import (
    TURNS,
    Decoded,
    DecoderMissingError,
    ImageCorruptError,
    ImageRejectedError,
    ImageTooLargeError,
    ImageUnsupportedError,
    decode,
    decoded_of,
)
from ferdata.sample import SourceItem, TensorSpec
from ferdata.setting import Setting, check_settings, either

__all__ = [
    "RESAMPLE",
    "TRANSFORM_VERSION",
    "BoxInvalidError",
    "DecoderMissingError",
    "ImageCorruptError",
    "ImageRejectedError",
    "ImageTooLargeError",
    "ImageUnsupportedError",
    "Transform",
    "TransformOptions",
    "Transformed",
    "crop_box",
]

TRANSFORM_VERSION = 1
"""Goes up with every change that gives another pixel for the same settings."""

RESAMPLE: dict[str, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_PILLOW_HARD_LIMIT = 178_956_970


class BoxInvalidError(ImageRejectedError):
    """The face box is empty or lies wholly outside the image."""

    reason = "box_invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformOptions:
    """Every setting of the way from file to tensor.

    Example:
        >>> ferdata.TransformOptions(size=100).crop
        'box'

    Attributes:
        channels: 3, or 1: grey by the luma of ITU-R BT.601 (Pillow's mode ``L``), before anything is resized.
        background: RGB that shows through transparent pixels.
        max_pixels: Larger images are rejected before decoding; at most Pillow's own hard limit.
    """

    size: Annotated[
        int, Setting("Make tensors of this height and width, whatever the aspect ratio.", "Images", least=1, most=4096)
    ] = 224
    crop: Annotated[
        str,
        Setting(
            "Cut images to their face box where the layout has one, or take them whole.",
            "Images",
            choices=("box", "none"),
        ),
    ] = "box"
    channels: Annotated[
        int, Setting("Store images in colour (3), or grey (1), by ITU-R BT.601.", "Images", choices=(3, 1))
    ] = 3
    resample: str = "bilinear"
    background: tuple[int, int, int] = (255, 255, 255)
    max_pixels: int = 89_478_485

    def __post_init__(self) -> None:
        check_settings(self)
        if self.resample not in RESAMPLE:
            raise OptionError(f"resample: {self.resample!r} found, expected {either(list(RESAMPLE))}")
        if len(self.background) != 3 or not all(0 <= value <= 255 for value in self.background):
            raise OptionError(f"background: {self.background} found, expected three values from 0 to 255")
        if not 1 <= self.max_pixels <= _PILLOW_HARD_LIMIT:
            raise OptionError(f"max_pixels: {self.max_pixels:,} found, expected 1 to {_PILLOW_HARD_LIMIT:,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformed:
    """One image, ready to be stored.

    Attributes:
        pixels: uint8 ``[C, H, W]``, C order, owned by the caller.
        box: The item's face box, in pixels of the stored image; None if there is none, or no pixel of it is inside.
        landmarks: float64 ``[2 * points]``, ``x0, y0, x1, y1, ...`` in pixels of the tensor, centres whole; or None.
        source_size: Width and height of the stored image, before any crop or turn.
        repairs: What had to be done to accept it (``box_clamped``, ``exif_rotated``, ``grey_to_rgb`` ...).
        unchanged: True if decoding the source file to RGB gives exactly these pixels; never if they are grey.
    """

    pixels: np.ndarray
    box: tuple[float, float, float, float] | None
    landmarks: np.ndarray | None
    source_size: tuple[int, int]
    repairs: tuple[str, ...]
    unchanged: bool


class Transform:
    """Turns image files into tensors under fixed settings; holds no state, so every process may have its own.

    Args:
        options: The settings.
        split: Splits uint8 ``[H, W, 4]`` into planes ``[3, H, W]`` faster than NumPy, or returns False.

    Not for several threads at once: it silences warnings while it decodes, and Python's filters are process-wide.
    """

    def __init__(
        self, options: TransformOptions, *, split: Callable[[np.ndarray, np.ndarray], bool] | None = None
    ) -> None:
        self.options = options
        self._split = split
        self.spec = TensorSpec(dtype="uint8", shape=(options.channels, options.size, options.size))
        self._resample = RESAMPLE[options.resample]

    @classmethod
    def of(cls, settings: Mapping[str, object], *, where: str) -> Self:
        """Return the transform whose :meth:`settings` these are.

        Args:
            settings: As an index or a checkpoint has them.
            where: The file they are from, for the message.

        Raises:
            OptionError: If they are another version's, or incomplete.
        """
        names = sorted(cls(TransformOptions()).settings().keys() - {"version"})
        if settings.get("version") != TRANSFORM_VERSION or not set(names) <= settings.keys():
            raise OptionError(
                f"{where}: settings of a transform {dict(settings)} found, expected those of version "
                f"{TRANSFORM_VERSION}: {', '.join(names)}; make the shards again with this ferdata, and train on them"
            )
        values: dict[str, Any] = {name: settings[name] for name in names}
        return cls(TransformOptions(**values | {"background": tuple(values["background"])}))

    def fingerprint(self) -> str:
        """Return 32 hex digits over every setting that changes a pixel, and :data:`TRANSFORM_VERSION`."""
        return hashlib.blake2b(json.dumps(self.settings(), sort_keys=True).encode(), digest_size=16).hexdigest()

    def settings(self) -> dict[str, object]:
        """Return what the fingerprint covers, as JSON-ready values."""
        options = self.options
        return {
            "version": TRANSFORM_VERSION,
            "size": options.size,
            "crop": options.crop,
            "channels": options.channels,
            "resample": options.resample,
            "background": list(options.background),
        }

    def apply(self, data: bytes, item: SourceItem) -> Transformed:
        """Return the tensor of one image file.

        The box and the landmarks of ``item`` are in stored pixels: the crop comes first, then the turn upright that
        EXIF asks for, then the resize.

        Raises:
            ImageRejectedError: One of its subclasses; ``error.reason`` is the word for ``rejects.csv``.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._apply(decode(data, max_pixels=self.options.max_pixels, where=item.path), item)

    def apply_to_image(self, image: Image.Image, item: SourceItem) -> Transformed:
        """Return the tensor of a picture of Pillow's, of any mode, by the same way as that of a file.

        Raises:
            ImageRejectedError: As :meth:`apply`.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._apply(decoded_of(image, max_pixels=self.options.max_pixels, where=item.path), item)

    def upright(self, data: bytes, where: str) -> Image.Image:
        """Return a file's picture whole, in RGB, turned as EXIF asks for, in its own size.

        Raises:
            ImageRejectedError: As :meth:`apply`.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            decoded = decode(data, max_pixels=self.options.max_pixels, where=where)
            image, _ = to_rgb(decoded.to_image(), self.options.background, where=where)
        turned = image.transpose(TURNS[decoded.orientation]) if decoded.orientation in TURNS else image
        turned.info = {}  # its EXIF data would turn whatever is cut out of it once more
        return turned

    def _apply(self, decoded: Decoded, item: SourceItem) -> Transformed:
        options = self.options
        width, height = decoded.size
        left, top, box, repairs = 0, 0, item.box, list(decoded.repairs)
        if options.crop == "box" and box is not None:
            left, top, width, height = crop_box(box, decoded.size, where=item.path)
            if _is_clamped(box, decoded.size):
                repairs.append("box_clamped")
        elif box is not None and _part_inside(box, decoded.size) is None:
            box = None
            repairs.append("box_invalid")
        is_cut = (width, height) != decoded.size
        is_turned = decoded.orientation in TURNS
        is_resized = (width, height) != (options.size, options.size)
        is_moved = is_cut or is_turned or is_resized
        mode_repairs: list[str] = []
        is_grey = options.channels == 1
        if decoded.rgbx is not None and not is_moved and not is_grey:
            pixels = self._planes_of_rgbx(decoded.rgbx)
            mode_repairs = [GREY_TO_RGB] if decoded.is_grey else []
        else:
            image = decoded.to_image()
            if is_cut:
                image = image.crop((left, top, left + width, top + height))
            convert = to_grey if is_grey else to_rgb
            image, mode_repairs = convert(image, options.background, where=item.path)
            if is_turned:
                image = image.transpose(TURNS[decoded.orientation])
            if is_resized:
                image = image.resize((options.size, options.size), self._resample)
            pixels = _planes(image)
        repairs += mode_repairs
        if is_turned:
            repairs.append("exif_rotated")
        landmarks = None if item.landmarks is None else np.asarray(item.landmarks, dtype=np.float64)
        if landmarks is not None and is_moved:
            landmarks = _move_landmarks(landmarks, (left, top, width, height), decoded.orientation, options.size)
        return Transformed(
            pixels=pixels,
            box=box,
            landmarks=landmarks,
            source_size=decoded.size,
            repairs=tuple(repairs),
            # Decoders asked for RGB give a grey JPEG its grey three times, so that repair keeps the file's own pixels.
            unchanged=not (is_moved or is_grey) and set(mode_repairs) <= {GREY_TO_RGB},
        )

    def _planes_of_rgbx(self, rgbx: np.ndarray) -> np.ndarray:
        pixels = np.empty((3, *rgbx.shape[:2]), dtype=np.uint8)
        if self._split is None or not self._split(rgbx, pixels):
            # Narrowing whole 32-bit words is vectorised; gathering every fourth byte is not, and takes twice as long.
            words = rgbx.view("<u4").reshape(-1)
            rows = pixels.reshape(3, -1)
            rows[0] = words
            np.right_shift(words, 8, out=rows[1], casting="unsafe")
            np.right_shift(words, 16, out=rows[2], casting="unsafe")
        return pixels


def crop_box(box: tuple[float, float, float, float], size: tuple[int, int], *, where: str) -> tuple[int, int, int, int]:
    """Return the part of a face box that lies inside an image, as whole pixels ``(left, top, width, height)``.

    The crop is rows ``y`` to ``y + height`` and columns ``x`` to ``x + width``; each of the four edges is rounded to
    the nearest whole pixel (halves up) and then clamped to the image.

    Raises:
        BoxInvalidError: If nothing of the box is left, or a number of it is not finite.
    """
    if (part := _part_inside(box, size)) is not None:
        return part
    x, y, box_width, box_height = box
    raise BoxInvalidError(
        f"{where}: box x {x:g}, y {y:g}, width {box_width:g}, height {box_height:g} found, "
        f"expected one with pixels inside {size[0]:,} x {size[1]:,}; correct the row or use crop=none"
    )


def _part_inside(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    if not all(math.isfinite(value) for value in box) or box[2] <= 0 or box[3] <= 0:
        return None
    left, top, right, bottom = _edges(box)
    left, top = max(left, 0), max(top, 0)
    width, height = min(right, size[0]) - left, min(bottom, size[1]) - top
    return (left, top, width, height) if width > 0 and height > 0 else None


def _edges(box: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    x, y, width, height = box
    return math.floor(x + 0.5), math.floor(y + 0.5), math.floor(x + width + 0.5), math.floor(y + height + 0.5)


def _is_clamped(box: tuple[float, float, float, float], size: tuple[int, int]) -> bool:
    left, top, right, bottom = _edges(box)
    return left < 0 or top < 0 or right > size[0] or bottom > size[1]


def _move_landmarks(landmarks: np.ndarray, crop: tuple[int, int, int, int], orientation: int, size: int) -> np.ndarray:
    left, top, width, height = crop
    points = landmarks.reshape(-1, 2)
    x, y = points[:, 0] - left, points[:, 1] - top
    if orientation in (2, 3, 7, 8):
        x = width - 1 - x
    if orientation in (3, 4, 6, 7):
        y = height - 1 - y
    if orientation in (5, 6, 7, 8):
        x, y, width, height = y, x, height, width
    return np.stack([(x + 0.5) * (size / width) - 0.5, (y + 0.5) * (size / height) - 0.5], axis=1).ravel()


def _planes(image: Image.Image) -> np.ndarray:
    # Packing one band at a time skips the interleaved copy and its transpose: half the cost of np.asarray and a copy.
    bands = image.getbands()
    pixels = np.empty((len(bands), image.height, image.width), dtype=np.uint8)
    for channel, band in enumerate(bands):
        pixels[channel].reshape(-1)[:] = np.frombuffer(image.tobytes("raw", band), dtype=np.uint8)
    return pixels
