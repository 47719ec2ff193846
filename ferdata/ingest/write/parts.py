"""Finished shards of an unfinished data set: committed one by one, found again after a kill.

In: shard files and what became of their items. Out: ``.parts/`` beside the shards, which the finished data set no
longer has. Costs one small file a shard.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ferdata.errors import IngestError, ShardCorruptError, ShardMissingError
from ferdata.format.index import ShardInfo, check_file
from ferdata.ingest.identity import describe_changes
from ferdata.store import Store

__all__ = [
    "PARTS_FOLDER",
    "PartRecord",
    "commit_part",
    "is_whole",
    "match_settings",
    "note_names",
    "noted_names",
    "open_shard",
    "read_parts",
]

PARTS_FOLDER = ".parts"
_SETTINGS = f"{PARTS_FOLDER}/settings.json"
_NAMES = f"{PARTS_FOLDER}/shards.json"
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRecord:
    """What became of the items of one task.

    Attributes:
        shard: The shard; of 0 samples where every image was rejected: then there is no such file, nor a record.
        source_bytes: int64 ``[items]``, size of every image file; -1 where the item was rejected.
        source_xxh64: uint64 ``[items]``, XXH64 of every image file; 0 where the item was rejected.
        rejects: (number of the item in the task, reason, detail).
        repairs: Repair -> images accepted after it.
        bytes_in: Bytes of image files read.
        pixels: Pixels per channel behind ``sums``.
        sums: Per channel, of pixel values.
        squares: Per channel, of squared pixel values.
    """

    shard: ShardInfo
    source_bytes: np.ndarray
    source_xxh64: np.ndarray
    rejects: tuple[tuple[int, str, str], ...]
    repairs: Mapping[str, int]
    bytes_in: int
    pixels: int
    sums: tuple[int, ...]
    squares: tuple[int, ...]

    def to_json(self) -> bytes:
        """Return the record as JSON text."""
        return json.dumps(asdict(self), default=np.ndarray.tolist).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "PartRecord":
        """Return the record that :meth:`to_json` wrote.

        Raises:
            ValueError: If the text is not such a record.
        """
        try:
            fields = json.loads(data)
            fields["shard"] = ShardInfo(**fields["shard"])
            fields["source_bytes"] = np.array(fields["source_bytes"], np.int64)
            fields["source_xxh64"] = np.array(fields["source_xxh64"], np.uint64)
            fields["rejects"] = tuple(
                (int(number), str(reason), str(detail)) for number, reason, detail in fields["rejects"]
            )
            return cls(**fields | {"sums": tuple(fields["sums"]), "squares": tuple(fields["squares"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"no part record: {error}") from error


@contextmanager
def open_shard(store: Store, name: str) -> Iterator[IO[bytes]]:
    """Open the file a worker writes a shard to; it gets its own name only in :func:`commit_part`.

    Locally nothing is flushed to the disk here, so that the worker goes on with the next shard while another thread
    waits for that. Behind a URL the upload at the end of the block is the commit.
    """
    if not store.is_local:
        with store.write_atomic(name) as file:
            yield file
        return
    path = _partial_path(store, name)
    # Some file systems flush a file that was cut to nothing and written anew when it is closed, but not a new one.
    Path(path).unlink(missing_ok=True)
    try:
        with open(path, "xb", buffering=_BUFFER_BYTES) as file:
            yield file
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise


def commit_part(store: Store, part: PartRecord) -> None:
    """Give a written shard its name, and record it; only a recorded shard is ever used.

    Where every image was rejected there is nothing to keep: the next run tries them again.
    """
    name = part.shard.name
    if not part.shard.samples:
        store.remove(_record_name(name))
        store.remove(name)
        return
    if store.is_local:
        path = _partial_path(store, name)
        descriptor = os.open(path, os.O_RDWR)  # Windows flushes no other
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(path, store.path(name))
    with store.write_atomic(_record_name(name)) as file:
        file.write(part.to_json())


def read_parts(store: Store, names: Mapping[str, int]) -> dict[str, PartRecord]:
    """Return the records of shards that may be whole; see :func:`is_whole`.

    Args:
        store: The unfinished data set.
        names: Shard name -> items of its task.
    """
    parts = {}
    for entry in store.list(PARTS_FOLDER, missing_ok=True):
        name = entry.name.removesuffix(".json")
        if entry.name != f"{name}.json" or name not in names:
            continue
        try:
            part = PartRecord.from_json(store.read(f"{PARTS_FOLDER}/{entry.name}"))
        except ValueError:  # cut short by a power failure; the shard is written again
            continue
        if len(part.source_bytes) == names[name]:
            parts[name] = part
    return parts


def is_whole(store: Store, part: PartRecord) -> bool:
    """Tell whether a shard is, to the last bit, what was written; costs one read of it."""
    try:
        check_file(store, part.shard)
    except (ShardMissingError, ShardCorruptError):
        return False
    return True


def match_settings(store: Store, settings: Mapping[str, Any], names: Iterable[str]) -> None:
    """Record a run's settings and the shards it is going to write, or check that a stopped run had the same settings.

    Raises:
        IngestError: If the stopped run had others.
    """
    text = json.dumps(settings, sort_keys=True, indent=1)
    store.make_dir(PARTS_FOLDER)
    try:
        found = json.loads(store.read(_SETTINGS)) if store.exists(_SETTINGS) else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        for entry in store.list(PARTS_FOLDER, missing_ok=True):  # records without settings cannot be trusted
            store.remove(f"{PARTS_FOLDER}/{entry.name}")
        note_names(store, names)
        with store.write_atomic(_SETTINGS) as file:
            file.write(text.encode())
        return
    if changes := describe_changes(found, json.loads(text)):
        raise IngestError(
            f"{store}: unfinished shards with other settings found: {changes}; expected the same; "
            "repeat the settings of that run, choose another out=, or start over with resume=False"
        )


def note_names(store: Store, names: Iterable[str]) -> None:
    """Record the shards that a run is going to write, so that others beside them are told apart."""
    store.make_dir(PARTS_FOLDER)
    with store.write_atomic(_NAMES) as file:
        file.write(json.dumps(sorted(names)).encode())


def noted_names(store: Store) -> set[str]:
    """Return the shards that an unfinished run was going to write."""
    try:
        return set(map(str, json.loads(store.read(_NAMES))))
    except (FileNotFoundError, ValueError, TypeError):
        return set()


def _partial_path(store: Store, name: str) -> str:
    return store.path(f"{PARTS_FOLDER}/{name}.partial")


def _record_name(name: str) -> str:
    return f"{PARTS_FOLDER}/{name}.json"
