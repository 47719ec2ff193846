"""One conversion: a scan, what is asked, and what follows from the two; every step of an ingest is given it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ferdata.format.container import json_bytes_for
from ferdata.format.index import FORMAT_VERSION
from ferdata.images.transform import Transform
from ferdata.ingest.identity import flat_settings, libraries, scan_hash
from ferdata.ingest.options import IngestOptions
from ferdata.ingest.select.exclude import Exclusions, read_exclusions
from ferdata.ingest.write.record import longest_record
from ferdata.sources.scan import Scan
from ferdata.store import Store

__all__ = ["Conversion"]


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What the steps of an ingest share.

    Attributes:
        scan: The items.
        options: What is asked.
    """

    scan: Scan
    options: IngestOptions

    @cached_property
    def store(self) -> Store:
        """Where the data set goes."""
        return Store(self.options.out)

    @cached_property
    def transform(self) -> Transform:
        """What is done to every image."""
        return Transform(self.options.transform)

    @cached_property
    def excluded(self) -> Exclusions | None:
        """What a table lists that is left out."""
        table = self.options.splits.exclude
        return None if table is None else read_exclusions(table)

    @cached_property
    def json_bytes(self) -> int:
        """Size of every json member."""
        return json_bytes_for(longest_record(self.scan.items))

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What decides which samples are where, as it stands in the index."""
        excluded = None if self.excluded is None else self.excluded.xxh64
        return self.options.selection_settings() | {"exclude": excluded, "scan": scan_hash(self.scan)}

    def own_settings(self) -> dict[str, Any]:
        """Return what makes a data set what it is, whatever wrote it."""
        return flat_settings(self.scan.source, self.options.codec, self.transform.settings(), self.settings)

    def all_settings(self) -> dict[str, Any]:
        """Return what a run that goes on where another stopped must have in common with it."""
        return self.own_settings() | {"libraries": libraries(), "format_version": FORMAT_VERSION}
