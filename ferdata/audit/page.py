"""The page of an audit: one file that shows what was found, with every picture inside.

In: an :class:`Audit`. Out: HTML. Reads the samples it shows, a few hundred, and writes about 4 kB for each.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ferdata.audit.finding import Finding, Row
from ferdata.audit.rejects import reject_picture
from ferdata.audit.run import Audit
from ferdata.audit.survey import Survey
from ferdata.images.colours import to_picture
from ferdata.training.report.render import picture_bytes, render_page

__all__ = ["render_audit"]

_TEMPLATE = Path(__file__).with_name("audit.html")
_SIDE = 128
_BINS = 36
_SECTIONS = {
    "Copies": "pictures that are in the data set more than once",
    "Labels": "what networks say that have not seen them",
    "Outliers": "pictures unlike all others in one measure",
}
_MEASURE_TITLES = {
    "brightness": ("Brightness", "mean grey, 0 to 255"),
    "contrast": ("Contrast", "spread of grey"),
    "sharpness": ("Sharpness", "edges per contrast, log"),
    "colour": ("Colour", "distance of channels"),
    "side": ("Source", "pixels of the crop's side, log"),
    "shape": ("Shape", "width over height of the crop, log"),
}
_LOG = ("sharpness", "side", "shape")


@dataclass(frozen=True, slots=True)
class _Picture:
    """A picture with what is said of it when the mouse is over it."""

    jpeg: bytes
    title: str


class _Album:
    """Pictures of samples as JPEG, each read once."""

    def __init__(self, survey: Survey, samples: Iterable[int]) -> None:
        self._survey = survey
        wanted = np.unique(np.fromiter(samples, np.int64))
        self._pictures: dict[int, bytes] = {}
        for part in np.array_split(wanted, max(1, len(wanted) // 64)):
            for sample, pixels in zip(part.tolist(), survey.pixels(part) if len(part) else (), strict=True):
                self._pictures[sample] = picture_bytes(to_picture(pixels), _SIDE, "JPEG")

    def picture(self, sample: int) -> _Picture:
        """Return a sample's picture."""
        row = self._survey.row(sample)
        lines = [f"{row['split']}/{row['key']}", f"label {self._survey.class_of(sample)}", f"{row['path']}"]
        lines += [f"{name} {row[name]:.2f}" for name in ("valence", "arousal") if row[name] is not None]
        if row["source_label"] is not None:
            lines.append(f"in the source: {row['source_label']}")
        side = self._survey.measure("side")[sample]
        lines += [f"{side:.0f} px in the source"] if np.isfinite(side) else []
        return _Picture(self._pictures[sample], "\n".join(lines))


def render_audit(found: Audit) -> str:
    """Return the page of an audit."""
    survey, options = found.survey, found.options
    by_class = _drawn(survey, options.per_class, options.seed)
    shown = {finding.name: _without_reverse(finding.rows)[: options.shown] for finding in found.findings}
    of_findings = (
        sample for rows in shown.values() for row in rows for sample in (row.sample, row.other) if sample is not None
    )
    album = _Album(survey, [*of_findings, *(sample for samples in by_class.values() for sample in samples)])
    sections = []
    for name, about in _SECTIONS.items():
        here = [finding for finding in found.findings if finding.section == name]
        if here:
            filled = [_shown(album, survey, finding, shown[finding.name]) for finding in here if finding.rows]
            none = [finding.title for finding in here if not finding.rows]
            sections.append({"title": name, "about": about, "findings": filled, "none": none})
    return render_page(
        _TEMPLATE,
        title=f"Audit of {Path(str(found.about.root)).name or found.about.root}",
        about=found.about,
        cards=_cards(found),
        classes=_class_table(found),
        totals=found.totals,
        shares=found.shares(),
        histograms=_histograms(found),
        sections=sections,
        recall=next((finding.figures["recall"] for finding in found.findings if "recall" in finding.figures), None),
        faces={name: [album.picture(sample) for sample in samples] for name, samples in by_class.items()},
        reasons=Counter(reject.reason for reject in found.rejects).most_common(),
        rejects=_rejects(found),
        num_rejects=len(found.rejects),
        src=options.src,
    )


def _without_reverse(rows: Sequence[Row]) -> list[Row]:
    """Return the rows without those that name a pair the other way round."""
    pairs = {(row.sample, row.other) for row in rows}
    return [row for row in rows if row.other is None or row.sample > row.other or (row.other, row.sample) not in pairs]


