"""The write half: from a source tree to a data set on disk, in processes, resumable. Never imports torch.

In: :class:`IngestOptions`. Out: shards, ``samples.parquet``, ``rejects.csv`` and ``index.json``, and an
:class:`IngestSummary`.
"""

from ferdata.ingest.finish.summary import IngestSummary
from ferdata.ingest.options import IngestOptions, IngestProgress
from ferdata.ingest.run import ingest, ingest_scan

__all__ = ["IngestOptions", "IngestProgress", "IngestSummary", "ingest", "ingest_scan"]
