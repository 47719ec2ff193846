"""Pictures whose pixels are the same to the last bit. Costs one sort of the checksums."""

import numpy as np

from ferdata.audit.finding import Finding, pair_findings
from ferdata.audit.options import AuditOptions, Say
from ferdata.audit.survey import Survey

__all__ = ["find_copies"]

_BLANK = 1.0
"""Contrast below which a picture shows nothing: two of these are outliers, not copies of each other."""


def find_copies(survey: Survey, options: AuditOptions, say: Say) -> list[Finding]:
    """Return the copies, each beside the first sample that has the same pixels."""
    samples = np.flatnonzero(survey.measure("contrast") >= _BLANK)
    samples = samples[np.argsort(survey.hashes[samples], kind="stable")]
    hashes = survey.hashes[samples]
    starts = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1])) if len(samples) else np.empty(0, np.int64)
    firsts = np.repeat(samples[starts], np.diff(np.append(starts, len(samples))))
    copies = samples != firsts
    pairs = np.stack([firsts[copies], samples[copies]], axis=1)
    survey.join(pairs)
    meaning = "The pixels of the shards are the same to the last bit."
    return pair_findings(survey, "copy", "The same picture", meaning, pairs, np.ones(len(pairs)))
