"""Says what a data set is: what ``info`` prints.

In: a folder. Out: figures of its index; no shard is opened, so it costs one small file.
"""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ferdata.format import CODECS, DatasetIndex, read_index
from ferdata.ingest.options import DEFAULT_CODEC, IngestOptions
from ferdata.program import command_line
from ferdata.setting import options_of
from ferdata.store import Store, StrPath

__all__ = ["DatasetDescription", "describe", "shard_command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDescription:
    """A data set in figures.

    Attributes:
        root: Its folder or URL.
        source: ``affectnet``, ``fer2013``, ``folder``, ``table`` ...
        source_layout: Layout the images came in.
        format_version: Version of the shard format.
        codec: Name of the codec.
        level: Its zstd level, or None.
        shape: ``[C, H, W]`` of every tensor.
        dtype: Its dtype.
        classes: Class names; labels are indices into them.
        counts: Split -> samples per class.
        samples: Split -> samples.
        shards: Split -> shards.
        num_bytes: Bytes of all shards.
        bytes_per_image: Of which each image has its share; 0 where there is none.
        ratio: Bytes of the bare pixels over bytes of the shards; more is smaller.
        mean: Per channel, of pixel values in [0, 255].
        std: Likewise.
        fingerprint: Identity of the samples and their order, whatever the codec.
        transform: ``fingerprint``, ``settings`` and ``libraries`` of what made the pixels.
        settings: The other settings that decided which samples are where.
        summary: Counts of the ingest.
        notes: What a user should know before training on it.
    """

    root: str
    source: str
    source_layout: str
    format_version: int
    codec: str
    level: int | None
    shape: list[int]
    dtype: str
    classes: list[str]
    counts: Mapping[str, list[int]]
    samples: Mapping[str, int]
    shards: Mapping[str, int]
    num_bytes: int
    bytes_per_image: float
    ratio: float
    mean: list[float]
    std: list[float]
    fingerprint: str
    transform: Mapping[str, Any]
    settings: Mapping[str, Any]
    summary: Mapping[str, Any]
    notes: list[str]

    def __repr__(self) -> str:
        samples = ", ".join(f"{split} {count:,}" for split, count in self.samples.items())
        return (
            f"DatasetDescription({self.root!r}): {self.source}, layout {self.source_layout}; {samples}; "
            f"{len(self.classes)} classes, {self.dtype} {self.shape}, codec {self.codec}; "
            f"{self.num_bytes / 1e6:,.1f} MB"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the description as JSON-ready values."""
        return asdict(self)


def describe(root: StrPath) -> DatasetDescription:
    """Return what the data set below ``root`` (a folder or URL) is.

    Raises:
        ShardMissingError: If there is no data set.
        ShardCorruptError: If its index is damaged.

    Example:
        >>> about = ferdata.describe("shards/affectnet")
        >>> about.samples, about.codec, about.shape
        ({'train': 208, 'val': 32}, 'compact', [3, 32, 32])
    """
    store = Store(root)
    index = read_index(store)
    samples, num_bytes = index.num_samples(), index.shards.num_bytes
    return DatasetDescription(
        root=store.root,
        source=index.source,
        source_layout=index.source_layout,
        format_version=index.format_version,
        codec=index.codec.name,
        level=index.codec.to_json()["level"],
        shape=list(index.spec.shape),
        dtype=index.spec.dtype,
        classes=list(index.classes),
        counts=dict(index.counts),
        samples={split: index.num_samples(split) for split in index.splits},
        shards={split: len(index.shards.of_split(split)) for split in index.splits},
        num_bytes=num_bytes,
        bytes_per_image=num_bytes / samples if samples else 0.0,
        ratio=samples * index.spec.num_bytes / num_bytes if samples else 0.0,
        mean=list(index.mean),
        std=list(index.std),
        fingerprint=index.fingerprint,
        transform=dict(index.transform),
        settings=dict(index.settings),
        summary=dict(index.summary),
        notes=_notes(index),
    )


def shard_command(index: DatasetIndex, out: str, **changes: object) -> str:
    """Return the command that makes a data set anew from its images, with ``changes`` to the settings it has."""
    made = {
        **index.settings,
        "size": index.spec.shape[1],
        "channels": index.spec.shape[0],
        "codec": index.codec.name,
        "level": index.codec.to_json()["level"],
        **changes,
    }
    if made.get("exclude"):  # the index knows what the table listed, and not where it lies
        made["exclude"] = "FILE"
    usual: dict[str, object] = {option.name: option.default for option in options_of(IngestOptions)}
    usual |= {"codec": DEFAULT_CODEC, "level": CODECS[index.codec.name].to_json()["level"]}
    words = [*command_line().split(), "shard", index.source, "--src", "DIR", "--out", out]
    for name, value in made.items():
        if name in usual and value is not None and value != usual[name]:
            words += [
                f"--{name.replace('_', '-')}",
                *([] if value is True else [f"{value:g}" if isinstance(value, float) else str(value)]),
            ]
    return shlex.join(words)


def _notes(index: DatasetIndex) -> list[str]:
    """Return the ingest's own notes and what the counts alone tell."""
    notes = [str(note) for note in index.summary.get("notes", ())]
    for split, counts in index.counts.items():
        empty = [name for name, count in zip(index.classes, counts, strict=True) if not count]
        if empty and sum(counts):
            notes.append(f"{split} has no sample of {', '.join(empty)}")
        elif sum(counts) and split == "train" and max(counts) >= 10 * min(counts):
            most, least = index.classes[counts.index(max(counts))], index.classes[counts.index(min(counts))]
            notes.append(
                f"train has {max(counts):,} of {most} and {min(counts):,} of {least}: consider balanced sampling"
            )
    return notes
