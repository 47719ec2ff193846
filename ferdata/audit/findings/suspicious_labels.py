"""Labels that networks which have not seen them contradict: out-of-fold probabilities, ranked by cleanlab."""

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from ferdata.audit.finding import Finding, Row
from ferdata.audit.network import FOLDS, out_of_fold_probabilities
from ferdata.audit.options import AuditOptions, Say
from ferdata.audit.survey import Survey

__all__ = ["find_suspicious_labels", "label_quality"]

_WORST = 0.1
"""Share of the samples that are listed at most: where a network is often wrong, cleanlab suspects many."""

_RANKED_BY = "normalized_margin"


def find_suspicious_labels(survey: Survey, options: AuditOptions, say: Say) -> list[Finding]:
    """Return the labels that cleanlab takes for wrong, worst first, and how well the networks know the classes."""
    present = np.unique(survey.labels)
    if not options.labels or len(present) < 2 or len(survey) < 2 * FOLDS * len(present):
        return []
    probabilities = out_of_fold_probabilities(survey, options, say)[:, present]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    labels = np.searchsorted(present, survey.labels)
    quality = label_quality(labels, probabilities)
    suspected = find_label_issues(labels, probabilities, n_jobs=1)
    worst = np.argsort(quality, kind="stable")[: int(_WORST * len(labels))]
    listed = worst[suspected[worst]]
    guesses = probabilities.argmax(axis=1)
    rows = [
        Row(
            sample=int(row),
            score=float(1 - quality[row]),
            note=f"{survey.index.classes[present[guesses[row]]]} {probabilities[row, guesses[row]]:.0%}",
        )
        for row in listed
        if guesses[row] != labels[row]
    ]
    right = guesses == labels
    recall = {survey.index.classes[label]: float(right[survey.labels == label].mean()) for label in present}
    return [
        Finding(
            name="suspicious-label",
            section="Labels",
            title="Suspicious labels",
            meaning=f"Networks that were trained without these images agree with {right.mean():.1%} of all labels, and "
            "with these least. The less they know of the classes, the more of these are their mistakes: look at them "
            "before you leave any out.",
            rows=rows,
            figures={
                "accuracy": float(right.mean()),
                "recall": recall,
                "suspected": int(suspected.sum()),
                "expected_share_wrong": float(suspected.mean()),
            },
        )
    ]


def label_quality(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return how far networks agree with each label, float ``[N]`` in [0, 1]; the lowest are the worst."""
    quality: np.ndarray = get_label_quality_scores(labels, probabilities, method=_RANKED_BY)
    return quality
