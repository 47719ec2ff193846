"""A data set as an audit looks at it: its table, what was measured of every sample, and pixels of any of them.

In: a folder. Out: a :class:`Survey`. One pass over all shards in processes; then about 1.2 kB of memory a sample.
"""

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ferdata.audit.measure import MEASURES, THUMB, ShardMeasures, measure_shard
from ferdata.audit.options import AuditOptions, Say
from ferdata.errors import OptionError
from ferdata.format import DatasetIndex, ShardInfo, read_index, read_samples
from ferdata.parallel import Beat, map_in_processes, run_tasks_on_ray, seen_by_nodes
from ferdata.store import Store
from ferdata.stream import ShardDataset

__all__ = ["Survey", "take_survey"]

_COLUMNS = ["key", "split", "label", "path", "valence", "arousal", "source_label"]


class Survey:
    """What is known of the samples; their numbers count all of them, in reading order.

    Attributes:
        store: The data set's folder.
        index: Its index.
        table: Of every sample: key, split, label, path, valence, arousal, source_label.
        thumbs: uint8 ``[N, 32, 32]``, small grey pictures.
        hashes: uint64 ``[N]``, XXH64 of the pixels.
        values: float32 ``[N, len(MEASURES)]``.
        groups: int64 ``[N]``: samples known to show the same picture have one number; :meth:`join` notes more of them.
    """

    def __init__(self, store: Store, index: DatasetIndex, parts: Sequence[ShardMeasures]) -> None:
        self.store, self.index = store, index
        self.table: pa.Table = read_samples(store, index, _COLUMNS)
        self.thumbs = np.concatenate([part.thumbs for part in parts] or [np.empty((0, THUMB, THUMB), np.uint8)])
        self.hashes = np.concatenate([part.hashes for part in parts] or [np.empty(0, np.uint64)])
        self.values = np.concatenate([part.values for part in parts] or [np.empty((0, len(MEASURES)), np.float32)])
        self.groups = np.arange(len(self))
        self._datasets: dict[str, ShardDataset] = {}

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def labels(self) -> np.ndarray:
        """int64 ``[N]``."""
        labels: np.ndarray = self.table.column("label").to_numpy().astype(np.int64)
        return labels

    @cached_property
    def splits(self) -> np.ndarray:
        """int64 ``[N]``, positions in the index's splits."""
        splits = np.empty(len(self), np.int64)
        for number, split in enumerate(self.index.splits):
            splits[self.index.rows(split)] = number
        return splits

    def measure(self, name: str) -> np.ndarray:
        """Return one of the measures, float32 ``[N]``."""
        return self.values[:, MEASURES.index(name)]

    def row(self, sample: int) -> dict[str, Any]:
        """Return what the table says of a sample."""
        found: dict[str, Any] = self.table.slice(sample, 1).to_pylist()[0]
        return found

    def class_of(self, sample: int) -> str:
        """Return the name of a sample's class."""
        return self.index.classes[int(self.labels[sample])]

    def pixels(self, samples: np.ndarray) -> np.ndarray:
        """Return uint8 ``[n, C, H, W]`` of any samples, in their order."""
        out = np.empty((len(samples), *self.index.spec.shape), np.uint8)
        for number, split in enumerate(self.index.splits):
            rows = np.flatnonzero(self.splits[samples] == number)
            if len(rows):
                wanted = (samples[rows] - self.index.rows(split).start).tolist()
                for row, sample in zip(rows, self._dataset(split).__getitems__(wanted), strict=True):
                    out[row] = sample.images.numpy()
        return out

    def _dataset(self, split: str) -> ShardDataset:
        if split not in self._datasets:
            self._datasets[split] = ShardDataset(self.store.root, split=split)
        return self._datasets[split]

    def join(self, pairs: np.ndarray) -> None:
        """Note that the two samples of each pair, int ``[n, 2]``, show the same picture."""
        one, other = self.groups[pairs].reshape(-1, 2).T
        graph = coo_matrix((np.ones(len(one), bool), (one, other)), shape=(len(self), len(self)))
        self.groups = connected_components(graph, directed=False)[1].astype(np.int64)[self.groups]


def take_survey(options: AuditOptions, say: Say) -> Survey:
    """Read and measure every sample, in processes or on Ray.

    Raises:
        OptionError: If the tensors are no pictures, or there are none.
        ShardMissingError, ShardCorruptError: If the data set is missing or damaged.
    """
    store = Store(options.shards)
    index = read_index(store)
    if len(index.spec.shape) != 3 or index.spec.shape[0] not in (1, 3):
        raise OptionError(
            f"{store}: tensors of {list(index.spec.shape)} found, expected [3, H, W] or [1, H, W], which are pictures"
        )
    if not index.num_samples():
        raise OptionError(f"{store}: no samples found, expected some to look at; shard a source that has images")
    say("measuring images", 0, index.num_samples())
    measured = _measured_on_ray if options.engine == "ray" else _measured_here
    return Survey(store, index, measured(store, index, min(options.resolved_workers(), len(index.shards)), say))


def _measured_here(store: Store, index: DatasetIndex, workers: int, say: Say) -> list[ShardMeasures]:
    parts: list[ShardMeasures] = []
    done, measure = 0, partial(measure_shard, store.root, index)
    for part in map_in_processes(measure, index.shards, num_workers=workers, where=str(store)):
        parts.append(part)
        done += len(part.hashes)
        say("measuring images", done, index.num_samples())
    return parts


def _measured_on_ray(store: Store, index: DatasetIndex, workers: int, say: Say) -> list[ShardMeasures]:
    parts: dict[int, ShardMeasures] = {}
    run_tasks_on_ray(
        partial(_measure_numbered, seen_by_nodes(store.root), index),
        enumerate(index.shards),
        num_workers=workers,
        on_result=lambda result: parts.update([result]),
        on_tick=lambda done, rejected, num_bytes: say("measuring images", done, index.num_samples()),
        where=str(store),
    )
    return [parts[number] for number in range(len(parts))]


def _measure_numbered(
    root: str, index: DatasetIndex, task: tuple[int, ShardInfo], beat: Beat
) -> tuple[int, ShardMeasures]:
    part = measure_shard(root, index, task[1])
    beat(len(part.hashes), 0, 0)
    return task[0], part
