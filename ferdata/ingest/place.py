"""Where a data set goes: apart from the images, and nothing is removed there that ferdata did not write.

In: two places. Out: errors before anything is written or removed. Costs one listing, and one read of the index that is there.
"""

import json
import os
import re

from ferdata.errors import IngestError, OptionError
from ferdata.format.index import INDEX_NAME, REJECTS_NAME, SAMPLES_NAME
from ferdata.ingest.parts import PARTS_FOLDER
from ferdata.store import Store

__all__ = ["check_apart", "check_empty", "clear", "sweep", "without_root"]

_SHARD = re.compile(r"[A-Za-z0-9_]+-\d{6}\.tar(\.zst)?")
_BESIDE = (SAMPLES_NAME, REJECTS_NAME)
_LEFTOVER = re.compile(rf"({'|'.join(map(re.escape, (INDEX_NAME, *_BESIDE)))})\.partial-\d+")
_CLEARING = f"{PARTS_FOLDER}/clearing"


def check_apart(src: str, out: str) -> None:
    """See that the data set does not go among the images it is made from.

    Images below ``out`` are safe: there, only files of ferdata's own are ever replaced or removed.

    Raises:
        OptionError: If ``out`` is the source tree or lies in it.
    """
    source, target = _whole(src), _whole(out)
    if (target + "/").startswith(source.rstrip("/") + "/"):
        raise OptionError(
            f"--out {out}: {'the folder' if target == source else 'a folder in that'} of the images ({src}) found, "
            "expected one apart from them; choose another --out"
        )


def check_empty(store: Store) -> None:
    """See that a new data set, of which nothing is there yet, takes no other files' names.

    Raises:
        IngestError: If there are shards, or what stands beside them.
    """
    if foreign := [name for name in _names(store) if _SHARD.fullmatch(name) or name in _BESIDE]:
        raise _foreign(store, foreign)


def clear(store: Store) -> None:
    """Remove the data set, or what there is of one: the index first, then the shards. Other files stay.

    Raises:
        IngestError: If there are shards or an index that no run of ferdata wrote; then nothing is removed.
    """
    names = _names(store)
    shards = {name for name in names if _SHARD.fullmatch(name)}
    if PARTS_FOLDER in names:  # of an unfinished run, which began in a folder without any
        ours = shards
    elif INDEX_NAME in names:
        ours = _listed(store, shards)
    else:
        check_empty(store)
        return
    if foreign := sorted(shards - ours):
        raise _foreign(store, foreign)
    store.make_dir(PARTS_FOLDER)
    with store.write_atomic(_CLEARING):  # a run that is killed now leaves no shards that seem to be nobody's
        pass
    for name in (INDEX_NAME, *_BESIDE, *sorted(ours), PARTS_FOLDER):
        store.remove(name)


def sweep(store: Store) -> None:
    """Remove what a run that was killed in its first or last moments has left half done; the caller holds the lock."""
    for name in _names(store):
        if _LEFTOVER.fullmatch(name):
            store.remove(name)
    if store.exists(_CLEARING):
        clear(store)


def without_root(note: str, root: str) -> str:
    """Return a note of a scan without the place of the source tree, so that the same tree elsewhere gives the same index."""
    place = re.escape(root.rstrip("/"))
    note = re.sub(rf"(?<![\w./-]){place}/(?=\w)", "", note)
    return re.sub(rf"(?<![\w./-]){place or '/'}/?(?=[.,:;)]*(\s|$))", "the source folder", note)


def _listed(store: Store, shards: set[str]) -> set[str]:
    """Return the shards that belong to the index."""
    data = store.read(INDEX_NAME)
    if b'"format": "ferdata"' not in data[:64]:
        raise _foreign(store, [INDEX_NAME])
    try:
        return {INDEX_NAME, *(str(info["name"]) for info in json.loads(data)["shards"])} & shards
    except (ValueError, KeyError, TypeError):  # damaged, but ours
        return shards


def _foreign(store: Store, names: list[str]) -> IngestError:
    return IngestError(
        f"{store}: {len(names):,} file{'s' * (len(names) > 1)} such as {names[0]} found that no run of ferdata is known to have written, "
        "expected an empty folder, or a data set or an unfinished run of ferdata's; choose another --out, or remove them yourself"
    )


def _names(store: Store) -> list[str]:
    return [entry.name for entry in store.list(missing_ok=True)]


def _whole(place: str) -> str:
    store = Store(place)
    return os.path.realpath(store.root) if store.is_local else store.root.rstrip("/")
