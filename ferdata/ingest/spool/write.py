"""Images from Python on the disk: parquet files of images in small groups, and one table that says what they show.

In: options whose ``src`` is no folder. Out: options whose ``src`` is one, until the block ends. Takes as much room as
the images do, in the data set's own folder, and no memory.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from ferdata.errors import IngestError, SourceError
from ferdata.ingest.options import IngestOptions
from ferdata.ingest.spool.rows import SpoolRow, iter_spool_rows
from ferdata.lock import hold_lock
from ferdata.program import stopped
from ferdata.sources.files.parquet_columns import IMAGE_COLUMN
from ferdata.store import Store, StrPath

__all__ = ["spooled"]

_FOLDER = ".ferdata-images"
_TABLE = "table.parquet"
_OURS = re.compile(r"table\.parquet|images-\d{5}\.parquet")
_GROUP_BYTES = 1 << 16
"""Of a row group. Images are read in shuffled order, each for the price of its group: 230 µs of 1 MiB, 110 µs so."""
_FILE_BYTES = 2 << 30
_ROWS_AT_ONCE = 4096
_TICK_ROWS = 256
_IMAGES = pa.schema([(IMAGE_COLUMN, pa.binary())])
_ROWS = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("split", pa.string()),
        ("person", pa.string()),
        ("sequence", pa.string()),
        ("valence", pa.float64()),
        ("arousal", pa.float64()),
        ("soft_labels", pa.list_(pa.float64())),
        ("key", pa.string()),
        ("extra", pa.string()),
        ("box", pa.list_(pa.float64())),
    ]
)


@contextlib.contextmanager
def spooled(options: IngestOptions, *, on_tick: Callable[[int], None]) -> Iterator[IngestOptions]:
    """Write what ``options.src`` gives to files, and give the same options for these; they are removed at the end.

    Files depend on what it gives alone, so that a run that is repeated goes on with the shards that were finished.

    Args:
        options: What is asked.
        on_tick: Called with the number of images now and then.

    Raises:
        OptionError: If an item is not what it should be.
        SourceError: If there is none.
        IngestError: If another run does the same in this folder.
    """
    store = Store(options.out)
    place = Path(store.path(_FOLDER)) if store.is_local else Path(tempfile.mkdtemp(prefix="ferdata-"))
    with hold_lock(Store(place)):
        try:
            _remove_files(place)  # of a run that was killed
            with _Writer(place) as writer:
                _fill(writer, options, on_tick)
            columns = {name: name if name in writer.used else "" for name in _ROWS.names}
            scan = replace(options.scan, table=os.fspath(place / _TABLE), columns=columns)
            yield replace(options, src=os.fspath(place), scan=scan)
        finally:
            _remove_files(place)
            with contextlib.suppress(OSError):  # a file of somebody else's in it stays
                place.rmdir()


def _fill(writer: "_Writer", options: IngestOptions, on_tick: Callable[[int], None]) -> None:
    try:
        for row in iter_spool_rows(options.src, options.scan):
            _add(writer, row, options.out)
            if writer.num_rows % _TICK_ROWS == 0:
                on_tick(writer.num_rows)
    except KeyboardInterrupt as error:
        raise IngestError(
            f"{options.out}: {stopped()} while images were taken in; nothing was written: run it again"
        ) from error
    if not writer.num_rows:
        raise SourceError("src: no image found, expected (image, label) of each; see that it is not used up")


def _add(writer: "_Writer", row: SpoolRow, out: StrPath) -> None:
    try:
        writer.add(row)
    except OSError as error:  # not one of reading: those are the iterable's own
        raise IngestError(
            f"{out}: {error.strerror or error}, expected room and permission to write; "
            "nothing was written: put it right and run it again"
        ) from error


def _remove_files(place: Path) -> None:
    for path in place.iterdir():
        if _OURS.fullmatch(path.name):
            path.unlink()


class _Writer:
    """Fills the files.

    Attributes:
        num_rows: Rows so far.
        used: Columns with a value in any row.
    """

    def __init__(self, folder: Path) -> None:
        self.num_rows = 0
        self.used = {"path", "label", "key"}
        self._folder = folder
        self._table = pq.ParquetWriter(folder / _TABLE, _ROWS, compression="zstd")
        self._rows: list[Mapping[str, Any]] = []
        self._images: pq.ParquetWriter | None = None
        self._num_files = self._num_in_file = self._num_waiting_bytes = self._num_file_bytes = 0
        self._waiting: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush_images()
        self._flush_rows()
        if self._images is not None:
            self._images.close()
        self._table.close()

    def add(self, row: SpoolRow) -> None:
        """Write one image and what is said of it."""
        path = row.data if isinstance(row.data, str) else self._store(row.data)
        values = {"key": f"{self.num_rows:07d}", **row.values, "path": path, "label": row.label}
        self.used |= values.keys()
        self._rows.append(values)
        self.num_rows += 1
        if len(self._rows) == _ROWS_AT_ONCE:
            self._flush_rows()

    def _store(self, data: bytes) -> str:
        if self._images is None or self._num_file_bytes >= _FILE_BYTES:
            self._flush_images()
            if self._images is not None:
                self._images.close()
            self._num_files += 1
            self._num_in_file = self._num_file_bytes = 0
            self._images = pq.ParquetWriter(self._path(), _IMAGES, compression="none", use_dictionary=False)
        path = f"{self._path().name}#{self._num_in_file}"
        self._waiting.append(data)
        self._num_in_file += 1
        self._num_file_bytes += len(data)
        self._num_waiting_bytes += len(data)
        if self._num_waiting_bytes >= _GROUP_BYTES:
            self._flush_images()
        return path

    def _path(self) -> Path:
        return self._folder / f"images-{self._num_files:05d}.parquet"

    def _flush_images(self) -> None:
        if self._images is not None and self._waiting:
            self._images.write_table(pa.table({IMAGE_COLUMN: self._waiting}, schema=_IMAGES))
        self._waiting, self._num_waiting_bytes = [], 0

    def _flush_rows(self) -> None:
        if self._rows:
            columns = {name: [row.get(name) for row in self._rows] for name in _ROWS.names}
            self._table.write_table(pa.table(columns, schema=_ROWS))
        self._rows = []
