"""Rows of a Hugging Face data set, with the image files as they are stored: nothing is decoded.

In: a ``Dataset`` or ``IterableDataset`` of the ``datasets`` library, which is not imported here. Out: images, labels by
name, and the other columns.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ferdata.errors import OptionError
from ferdata.sources.files.listing import shorten
from ferdata.sources.files.text_tables import role_columns, split_word

__all__ = ["is_hugging_face", "iter_hugging_face"]

_WRITTEN = ("string", "large_string", "int", "uint", "float", "bool")


def is_hugging_face(source: Any) -> bool:
    """Tell whether this is a data set of the ``datasets`` library, of one split."""
    return type(source).__module__.partition(".")[0] == "datasets" and hasattr(source, "cast_column")


def iter_hugging_face(source: Any) -> Iterator[tuple[Any, Any, dict[str, Any]]]:
    """Yield ``(image, label, record)`` for every row.

    Raises:
        OptionError: If there is no column of images or of labels, or there are several.
    """
    features: Mapping[str, Any] = source.features or {}
    image = _only([name for name, kind in features.items() if type(kind).__name__ == "Image"], features, "images")
    names = {name: kind.names for name, kind in features.items() if type(kind).__name__ == "ClassLabel"}
    label = _only(_label_columns(list(features), list(names)), features, "labels")
    kept = [name for name, kind in features.items() if _is_written(kind) and name != label]
    split = split_word(str(getattr(source, "split", None)))
    for row in source.with_format(None).cast_column(image, type(features[image])(decode=False)):
        record = {name: _named(row[name], names.get(name)) for name in kept if row[name] is not None}
        if split is not None:
            record.setdefault("split", split)
        yield row[image], _named(row[label], names.get(label)), record


def _label_columns(columns: list[str], with_names: list[str]) -> list[str]:
    """Return the columns that can hold the labels: by their names, among those with names of classes first."""
    for among in (with_names, columns):
        found = [among[number] for number in role_columns(among)[1]]
        if found or len(among) == 1:
            return found or among
    return with_names


def _only(found: list[str], features: Mapping[str, Any], what: str) -> str:
    if len(found) != 1:
        raise OptionError(
            f"src: columns {shorten(found or list(features))} found, expected one with {what}; "
            "rename or remove columns of the data set (rename_column, remove_columns)"
        )
    return found[0]


def _named(value: Any, names: list[str] | None) -> Any:
    """Return a class number by its name; -1 is how unlabelled rows are written. Numbers for names are no names."""
    if names is None or not isinstance(value, int) or all(name.strip().isdecimal() for name in names):
        return value
    return names[value] if 0 <= value < len(names) else None


def _is_written(kind: Any) -> bool:
    """Tell whether a column holds text, numbers, or lists of them, which can be written down with an image."""
    return str(getattr(getattr(kind, "feature", kind), "dtype", "")).startswith(_WRITTEN)
