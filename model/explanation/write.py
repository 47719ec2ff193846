"""What an explanation leaves in a folder: a page, every figure, and where each sample lies on the map.

In: an :class:`Explanation`. Out: ``explanation.html``, ``explanation.json`` and ``embedding.csv``.
"""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from ferdata.store import Store
from ferdata.training.explanation import draw
from ferdata.training.explanation.result import Covering, Explanation
from ferdata.training.report.render import TEMPLATES, render_page

__all__ = ["write_explanation"]

PAGE_NAME = "explanation.html"


def write_explanation(result: Explanation, folder: Path) -> Path:
    """Write everything, and return the page; what an earlier explanation left there is replaced.

    Args:
        result: What to show.
        folder: Made if it is not there.

    Raises:
        StoreError: If the folder cannot be written.
    """
    is_right = result.probabilities.argmax(1) == result.labels
    page = render_page(
        TEMPLATES / "explanation.html",
        title=f"{Path(result.run).name}: what it looks at",
        result=result,
        classes=[_shown_class(result, number) for number in np.flatnonzero(result.grid.samples).tolist()],
        table=None if result.regions is None else _table(result.regions, result.classes),
        most=f"{100 * _most(result.grid):.0f}",
        maps=[(each, draw.draw_maps(result.faces, each)) for each in result.maps],
        filters=None if result.filters is None else draw.draw_filters(result.filters),
        embedding=draw.draw_embedding(
            result.embedding, result.labels[result.embedded], is_right[result.embedded], result.classes
        ),
        parameters=sum(layer.parameters for layer in result.layers),
    )
    files = {
        "explanation.json": json.dumps(result.to_json(), indent=1) + "\n",
        "embedding.csv": _points(result),
        PAGE_NAME: page,
    }
    store = Store(folder)
    store.make_dir()
    for name, text in files.items():
        with store.write_atomic(name) as file:
            file.write(text.encode())
    return folder / PAGE_NAME


def _shown_class(result: Explanation, number: int) -> dict[str, Any]:
    """Return a class's examples with their pictures, and its mean face under what covering costs."""
    pictures = [
        (
            each,
            None if each.cam is None else draw.draw_heat(each.image, each.cam),
            draw.draw_signed(each.image, each.gradients),
        )
        for each in result.examples
        if each.actual == number
    ]
    cells = round(len(result.grid.names) ** 0.5)
    lost = result.grid.lost_probability[number]
    return {
        "name": result.classes[number],
        "hits": [each for each in pictures if each[0].predicted == number],
        "mistakes": [each for each in pictures if each[0].predicted != number],
        "cover": draw.draw_cover(result.mean_faces[number], lost.reshape(cells, cells), _most(result.grid)),
        "lost": 100 * lost.max(),
        "probability": result.grid.probability[number, 0],
    }


def _most(grid: Covering) -> float:
    """Return what is drawn at full strength: the most that any cell costs any class."""
    return float(np.nanmax(np.abs(grid.lost_probability)))


def _table(regions: Covering, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return a row a class, and one of all."""
    samples = (*regions.samples.tolist(), int(regions.samples.sum()))
    most = max(float(np.nanmax(regions.lost_accuracy)), 1e-12)
    return [
        {
            "name": name,
            "samples": count,
            "accuracy": regions.accuracy[row, 0],
            "cells": [
                (regions.accuracy[row, part + 1], regions.lost_accuracy[row, part],
                 max(0.0, float(regions.lost_accuracy[row, part]) / most), regions.lost_probability[row, part])
                for part in range(len(regions.names))
            ],
        }
        for row, (name, count) in enumerate(zip((*classes, "all"), samples, strict=True))
        if count
    ]  # fmt: skip


def _points(result: Explanation) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["key", "actual", "predicted", "x", "y"])
    predicted = result.probabilities.argmax(1)
    for place, (x, y) in zip(result.embedded.tolist(), result.embedding.tolist(), strict=True):
        names = (result.classes[each] for each in (int(result.labels[place]), int(predicted[place])))
        writer.writerow([result.keys[place], *names, f"{x:.4f}", f"{y:.4f}"])
    return buffer.getvalue()
