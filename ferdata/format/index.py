"""``index.json``: what a data set holds, and proof that it is what was written.

In: shards and files. Out: a :class:`DatasetIndex`, checked to the last bit and member by member. It is written last;
without it there is no data set.
"""

import json
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property, partial
from typing import IO, Any

import xxhash

from ferdata.errors import ShardCorruptError, ShardMissingError
from ferdata.format.codecs import Codec, codec_from_json
from ferdata.format.container import SampleMembers
from ferdata.format.schema import INDEX_NAME, REJECTS_NAME, SAMPLES_NAME, check_record
from ferdata.format.shard_table import ShardInfo, ShardTable
from ferdata.remote import until_sound
from ferdata.sample import TensorSpec
from ferdata.store import Store, StrPath

__all__ = [
    "FORMAT_VERSION",
    "INDEX_NAME",
    "REJECTS_NAME",
    "SAMPLES_NAME",
    "DatasetIndex",
    "FileInfo",
    "ShardInfo",
    "ShardTable",
    "check_file",
    "keeping_indexes",
    "parse_index",
    "read_file",
    "read_index",
    "read_index_text",
    "write_file",
    "write_index",
]

FORMAT_VERSION = 3

_CHUNK_BYTES = 8 << 20

_MOST_INDEX_BYTES = 1 << 27
"""Some two million shards; parsed, it takes twenty times its size at worst."""

