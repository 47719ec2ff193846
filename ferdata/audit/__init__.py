"""What is wrong with a data set: copies, leaks, suspicious labels, outliers; one page that shows it.

In: finished shards. Out: an :class:`Audit`, its page, its figures, its findings as a table.
"""

from typing import TYPE_CHECKING

from ferdata.lazy import lazily

if TYPE_CHECKING:
    from ferdata.audit.options import AuditOptions
    from ferdata.audit.page import render_audit
    from ferdata.audit.run import Audit, audit

__all__ = ["Audit", "AuditOptions", "audit", "render_audit"]

__getattr__ = lazily(
    __name__,
    {
        "ferdata.audit.options": ["AuditOptions"],
        "ferdata.audit.page": ["render_audit"],
        "ferdata.audit.run": ["Audit", "audit"],
    },
)
