"""Where a data set goes: apart from the images, and nothing is removed or replaced there that ferdata did not write.

In: two places. Out: errors before anything is written or removed. Costs one listing, and a read of the tables there.
"""

import contextlib
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from ferdata.errors import IngestError, OptionError
from ferdata.format.codecs import CODECS
from ferdata.format.index import INDEX_NAME, REJECTS_NAME, SAMPLES_NAME
from ferdata.format.samples import SAMPLES_SCHEMA
from ferdata.ingest.write.parts import PARTS_FOLDER, note_names, noted_names
from ferdata.store import Store, StrPath

__all__ = ["REJECTS_HEAD", "check_apart", "clear", "find_unlisted", "new_data_set", "sweep", "without_root"]

REJECTS_HEAD = ("split", "key", "path", "row", "reason", "detail")
"""Columns of ``rejects.csv``."""

_SHARD = re.compile(r"[A-Za-z0-9_]+-\d{6,9}\.tar(\.zst)?")
_BESIDE = (SAMPLES_NAME, REJECTS_NAME)
_LEFTOVER = re.compile(rf"({'|'.join(map(re.escape, (INDEX_NAME, *_BESIDE)))}|{_SHARD.pattern})\.partial-\d+")
_CLEARING = f"{PARTS_FOLDER}/clearing"
_PART = re.compile(rf"((settings|shards|{_SHARD.pattern})\.json|clearing)(\.partial-\d+)?|{_SHARD.pattern}\.partial")
_RECORD = re.compile(rf"{_SHARD.pattern}\.json")
_LISTED = re.compile(r'"([A-Za-z0-9_]+)":\s*\{\s*"number":\s*\[([\d,\s]*)')


def check_apart(src: StrPath, out: StrPath) -> None:
    """See that the data set does not go among the images it is made from.

    Images below ``out`` are safe: there, only files of ferdata's own are ever replaced or removed.

    Raises:
        OptionError: If ``out`` is the source tree or lies in it.
    """
    source, target = _whole(src), _whole(out)
    if (target + "/").startswith(source.rstrip("/") + "/"):
        raise OptionError(
            f"out: {out} found, {'the folder' if target == source else 'a folder in that'} of the images ({src}), "
            "expected one apart from them; choose another"
        )


@dataclass(frozen=True, slots=True)
class _Found:
    """The names in a folder; those among them that a shard can have, and those of what stands beside shards."""

    names: frozenset[str]
    shards: frozenset[str]
    beside: frozenset[str]


def find_unlisted(store: Store) -> frozenset[str]:
    """Return the shards of a data set whose index was lost, as its table of samples names them; none if it is empty.

    Raises:
        IngestError: If there are shards, or what stands beside them, that no run of ferdata wrote.
    """
    found = _look(store)
    ours = _named_by_table(store, found)
    if REJECTS_NAME in found.beside and store.read(REJECTS_NAME).startswith((",".join(REJECTS_HEAD) + "\n").encode()):
        ours.add(REJECTS_NAME)
    if foreign := sorted((found.shards | found.beside) - ours):
        raise _foreign(store, foreign)
    return found.shards


@contextlib.contextmanager
def new_data_set(store: Store, names: Collection[str]) -> Iterator[None]:
    """Write the shards of these names, and what stands beside them, in one go; if the block fails, what it wrote goes.

    If it is killed, the next run that writes there removes that first. The caller holds the lock.

    Raises:
        IngestError: If there is a data set, or a file that has such a name.
    """
    sweep(store)
    found = _look(store)
    if INDEX_NAME in found.names:
        raise IngestError(f"{store}: a data set found, expected an empty folder; choose another out= or remove it")
    if taken := sorted(found.shards | found.beside):
        raise _foreign(store, taken)
    _mark(store, names)
    try:
        yield
    except BaseException:
        _remove_marked(store)
        raise
    store.remove(PARTS_FOLDER)


def clear(store: Store) -> None:
    """Remove the data set, or what there is of one: the index first, then the shards. Other files stay.

    Raises:
        IngestError: If there are shards or an index that no run of ferdata wrote; then nothing is removed.
    """
    found = _look(store)
    is_known = not found.names.isdisjoint((PARTS_FOLDER, INDEX_NAME))
    if is_known:
        if foreign := sorted(found.shards - noted_names(store) - _listed(store, found) - _named_by_table(store, found)):
            raise _foreign(store, foreign)
    else:
        find_unlisted(store)
    if not (found.shards or found.beside or is_known):
        return
    _mark(store, found.shards)  # a run that is killed now leaves no shards that seem to be nobody's
    store.remove(INDEX_NAME)
    _remove_marked(store)


