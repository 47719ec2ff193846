"""Gives a data set's samples back in forms that need no ferdata: plain tars, PNG files in class folders, or Parquet.

In: shards of any codec. Out: files with exactly the pixels of the tensors. Memory: one sample per thread, or the PNG
images of a Parquet file's row group.
"""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from io import StringIO
from typing import IO, Any, Self

import pyarrow as pa

from ferdata.dataset.hugging_face import COLUMNS, card, parquet_name, write_parquet
from ferdata.errors import OptionError
from ferdata.format import CODECS, END_OF_TAR, DatasetIndex, ShardInfo, read_index, read_samples, read_whole
from ferdata.format.samples import SamplesFile
from ferdata.images.colours import to_png
from ferdata.lock import check_vacant, hold_lock
from ferdata.parallel import Progress, map_in_threads
from ferdata.sample import RARE_FIELDS
from ferdata.store import Store, StrPath

__all__ = ["EXPORT_FORMS", "ExportReport", "export"]

EXPORT_FORMS = ("tar", "folder", "datasets")
CLASSES_NAME = "classes.txt"
LABELS_NAME = "labels.csv"
CARD_NAME = "README.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was written: the form, the folder, its tars, pictures or Parquet files, their samples and bytes."""

    to: str
    out: str
    files: int
    samples: int
    num_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return asdict(self)


def export(
    root: StrPath, *, to: str, out: StrPath, num_workers: int | None = None, progress: Progress | None = None
) -> ExportReport:
    """Write every sample of the data set below ``root`` to a new folder.

    ``tar``: ``<split>-<6 digits>.tar`` with the members ``.cls``, ``.json`` and ``.npy`` of every sample, and
    ``classes.txt``, whose line n is the name of class n. ``folder``: ``<split>/<class>/<key>.png`` and ``labels.csv``.
    ``datasets``: ``data/<split>-<number>-of-<count>.parquet`` and a card, as Hugging Face's ``load_dataset`` reads
    them.

    Args:
        root: Folder or URL of the data set.
        to: ``tar``, ``folder`` or ``datasets``.
        out: Folder or URL to write to; new, or empty.
        num_workers: Threads, over shards; one per core where None.
        progress: Called with (shards done, shards) after every shard.

    Raises:
        OptionError: If ``to`` is none of them, ``out`` holds anything, or the tensors are no pictures.
        IngestError: If another run is writing there.
        StoreError: If ``out`` cannot be written.
        ShardCorruptError: If a sample cannot be read; what this run has written until then is removed.

    Example:
        >>> report = ferdata.export("shards/affectnet", to="folder", out="pictures")
        >>> report.files, report.samples
        (240, 240)
    """
    if to not in EXPORT_FORMS:
        raise OptionError(f"to: {to!r} found, expected one of {', '.join(EXPORT_FORMS)}")
    store, target = Store(root), Store(out)
    index = read_index(store)
    if to != "tar" and (len(index.spec.shape) != 3 or index.spec.shape[0] not in (1, 3)):
        raise OptionError(
            f"{store}: tensors of {list(index.spec.shape)} found, expected [3, H, W] or [1, H, W] for PNG; "
            "export to tar"
        )
    check_vacant(target)
    names = _folder_names(index.classes)
    with hold_lock(target), _Output(target) as output:
        write: Callable[[ShardInfo], int] = partial(_write_tar, store, output, index)
        if to == "folder":
            _make_folders(output, index, names)
            write = partial(_write_pictures, store, output, index, names)
        elif to == "datasets":
            output.make_dir("data")
            columns = [*COLUMNS, *_rare_columns(read_samples(store, index))]
            write = partial(_write_table, store, output, index, columns)
        num_bytes = map_in_threads(write, index.shards, num_workers=num_workers, progress=progress)
        if to == "folder":
            output.write(LABELS_NAME, _labels_csv(store, index, names))
        elif to == "datasets":
            output.write(CARD_NAME, card(index))
        else:
            output.write(CLASSES_NAME, "".join(f"{name}\n" for name in index.classes).encode())
    return ExportReport(
        to=to,
        out=target.root,
        files=index.num_samples() if to == "folder" else len(index.shards),
        samples=index.num_samples(),
        num_bytes=sum(num_bytes),
    )


