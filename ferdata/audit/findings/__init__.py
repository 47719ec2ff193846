"""Everything an audit looks for: a new finding is one file with a function, and one entry here."""

from collections.abc import Callable, Sequence

from ferdata.audit.finding import Finding
from ferdata.audit.findings.copies import find_copies
from ferdata.audit.findings.near_copies import find_near_copies
from ferdata.audit.findings.outliers import find_outliers
from ferdata.audit.findings.suspicious_labels import find_suspicious_labels
from ferdata.audit.options import AuditOptions, Say
from ferdata.audit.survey import Survey

__all__ = ["FINDERS"]

FINDERS: Sequence[Callable[[Survey, AuditOptions, Say], list[Finding]]] = (
    find_copies,
    find_near_copies,
    find_suspicious_labels,
    find_outliers,
)
"""In this order: later ones rely on the groups of copies that earlier ones have found."""
