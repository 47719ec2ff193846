"""The frames of a video, out of a file and into one, through PyAV.

In: a path. Out: upright RGB pictures with their times; or an H.264 file without sound.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from PIL import Image

from ferdata.errors import OptionError
from ferdata.optional import needs
from ferdata.program import is_command_line

with needs("video", "predict of a video", "matplotlib"):
    import av

__all__ = ["DECODE_ERRORS", "Frame", "Video", "decoded", "opened", "writing"]

DECODE_ERRORS = (av.FFmpegError, OSError)

_TICKS = 1000
"""A written frame's time is in milliseconds."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: its number from 0, its time in seconds, and the picture, upright and in RGB."""

    number: int
    seconds: float
    image: Image.Image


class Video:
    """A video file.

    Attributes:
        num_frames: As the file has it; 0 if it does not say.
        notes: What went wrong while its frames were read.

    Raises:
        OptionError: If it is none.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.notes: list[str] = []
        with self._opened() as container:
            self.num_frames = int(container.streams.video[0].frames)

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame; a file that is damaged from somewhere on ends there, with a note."""
        with self._opened() as container:
            done, why = 0, ""
            try:
                for frame in decoded(container):
                    done = frame.number + 1
                    yield frame
            except av.FFmpegError as error:
                why = str(error.strerror)
            missing = f" of {self.num_frames:,}" if done < self.num_frames else ""
            if why or missing:
                self.notes = [f"Only the first {done:,}{missing} frames can be read: {why or 'it ends there'}."]

    def _opened(self) -> Any:
        live = "predict --live" if is_command_line() else "predict_live"
        return opened(
            self._path,
            expected=f"an image, a folder of images, or a video that FFmpeg decodes ({live} takes cameras too)",
        )


def opened(path: str, *, expected: str, patience_seconds: float | None = None) -> Any:
    """Open what FFmpeg reads, as a container of PyAV's.

    Args:
        path: A file, or an address.
        expected: What it should be, for the message.
        patience_seconds: How long the network may keep it waiting; None: for ever.

    Raises:
        OptionError: If it cannot be opened, or has no pictures.
    """
    try:
        container = av.open(path, timeout=patience_seconds)
    except DECODE_ERRORS as error:
        raise OptionError(f"{path}: {error.strerror}, expected {expected}; check the path") from error
    if not container.streams.video:
        container.close()
        raise OptionError(f"{path}: no pictures found in it, expected a video; name another file")
    return container


def decoded(container: Any) -> Iterator[Frame]:
    """Yield every frame of a container that :func:`opened` gave."""
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    for number, frame in enumerate(container.decode(stream)):
        seconds = float(frame.time) if frame.time is not None else number / float(stream.average_rate or 25)
        yield Frame(number, seconds, _upright(frame))


class _Write(Protocol):
    def __call__(self, image: Image.Image, seconds: float) -> None: ...


@contextmanager
def writing(path: str, size: tuple[int, int]) -> Iterator[_Write]:
    """Give a function that appends a frame, at a time in seconds, to an MP4 file of frames of this size.

    The file has even sides: a last row or column may be cut off.
    """
    with av.open(path, "w") as container:
        stream: Any = container.add_stream("libx264", options={"crf": "20"})
        stream.width, stream.height = (max(2, side // 2 * 2) for side in size)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, _TICKS)
        last = -1

        def write(image: Image.Image, seconds: float) -> None:
            nonlocal last
            frame: Any = av.VideoFrame.from_ndarray(np.asarray(image.crop((0, 0, stream.width, stream.height))))
            last = max(last + 1, round(seconds * _TICKS))
            frame.pts, frame.time_base = last, Fraction(1, _TICKS)
            container.mux(stream.encode(frame))

        yield write
        container.mux(stream.encode(None))


def _upright(frame: Any) -> Image.Image:
    # phones store what they see and say by how much it is turned
    image: Image.Image = frame.to_image()
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image
