"""The write half: from a source tree to a data set on disk, in processes, resumable. Never imports torch.

In: :class:`IngestOptions`. Out: shards, ``samples.parquet``, ``rejects.csv`` and ``index.json``, and an
:class:`IngestSummary`.
"""

from typing import TYPE_CHECKING

from ferdata.lazy import lazily

if TYPE_CHECKING:
    from ferdata.ingest.finish.summary import IngestSummary
    from ferdata.ingest.options import IngestOptions, IngestProgress
    from ferdata.ingest.run import ingest, ingest_scan

__all__ = ["IngestOptions", "IngestProgress", "IngestSummary", "ingest", "ingest_scan"]

__getattr__ = lazily(
    __name__,
    {
        "ferdata.ingest.finish.summary": ["IngestSummary"],
        "ferdata.ingest.options": ["IngestOptions", "IngestProgress"],
        "ferdata.ingest.run": ["ingest", "ingest_scan"],
    },
)
