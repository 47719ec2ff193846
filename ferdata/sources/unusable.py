"""Stop where a whole source does not fit: its labels are read with the wrong map, or its images lie elsewhere.

In: what has been counted. Out: nothing, or an error. Costs nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from ferdata.errors import SourceError
from ferdata.sources.scan import Reject

__all__ = ["has_wrong_order", "stop_if_most_labels_invalid", "stop_if_no_image_found"]

_WRONG_SHARE = 10


def stop_if_most_labels_invalid(rejects: Sequence[Reject], where: str, num_rows: int, expected: str) -> None:
    """Refuse a label file most of whose labels are not classes: it is read with the wrong map.

    Raises:
        SourceError: If more than half of ``num_rows`` were rejected as ``label_invalid``.
    """
    wrong = [reject for reject in rejects if reject.reason == "label_invalid"]
    if 2 * len(wrong) > num_rows:
        common = ", ".join(f"{detail} ({count:,} x)" for detail, count in Counter(reject.detail for reject in wrong).most_common(3))
        raise SourceError(
            f"{where}: {len(wrong):,} of {num_rows:,} labels are not classes: {common}; "
            f"expected {expected}; check that this is the right label file"
        )


def stop_if_no_image_found(where: str, num_rows: int, num_found: int, looked_for: Sequence[str]) -> None:
    """Refuse a source none of whose label rows finds its image: the root is wrong.

    Raises:
        SourceError: If there are rows and no image.
    """
    if num_rows and not num_found:
        raise SourceError(
            f"{where}: none of {num_rows:,} label rows finds its image, expected for instance {', '.join(looked_for[:3])}; "
            "point to the folder that holds labels and images together, and unpack archives first"
        )


def has_wrong_order(counts: Mapping[int, int], num_classes: int) -> bool:
    """Tell whether ids that should run from 1 to ``num_classes`` are those of another list, or only wrong in a few rows.

    Another list is one with a tenth of its ids outside, or one from 0 that lacks the last id: 0 stands for the first class then.
    """
    outside = sum(count for number, count in counts.items() if not 1 <= number <= num_classes)
    return outside * _WRONG_SHARE > sum(counts.values()) or (bool(counts.get(0)) and not counts.get(num_classes))
