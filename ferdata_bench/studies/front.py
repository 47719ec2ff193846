"""What the codec study concludes: which ways no other way beats, and which of them each codec should use.

In: rows of bytes and images per second. Out: the Pareto front, and each codec's default and its reason. Arithmetic.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["LEAD", "MIN_SPEED", "TOLERANCE", "StudyRow", "choose_defaults", "mark_front"]

MIN_SPEED = 3.0
"""Times the speed of torchvision's ``decode_jpeg`` a filtered way must reach: the goal of 2.5, room for a loader."""
LEAD = 1.2
"""How many times as fast as ``compact`` plain pixels under zstd must be, to be worth two and a half times its bytes."""
TOLERANCE = 0.05
"""Rows closer than this are told apart by noise alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRow:
    """One way at one image size.

    Attributes:
        size: Side of the images in pixels.
        name: The way, for people.
        codec: ``raw``, ``zstd``, ``compact`` or ``jpeg``.
        level: zstd level, or None.
        filter: The filter's description, or None.
        images_per_frame: Images in one zstd frame.
        bytes_per_image: Stored bytes.
        ratio: Pixels' bytes over stored bytes.
        images_per_second: Median, one core.
        times_decode_jpeg: Median over the runs of its rate over that of ``torchvision.io.decode_jpeg`` just before.
        spread: Best minus worst run, as a fraction of the median.
        front_gap: How much faster the fastest way is that is no larger and that the shard format can hold (one image
            per frame), as a share; 0 on the Pareto front.
    """

    size: int
    name: str
    codec: str
    level: int | None
    filter: dict[str, Any] | None
    images_per_frame: int
    bytes_per_image: float
    ratio: float
    images_per_second: float
    times_decode_jpeg: float
    spread: float
    front_gap: float = math.nan

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        return asdict(self)

    @property
    def on_front(self) -> bool:
        """Whether no way that is as small is clearly faster."""
        return self.front_gap <= TOLERANCE


def mark_front(rows: Sequence[StudyRow]) -> list[StudyRow]:
    """Return the rows of one size with their distance from the front, smallest first.

    Several images per frame are no part of the front. Speeds are compared as multiples of the yardstick, so that drift
    of the machine during the run does not matter.
    """
    ordered = sorted(rows, key=lambda row: (row.bytes_per_image, -row.times_decode_jpeg))
    best, marked = 0.0, []
    for row in ordered:
        if row.images_per_frame == 1:
            best = max(best, row.times_decode_jpeg)
        marked.append(StudyRow(**(row.to_json() | {"front_gap": max(0.0, best / row.times_decode_jpeg - 1)})))
    return marked


def choose_defaults(rows: Sequence[StudyRow]) -> dict[str, dict[str, Any]]:
    """Return codec -> ``name`` of its default way, ``level``, ``filter``, ``why``, and sizes where it is ``on_front``.

    One setting of each codec serves every size, so the marked rows of all sizes are judged together. ``compact`` is the
    smallest way that decodes at least :data:`MIN_SPEED` times as fast as ``decode_jpeg`` at every size. ``zstd`` is the
    smallest that is :data:`LEAD` times as fast as this ``compact`` at every size: one hardly faster would serve
    nobody. ``raw`` and ``jpeg`` have nothing to choose.
    """
    ways: dict[str, list[StudyRow]] = {}
    for row in rows:
        if row.images_per_frame == 1:
            ways.setdefault(row.name, []).append(row)
    of_codec = {
        codec: [way for way in ways.values() if way[0].codec == codec] for codec in ("raw", "zstd", "compact", "jpeg")
    }
    compact, compact_why = _choose(
        of_codec["compact"], [MIN_SPEED] * len(of_codec["compact"][0]), f"{MIN_SPEED:g} times decode_jpeg"
    )
    zstd, zstd_why = _choose(
        of_codec["zstd"], [row.times_decode_jpeg * LEAD for row in compact], f"{LEAD:g} times compact"
    )
    chosen = {
        "raw": (of_codec["raw"][0], "nothing to undo: the fastest where all of it fits memory"),
        "zstd": (zstd, zstd_why),
        "compact": (compact, compact_why),
        "jpeg": (of_codec["jpeg"][0], "the smallest, for slow disks"),
    }
    return {
        codec: {
            "name": way[0].name,
            "level": way[0].level,
            "filter": way[0].filter,
            "why": why,
            "on_front": [row.size for row in way if row.on_front],
        }
        for codec, (way, why) in chosen.items()
    }


def _choose(ways: Sequence[list[StudyRow]], speeds: Sequence[float], mark: str) -> tuple[list[StudyRow], str]:
    """Return the way with the best mean ratio among those that reach ``speeds``, one for each size, and the reason."""
    fast = [way for way in ways if all(row.times_decode_jpeg >= speed for row, speed in zip(way, speeds, strict=True))]
    if fast:
        return max(
            fast, key=lambda way: statistics.fmean(row.ratio for row in way)
        ), f"the smallest of {len(ways)} that is as fast as {mark}"
    return max(
        ways, key=lambda way: statistics.fmean(row.times_decode_jpeg for row in way)
    ), f"the fastest; none of {len(ways)} is as fast as {mark}"