class _Output:
    """A folder that is empty at first; what this run has written there, and nothing else, goes if it fails."""

    def __init__(self, target: Store) -> None:
        self._target = target
        self._files: list[str] = []
        self._folders: list[str] = []

    def __enter__(self) -> Self:
        check_vacant(self._target)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            return
        # What stays would look whole, and stand in a second try's way.
        for path in self._files:
            self._target.remove(path)
        for folder in sorted(self._folders, key=len, reverse=True):
            self._target.remove_empty_dir(folder)

    def make_dir(self, folder: str) -> None:
        """Make a folder and those above it."""
        parts = folder.split("/")
        self._folders += [
            above for end in range(1, len(parts) + 1) if (above := "/".join(parts[:end])) not in self._folders
        ]
        self._target.make_dir(folder)

    def write(self, path: str, data: bytes) -> None:
        """Write a file in one go."""
        self._files.append(path)
        self._target.write(path, data)

    @contextmanager
    def write_atomic(self, path: str) -> Iterator[IO[bytes]]:
        """Write a file that is there when the block has ended."""
        with self._target.write_atomic(path) as file:
            yield file
        self._files.append(path)


def _write_tar(store: Store, output: _Output, index: DatasetIndex, info: ShardInfo) -> int:
    """Write one shard as a plain tar, and return its bytes."""
    members = CODECS["raw"].members(index.spec, num_classes=len(index.classes), json_bytes=index.json_bytes)
    padding = bytes(members.padding_bytes(index.spec.num_bytes))
    with output.write_atomic(f"{info.name.split('.')[0]}.tar") as file:
        for sample in read_whole(store, info, index):
            file.write(members.head(sample.key, sample.label, sample.record, index.spec.num_bytes))
            file.write(sample.pixels.data)
            file.write(padding)
        file.write(END_OF_TAR)
        return file.tell()


def _write_pictures(store: Store, output: _Output, index: DatasetIndex, names: Sequence[str], info: ShardInfo) -> int:
    """Write one shard's samples as PNG files, and return their bytes."""
    num_bytes = 0
    for sample in read_whole(store, info, index):
        data = to_png(sample.pixels)
        output.write(_picture_path(info.split, names[sample.label], sample.key), data)
        num_bytes += len(data)
    return num_bytes


def _write_table(store: Store, output: _Output, index: DatasetIndex, columns: Sequence[str], info: ShardInfo) -> int:
    """Write one shard as a Parquet file, and return its bytes."""
    of_split = [each for each in index.shards if each.split == info.split]
    number = of_split.index(info)
    start = index.rows(info.split).start + sum(each.samples for each in of_split[:number])
    rows = SamplesFile(store, index).read(columns, start, start + info.samples)
    with output.write_atomic(parquet_name(info.split, number, len(of_split))) as file:
        return write_parquet(file, read_whole(store, info, index), rows, index)


def _rare_columns(table: pa.Table) -> list[str]:
    """Return which of the columns that few sources have hold a value anywhere in the whole table."""
    return [name for name in RARE_FIELDS if table.column(name).null_count < table.num_rows]


def _labels_csv(store: Store, index: DatasetIndex, names: Sequence[str]) -> bytes:
    """Return one line per picture: where it is, its labels, the image it was made from, and whom it shows if known."""
    table = read_samples(store, index)
    known = _rare_columns(table)
    columns = ["split", "label", "key", "valence", "arousal", "path", "source_label", *known]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "split", "label", "class", "valence", "arousal", "source_path", "source_label", *known])
    for batch in table.select(columns).to_batches(max_chunksize=4096):
        for row in batch.to_pylist():
            split, label, key, *values = row.values()
            writer.writerow([_picture_path(split, names[label], key), split, label, index.classes[label], *values])
    return text.getvalue().encode()


def _picture_path(split: str, folder: str, key: str) -> str:
    return f"{_SEPARATORS.sub('_', split)}/{folder}/{key}.png"


def _make_folders(output: _Output, index: DatasetIndex, names: Sequence[str]) -> None:
    """Make every split's folders of all classes that occur anywhere.

    Readers of class folders number the folders they find: a class that is missing from one split would shift the
    numbers of the classes behind it, in silence. An empty folder is seen.
    """
    used = [any(column) for column in zip(*index.counts.values(), strict=True)]
    for split in index.splits:
        for name in (name for name, some in zip(names, used, strict=True) if some):
            output.make_dir(_picture_path(split, name, "").rpartition("/")[0])


def _folder_names(classes: Sequence[str]) -> list[str]:
    """Return a folder name for every class: its own where that can be one, numbered where two would be the same."""
    names = [_SEPARATORS.sub("_", name).strip(". ") for name in classes]
    if len({name.lower() for name in names}) < len(names) or not all(names):
        return [f"{label} {name}".strip() for label, name in enumerate(names)]
    return names


_SEPARATORS = re.compile(r'[\x00-\x1f/\\:*?"<>|]')
"""What cannot stand in a file name on one system or another."""
