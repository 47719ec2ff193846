"""``index.json`` and ``samples.parquet``: what a data set holds, and proof that they are what was written.

In: shards and sample rows. Out: a :class:`DatasetIndex`, checked to the last bit. ``index.json`` is written last;
without it there is no data set.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from ferdata.errors import ShardCorruptError, ShardMissingError
from ferdata.format.codec import CodecOptions
from ferdata.format.layout import FORMAT_VERSION, SampleLayout
from ferdata.format.writer import make_layout
from ferdata.sample import TensorSpec
from ferdata.store import Store

__all__ = [
    "INDEX_NAME",
    "REJECTS_NAME",
    "SAMPLES_NAME",
    "SAMPLES_SCHEMA",
    "DatasetIndex",
    "FileInfo",
    "ShardInfo",
    "read_index",
    "read_samples",
    "write_index",
    "write_samples",
]

INDEX_NAME = "index.json"
SAMPLES_NAME = "samples.parquet"
REJECTS_NAME = "rejects.csv"

SAMPLES_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("split", pa.dictionary(pa.int8(), pa.string())),
        ("label", pa.int16()),
        ("valence", pa.float64()),
        ("arousal", pa.float64()),
        ("path", pa.string()),
        ("source_label", pa.dictionary(pa.int16(), pa.string())),
        ("source_bytes", pa.int64()),
        ("source_xxh64", pa.uint64()),
        ("shard", pa.int32()),
        ("frame", pa.int32()),
        ("position", pa.int32()),
    ]
)
"""One row per sample, in reading order: ``shard`` counts within the split, ``position`` within the shard;
``frame`` is the zstd frame that holds the body (2 * position + 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """One file beside the shards: name, size and XXH64 (hex)."""

    name: str
    num_bytes: int
    xxh64: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardInfo:
    """One shard: file name, split, samples, size and XXH64 (hex) of the file."""

    name: str
    split: str
    samples: int
    num_bytes: int
    xxh64: str


@dataclass(frozen=True, kw_only=True)
class DatasetIndex:
    """Everything ``index.json`` says.

    Attributes:
        source: ``affectnet``, ``rafdb`` or ``folder``.
        source_layout: Layout the images came in.
        codec: How bodies are stored.
        spec: dtype and shape of every tensor.
        json_bytes: Fixed size of every json member.
        transform: ``fingerprint`` (hex), ``settings`` and ``libraries`` of the transform.
        settings: Every other setting that decides which samples are where (seed, limit, holdout ...).
        classes: Class names; labels are indices into them.
        counts: Split -> samples per class.
        mean: Per channel, of pixel values in [0, 255], over the train split (or all, where there is none).
        std: Likewise.
        files: ``samples.parquet`` and ``rejects.csv``.
        shards: In reading order, split by split.
        summary: Counts of the ingest: accepted, skipped, rejected, repairs, notes.
    """

    source: str
    source_layout: str
    codec: CodecOptions
    spec: TensorSpec
    json_bytes: int
    transform: Mapping[str, Any]
    settings: Mapping[str, Any]
    classes: tuple[str, ...]
    counts: Mapping[str, list[int]]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    files: tuple[FileInfo, ...]
    shards: tuple[ShardInfo, ...]
    summary: Mapping[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @cached_property
    def layout(self) -> SampleLayout:
        """Offsets inside every sample."""
        return make_layout(self.spec, self.codec, num_classes=len(self.classes), json_bytes=self.json_bytes)

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the samples and their order, whatever the codec: hex XXH64."""
        samples = next(info.xxh64 for info in self.files if info.name == SAMPLES_NAME)
        identity = [samples, self.spec.dtype, list(self.spec.shape), list(self.classes), self.transform["fingerprint"]]
        return xxhash.xxh64_hexdigest(json.dumps(identity).encode())

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, in reading order."""
        return tuple(self.counts)

    def num_samples(self, split: str | None = None) -> int:
        """Return the number of samples of one split, or of all."""
        return sum(info.samples for info in self.shards if split in (None, info.split))


def write_index(store: Store, index: DatasetIndex) -> None:
    """Write ``index.json`` atomically; its last member is the XXH64 of all the text before it."""
    record = {"format": "ferdata", **asdict(index)}
    body = json.dumps(record, indent=1, ensure_ascii=True, default=list)
    data = body[: body.rindex("\n}")].encode("ascii")
    with store.write_atomic(INDEX_NAME) as file:
        file.write(data + _tail(data))


def read_index(store: Store) -> DatasetIndex:
    """Return the index of the data set in a folder.

    Raises:
        ShardMissingError: If there is no ``index.json``.
        ShardCorruptError: If it is damaged or of a format version this package does not read.
    """
    where = store.path(INDEX_NAME)
    try:
        data = store.read(INDEX_NAME)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ShardMissingError(
            f"{store}: no {INDEX_NAME} found, expected a folder that 'shard' has finished; run 'shard' (it resumes), or check the path"
        ) from error
    if not data.startswith(b'{\n "format": "ferdata",'):
        raise ShardCorruptError(f"{where}: not an index that ferdata wrote, expected the folder of a ferdata data set; check the path")
    cut = len(data) - len(_tail(b""))
    if cut < 0 or data[cut:] != _tail(data[:cut]):
        raise ShardCorruptError(
            f"{where}: its checksum does not fit its text, so a byte was changed or lost; copy it again or run 'shard' again"
        )
    record = json.loads(data)
    version = record.get("format_version")
    if version != FORMAT_VERSION:
        raise ShardCorruptError(
            f"{where}: format version {version} found, expected {FORMAT_VERSION}; read it with the ferdata that wrote it, or write it again"
        )
    try:
        return _index({field.name: record[field.name] for field in fields(DatasetIndex)})
    except (KeyError, TypeError, ValueError) as error:
        raise ShardCorruptError(f"{where}: {error}, expected the members of FORMAT.md; write it again with ferdata") from error


def _index(record: dict[str, Any]) -> DatasetIndex:
    return DatasetIndex(
        **record
        | {
            "codec": CodecOptions(**record["codec"]),
            "spec": TensorSpec(dtype=record["spec"]["dtype"], shape=tuple(record["spec"]["shape"])),
            "classes": tuple(record["classes"]),
            "mean": tuple(record["mean"]),
            "std": tuple(record["std"]),
            "files": tuple(FileInfo(**info) for info in record["files"]),
            "shards": tuple(ShardInfo(**info) for info in record["shards"]),
        }
    )


def write_samples(store: Store, samples: pa.Table) -> FileInfo:
    """Write ``samples.parquet`` atomically, with bytes that depend on the rows alone."""
    buffer = BytesIO()
    pq.write_table(samples.cast(SAMPLES_SCHEMA).combine_chunks(), buffer, compression="zstd", row_group_size=1 << 16, store_schema=False)
    return write_file(store, SAMPLES_NAME, buffer.getvalue())


def write_file(store: Store, name: str, data: bytes) -> FileInfo:
    """Write a small file atomically and return its entry for the index."""
    with store.write_atomic(name) as file:
        file.write(data)
    return FileInfo(name=name, num_bytes=len(data), xxh64=xxhash.xxh64_hexdigest(data))


def read_samples(store: Store, index: DatasetIndex, columns: list[str] | None = None) -> pa.Table:
    """Return ``samples.parquet``, all columns or some, after checking its XXH64 against the index.

    Raises:
        ShardCorruptError: If the file is not what the index says.
    """
    info = next(info for info in index.files if info.name == SAMPLES_NAME)
    try:
        data = store.read(SAMPLES_NAME)
    except FileNotFoundError as error:
        raise ShardMissingError(
            f"{store.path(SAMPLES_NAME)}: no such file, expected it beside {INDEX_NAME}; copy the whole folder"
        ) from error
    if xxhash.xxh64_hexdigest(data) != info.xxh64:
        raise ShardCorruptError(f"{store.path(SAMPLES_NAME)}: its XXH64 is not the one in {INDEX_NAME}; copy it again or run 'shard' again")
    return pq.read_table(BytesIO(data), columns=columns)


def _tail(data: bytes) -> bytes:
    """Return the last bytes of ``index.json``: the checksum of all that stands before it."""
    return f',\n "xxh64": "{xxhash.xxh64_hexdigest(data)}"\n}}\n'.encode("ascii")
