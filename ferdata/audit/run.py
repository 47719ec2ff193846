"""An audit, from the shards to everything it found.

In: :class:`AuditOptions`. Out: an :class:`Audit`, whose figures are the same for the same data set, options and
machine. Memory: about 1.5 kB a sample.
"""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np

from ferdata.audit.options import AuditOptions, Say
from ferdata.dataset.info import DatasetDescription, describe
from ferdata.optional import needs

with needs("audit", "audit", "jinja2"):
    from ferdata.audit.finding import Finding
    from ferdata.audit.findings import FINDERS
    from ferdata.audit.measure import MEASURES
    from ferdata.audit.rejects import Reject, read_rejects
    from ferdata.audit.survey import Survey, take_survey
    from ferdata.audit.totals import Total, compare_with_release

__all__ = ["Audit", "audit"]

CSV_HEAD = ("split", "key", "path", "finding", "other", "score")
"""``other`` is ``split/key`` of the copy that stays."""

GREY = 3.0
"""Mean distance between channels below which a picture is called grey."""

_PARTS = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What an audit found.

    Attributes:
        options: What was asked for.
        about: What the data set is.
        totals: Split and class -> samples here and in the release that it looks like; empty where none is known.
        survey: The samples.
        findings: In the order of the page.
        rejects: What ``shard`` could not use.
    """

    options: AuditOptions
    about: DatasetDescription
    totals: Sequence[Total]
    survey: Survey
    findings: Sequence[Finding]
    rejects: Sequence[Reject]

    def shares(self) -> dict[str, dict[str, float]]:
        """Return split -> the share of grey pictures, and mean brightness, contrast and colour."""
        found = {}
        for number, split in enumerate(self.survey.index.splits):
            rows = self.survey.splits == number
            means = {
                name: float(self.survey.measure(name)[rows].mean()) for name in ("brightness", "contrast", "colour")
            }
            found[split] = {"grey": float((self.survey.measure("colour")[rows] < GREY).mean()), **means}
        return found

    def quantiles(self) -> dict[str, dict[str, float]]:
        """Return measure -> share of the samples -> the value that so many do not exceed."""
        found = {}
        for name in MEASURES:
            values = self.survey.measure(name)
            values = values[np.isfinite(values)]
            if len(values):
                cuts = np.quantile(values, _PARTS)
                found[name] = {f"{part:g}": float(cut) for part, cut in zip(_PARTS, cuts, strict=True)}
        return found

    def to_json(self) -> dict[str, Any]:
        """Return every figure as JSON-ready values."""
        return {
            **{
                name: getattr(self.about, name)
                for name in ("root", "source", "source_layout", "fingerprint", "classes")
            },
            "samples": dict(self.about.samples),
            "counts": dict(self.about.counts),
            "totals": [total.to_json() for total in self.totals],
            "shares": self.shares(),
            "quantiles": self.quantiles(),
            "findings": {each.name: {"rows": len(each.rows), **each.figures} for each in self.findings},
            "rejected": dict(Counter(reject.reason for reject in self.rejects).most_common()),
            "seed": self.options.seed,
        }

    def to_csv(self) -> str:
        """Return all findings, a line each."""
        text = StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(CSV_HEAD)
        columns: Mapping[str, list[str]] = {
            name: self.survey.table.column(name).to_pylist() for name in ("split", "key", "path")
        }
        for finding in self.findings:
            for row in finding.rows:
                one = [columns[name][row.sample] for name in columns]
                other = "" if row.other is None else f"{columns['split'][row.other]}/{columns['key'][row.other]}"
                writer.writerow((*one, finding.name, other, f"{row.score:.4f}"))
        return text.getvalue()


def audit(options: AuditOptions, *, say: Say = lambda what, done, total: None) -> Audit:
    """Look at every sample of a data set.

    Args:
        options: What to look for.
        say: Called with (what goes on, done, total).

    Raises:
        OptionError: If its tensors are no pictures, it is empty, or the device is not there.
        ShardMissingError, ShardCorruptError: If it is missing or damaged.

    Example:
        >>> from ferdata.audit import AuditOptions, audit
        >>> found = audit(AuditOptions(shards="shards/affectnet", labels=False))
        >>> [finding.name for finding in found.findings][:2]
        ['copy-across-splits', 'copy-under-two-labels']
    """
    survey = take_survey(options, say)
    return Audit(
        options=options,
        about=describe(options.shards),
        totals=compare_with_release(survey.index),
        survey=survey,
        findings=[finding for find in FINDERS for finding in find(survey, options, say)],
        rejects=read_rejects(survey.store, survey.index),
    )
