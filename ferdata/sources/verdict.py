"""What becomes of a row: accepted with a class, rejected or skipped with a reason.

In: what a row says, and the images it can mean. Out: a :class:`Verdict`, which
:meth:`ferdata.sources.scan.ScanBuilder.passes` writes down.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

__all__ = ["Verdict", "judge_image", "rejected"]


class Verdict(NamedTuple):
    """What becomes of one row.

    Attributes:
        outcome: ``accepted``; ``rejected``, as it cannot be used; or ``skipped`` by a rule of the user's.
        reason: Why it is not accepted; the same word for all rows alike.
        detail: What of this row is wrong.
        class_name: The class of a row that is accepted or skipped.
        label: Its index among the classes of the scan, if it is accepted.
    """

    outcome: Literal["accepted", "rejected", "skipped"]
    reason: str = ""
    detail: str = ""
    class_name: str = ""
    label: int = -1


def rejected(reason: str, detail: str) -> Verdict:
    """Return the verdict on a row that cannot be used."""
    return Verdict("rejected", reason, detail)


def judge_image(found: Sequence[str], missing: str) -> Verdict | None:
    """Reject a row that can mean no image, with the detail ``missing``, or several; None where it means one."""
    if not found:
        return rejected("image_missing", missing)
    return rejected("image_ambiguous", f"can be {' or '.join(found)}") if len(found) > 1 else None
