"""What a prediction is asked to do. In: keyword arguments. Out: a frozen, checked :class:`PredictOptions`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from ferdata.errors import OptionError
from ferdata.place import expand
from ferdata.setting import Setting, check_settings
from ferdata.sources.files.listing import is_image_at
from ferdata.store import Store, StrPath, folder_and_name
from ferdata.training.settings import BatchSize, Device, Vote

__all__ = ["CAMERA", "FILM_SIDE", "STILL_SIDE", "PredictOptions", "is_video"]

CAMERA = "camera"
"""What stands for the first camera in place of a path; ``camera:1`` is the second."""

STILL_SIDE, FILM_SIDE = 640, 320
"""The longer side that faces are looked for at, in images and in films, where a face is seen for long and close by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """What is looked at, and how.

    Attributes:
        runs: Folders of runs, or checkpoints; several are an ensemble.
        source: An image, a folder of images, or a video; for :func:`ferdata.predict_live` also a camera, ``camera`` or
            ``camera:1``, or the address of a stream.
        out: The table to write, ``-`` for standard output; of a video also one that ends in ``.mp4``.

    Example:
        >>> ferdata.PredictOptions(runs=["runs/first"], source="photographs").batch_size
        128
    """

    runs: Sequence[StrPath]
    source: StrPath
    out: StrPath | None = None
    faces: Annotated[bool, Setting("Look for faces, and answer for each of them.", "Faces")] = False
    margin: Annotated[
        float,
        Setting(
            "Cut a square so much larger than the longer side of a face's box; 0.15 gives what AffectNet's cuts show.",
            "Faces",
            least=0,
            most=4,
        ),
    ] = 0.15
    align: Annotated[bool, Setting("Turn each face so that its eyes are level.", "Faces")] = False
    min_score: Annotated[
        float, Setting("Leave out faces that the detector is less sure of.", "Faces", least=0, most=1)
    ] = 0.4
    face_side: Annotated[
        int | None,
        Setting(
            "Look for faces in pictures shrunk to this longer side; fewer pixels are faster.",
            "Faces",
            none=f"{STILL_SIDE}, or {FILM_SIDE} in videos and --live",
            least=32,
        ),
    ] = None
    smoothing: Annotated[
        float,
        Setting(
            "Average over about so many seconds of a video to both sides, of --live to the past; 0 for none.",
            "Videos",
            least=0,
        ),
    ] = 0.2
    port: Annotated[
        int,
        Setting(
            "Show --live as a page on this port of this machine; 0 for any that is free.", "Videos", least=0, most=65535
        ),
    ] = 8000
    batch_size: BatchSize = 128
    device: Device = "auto"
    vote: Vote = False

    def __post_init__(self) -> None:
        check_settings(self)
        if isinstance(self.runs, str) or not self.runs:
            raise OptionError(f"runs: {self.runs!r} found, expected a list of one run or more")
        object.__setattr__(self, "source", expand(self.source))


def is_video(source: StrPath) -> bool:
    """Tell whether a path is neither a folder's nor an image's."""
    if Store(source).is_dir():
        return False
    store, name = folder_and_name(str(source))
    return not is_image_at(store, "", name)
