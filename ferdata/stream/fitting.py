"""Sets whose tensors differ: the shape that all of them are brought to, and a reader that brings them there.

In: samples as they are stored. Out: rows of one shape: grey ones have their channel three times, others are resized,
bilinear with antialiasing, as ``shard`` resizes. Costs a fraction of a millisecond an image, in the workers.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ferdata.errors import OptionError
from ferdata.format import BodyDecoder, DatasetIndex, ShardInfo, ShardReader
from ferdata.format.container import ShardFile
from ferdata.sample import TensorSpec
from ferdata.store import Store

__all__ = ["REFUSE", "FittedReader", "common_spec", "fit_rows"]

REFUSE = "refuse"
_MOST_SIDE = 4096
_PIECE = 64
"""Samples that are decoded before they are brought to shape: their pixels take memory."""


def common_spec(named: Sequence[tuple[str, TensorSpec]], resize: str | int) -> TensorSpec:
    """Return the spec of the tensors in a batch.

    Args:
        named: Name and spec of every set, at least one.
        resize: Height and width that every image is resized to; ``refuse``: sets of different sizes are refused.

    Raises:
        OptionError: If they do not fit together, or ``resize`` is no size.
    """
    is_side = isinstance(resize, int) and not isinstance(resize, bool) and 1 <= resize <= _MOST_SIDE
    if not is_side and resize != REFUSE:
        raise OptionError(f"resize: {resize!r} found, expected {REFUSE}, or a height and width of 1 to {_MOST_SIDE:,}")
    specs = [spec for _, spec in named]
    if not is_side and len(set(specs)) == 1:
        return specs[0]
    listed = ", ".join(f"{name} {list(spec.shape)}" for name, spec in named)
    if not all(len(spec.shape) == 3 and spec.shape[0] in (1, 3) for spec in specs):
        raise OptionError(
            f"sets: tensors of {listed} found, expected images of 1 or 3 channels, or one shape; shard again"
        )
    channels = max(spec.shape[0] for spec in specs)
    sizes = {spec.shape[1:] for spec in specs}
    if is_side:
        return TensorSpec(dtype="uint8", shape=(channels, int(resize), int(resize)))
    if len(sizes) > 1:
        side = max(max(size) for size in sizes)
        raise OptionError(
            f"sets: images of different sizes found, {listed}, expected one size; resize={side} brings all to "
            f"{side} x {side} as they are read (train: --size {side}), or shard one again with --size"
        )
    return TensorSpec(dtype="uint8", shape=(channels, *sizes.pop()))


class FittedReader(ShardReader):
    """A shard whose samples are brought to another shape as they are read.

    Args:
        store: The data set's folder.
        info: The shard.
        index: The data set's index.
        spec: What a row holds.
        file: As for :class:`ferdata.format.ShardReader`.
        decode: As for :class:`ferdata.format.ShardReader`.
    """

    def __init__(
        self,
        store: Store,
        info: ShardInfo,
        index: DatasetIndex,
        *,
        spec: TensorSpec,
        file: ShardFile | None = None,
        decode: BodyDecoder | None = None,
    ) -> None:
        super().__init__(store, info, index, file=file, decode=decode)
        self._stored, self.spec = index.spec, spec

    def read_rows(
        self, positions: np.ndarray, out: np.ndarray, rows: np.ndarray, *, verify: bool | np.ndarray = True
    ) -> int:
        """Decode the samples at ``positions`` into ``out[rows]``, uint8 ``[R, bytes of the spec]``; see the base."""

        def read(part: slice, pixels: np.ndarray, own: np.ndarray) -> int:
            due = verify if isinstance(verify, bool) else verify[part]
            return super(FittedReader, self).read_rows(positions[part], pixels, own, verify=due)

        return fit_rows(read, self._stored, self.spec, out, rows)

    def read_record(self, position: int) -> dict[str, Any]:
        """Return the record of one sample, its landmarks in pixels of the row."""
        record = super().read_record(position)
        if record.get("landmarks"):
            scale = np.array(self.spec.shape[:0:-1]) / np.array(self._stored.shape[:0:-1])  # of x and y
            points = (np.array(record["landmarks"], np.float64).reshape(-1, 2) + 0.5) * scale - 0.5
            record["landmarks"] = points.ravel().tolist()
        return record


def fit_rows(
    read: Callable[[slice, np.ndarray, np.ndarray], int],
    stored: TensorSpec,
    spec: TensorSpec,
    out: np.ndarray,
    rows: np.ndarray,
) -> int:
    """Bring samples to shape, some at a time.

    Args:
        read: Decodes some of them as they are stored into rows of scratch memory; returns bytes read.
        stored: What they are stored as.
        spec: What a row holds.
        out: uint8 ``[R, bytes of the spec]``.
        rows: int ``[n]``, the row each sample goes to.
    """
    pixels = np.empty((min(_PIECE, len(rows)), stored.num_bytes), np.uint8)
    num_bytes = 0
    for first in range(0, len(rows), _PIECE):
        part = slice(first, first + _PIECE)
        num_bytes += read(part, pixels, np.arange(len(rows[part])))
        for image, row in zip(pixels, rows[part].tolist(), strict=False):
            _fit(image.reshape(stored.shape), out[row].reshape(spec.shape))
    return num_bytes


def _fit(image: np.ndarray, out: np.ndarray) -> None:
    """Fill ``out``, uint8 ``[C, H, W]``, with an image of another size, or of one channel."""
    height, width = out.shape[1:]
    for channel, plane in enumerate(image):
        if plane.shape == (height, width):
            out[channel] = plane
        else:
            out[channel] = Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR)
    out[len(image) :] = out[0]
