"""Whose faces are in the frames of a film, and the pixels of each: what videos and live pictures have in common.

In: frames in order. Out: tracks with faces, and what networks are asked about.
"""

from typing import TYPE_CHECKING

from ferdata.training.prediction.frames import Frame
from ferdata.training.prediction.options import FILM_SIDE, PredictOptions
from ferdata.training.prediction.predict import cutter_of
from ferdata.training.prediction.predictor import Pixels, Predictor
from ferdata.training.prediction.tracks import Tracker

if TYPE_CHECKING:
    from ferdata.training.prediction.detector import Face

__all__ = ["Sight", "Watcher"]

Sight = tuple[int, "Face | None"]
"""A track, and the face; None if frames are taken whole."""


class Watcher:
    """Follows the faces of a film.

    Args:
        options: Whether faces are looked for, and how; else a frame is taken whole, as one track.
        predictor: Who is asked about them.
    """

    def __init__(self, options: PredictOptions, predictor: Predictor) -> None:
        self._predictor, self._tracker = predictor, Tracker()
        self._cutter, self._follow = None, None
        if options.faces:
            from ferdata.training.prediction.faces import FaceFollower

            self._cutter = cutter_of(options, side=FILM_SIDE)
            self._follow = FaceFollower(self._cutter.finder)

    def sights(self, frame: Frame) -> list[Sight]:
        """Return what is to be seen in the next frame, the largest face first."""
        if self._follow is None:
            return [(0, None)]
        faces = self._follow(frame.image, frame.seconds)
        tracks = self._tracker(frame.seconds, [face.box for face in faces])
        return list(zip(tracks, faces, strict=True))

    def pixels(self, frame: Frame, face: "Face | None") -> Pixels:
        """Return the pixels of a face in it, or of all of it."""
        where = f"frame {frame.number}"
        if self._cutter is None or face is None:
            return self._predictor.pixels_of_image(frame.image, where)
        cut, points = self._cutter.cut(frame.image, face)
        return self._predictor.pixels_of_image(cut, where, points)
