"""What an audit finds: rows that name samples, sorted into findings, worst first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ferdata.audit.survey import Survey

__all__ = ["Finding", "Row", "pair_findings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One sample that something was found of.

    Attributes:
        sample: Its number in reading order; of two copies, the one that can be left out.
        score: How sure or how bad, higher is worse; what it counts is its finding's affair.
        note: A few words, for a caption.
        other: The sample that it is a copy of; None where it is about one sample.
    """

    sample: int
    score: float
    note: str = ""
    other: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """All samples with which one thing is wrong.

    Attributes:
        name: As ``--csv`` and ``--json`` call it.
        section: Which part of the page it is in.
        title: How the page calls it.
        meaning: What it means and what to do, for the page.
        rows: Worst first.
        figures: Further numbers, by name.
    """

    name: str
    section: str
    title: str
    meaning: str
    rows: Sequence[Row]
    figures: Mapping[str, Any] = field(default_factory=dict)


_KINDS = {
    "across-splits": (
        "across splits",
        "One picture is in two splits, so what is measured on one of them is partly learnt by heart. "
        "Leave out the one in train.",
    ),
    "under-two-labels": (
        "under two labels",
        "One picture has two labels, and at most one is right. Leave out both, or look which is right.",
    ),
    "": (
        "in one split, under one label",
        "They count more than once. Harmless if they are few; otherwise leave out all but one.",
    ),
}


def pair_findings(
    survey: Survey, name: str, title: str, meaning: str, pairs: np.ndarray, scores: np.ndarray
) -> list[Finding]:
    """Return pairs of copies as findings: those across splits, those under two labels, and the rest.

    Args:
        survey: The data set.
        name: Start of the findings' names.
        title: Start of their titles.
        meaning: What sort of copies they are.
        pairs: int ``[n, 2]``.
        scores: float ``[n]``, higher is surer.
    """
    rows: dict[str, list[Row]] = {kind: [] for kind in _KINDS}
    train = survey.index.splits.index("train") if "train" in survey.index.splits else -1
    for order in np.argsort(-scores, kind="stable"):
        first, second = sorted(pairs[order].tolist())
        # what can be left out: of two splits, train's; of one split, the later
        is_first = survey.splits[first] == train != survey.splits[second]
        one, second = (first, second) if is_first else (second, first)
        score = float(scores[order])
        is_across = survey.splits[one] != survey.splits[second]
        is_contradiction = survey.labels[one] != survey.labels[second]
        if is_across:
            names = [survey.index.splits[survey.splits[sample]] for sample in (one, second)]
            rows["across-splits"].append(Row(sample=one, other=second, score=score, note=" and ".join(names)))
        if is_contradiction:
            note = f"{survey.class_of(one)} and {survey.class_of(second)}"
            rows["under-two-labels"] += [
                Row(sample=one, other=second, score=score, note=note),
                *([] if is_across else [Row(sample=second, other=one, score=score, note=note)]),
            ]
        if not is_across and not is_contradiction:
            rows[""].append(Row(sample=one, other=second, score=score, note=survey.class_of(one)))
    return [
        Finding(
            name=f"{name}-{kind}".rstrip("-"),
            section="Copies",
            title=f"{title} {_KINDS[kind][0]}",
            meaning=f"{meaning} {_KINDS[kind][1]}",
            rows=found,
        )
        for kind, found in rows.items()
    ]
