"""Read AffectNet or RAF-DB from parquet files with columns ``image`` and ``label``, by the class names stored in them.

In: parquet files as the ``datasets`` library writes them. Out: a :class:`Scan` whose paths are ``file.parquet#row``.
Costs one read of the label columns; of the images only the counts of missing ones are read.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from ferdata.errors import AmbiguousLayoutError, LayoutError, SourceError
from ferdata.labels import AFFECTNET_ALL, KNOWN_NAMES, canonical_name
from ferdata.sources.affectnet.totals import PART_OF_AFFECTNET
from ferdata.sources.class_folders.orders import find_number_order, shown_counts
from ferdata.sources.files.image_bytes import open_parquet, parquet_errors, read_apart
from ferdata.sources.files.listing import shorten
from ferdata.sources.files.matching import stem_of, whole_number
from ferdata.sources.files.parquet_columns import IMAGE_COLUMN, refuse_bombs, rows_without_image, stored_names
from ferdata.sources.idle_options import refuse_labels
from ferdata.sources.layout import Detection
from ferdata.sources.layout_scan import LayoutScan
from ferdata.sources.options import ScanOptions
from ferdata.sources.scan import Scan, Verdict, rejected
from ferdata.store import Store

__all__ = ["scan"]

LABEL_COLUMN = "label"
_CLASS_NUMBERS = range(len(AFFECTNET_ALL))


@dataclass(frozen=True, slots=True, kw_only=True)
class _LabelColumn:
    """The labels of one file.

    Attributes:
        path: Relative to the source root.
        values: One value a row: a class number, a class name, or None.
        names: Class names by number where the file stores them.
        without_image: Rows whose image is null.
        split: Split of the file.
    """

    path: str
    values: list[Any]
    names: tuple[str, ...] | None
    without_image: frozenset[int]
    split: str = ""


def scan(store: Store, detection: Detection, options: ScanOptions) -> Scan:
    """Sort every row of the parquet files into accepted, skipped or rejected.

    Raises:
        LayoutError: If a stored class name is not known.
        AmbiguousLayoutError: If labels are numbers without names, and no option or known counts settle the order.
        OptionError: If ``labels`` is given and every label has a name.
        SourceError: If most labels are not classes.
    """
    builder = LayoutScan(store, detection, options)
    splits = {path: split for split, paths in detection.tables.items() for path in paths}
    columns = [replace(column, split=splits[column.path]) for column in read_apart(_read_labels, store, list(splits))]
    order = _order_of_numbers(columns, store.path(), options.labels, builder)
    for column in columns:
        names = _canonical(column.names, store.path(column.path)) if column.names is not None else None
        stem = stem_of(column.path)
        for row, value in enumerate(column.values):
            path = f"{column.path}#{row}"
            verdict = _judge(value, _class_name(value, names, order), row in column.without_image, builder)
            if builder.passes(verdict, path, split=column.split, row=row):
                key = builder.keys.make(f"{column.split}_{stem[:60]}_{row}")
                builder.accept(key, path, column.split, verdict.label, str(value))
    num_rows = sum(len(column.values) for column in columns)
    num_empty = sum(len(column.without_image) for column in columns)
    if num_rows and num_empty == num_rows:
        raise SourceError(
            f"{store.path()}: none of {num_rows:,} rows holds its image, expected images in the file; "
            "embed them and write it again"
        )
    builder.stop_if_most_labels_invalid(num_rows, f"class names ({KNOWN_NAMES})")
    if detection.layout.source == "affectnet":
        builder.notes.append(PART_OF_AFFECTNET)
    return builder.finish()


def _judge(value: Any, class_name: str | None, is_image_empty: bool, builder: LayoutScan) -> Verdict:
    if value is None or value == "":
        return rejected("label_missing", "the label is empty")
    if class_name is not None and is_image_empty:
        return rejected("image_missing", "the image is empty")
    return builder.judge_name(class_name, value)


def _read_labels(store: Store, path: str) -> _LabelColumn:
    """Read the label column of one file, and which of its rows have no image.

    Raises:
        LayoutError: If labels are neither numbers nor text, or there are two label or image columns.
        SourceError: If the file holds more labels than it can.
        StoreError: If the file is damaged.
    """
    where = store.path(path)
    with parquet_errors(store, path), open_parquet(store, path) as file:
        is_text = _check_columns(file.schema_arrow, where)
        refuse_bombs(file.metadata, store.num_bytes(path), where, [LABEL_COLUMN])
    # Repeated text is held once, as the file holds it: unpacked, a short file could fill any memory.
    repeated = [LABEL_COLUMN] if is_text else []
    with parquet_errors(store, path), open_parquet(store, path, as_dictionary=repeated) as file:
        column = file.read(columns=[LABEL_COLUMN], use_threads=False).column(0)
        return _LabelColumn(
            path=path,
            values=column.to_pylist(),
            names=stored_names(file.schema_arrow, LABEL_COLUMN),
            without_image=rows_without_image(file, IMAGE_COLUMN),
        )


def _check_columns(schema: pa.Schema, where: str) -> bool:
    """Return whether labels are text.

    Raises:
        LayoutError: If they are neither numbers nor text, or there are two label or image columns.
    """
    for name in (LABEL_COLUMN, IMAGE_COLUMN):
        if schema.names.count(name) > 1:
            raise LayoutError(
                f"{where}: {schema.names.count(name)} columns {name!r} found, expected one; "
                "write the file again without"
            )
    kind = schema.field(LABEL_COLUMN).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_text = bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    if not (is_text or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise LayoutError(f"{where}: label column of type {kind} found, expected class numbers or class names")
    return is_text


def _order_of_numbers(
    columns: Sequence[_LabelColumn], where: str, labels: str | None, builder: LayoutScan
) -> Mapping[int, str]:
    """Return number -> class name for files of numbers without names; numbers that can be no class are left out."""
    counts: dict[str, Counter[str]] = {}
    for column in columns:
        if column.names is None:
            numbers = [number for value in column.values if (number := _number(value)) in _CLASS_NUMBERS]
            counts.setdefault(column.split, Counter()).update(map(str, numbers))
    plain = (value for column in columns if column.names is None for value in column.values)
    if labels is not None and all(_number(value) is None for value in plain):
        refuse_labels(where, labels, "labels with class names")
    present = {name: int(name) for here in counts.values() for name in here}
    if not present:
        return {}
    try:
        named, _ = find_number_order(where, present, counts, is_rafdb=False, labels=labels)
    except AmbiguousLayoutError as error:
        raise AmbiguousLayoutError(
            f"{where}: labels are numbers and no class names are stored with them (rows {shown_counts(counts)}), "
            "expected names, "
            "since the order can be AffectNet's, RAF-DB's or alphabetical; "
            "name it with labels=affectnet|rafdb|alphabetical"
        ) from error
    order = {present[name]: class_name for name, class_name in sorted(named.items(), key=lambda item: present[item[0]])}
    builder.notes.append(
        f"Label numbers are read as {', '.join(f'{number} {class_name}' for number, class_name in order.items())}."
    )
    return order


def _canonical(names: Sequence[str], where: str) -> list[str]:
    unknown = [name for name in names if canonical_name(name) is None]
    if unknown:
        raise LayoutError(
            f"{where}: stored class names {shorten(unknown)} found, expected known names ({KNOWN_NAMES}); "
            "use source 'table' to read them as classes of your own"
        )
    return [str(canonical_name(name)) for name in names]


def _class_name(value: Any, names: Sequence[str] | None, order: Mapping[int, str]) -> str | None:
    number = _number(value)
    if number is None:
        return canonical_name(value) if isinstance(value, str) else None
    if names is not None:
        return names[number] if 0 <= number < len(names) else None
    return order.get(number)


def _number(value: Any) -> int | None:
    return whole_number(str(value)) if value is not None else None
