"""The shards of a data set as columns: a million of them take 44 MB, and are read from the index in a second.

In: entries, or the columns of ``index.json``. Out: a sequence of :class:`ShardInfo`, made as they are asked for.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self, overload

import numpy as np

from ferdata.format.writer import WrittenShard

__all__ = ["COLUMNS", "ShardInfo", "ShardTable"]

_HASH_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardInfo:
    """One shard: file name, split, samples, size, XXH64 (hex) of the file and of its tail, checked at opening."""

    name: str
    split: str
    samples: int
    num_bytes: int
    xxh64: str
    tail_xxh64: str

    @classmethod
    def of(cls, written: WrittenShard, *, name: str, split: str) -> Self:
        """Return the entry of a shard that was just written."""
        return cls(name=name, split=split, **asdict(written))


def _to_hashes(texts: list[str]) -> np.ndarray:
    return np.frombuffer(bytes.fromhex("".join(texts)), ">u8").astype(np.uint64)


def _to_texts(hashes: np.ndarray) -> list[str]:
    digits = hashes.astype(">u8").tobytes().hex()
    return [digits[start : start + _HASH_DIGITS] for start in range(0, len(digits), _HASH_DIGITS)]


COLUMNS: Mapping[str, tuple[type, Callable[[Any], Any], Callable[[Any], list[Any]]]] = {
    "number": (np.int64, np.array, np.ndarray.tolist),
    "samples": (np.int64, np.array, np.ndarray.tolist),
    "num_bytes": (np.int64, np.array, np.ndarray.tolist),
    "xxh64": (np.uint64, _to_hashes, _to_texts),
    "tail_xxh64": (np.uint64, _to_hashes, _to_texts),
}
"""Member of ``shards.<split>`` in the index -> type in memory, and how it gets there from a list and back."""
_ROW = np.dtype([("kind", np.int32), *((name, kind) for name, (kind, _, _) in COLUMNS.items())])


class ShardTable(Sequence[ShardInfo]):
    """Shards as columns; behaves as a read-only sequence of :class:`ShardInfo`.

    Args:
        rows: One row per shard.
        kinds: What ``rows["kind"]`` counts: split, and the ending of the files' names.
    """

    def __init__(self, rows: np.ndarray, kinds: Sequence[tuple[str, str]]) -> None:
        self._rows, self._kinds = rows, tuple(kinds)

    @classmethod
    def of(cls, infos: Iterable[ShardInfo]) -> "ShardTable":
        """Return the table of some entries."""
        if isinstance(infos, ShardTable):
            return infos
        listed = list(infos)
        kinds: dict[tuple[str, str], int] = {}
        rows = np.empty(len(listed), _ROW)
        for row, info in zip(rows, listed, strict=True):
            number, dot, ending = info.name.removeprefix(f"{info.split}-").partition(".")
            row["kind"] = kinds.setdefault((info.split, dot + ending), len(kinds))
            row["number"], row["samples"], row["num_bytes"] = int(number), info.samples, info.num_bytes
            for name in ("xxh64", "tail_xxh64"):
                row[name] = int(getattr(info, name), _HASH_DIGITS)
        return cls(rows, tuple(kinds))

    @classmethod
    def from_json(cls, record: Mapping[str, Mapping[str, list[Any]]], ending: str) -> "ShardTable":
        """Return the table of what an index has under ``shards``, which was checked."""
        parts = []
        for kind, columns in enumerate(record.values()):
            part = np.zeros(len(columns["number"]), _ROW)
            part["kind"] = kind
            for name, (_, read, _) in COLUMNS.items():
                part[name] = read(columns[name])
            parts.append(part)
        return cls(np.concatenate([np.empty(0, _ROW), *parts]), [(split, ending) for split in record])

    @classmethod
    def joined(cls, tables: Iterable["ShardTable"]) -> "ShardTable":
        """Return the shards of several data sets, one after another."""
        parts, kinds = [np.empty(0, _ROW)], list[tuple[str, str]]()
        for table in tables:
            parts.append(table._rows.copy())
            parts[-1]["kind"] += len(kinds)
            kinds += table._kinds
        return cls(np.concatenate(parts), kinds)

    def to_json(self, splits: Iterable[str]) -> dict[str, dict[str, list[Any]]]:
        """Return what an index has under ``shards``."""
        parts = {split: self.of_split(split)._rows for split in splits}
        return {
            split: {name: write(rows[name]) for name, (_, _, write) in COLUMNS.items()} for split, rows in parts.items()
        }

    def of_split(self, split: str) -> "ShardTable":
        """Return the shards of one split."""
        wanted = [number for number, (name, _) in enumerate(self._kinds) if name == split]
        return ShardTable(self._rows[np.isin(self._rows["kind"], wanted)], self._kinds)

    @property
    def samples(self) -> np.ndarray:
        """int64 ``[shards]``, samples of each."""
        column: np.ndarray = self._rows["samples"].copy()
        return column

    @property
    def sizes(self) -> np.ndarray:
        """int64 ``[shards]``, bytes of each."""
        column: np.ndarray = self._rows["num_bytes"].copy()
        return column

    @property
    def num_bytes(self) -> int:
        """Bytes of all of them."""
        return int(self._rows["num_bytes"].sum())

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> ShardInfo: ...

    @overload
    def __getitem__(self, place: slice) -> "ShardTable": ...

    def __getitem__(self, place: int | slice) -> "ShardInfo | ShardTable":
        if isinstance(place, slice):
            return ShardTable(self._rows[place], self._kinds)
        row = self._rows[place]
        split, ending = self._kinds[row["kind"]]
        return ShardInfo(
            name=f"{split}-{row['number']:06d}{ending}",
            split=split,
            samples=int(row["samples"]),
            num_bytes=int(row["num_bytes"]),
            xxh64=f"{row['xxh64']:016x}",
            tail_xxh64=f"{row['tail_xxh64']:016x}",
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ShardTable of {len(self):,} shards, {self.num_bytes / 1e6:,.1f} MB"
