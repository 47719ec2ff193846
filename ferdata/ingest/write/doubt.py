"""Failures that may be the machine's and not the images': a lost disk must not look like a source full of bad images.

In: what became of images. Out: an error where many in a row fail alike, and which rejected images can be used after
all. Costs a comparison an image, and one more look at every image that was rejected.
"""

from collections.abc import Sequence

from ferdata.errors import FerdataError, SourceError
from ferdata.ingest.reading import can_be_read
from ferdata.ingest.select.selection import ShardPlan
from ferdata.ingest.write.parts import PartRecord
from ferdata.sources.files.image_bytes import table_of
from ferdata.sources.items import ItemTable
from ferdata.store import Store

__all__ = ["NOT_READ", "Streak", "check_source"]

NOT_READ = frozenset({"image_missing", "image_unreadable"})
"""Reasons of a file that was there when the source was scanned, and could not be read."""
MAX_IN_A_ROW = 64
"""Images lie in shards in random order: if three in four are bad, so many in a row happen once in 10^8 images."""
_PROBES = 16


class Streak:
    """How many images in a row failed for one reason, over all tasks of a worker."""

    def __init__(self) -> None:
        self._reason, self._first, self._count = "", "", 0

    def end(self) -> None:
        """Note an image that could be used."""
        self._count = 0

    def add(self, root: str, reason: str, error: FerdataError) -> None:
        """Note an image that could not.

        Raises:
            SourceError: If it is one too many.
        """
        if reason != self._reason or not self._count:
            self._reason, self._first, self._count = reason, str(error), 0
        self._count += 1
        if self._count >= MAX_IN_A_ROW:
            count, self._count = self._count, 0
            raise SourceError(
                f"{root}: {count} images in a row could not be used ({reason}; the first: {self._first}), "
                "expected no more than a few; if the disk, the network or the memory is at fault, "
                "put it right and run the same command again: finished shards are kept "
                "and these images are tried again; if the images are, repair them or take them out of the source"
            )


def check_source(root: str, items: ItemTable, plan: Sequence[ShardPlan], parts: Sequence[PartRecord]) -> None:
    """See that files which could not be read are alone in that: their folder is there, and so are images read before.

    Raises:
        SourceError: If the source, or a part of it, is gone.
    """
    lost, read = [], []
    for shard, part in zip(plan, parts, strict=True):
        lost += [int(shard.positions[number]) for number, reason, _ in part.rejects if reason in NOT_READ]
        read += shard.positions[part.source_bytes >= 0][:1].tolist()
    if not lost:
        return
    paths = items.table.column("path")
    around = sorted({_container(paths[position].as_py()) for position in lost})
    gone = next((place for place in around if not Store(root).exists(place)), None) or next(
        (
            path
            for path in (paths[position].as_py() for position in read[:: 1 + len(read) // _PROBES])
            if not can_be_read(root, path)
        ),
        None,
    )
    if gone is not None:
        raise SourceError(
            f"{root}: {len(lost):,} images could not be read, and {gone} can no longer be, "
            "which could when the run began, expected the source to stay as it is; "
            "see that its disk or network is there, then run the same command again: it tries these images again"
        )


def _container(path: str) -> str:
    """Return the folder of an image, or the table it is a row of."""
    return table_of(path) or path.rpartition("/")[0]
