"""What an evaluation leaves in a folder: a page, every figure, every prediction, and pictures of the surest mistakes.

In: an :class:`EvaluationResult`. Out: ``evaluation.html``, ``evaluation.json``, ``predictions.csv`` and ``mistakes/``.
"""

import csv
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ferdata.optional import needs
from ferdata.store import Store
from ferdata.training.report.scores import Mistake

with needs("train", "evaluate --out", "matplotlib", "jinja2"):
    from ferdata.training.report.plots import draw_confusion, draw_reliability
    from ferdata.training.report.render import TEMPLATES, render_page

if TYPE_CHECKING:
    from ferdata.training.evaluation.result import EvaluationResult, SplitEvaluation

__all__ = ["write_evaluation"]

PAGE_NAME = "evaluation.html"
MISTAKES_FOLDER = "mistakes"
_SHOWN_MISTAKES = 27


def write_evaluation(result: "EvaluationResult", folder: Path, *, pictures: int, vote: bool) -> Path:
    """Write everything, and return the page; what an earlier evaluation left there under the same names is replaced.

    Args:
        result: What to show.
        folder: Made if it is not there.
        pictures: So many of the surest mistakes of each split become PNG files.
        vote: Whether several runs voted.

    Raises:
        StoreError: If the folder cannot be written.
    """
    page = render_page(
        TEMPLATES / "evaluation.html",
        title=f"Evaluation on {result.source}",
        result=result,
        vote=vote,
        splits=[_shown(name, each, result.classes) for name, each in result.splits.items()],
    )
    store = Store(folder)
    store.make_dir()
    files = {
        "evaluation.json": (json.dumps(result.to_json(), indent=1) + "\n").encode(),
        "predictions.csv": _table(result).encode(),
        PAGE_NAME: page.encode(),
    }
    for split, each in result.splits.items():
        for number, mistake in enumerate(each.mistakes[:pictures], 1):
            files[f"{MISTAKES_FOLDER}/{split}/{_picture_name(number, mistake, result.classes)}"] = _png(mistake.image)
    for split in result.splits:
        for old in store.list(f"{MISTAKES_FOLDER}/{split}", missing_ok=True):
            store.remove(f"{MISTAKES_FOLDER}/{split}/{old.name}")
    for name, data in files.items():
        store.make_dir(name.rpartition("/")[0])
        with store.write_atomic(name) as file:
            file.write(data)
    return folder / PAGE_NAME


def _shown(name: str, found: "SplitEvaluation", classes: tuple[str, ...]) -> Mapping[str, Any]:
    scores = found.scores
    titles = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1"}
    cards = [
        (f"{getattr(scores, key):.1%}", f"{title}, {found.intervals[key][0]:.1%} to {found.intervals[key][1]:.1%}")
        for key, title in titles.items()
    ]
    cards.append((f"{found.calibration.error:.1%}", "calibration error"))
    cards += [(f"{value:.2f}", f"{feeling} CCC") for feeling, value in scores.ccc.items() if value is not None]
    title = f"{name}: {scores.accuracy:.1%} of {scores.samples:,} right"
    return {
        "name": name,
        "cards": cards,
        "by_actual": draw_confusion(scores.confusion, classes, title=title),
        "by_predicted": draw_confusion(scores.confusion, classes, title=title, by="predicted"),
        "reliability": draw_reliability(found.calibration),
        "mistakes": found.mistakes[:_SHOWN_MISTAKES],
    }


def _table(result: "EvaluationResult") -> str:
    """Return every prediction as CSV; ``actual`` is empty where the label is a class that no run knows."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["split", "key", "actual", "predicted", *result.classes])
    for split, each in result.splits.items():
        found = each.predictions
        for key, actual, predicted, row in zip(
            found.keys, found.actual.tolist(), found.predicted.tolist(), found.probabilities.tolist(), strict=True
        ):
            label = result.classes[actual] if actual >= 0 else ""
            writer.writerow([split, key, label, result.classes[predicted], *(f"{value:.6f}" for value in row)])
    return buffer.getvalue()


def _picture_name(number: int, mistake: Mistake, classes: tuple[str, ...]) -> str:
    said, label = (re.sub(r"[^\w-]+", "-", classes[each]) for each in (mistake.predicted, mistake.actual))
    return f"{number:04d}-{said}-{100 * mistake.confidence:.0f}-is-{label}-{mistake.key}.png"


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    planes = np.ascontiguousarray(image.transpose(1, 2, 0))
    Image.fromarray(planes[..., 0] if planes.shape[2] == 1 else planes).save(buffer, format="PNG")
    return buffer.getvalue()
