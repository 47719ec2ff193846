"""What is streamed: one split of a data set, or of several, whose samples are numbered one set after the other.

In: folders or URLs. Out: an :class:`OpenSplit`, from which everything in this room reads. Costs one small file per set;
shards are opened when they are read.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from ferdata.cache import CachedFile, CachedSet, CachePlace, cache_options, find_cached_set
from ferdata.errors import OptionError
from ferdata.format import (
    CODECS,
    SAMPLES_NAME,
    BodyDecoder,
    DatasetIndex,
    FileInfo,
    SamplesFile,
    ShardInfo,
    ShardReader,
    ShardTable,
    read_index,
)
from ferdata.format.container import ShardFile
from ferdata.labels import map_ids, union_classes
from ferdata.mixing import Roots, set_names
from ferdata.remote import Patience, usual_patience
from ferdata.sample import TensorSpec
from ferdata.store import Store, StrPath
from ferdata.stream.fitting import REFUSE, FittedReader, common_spec

__all__ = ["OpenSplit", "SetSplit", "ShardOpener", "open_split"]


@dataclass(frozen=True, kw_only=True)
class SetSplit:
    """The split of one data set.

    Attributes:
        root: Its folder, whole, or URL.
        index: Its index.
        split: The split.
        patience: How long its service may be gone, and what reading it has met; all sets of a split have the same.
        place: Where it is cached; None if it is not.
        labels: int16 ``[classes]``: which label each of its own is among the classes of all sets; None where the same.
    """

    root: str
    index: DatasetIndex
    split: str
    labels: np.ndarray | None
    patience: Patience = field(compare=False)
    place: CachePlace | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_cached"}

    @property
    def cached(self) -> CachedSet | None:
        """What this process has in the cache, if it is cached."""
        if self.place is None:
            return None
        known: tuple[int, CachedSet] | None = self.__dict__.get("_cached")
        if known is None or known[0] != os.getpid():
            known = self.__dict__["_cached"] = os.getpid(), self.place.open(self.store, self.index)
        return known[1]

    @property
    def store(self) -> Store:
        """Its folder."""
        return Store(self.root, patience=self.patience)

    @property
    def tables(self) -> Store:
        """The folder that its tables are read from: that of the cache, once they are there."""
        cached = self.cached
        if cached is not None and cached.fetch_whole(cached.number(SAMPLES_NAME)):
            return Store(cached.folder)
        return self.store

    @property
    def where(self) -> str:
        """What errors call it."""
        return f"{Store(self.root)} {self.split}"

    @cached_property
    def shards(self) -> ShardTable:
        """Its shards."""
        return self.index.shards.of_split(self.split)

    def union_labels(self, labels: np.ndarray) -> np.ndarray:
        """Return labels of its own, ``[n]``, as those of all sets."""
        return labels if self.labels is None else self.labels[labels]

    def table(
        self,
        columns: Sequence[str],
        num_classes: int,
        *,
        rows: tuple[int, int] | None = None,
        file: SamplesFile | None = None,
    ) -> pa.Table:
        """Return columns of its samples, or of ``[start, stop)`` of them, with labels as those of all sets.

        A ``file`` that was opened before saves opening it; then nobody asks whether its rows are of this split.
        """
        own = self.index.rows(self.split)
        start, stop = (own.start, own.stop) if rows is None else (own.start + rows[0], own.start + rows[1])
        names = sorted({*columns} if file is not None else {"split", *columns})
        table = (file or SamplesFile(self.tables, self.index)).read(names, start, stop)
        if self.labels is not None:
            for name in {"label", "soft_labels"}.intersection(table.column_names):
                column = table.column(name).combine_chunks()
                if name == "label":
                    mapped = pa.array(self.labels[column.to_numpy()])
                else:
                    mapped = _spread(column, self.labels, num_classes)
                table = table.set_column(table.column_names.index(name), table.schema.field(name), mapped)
        return table


@dataclass(frozen=True, kw_only=True)
class OpenSplit:
    """One split of one or several data sets.

    Attributes:
        sets: It in each set, in the order in which their samples are numbered.
        split: Its name.
        index: The set's index; of several, the figures of all together. Its spec is that of the tensors in a batch.
    """

    sets: tuple[SetSplit, ...]
    split: str
    index: DatasetIndex

    @property
    def roots(self) -> tuple[str, ...]:
        """The folders or URLs."""
        return tuple(one.root for one in self.sets)

    @property
    def root(self) -> str:
        """The folder or URL, or all of them, for people."""
        return ", ".join(str(Store(root)) for root in self.roots)

    @property
    def names(self) -> tuple[str, ...]:
        """What people call each set."""
        return set_names(self.roots)

    @property
    def where(self) -> str:
        """What errors call it."""
        return ", ".join(one.where for one in self.sets)

    @property
    def is_local(self) -> bool:
        """Whether no set lies behind a URL."""
        return all(Store(root).is_local for root in self.roots)

    @cached_property
    def shard_sizes(self) -> np.ndarray:
        """int64 ``[shards]``, samples per shard."""
        return np.concatenate([one.shards.samples for one in self.sets])

    @cached_property
    def set_starts(self) -> np.ndarray:
        """int64 ``[sets]``, the index of each set's first sample."""
        sizes = [one.index.num_samples(self.split) for one in self.sets]
        return np.cumsum([0, *sizes[:-1]], dtype=np.int64)

    @property
    def patience(self) -> Patience:
        """What all of them are read with."""
        return self.sets[0].patience

    @property
    def set_shards(self) -> tuple[int, ...]:
        """How many shards are each set's."""
        return tuple(len(one.shards) for one in self.sets)

    @property
    def num_samples(self) -> int:
        """Samples of all sets."""
        return int(self.shard_sizes.sum())

    @property
    def stored_bytes(self) -> int:
        """Bytes of the shards for each sample, on average."""
        return max(1, sum(one.shards.num_bytes for one in self.sets) // max(1, self.num_samples))

    def table(self, columns: Sequence[str]) -> pa.Table:
        """Return columns of ``samples.parquet`` for all samples, in the order of their indices."""
        tables = [one.table(columns, len(self.index.classes)) for one in self.sets]
        return tables[0] if len(tables) == 1 else pa.concat_tables(tables)

    def shard(self, number: int) -> tuple[int, ShardInfo]:
        """Return a shard, with the number of its set."""
        for each, shards in enumerate(one.shards for one in self.sets):
            if number < len(shards):
                return each, shards[number]
            number -= len(shards)
        raise IndexError(number)

    def cached_shard(self, number: int) -> tuple[CachedSet, int] | None:
        """Return the cached set that a shard is of, and its number there; None if it is not cached."""
        for one in self.sets:
            if number < len(one.shards):
                return None if (cached := one.cached) is None else (cached, cached.first_shard(self.split) + number)
            number -= len(one.shards)
        raise IndexError(number)

    def kept_shard(self, number: int) -> tuple[str, str] | None:
        """Return where a shard lies in the cache once it is whole there, and what errors call it; None without one."""
        each, info = self.shard(number)
        place = self.sets[each].place
        return None if place is None else (os.path.join(place.folder, info.name), self.sets[each].store.path(info.name))

    def shard_name(self, number: int) -> str:
        """Return what people call a shard: its file, with its folder where there are several."""
        each, info = self.shard(number)
        return info.name if len(self.sets) == 1 else f"{Store(self.sets[each].root)}/{info.name}"


class ShardOpener:
    """Opens the shards of a split, in one process."""

    def __init__(self, opened: OpenSplit) -> None:
        self._opened = opened
        self._stores = [one.store for one in opened.sets]

    def decoders(self) -> list[BodyDecoder]:
        """Return a decoder for each set, for all shards that one thread reads."""
        return [one.index.codec.decoder(one.index.spec) for one in self._opened.sets]

    def open(
        self, number: int, decoders: Sequence[BodyDecoder | None] | None = None, file: ShardFile | None = None
    ) -> ShardReader:
        """Return the reader of a shard, whose rows are those of a batch; ``file`` as for :class:`ShardReader`."""
        each, info = self._opened.shard(number)
        index, decode = self._opened.sets[each].index, None if decoders is None else decoders[each]
        cached = self._opened.cached_shard(number)
        file = CachedFile(*cached) if cached is not None and file is None else file
        if index.spec == self._opened.index.spec:
            return ShardReader(self._stores[each], info, index, file=file, decode=decode)
        return FittedReader(self._stores[each], info, index, spec=self._opened.index.spec, file=file, decode=decode)


def open_split(
    roots: Roots,
    split: str,
    *,
    resize: str | int = REFUSE,
    classes: Sequence[str] | None = None,
    patience: float | None = None,
    cache: StrPath | None = None,
    cache_gb: float | None = None,
) -> OpenSplit:
    """Return a split, whose folders stay valid if the process changes its own.

    Args:
        roots: Folders or URLs of one or several finished data sets.
        split: ``train``, ``val`` or ``test``.
        resize: Height and width that every image is resized to; ``refuse``: sets of other sizes are refused.
        classes: Names that labels are to be indices into; None: those of the set, or of all sets by name.
        patience: How many seconds a service behind a URL may be gone; None: as long as this process waits.
        cache: A folder to keep what lies behind a URL in; None: as :func:`ferdata.cache.use_cache` said, if it did.
        cache_gb: Most gigabytes of it; None for no limit.

    Raises:
        OptionError: If a set has no such split, is named twice or has another class, or the tensors do not fit.
        ShardMissingError, ShardCorruptError: If a data set is missing or damaged.
    """
    if isinstance(roots, Mapping):
        raise OptionError("shards: weights found, expected a folder or a list; Loader and ShardBatches take weights")
    listed: Sequence[Any] = roots if isinstance(roots, list | tuple) else [roots]
    waits = Patience(usual_patience().seconds if patience is None else patience)
    cache_to = cache_options(cache, cache_gb)
    found = [_open(root, split, waits, *cache_to) for root in listed]
    if not found:
        raise OptionError("shards: no data set found, expected the folder of one, or of several")
    stores, indexes, _ = zip(*found, strict=True)
    for number, store in enumerate(stores):
        if store.root in [other.root for other in stores[:number]]:
            raise OptionError(f"shards: {store} found twice, expected each set once; give it a larger weight")
    spec = common_spec([(str(store), index.spec) for store, index, _ in found], resize)
    names = {index.classes for index in indexes}
    united = tuple(classes) if classes is not None else names.pop() if len(names) == 1 else None
    united = united or union_classes(*(index.classes for index in indexes))
    sets = tuple(
        SetSplit(
            root=store.root,
            index=index,
            split=split,
            labels=_label_map(index.classes, united),
            patience=waits,
            place=place,
        )
        for store, index, place in found
    )
    for one in sets:
        if (cached := one.cached) is not None:
            cached.use(cached.numbers(split))
    return OpenSplit(sets=sets, split=split, index=_joined(sets, united, spec))


def _open(
    root: StrPath, split: str, patience: Patience, cache: StrPath | None, max_bytes: int | None
) -> tuple[Store, DatasetIndex, CachePlace | None]:
    store, place = Store(root, patience=patience), None
    if cache is None or store.is_local:
        index = read_index(store)
    else:
        place, index = find_cached_set(cache, store, max_bytes=max_bytes)
    if split not in index.splits:
        raise OptionError(f"split: {split!r} found, expected one of {', '.join(index.splits)} ({store})")
    return (Store(os.path.abspath(store.root)) if store.is_local else store), index, place


def _spread(column: pa.Array, labels: np.ndarray, num_classes: int) -> pa.Array:
    """Return lists of one number per class of a set as lists of one per class of all sets."""
    values = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, len(labels))
    spread = np.zeros((len(values), num_classes), values.dtype)
    spread[:, labels] = values
    known = column.is_valid().to_numpy(zero_copy_only=False)
    ends = np.concatenate([[0], np.cumsum(known)]) * num_classes
    offsets = pa.array(ends.astype(np.int32), mask=np.append(~known, False))
    return pa.ListArray.from_arrays(offsets, pa.array(spread.ravel(), column.type.value_type))