_kept: ContextVar[dict[str, bytes] | None] = ContextVar("_kept", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """One file beside the shards: name, size and XXH64 (hex), and those of its parts if it is read in parts."""

    name: str
    num_bytes: int
    xxh64: str
    parts_xxh64: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DatasetIndex:
    """Everything ``index.json`` says.

    Attributes:
        source: ``affectnet``, ``fer2013``, ``folder``, ``table`` ...
        source_layout: Layout the images came in.
        codec: How bodies are stored.
        spec: dtype and shape of every tensor.
        json_bytes: Fixed size of every json member.
        transform: ``fingerprint`` (hex), ``settings`` and ``libraries`` of the transform.
        settings: Every other setting that decides which samples are where (seed, limit, val ...).
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
    codec: Codec
    spec: TensorSpec
    json_bytes: int
    transform: Mapping[str, Any]
    settings: Mapping[str, Any]
    classes: tuple[str, ...]
    counts: Mapping[str, list[int]]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    files: tuple[FileInfo, ...]
    shards: ShardTable
    summary: Mapping[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def __repr__(self) -> str:
        samples = ", ".join(f"{split} {self.num_samples(split):,}" for split in self.splits)
        return (
            f"DatasetIndex({self.source}, layout {self.source_layout}): {samples}; {self.describe_samples()}; "
            f"{len(self.shards):,} shards, {self.shards.num_bytes / 1e6:,.1f} MB"
        )

    def describe_samples(self) -> str:
        """Return a few words on what every sample is."""
        return f"{len(self.classes)} classes, {self.spec.dtype} {list(self.spec.shape)}, codec {self.codec}"

    @cached_property
    def members(self) -> SampleMembers:
        """The members of every sample."""
        return self.codec.members(self.spec, num_classes=len(self.classes), json_bytes=self.json_bytes)

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

    def rows(self, split: str) -> slice:
        """Return where the samples of a split stand in reading order, which is that of ``samples.parquet``."""
        start = sum(self.num_samples(before) for before in self.splits[: self.splits.index(split)])
        return slice(start, start + self.num_samples(split))

    def num_samples(self, split: str | None = None) -> int:
        """Return the number of samples of one split, or of all."""
        return sum(sum(counted) for name, counted in self.counts.items() if split in (None, name))


def write_index(store: Store, index: DatasetIndex) -> None:
    """Write ``index.json`` atomically; its last member is the XXH64 of all the text before it."""
    record = {"format": "ferdata"} | {each.name: getattr(index, each.name) for each in fields(index)}
    record |= {"codec": index.codec.to_json(), "spec": asdict(index.spec), "files": [*map(asdict, index.files)]}
    del record["shards"]
    body = json.dumps(record, indent=1, ensure_ascii=True, default=list)
    data = (body[: body.rindex("\n}")] + _shards_text(index)).encode("ascii")
    with store.write_atomic(INDEX_NAME) as file:
        file.write(data + _tail(data))


def _shards_text(index: DatasetIndex) -> str:
    """Return the last member, a column a line: there may be a million shards."""
    splits = index.shards.to_json(index.splits).items()
    texts = [
        f'  "{split}": {{\n' + ",\n".join(f'   "{name}": {json.dumps(values)}' for name, values in columns.items())
        for split, columns in splits
    ]
    return ',\n "shards": {\n' + ",\n".join(f"{text}\n  }}" for text in texts) + "\n }"


def read_index(root: Store | StrPath) -> DatasetIndex:
    """Return the index of the data set in a folder.

    Raises:
        ShardMissingError: If there is no ``index.json``.
        ShardCorruptError: If it is damaged, of another format version, or says what no data set can be.

    Example:
        >>> index = ferdata.read_index("shards/affectnet")
        >>> index.classes[1], index.num_samples("train"), index.spec.shape
        ('Happy', 208, (3, 32, 32))
    """
    store = root if isinstance(root, Store) else Store(root)
    return parse_index(read_index_text(store), store.path(INDEX_NAME))


@contextmanager
def keeping_indexes() -> Iterator[None]:
    """Ask for the index of each data set behind a URL once in the block, which takes it to stay what it is."""
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def read_index_text(store: Store) -> bytes:
    """Return the bytes of ``index.json``.

    Raises:
        ShardMissingError: If there is none.
        ShardCorruptError: If it is too large to be one.
    """
    kept = None if store.is_local else _kept.get()
    if kept is not None and store.root in kept:
        return kept[store.root]
    try:
        data, _ = _read_sound(
            store, INDEX_NAME, _MOST_INDEX_BYTES, lambda data: data.endswith(_tail(data[: len(data) - len(_tail(b""))]))
        )
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ShardMissingError(
            f"{store}: no {INDEX_NAME} found, expected a folder that 'shard' has finished; "
            "run 'shard' (it resumes), or check the path"
        ) from error
    if kept is not None:
        kept[store.root] = data
    return data


def parse_index(data: bytes, where: str) -> DatasetIndex:
    """Return the index of a data set from the bytes of ``index.json``, which errors call ``where``.

    Raises:
        ShardCorruptError: If it is damaged, of another format version, or says what no data set can be.
    """
    if not data.startswith(b'{\n "format": "ferdata",'):
        raise ShardCorruptError(
            f"{where}: not an index that ferdata wrote, expected the folder of a ferdata data set; check the path"
        )
    cut = len(data) - len(_tail(b""))
    if cut < 0 or data[cut:] != _tail(data[:cut]):
        raise ShardCorruptError(
            f"{where}: its checksum does not fit its text, so a byte was changed or lost; "
            "copy it again or run 'shard --fresh'"
        )
    try:
        record = json.loads(data.decode("ascii"), parse_constant=_refuse, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise ShardCorruptError(f"{where}: {error}, expected ASCII JSON; write it again with ferdata") from error
    version = record.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise ShardCorruptError(
            f"{where}: format version {reprlib.repr(version)} found, expected {FORMAT_VERSION}; "
            "read it with the ferdata that wrote it (its 'recode' cannot change the version), "
            "or run this ferdata's 'shard' on the source again"
        )
    try:
        check_record(record)
        index = _index(record)
        index.members  # noqa: B018 - a shape that the codec refuses
    except ValueError as error:
        raise ShardCorruptError(f"{where}: {error}; write it again with ferdata") from error
    return index


def _index(record: dict[str, Any]) -> DatasetIndex:
    codec = codec_from_json(record["codec"])
    return DatasetIndex(
        **_known(DatasetIndex, record)
        | {
            "codec": codec,
            "spec": TensorSpec(dtype=record["spec"]["dtype"], shape=tuple(record["spec"]["shape"])),
            "classes": tuple(record["classes"]),
            "mean": tuple(record["mean"]),
            "std": tuple(record["std"]),
            "files": tuple(
                FileInfo(**_known(FileInfo, info) | {"parts_xxh64": tuple(info["parts_xxh64"])})
                for info in record["files"]
            ),
            "shards": ShardTable.from_json(record["shards"], codec.container.ending),
        }
    )


def _known(kind: Any, record: dict[str, Any]) -> dict[str, Any]:
    """Return the members that a class has; a later writer may have added others."""
    return {field.name: record[field.name] for field in fields(kind)}


def _refuse(name: str) -> None:
    raise ValueError(f"{name} found")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"the member {reprlib.repr(next(name for name in names if names.count(name) > 1))} found twice"
        )
    return found


def write_file(store: Store, name: str, data: bytes | Iterable[bytes]) -> FileInfo:
    """Write a file atomically and return its entry for the index; one that comes in parts, with the XXH64 of each."""
    digest, parts_xxh64, num_bytes = xxhash.xxh64(), [], 0
    with store.write_atomic(name) as file:
        for part in [data] if isinstance(data, bytes) else data:
            file.write(part)
            digest.update(part)
            parts_xxh64.append(xxhash.xxh64_hexdigest(part))
            num_bytes += len(part)
    known = () if isinstance(data, bytes) else tuple(parts_xxh64)
    return FileInfo(name=name, num_bytes=num_bytes, xxh64=digest.hexdigest(), parts_xxh64=known)


def read_file(store: Store, info: FileInfo) -> bytes:
    """Return a small file after checking its XXH64 against the index.

    Raises:
        ShardMissingError: If it is not there.
        ShardCorruptError: If it is not what the index says.
    """
    try:
        data, facts = _read_sound(
            store, info.name, info.num_bytes, lambda data: xxhash.xxh64_hexdigest(data) == info.xxh64
        )
    except FileNotFoundError as error:
        raise ShardMissingError(
            f"{store.path(info.name)}: no such file, expected it beside {INDEX_NAME}; copy the whole folder"
        ) from error
    if xxhash.xxh64_hexdigest(data) != info.xxh64:
        raise ShardCorruptError(
            f"{store.path(info.name)}: its XXH64 is not the one in {INDEX_NAME}; copy it again or run 'shard --fresh'"
            f"{facts}"
        )
    return data


def _read_sound(store: Store, name: str, most_bytes: int, is_sound: Callable[[bytes], bool]) -> tuple[bytes, str]:
    """Return a file, and what to say of it if it is not sound, however often it was fetched."""
    if not store.is_local:
        return until_sound(partial(store.read, name), is_sound)
    if (num_bytes := store.num_bytes(name)) > most_bytes:  # before memory is asked for
        raise ShardCorruptError(
            f"{store.path(name)}: {num_bytes:,} bytes found, expected at most {most_bytes:,}; copy it again"
        )
    return store.read(name), ""


def check_file(store: Store, info: FileInfo | ShardInfo, *, copy: IO[bytes] | None = None) -> None:
    """Compare a file's size and XXH64 with the index; one behind a URL is fetched anew before it is called damaged.

    Args:
        store: The data set's folder.
        info: The file, as the index lists it.
        copy: A file for what is read, so that a shard behind a URL is fetched once.

    Raises:
        ShardMissingError: If it is not there.
        ShardCorruptError: If it is not what the index says.
    """
    where, num_bytes = store.path(info.name), store.num_bytes(info.name)
    if num_bytes != info.num_bytes:
        raise ShardCorruptError(
            f"{where}: {num_bytes:,} bytes found, expected {info.num_bytes:,} as {INDEX_NAME} says; "
            "copy it again or run 'shard --fresh'"
        )
    read = partial(_read_through, store, info.name, num_bytes, copy)
    digest, facts = (read(), "") if store.is_local else until_sound(read, lambda found: found == info.xxh64)
    if digest != info.xxh64:
        raise ShardCorruptError(
            f"{where}: XXH64 {digest} found, expected {info.xxh64} as {INDEX_NAME} says; "
            f"copy it again or run 'shard --fresh'{facts}"
        )


def _read_through(store: Store, name: str, num_bytes: int, copy: IO[bytes] | None, **how: bool) -> str:
    """Return the XXH64 of a file, which is read in large pieces, and copy it."""
    digest = xxhash.xxh64()
    if copy is not None:
        copy.seek(0)
    for start in range(0, num_bytes, _CHUNK_BYTES):
        data = store.read_range(name, start, min(num_bytes, start + _CHUNK_BYTES), **how)
        digest.update(data)
        if copy is not None:
            copy.write(data)
    if copy is not None:
        copy.flush()
    return digest.hexdigest()


def _tail(data: bytes) -> bytes:
    """Return the last bytes of ``index.json``: the checksum of all that stands before it."""
    return f',\n "xxh64": "{xxhash.xxh64_hexdigest(data)}"\n}}\n'.encode("ascii")