def _shown(album: _Album, survey: Survey, finding: Finding, rows: Sequence[Row]) -> dict[str, Any]:
    cells = []
    for row in rows:
        samples = [row.sample] if row.other is None else [row.sample, row.other]
        names = [str(survey.row(sample)["key"]) for sample in samples]
        cells.append(
            {
                "pictures": [album.picture(sample) for sample in samples],
                "note": row.note,
                "label": survey.class_of(row.sample) if finding.section == "Labels" else "",
                "names": names if finding.section == "Copies" else names[:1],
            }
        )
    return {
        "title": finding.title,
        "meaning": finding.meaning,
        "count": len(finding.rows),
        "hidden": len(_without_reverse(finding.rows)) - len(cells),
        "cells": cells,
        "is_pair": finding.section == "Copies",
    }


def _cards(found: Audit) -> list[tuple[str, str]]:
    def count(*names: str) -> str:
        return f"{sum(len(finding.rows) for finding in found.findings if finding.name in names):,}"

    cards = [
        (f"{len(found.survey):,}", "images"),
        (count("copy-across-splits", "near-copy-across-splits"), "copies across splits"),
        (count("copy", "near-copy"), "other copies"),
        (
            f"{sum(len(each.rows) for each in found.findings if each.name.endswith('two-labels')):,}",
            "images under two labels",
        ),
        (count("suspicious-label"), "suspicious labels"),
        (f"{sum(len(each.rows) for each in found.findings if each.section == 'Outliers'):,}", "outliers"),
        (f"{len(found.rejects):,}", "rejected by shard"),
    ]
    if not found.options.labels:
        del cards[4]
    return cards


def _class_table(found: Audit) -> list[dict[str, Any]]:
    counts = found.about.counts
    totals = {split: max(1, sum(of_split)) for split, of_split in counts.items()}
    most = max(max(of_split, default=0) / totals[split] for split, of_split in counts.items()) or 1.0
    return [
        {
            "name": name,
            "counts": {split: of_split[label] for split, of_split in counts.items()},
            "shares": {split: of_split[label] / totals[split] for split, of_split in counts.items()},
            "widths": {split: of_split[label] / totals[split] / most for split, of_split in counts.items()},
        }
        for label, name in enumerate(found.about.classes)
    ]


def _histograms(found: Audit) -> list[dict[str, Any]]:
    histograms = []
    for name, (title, unit) in _MEASURE_TITLES.items():
        values = found.survey.measure(name)
        values = values[np.isfinite(values)].astype(np.float64)
        if not len(values) or np.ptp(values) == 0:
            continue
        scaled = np.log(np.maximum(values, 1e-3)) if name in _LOG else values
        low, high = np.quantile(scaled, [0.001, 0.999])
        counts, edges = np.histogram(np.clip(scaled, low, high), _BINS, (low, max(high, low + 1e-6)))
        ends = np.exp(edges[[0, -1]]) if name in _LOG else edges[[0, -1]]
        heights = (counts / counts.max()).tolist()
        histograms.append({"title": title, "unit": unit, "heights": heights, "ends": [f"{end:.3g}" for end in ends],
                           "middle": f"{np.median(values):.3g}"})  # fmt: skip
    return histograms


def _drawn(survey: Survey, count: int, seed: int) -> Mapping[str, list[int]]:
    """Return class -> some of its samples at random."""
    chosen = {}
    for label, name in enumerate(survey.index.classes):
        members = np.flatnonzero(survey.labels == label)
        if len(members):
            chosen[name] = np.random.default_rng((seed, label)).permutation(members)[:count].tolist()
    return chosen


def _rejects(found: Audit) -> list[tuple[Any, _Picture | None]]:
    """Return the rejects that are shown, those with a picture first."""
    rows: list[tuple[Any, _Picture | None]] = []
    for reject in found.rejects[: 4 * found.options.shown]:
        picture = reject_picture(found.options.src, reject.path) if found.options.src and reject.path else None
        jpeg = None if picture is None else picture_bytes(picture, _SIDE, "JPEG")
        rows.append((reject, None if jpeg is None else _Picture(jpeg, f"{reject.path}\n{reject.detail}")))
    return sorted(rows, key=lambda row: row[1] is None)[: found.options.shown]
