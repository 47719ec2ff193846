"""What a video shows over time: a row for every face of every frame, as a table and in words."""

import csv
import io
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ferdata.training.prediction.prediction import Prediction
from ferdata.training.prediction.result import BOX, figures_of, place_of

if TYPE_CHECKING:
    from ferdata.training.prediction.detector import Face

__all__ = ["Moment", "Timeline"]

_MOST_TOLD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One face in one frame.

    Attributes:
        frame: Its number, from 0.
        seconds: When it is shown.
        track: Whose face it is: the same number as long as it is followed.
        face: The face; None if frames were taken whole.
        prediction: Smoothed over the moments of its track.
    """

    frame: int
    seconds: float
    track: int
    face: "Face | None"
    prediction: Prediction

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        face = {} if self.face is None else self.face.to_json()
        record = {"frame": self.frame, "seconds": self.seconds, "track": self.track}
        return record | face | self.prediction.to_json()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """What runs say of a video.

    Attributes:
        runs: The runs.
        source: The video.
        classes: Names, in the order of the table's columns.
        moments: In the order of the frames; in a frame, the largest face first.
        num_frames: Of all frames, with and without faces.
        frames_per_second: At which they were looked at.
        notes: Sentences for the user.
        files: What was written.
    """

    runs: tuple[str, ...]
    source: str
    classes: tuple[str, ...]
    moments: tuple[Moment, ...]
    num_frames: int
    frames_per_second: float
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def by_track(self) -> dict[int, list[Moment]]:
        """Return the moments of each face, the one that is seen longest first."""
        found: dict[int, list[Moment]] = {}
        for moment in self.moments:
            found.setdefault(moment.track, []).append(moment)
        return dict(sorted(found.items(), key=lambda pair: (-len(pair[1]), pair[0])))

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "runs": list(self.runs),
            "source": self.source,
            "classes": list(self.classes),
            "num_frames": self.num_frames,
            "frames_per_second": self.frames_per_second,
            "moments": [moment.to_json() for moment in self.moments],
            "notes": list(self.notes),
        }

    def to_csv(self) -> str:
        """Return the table: frame, seconds, track, box, label, probabilities, valence, arousal."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        box = BOX if any(each.face for each in self.moments) else ()
        writer.writerow(["frame", "seconds", "track", *box, "label", *self.classes, "valence", "arousal"])
        for each in self.moments:
            place = place_of(each.face) if box else []
            figures = figures_of(each.prediction, self.classes)
            writer.writerow([each.frame, f"{each.seconds:.3f}", each.track, *place, *figures])
        return buffer.getvalue()

    def describe(self) -> str:
        """Return a line for each of the faces that are seen longest, and what was written."""
        seen = len({moment.frame for moment in self.moments})
        lines = [
            f"{self.num_frames:,} frames at {self.frames_per_second:,.1f} frames/s, "
            f"{seen / max(1, self.num_frames):.1%} with a face"
        ]
        for track, moments in list(self.by_track().items())[:_MOST_TOLD]:
            counts = Counter(moment.prediction.label for moment in moments)
            shares = ", ".join(f"{name} {count / len(moments):.0%}" for name, count in counts.most_common())
            lines.append(f"face {track}, {moments[0].seconds:.1f} to {moments[-1].seconds:.1f} s: {shares}")
        if (more := len(self.by_track()) - _MOST_TOLD) > 0:
            lines.append(f"and {more:,} faces that are seen for less long")
        return "\n".join([*lines, *(f"wrote {file}" for file in self.files)])