def sweep(store: Store) -> None:
    """Remove what a run that was killed in its first or last moments has left half done; the caller holds the lock.

    Raises:
        IngestError: If a folder of somebody else's is called like the one for unfinished runs.
    """
    found = _look(store)
    for name in sorted(found.names):
        if _LEFTOVER.fullmatch(name):
            store.remove(name)
    if PARTS_FOLDER not in found.names:
        return
    parts = [entry.name for entry in store.list(PARTS_FOLDER, missing_ok=True)]
    if os.path.islink(store.path(PARTS_FOLDER)) or not all(_PART.fullmatch(name) for name in parts):
        raise _foreign(store, [PARTS_FOLDER])
    if store.exists(_CLEARING):
        if INDEX_NAME in found.names:  # either all was done, or nothing yet
            store.remove(PARTS_FOLDER)
        else:
            _remove_marked(store)
    elif INDEX_NAME not in found.names and not any(map(_RECORD.fullmatch, parts)):  # it had finished no shard
        _remove_marked(store, beside=())


def without_root(note: str, root: str) -> str:
    """Return a note of a scan without the place of the source, so that the same tree elsewhere gives the same index."""
    place = re.escape(root.rstrip("/"))
    note = re.sub(rf"(?<![\w./-]){place}/(?=\w)", "", note)
    return re.sub(rf"(?<![\w./-]){place or '/'}/?(?=[.,:;)]*(\s|$))", "the source folder", note)


def _mark(store: Store, names: Collection[str]) -> None:
    """Note that the shards of these names are to go unless the index is there."""
    note_names(store, names)
    with store.write_atomic(_CLEARING):
        pass


def _remove_marked(store: Store, beside: tuple[str, ...] = _BESIDE) -> None:
    names = _look(store).names & {*beside, *noted_names(store)}
    for name in (*sorted(names), PARTS_FOLDER):
        store.remove(name)


def _look(store: Store) -> _Found:
    entries = store.list(missing_ok=True)
    names = frozenset(entry.name for entry in entries)
    shards = frozenset(filter(_SHARD.fullmatch, names))
    if folders := sorted({entry.name for entry in entries if entry.is_dir} & {*shards, INDEX_NAME, *_BESIDE}):
        raise _foreign(store, folders)
    return _Found(names, shards, names.intersection(_BESIDE))


def _listed(store: Store, found: _Found) -> set[str]:
    """Return the shards that the index lists; where it is damaged, those that can still be read from it."""
    if INDEX_NAME not in found.names:
        return set()
    data = store.read(INDEX_NAME)
    if b'"format": "ferdata"' not in data[:64]:
        raise _foreign(store, [INDEX_NAME])
    return {
        codec.shard_name(split, int(number))
        for split, numbers in _LISTED.findall(data.decode("ascii", "replace"))
        for number in re.findall(r"\d{1,9}", numbers)
        for codec in CODECS.values()
    }


def _named_by_table(store: Store, found: _Found) -> set[str]:
    """Return the names of a data set's table of samples and of the shards of its rows; none if it is not ours."""
    if SAMPLES_NAME not in found.beside:
        return set()
    names = {SAMPLES_NAME}
    try:
        table = pq.ParquetFile(BytesIO(store.read(SAMPLES_NAME)))
        if table.schema_arrow.names != SAMPLES_SCHEMA.names:
            return set()
        for batch in table.iter_batches(columns=["split", "shard"], use_threads=False):
            found_pairs = pa.Table.from_batches([batch]).group_by(["split", "shard"], use_threads=False).aggregate([])
            for row in found_pairs.to_pylist():
                names.update(codec.shard_name(row["split"], row["shard"]) for codec in CODECS.values())
    except (pa.ArrowException, OSError, ValueError, TypeError):  # damaged, or of somebody else's
        return set()
    return names


def _foreign(store: Store, names: list[str]) -> IngestError:
    return IngestError(
        f"{store}: {len(names):,} file{'s' * (len(names) > 1)} such as {names[0]} found that no run of ferdata "
        "is known to have written, expected an empty folder, or a data set or an unfinished run of ferdata's; "
        "choose another out=, or remove them yourself"
    )


def _whole(place: StrPath) -> str:
    store = Store(place)
    return os.path.realpath(store.root) if store.is_local else store.root.rstrip("/")
