"""Built-in data: synthetic faces as finished shards in the user's cache folder, for whoever has no data set at hand.

In: how many, how large. Out: a data set folder, built once, in seconds.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from ferdata.errors import FerdataError, ShardMissingError
from ferdata.format import FORMAT_VERSION, read_index
from ferdata.images.transform import TransformOptions
from ferdata.ingest import IngestOptions, ingest
from ferdata.sources.layout import SOURCES
from ferdata.store import Store
from ferdata.synth import write_synthetic

__all__ = ["builtin_shards", "cache_folder", "find_shards", "has_shards"]

USUAL_FOLDERS = tuple(f"shards/{source}" for source in SOURCES)
BUILTIN_VERSION = 3
"""Part of the folder's name; raised when the drawing of the faces or the shard format changes."""


def cache_folder() -> Path:
    """Return the folder that built-in data lives in: ``$XDG_CACHE_HOME/ferdata``, by default ``~/.cache/ferdata``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ferdata"


def has_shards(root: str | os.PathLike[str], *, say: Callable[[str], None] = lambda text: None) -> bool:
    """Tell whether a folder holds a finished data set that this version reads; if it holds another, that is said."""
    try:
        read_index(Store(root))
    except ShardMissingError:
        return False
    except FerdataError as error:
        say(f"left out: {error}")
        return False
    return True


def find_shards(shards: str | None, *, say: Callable[[str], None]) -> str | None:
    """Return the data set to use: the one given, else one in ``shards/``, else None: built-in data, which is said."""
    if shards is not None:
        return shards
    found = next((folder for folder in USUAL_FOLDERS if has_shards(folder, say=say)), None)
    missing = (
        "no shards found in shards/affectnet or other usual folders: using built-in images (name yours with shards=)"
    )
    say(f"using {found}" if found else missing)
    return found


def builtin_shards(*, count: int = 6000, size: int = 80, say: Callable[[str], None] = lambda text: None) -> str:
    """Return the folder of a built-in data set, building it first if it is not there.

    Args:
        count: Images in all splits together.
        size: Height and width.
        say: Called with a sentence before something is built.
    """
    out = cache_folder() / f"synthetic-{count}x{size}-v{BUILTIN_VERSION}-f{FORMAT_VERSION}"
    if has_shards(out):
        return str(out)
    say(f"building {count:,} synthetic faces of {size} px once, in {out}")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{out.name}.source-", dir=out.parent) as drawn:
        write_synthetic("affectnet", drawn, count=count, size=size)
        if not has_shards(out):  # another process may have been faster
            transform = TransformOptions(size=size)
            ingest(IngestOptions(source="affectnet", src=drawn, out=str(out), transform=transform, resume=False))
    return str(out)
