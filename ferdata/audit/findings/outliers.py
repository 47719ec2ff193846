"""Pictures that are unlike all others in one measure. Costs a sort for each measure."""

from dataclasses import dataclass

import numpy as np

from ferdata.audit.finding import Finding, Row
from ferdata.audit.options import AuditOptions, Say
from ferdata.audit.survey import Survey

__all__ = ["find_outliers"]

_FAR = 4.5
"""Deviations from the median, of the robust kind, that make an outlier: one of 150,000 of a normal distribution."""

_MOST = 0.01
"""Share of the samples that may be outliers of one kind: if there are more, they are what is usual here."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """One way to be unlike others.

    Attributes:
        name: Of the finding.
        measure: Which of ``MEASURES``.
        sign: On which side of the median.
        beyond: From where on a value is odd, whatever the others are.
        caption: What is said of one, given its value.
        title: How the page calls them.
        meaning: What they are.
        is_ratio: Whether twice and half of the median are equally far from it.
    """

    name: str
    measure: str
    sign: int
    beyond: float
    caption: str
    title: str
    meaning: str
    is_ratio: bool = False


_KINDS = (
    _Kind("dark", "brightness", -1, 20, "grey {:.0f}", "Dark", "Is there still a face to see?"),
    _Kind("bright", "brightness", 1, 240, "grey {:.0f}", "Bright", "Is there still a face to see?"),
    _Kind(
        "flat", "contrast", -1, 8, "spread {:.1f}", "Without contrast", "Blank, or a face in fog: often a failed crop.",
        True,
    ),
    _Kind(
        "blurred", "sharpness", -1, 0, "sharpness {:.3f}", "Blurred",
        "Out of focus, or enlarged from a tiny original: a network learns little from them.",
        True,
    ),
    _Kind(
        "noisy", "sharpness", 1, np.inf, "sharpness {:.2f}", "Noisy", "Noise, drawings, text, or pictures of screens.",
        True,
    ),
    _Kind("small", "side", -1, 24, "{:.0f} px", "Enlarged from few pixels", "What the crop had in the source.", True),
    _Kind("wide", "shape", 1, 2.5, "{:.2f} : 1", "Wide crops", "Squeezed to the tensors' shape, or a box gone wrong.",
          True),
    _Kind("tall", "shape", -1, 0.4, "{:.2f} : 1", "Tall crops", "Squeezed to the tensors' shape, or a box gone wrong.",
          True),
    _Kind("bars", "bars", 1, 0.25, "{:.0%} of a side", "Bars at the edges",
          "Padding, or a crop that reaches beyond its photograph."),
)  # fmt: skip


def find_outliers(survey: Survey, options: AuditOptions, say: Say) -> list[Finding]:
    """Return one finding for each kind of outlier that a data set can have."""
    return [_find(survey, kind) for kind in _KINDS]


def _find(survey: Survey, kind: _Kind) -> Finding:
    values = survey.measure(kind.measure).astype(np.float64)
    known = values[np.isfinite(values)]
    scaled = np.log(np.maximum(values, 1e-3)) if kind.is_ratio else values
    inside = scaled[np.isfinite(values)]
    middle = float(np.median(inside)) if len(inside) else 0.0
    spread = 1.4826 * float(np.median(np.abs(inside - middle))) if len(inside) else 0.0
    far = kind.sign * (scaled - middle) / max(spread, 1e-2 if kind.is_ratio else 1.0)
    with np.errstate(invalid="ignore"):
        is_odd = (far > _FAR) | (kind.sign * (values - kind.beyond) > 0)
        is_odd &= kind.sign * (scaled - middle) > 0
    rows = np.flatnonzero(is_odd)
    is_usual = len(rows) > max(10, _MOST * len(values))
    rows = rows[np.argsort(-far[rows], kind="stable")]
    return Finding(
        name=f"outlier-{kind.name}",
        section="Outliers",
        title=kind.title,
        meaning=f"{kind.meaning} {len(rows):,} of them: here, that is nothing unusual." if is_usual else kind.meaning,
        rows=[
            Row(sample=int(row), score=float(far[row]), note=kind.caption.format(values[row]))
            for row in rows[: max(10, int(_MOST * len(values)))]
        ],
        figures={"found": len(rows), "median": float(np.median(known)) if len(known) else None},
    )
