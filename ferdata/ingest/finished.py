"""A data set that is there already: is it what is asked for, still as written, and would the source give more now?

In: a conversion. Out: an error, or the summary of the data set. Costs the tables, the size and the tail of every shard,
and the images that could not be read; the shards' bodies are for ``verify`` to read.
"""

import csv
import io
import json

import pyarrow as pa
import pyarrow.compute as pc

from ferdata.errors import IngestError, ShardCorruptError, ShardMissingError
from ferdata.format.index import REJECTS_NAME, DatasetIndex, read_file, read_index
from ferdata.format.reader import ShardReader
from ferdata.ingest.conversion import Conversion
from ferdata.ingest.finish.summary import IngestSummary
from ferdata.ingest.identity import describe_changes, flat_settings
from ferdata.ingest.reading import can_be_read
from ferdata.ingest.write.doubt import NOT_READ
from ferdata.ingest.write.parts import PARTS_FOLDER
from ferdata.parallel import map_in_threads

__all__ = ["keep_finished"]


def keep_finished(conversion: Conversion) -> IngestSummary:
    """Leave a finished data set as it is, and return its summary.

    Raises:
        IngestError: If it has other settings, a file is gone, cut or exchanged, or an image can be read now that could
            not be read when it was made.
    """
    store = conversion.store
    index = read_index(store)
    found = flat_settings(index.source, index.codec, index.transform.get("settings", {}), index.settings)
    if changes := describe_changes(found, json.loads(json.dumps(conversion.own_settings()))):
        raise IngestError(
            f"{store}: a finished data set with other settings found: {changes}; expected the same; "
            "choose another out=, or replace it with resume=False"
        )
    _check_whole(conversion, index)
    store.remove(PARTS_FOLDER)
    return IngestSummary.from_index(index, out=str(store))


def _check_whole(conversion: Conversion, index: DatasetIndex) -> None:
    store = conversion.store
    try:
        files = {info.name: read_file(store, info) for info in index.files}
        map_in_threads(
            lambda info: ShardReader(store, info, index).close(),
            index.shards,
            num_workers=conversion.options.resolved_workers(),
            progress=None,
        )
    except (ShardMissingError, ShardCorruptError) as error:
        raise IngestError(f"{error}; without resume=False, nothing of a finished data set is written again") from error
    rows = csv.DictReader(io.StringIO(files[REJECTS_NAME].decode(), newline=""))
    lost = pa.array([row["path"] for row in rows if row["reason"] in {*NOT_READ, "decoder_missing"}], pa.string())
    paths = conversion.scan.items.table.column("path")
    # What the scan itself found missing would be another scan by now.
    tried = paths.filter(pc.is_in(paths.cast(pa.string()), lost)).to_pylist() if len(lost) else []
    if back := [path for path in tried if can_be_read(conversion.scan.root, path)]:
        raise IngestError(
            f"{store}: a finished data set found without {len(back):,} images that could not be read or decoded "
            f"when it was made and can be now, such as {back[0]}, expected all that can be read; "
            "write it again with resume=False, or choose another out="
        )
