"""Changes the codec of a finished data set without going back to the images.

In: a data set. Out: another folder with the same samples in the same order. Costs one decode and one encode per sample;
``samples.parquet`` and ``rejects.csv`` are copied as they are, so a loader's state fits both. All is checked first.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from ferdata.errors import OptionError
from ferdata.format import (
    Codec,
    DatasetIndex,
    ShardInfo,
    ShardTable,
    ShardWriter,
    make_codec,
    read_file,
    read_index,
    read_samples,
    read_whole,
    write_file,
    write_index,
)
from ferdata.ingest.target import new_data_set
from ferdata.lock import hold_lock
from ferdata.parallel import Progress, map_in_threads
from ferdata.store import Store, StrPath

__all__ = ["RecodeReport", "recode"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecodeReport:
    """What a recode amounts to: samples, codec, and the bytes of all shards before and after."""

    out: str
    codec: str
    samples: int
    bytes_in: int
    bytes_out: int

    def to_json(self) -> dict[str, Any]:
        """Return every figure."""
        return asdict(self)


def recode(
    root: StrPath,
    *,
    out: StrPath,
    codec: str,
    level: int | None = None,
    num_workers: int | None = None,
    progress: Progress | None = None,
) -> RecodeReport:
    """Write the data set in ``root`` to ``out`` under another codec.

    Args:
        root: Folder or URL of a finished data set.
        out: Folder or URL for the new one; must hold no data set. What a run that fails or is killed has written there
            is removed, by itself or by the next one.
        codec: ``raw``, ``zstd`` or ``compact``; ``jpeg`` needs the source's own bytes, so only ``shard`` can make it.
        level: zstd level; None takes the codec's own.
        num_workers: Threads; None: one per core.
        progress: Called after every shard.

    Raises:
        OptionError: If the codec cannot be made from pixels.
        IngestError: If there is a data set at ``out`` already, or files of its names, or another run is writing there.
        ShardMissingError: If a file is not there.
        ShardCorruptError: If a file is not what the index says.

    Example:
        >>> report = ferdata.recode("shards/affectnet", out="shards/raw", codec="raw")
        >>> report.samples, report.bytes_out > report.bytes_in
        (240, True)
    """
    store, target = Store(root), Store(out)
    index = read_index(store)
    new = make_codec(codec, level)
    if new.needs_source:
        raise OptionError(
            f"codec: {codec} found, expected one that stores pixels; "
            f"run 'shard --codec {codec}' on the images themselves"
        )
    files = {info.name: read_file(store, info) for info in index.files}
    read_samples(store, index)
    recoded = replace(index, codec=new)
    with hold_lock(target), new_data_set(target, [_shard_name(info, new) for info in index.shards]):
        shards = map_in_threads(
            lambda info: _recode_shard(store, target, info, index, recoded),
            index.shards,
            num_workers=num_workers,
            progress=progress,
        )
        for name, data in files.items():
            write_file(target, name, data)
        table = ShardTable.of(shards)
        write_index(target, replace(recoded, shards=table, summary={**index.summary, "bytes_out": table.num_bytes}))
    return RecodeReport(
        out=target.root,
        codec=codec,
        samples=index.num_samples(),
        bytes_in=index.shards.num_bytes,
        bytes_out=table.num_bytes,
    )


def _shard_name(info: ShardInfo, codec: Codec) -> str:
    return info.name.split(".")[0] + codec.container.ending


def _recode_shard(
    store: Store, target: Store, info: ShardInfo, index: DatasetIndex, recoded: DatasetIndex
) -> ShardInfo:
    name = _shard_name(info, recoded.codec)
    with target.write_atomic(name) as file:
        writer = ShardWriter(file, recoded.members, recoded.codec)
        for sample in read_whole(store, info, index, is_checked=True):
            writer.add(sample.key, sample.label, sample.record, sample.pixels)
        written = writer.close()
    return ShardInfo.of(written, name=name, split=info.split)