def _label_map(own: Sequence[str], classes: Sequence[str]) -> np.ndarray | None:
    labels = np.array(map_ids(own, classes), np.int16)
    return None if np.array_equal(labels, np.arange(len(own))) else labels


def _joined(sets: Sequence[SetSplit], classes: tuple[str, ...], spec: TensorSpec) -> DatasetIndex:
    """Return the figures of several sets together, for whoever asks an index what is streamed."""
    indexes = [one.index for one in sets]
    counts: dict[str, list[int]] = {}
    for one in sets:
        for split, counted in one.index.counts.items():
            sums = counts.setdefault(split, [0] * len(classes))
            for label, count in zip(one.union_labels(np.arange(len(counted))).tolist(), counted, strict=True):
                sums[label] += count
    if len(sets) == 1:
        return replace(indexes[0], classes=classes, counts=counts, spec=spec)
    mean, std = _moments(indexes, spec.shape[0])
    identities = [[index.fingerprint, list(index.classes)] for index in indexes]
    identity = xxhash.xxh64_hexdigest(json.dumps(identities).encode())
    codecs = [index.codec for index in indexes]
    is_alike = codecs.count(codecs[0]) == len(sets) and all(index.spec == spec for index in indexes)
    return DatasetIndex(
        source="+".join(index.source for index in indexes),
        source_layout="+".join(index.source_layout for index in indexes),
        codec=codecs[0] if is_alike else CODECS["raw"],  # what they have in common are pixels
        spec=spec,
        json_bytes=max(index.json_bytes for index in indexes),
        transform={
            "fingerprint": identity,
            "settings": {"sets": [index.transform["settings"] for index in indexes]},
            "libraries": indexes[0].transform["libraries"],
        },
        settings={},
        classes=classes,
        counts=counts,
        mean=mean,
        std=std,
        files=(FileInfo(name=SAMPLES_NAME, num_bytes=0, xxh64=identity),),
        shards=ShardTable.joined(index.shards for index in indexes),
    )


def _moments(indexes: Sequence[DatasetIndex], channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel of what all sets train on."""
    counts = np.array([index.num_samples("train") for index in indexes], np.float64)
    if not counts.all():
        counts = np.array([index.num_samples() for index in indexes], np.float64)
    weights = (counts / counts.sum())[:, None]
    means, stds = (
        np.array([np.broadcast_to(getattr(index, name), channels) for index in indexes]) for name in ("mean", "std")
    )
    mean = (weights * means).sum(0)
    std = np.sqrt((weights * (stds**2 + means**2)).sum(0) - mean**2)
    return tuple(mean.tolist()), tuple(std.tolist())
