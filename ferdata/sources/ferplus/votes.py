"""What ten people's votes on an image say: its class by either of the published rules.

In: the ten vote counts of a row. Out: a class, and whether it is in doubt. Costs about 1 µs.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ferdata.labels import FERPLUS
from ferdata.sources.files.matching import whole_number

__all__ = ["VOTE_COLUMNS", "Voted", "class_of_votes", "read_votes"]

VOTE_COLUMNS = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF",
)  # fmt: skip
"""Names of the columns, in the order of ``FERPLUS``."""

_EMOTIONS = slice(0, 8)
_UNKNOWN, _NO_FACE = FERPLUS.index("Unknown"), FERPLUS.index("NF")


class Voted(NamedTuple):
    """A class by its position in ``FERPLUS``.

    Attributes:
        column: The position.
        is_tied: Another class has as many votes and stands further back.
        has_majority: False if it is ``Unknown`` only as no class has more than half of the votes.
    """

    column: int
    is_tied: bool = False
    has_majority: bool = True


def read_votes(fields: Sequence[str]) -> list[int] | None:
    """Return ten vote counts, or None where they are none."""
    votes = [whole_number(field) for field in fields]
    found = [vote for vote in votes if vote is not None and vote >= 0]
    return found if len(found) == len(votes) == len(VOTE_COLUMNS) and any(found) else None


def class_of_votes(votes: Sequence[int], rule: str) -> Voted:
    """Return the class that votes give an image.

    ``majority`` is the rule of FERPlus's own code: single votes are dropped as outliers, and then a class needs more
    than half of what is left. ``most`` takes the emotion with the most votes, the first of those that have as many.
    """
    if rule == "majority":
        left = [vote if vote > 1 else 0 for vote in votes]
        most = max(left)
        if 2 * most > sum(left):
            return Voted(left.index(most))
        return Voted(_UNKNOWN, has_majority=False)
    emotions = list(votes[_EMOTIONS])
    most = max(emotions)
    if not most:
        return Voted(_UNKNOWN if votes[_UNKNOWN] >= votes[_NO_FACE] else _NO_FACE)
    return Voted(emotions.index(most), is_tied=emotions.count(most) > 1)
