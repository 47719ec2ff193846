"""A data set that is there already: is it what is asked for, still as written, and would the source give more now?

In: a conversion. Out: an error, or the summary of the data set. Costs the tables, the size and the tail of every shard,
and the images that were rejected; the shards' bodies are for ``verify`` to read.
"""

import csv
import io
import json
from collections.abc import Set

import pyarrow as pa
import pyarrow.compute as pc

from ferdata.errors import IngestError, ShardCorruptError, ShardMissingError
from ferdata.format.index import REJECTS_NAME, DatasetIndex, read_file, read_index
from ferdata.format.reader import ShardReader
from ferdata.ingest.conversion import Conversion
from ferdata.ingest.finish.summary import IngestSummary
from ferdata.ingest.identity import describe_changes, flat_settings
from ferdata.ingest.write.parts import PARTS_FOLDER
from ferdata.ingest.write.shards import task_settings
from ferdata.ingest.write.task import usable_now
from ferdata.parallel import map_in_threads
from ferdata.shown import counted
from ferdata.sources.items import ItemTable

__all__ = ["keep_finished"]


def keep_finished(conversion: Conversion) -> IngestSummary:
    """Leave a finished data set as it is, and return its summary.

    Raises:
        IngestError: If it has other settings, a file is gone, cut or exchanged, or an image can be used now that was
            rejected when it was made.
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
    # What the scan itself rejects has no key; if that were another by now, so would the scan be.
    rejected = {(row["key"], row["path"]) for row in rows if row["key"] and row["reason"] != "box_invalid"}
    if back := [*usable_now(task_settings(conversion), _items_of(conversion.scan.items, rejected))]:
        found = counted(len(back), "image that was", "images that were")
        raise IngestError(
            f"{store}: a finished data set found without {found} rejected when it was made and can be used now, "
            f"such as {back[0]}, expected all that can be; write it again with resume=False, or choose another out="
        )


def _items_of(items: ItemTable, wanted: Set[tuple[str, str]]) -> ItemTable:
    """Return the items with these keys and paths."""
    keys, paths = (items.table.column(name).cast(pa.string()) for name in ("key", "path"))
    alike = pc.indices_nonzero(pc.is_in(keys, pa.array([key for key, _ in wanted], pa.string()))).to_pylist()
    return items.take([place for place in alike if (keys[place].as_py(), paths[place].as_py()) in wanted])
