"""Pictures as they come: a camera's, a stream's, or a recording's at the rate at which it was taken.

In: a source's name. Out: frames, until it ends or one has seen enough. Cameras are read by OpenCV, which has
the drivers of Linux, macOS and Windows; all else by PyAV.
"""

import re
import sys
import time
from collections.abc import Iterator
from threading import Event
from typing import Any, Protocol

from PIL import Image

from ferdata.errors import OptionError
from ferdata.optional import needs
from ferdata.training.prediction.frames import DECODE_ERRORS, Frame, decoded, opened
from ferdata.training.prediction.options import CAMERA

__all__ = ["Camera", "Recording", "open_source"]

_NAMES = re.compile(rf"{CAMERA}(?::(\d+))?|/dev/video(\d+)")
_SIZE = (640, 480)
_PATIENCE_SECONDS = 5.0


class Source(Protocol):
    """What pictures come from."""

    def frames(self, stop: Event) -> Iterator[tuple[Frame, float]]:
        """Yield frames as they come, until this is set, and the seconds that each took to decode; closes the source.

        A frame's time is in seconds since the first.
        """
        ...


class Recording:
    """A file or an address that FFmpeg reads.

    What has a length is played at its own rate: a frame comes when its time has come. What has none is live itself.

    Raises:
        OptionError: If it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._container: Any = opened(
            path,
            expected=f"{CAMERA}, {CAMERA}:1, a video, or the address of a stream that FFmpeg reads",
            patience_seconds=_PATIENCE_SECONDS,
        )

    def frames(self, stop: Event) -> Iterator[tuple[Frame, float]]:
        """Yield frames as :class:`Source` says.

        Raises:
            OptionError: If it breaks off.
        """
        with self._container as container:
            is_live = container.duration is None
            began, first = time.perf_counter(), 0.0
            asked = began
            try:
                for frame in decoded(container):
                    took = time.perf_counter() - asked
                    if not frame.number:
                        began, first = time.perf_counter(), frame.seconds
                    early = 0.0 if is_live else frame.seconds - first - (time.perf_counter() - began)
                    if stop.wait(early) if early > 0 else stop.is_set():
                        return
                    yield Frame(frame.number, frame.seconds - first, frame.image), took
                    asked = time.perf_counter()
            except DECODE_ERRORS as error:
                raise OptionError(
                    f"{self._path}: {error.strerror}, expected pictures without a break; see what sends them, and "
                    "start again"
                ) from error


class Camera:
    """A camera, asked for 640 x 480.

    Args:
        device: Its number from 0; or whatever else OpenCV opens.

    Raises:
        OptionError: If there is none, or it gives no pictures.
    """

    def __init__(self, device: int | str) -> None:
        with needs("video", "predict --live of a camera", "cv2"):
            import cv2

        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it would tell of every driver it tries
        self._name = f"{CAMERA}:{device}"
        self._capture: Any = cv2.VideoCapture(device)
        if not self._capture.isOpened():
            raise OptionError(
                f"{self._name}: no camera found there{_where(device)}, expected one that this machine and this user "
                f"can open; plug one in, name another ({CAMERA}:1), or a video or the address of a stream"
            )
        for what, value in ((cv2.CAP_PROP_FRAME_WIDTH, _SIZE[0]), (cv2.CAP_PROP_FRAME_HEIGHT, _SIZE[1])):
            self._capture.set(what, value)

    def frames(self, stop: Event) -> Iterator[tuple[Frame, float]]:
        """Yield frames as :class:`Source` says.

        Raises:
            OptionError: If it breaks off.
        """
        began, number = time.perf_counter(), 0
        pixels: Any
        try:
            while not stop.is_set():
                is_there = self._capture.grab()
                asked = time.perf_counter()
                is_there, pixels = self._capture.retrieve() if is_there else (False, None)
                if not is_there:
                    raise OptionError(
                        f"{self._name}: it stopped after {number:,} pictures, expected more; see that it is plugged in "
                        "and that no other program uses it"
                    )
                image = Image.fromarray(pixels[:, :, ::-1])
                now = time.perf_counter()
                yield Frame(number, now - began, image), now - asked
                number += 1
        finally:
            self._capture.release()


def open_source(name: str) -> Source:
    """Open ``camera``, ``camera:1``, a video file or an address.

    Raises:
        OptionError: If it cannot be opened.
    """
    found = _NAMES.fullmatch(name)
    return Recording(name) if found is None else Camera(int(found[1] or found[2] or 0))


def _where(device: int | str) -> str:
    return f" (/dev/video{device})" if sys.platform == "linux" and isinstance(device, int) else ""
