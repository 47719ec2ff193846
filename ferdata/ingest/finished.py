"""A data set that is there already: is it still what was written, and would the source give more by now?

In: an index and a scan. Out: an error, or nothing. Costs the tables, the size and the tail of every shard, and the images that could not
be read; the shards' bodies are for ``verify`` to read.
"""

import csv
import io
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from ferdata.errors import IngestError, ShardCorruptError, ShardMissingError
from ferdata.format.index import REJECTS_NAME, DatasetIndex, ShardInfo, read_file
from ferdata.format.reader import ShardReader
from ferdata.ingest.reading import can_be_read
from ferdata.ingest.write.doubt import NOT_READ
from ferdata.parallel import map_in_threads
from ferdata.sources.scan import Scan
from ferdata.store import Store

__all__ = ["check_finished"]


def check_finished(store: Store, index: DatasetIndex, scan: Scan, *, num_workers: int) -> None:
    """See that a finished data set may be left as it is.

    Raises:
        IngestError: If a file is gone, cut or exchanged, or an image can be read now that could not be read when it was made.
    """
    try:
        files = {info.name: read_file(store, info) for info in index.files}
        map_in_threads(partial(_open, store, index), index.shards, num_workers=num_workers, progress=None)
    except (ShardMissingError, ShardCorruptError) as error:
        raise IngestError(f"{error}; without --fresh, nothing of a finished data set is written again") from error
    rows = csv.DictReader(io.StringIO(files[REJECTS_NAME].decode(), newline=""))
    lost = pa.array([row["path"] for row in rows if row["reason"] in {*NOT_READ, "decoder_missing"}], pa.string())
    paths = scan.items.table.column("path")
    # What the scan itself found missing would be another scan by now.
    tried = paths.filter(pc.is_in(paths.cast(pa.string()), lost)).to_pylist() if len(lost) else []
    if back := [path for path in tried if can_be_read(scan.root, path)]:
        raise IngestError(
            f"{store}: a finished data set found without {len(back):,} images that could not be read or decoded when it was made and "
            f"can be now, such as {back[0]}, expected all that can be read; write it again with --fresh, or choose another --out"
        )


def _open(store: Store, index: DatasetIndex, info: ShardInfo) -> None:
    with ShardReader(store, info, index):
        pass
