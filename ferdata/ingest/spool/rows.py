"""What can be given instead of a folder, as rows of one form.

In: an iterable of ``(image, label)`` or ``(image, label, record)``, a Hugging Face data set, or a mapping of splits to
either. Out: rows, checked one by one; nothing is held.
"""

import json
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ferdata.errors import OptionError
from ferdata.ingest.spool.encode import encode
from ferdata.ingest.spool.hugging_face import is_hugging_face, iter_hugging_face
from ferdata.sources.files.text_tables import split_word
from ferdata.sources.options import ScanOptions

__all__ = ["SpoolRow", "iter_spool_rows"]

_NUMBERS = ("valence", "arousal")
_LISTS = ("box", "soft_labels")
_TEXTS = ("person", "sequence", "key")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolRow:
    """One image and what is said of it.

    Attributes:
        data: The image's file; or its path, where there is none.
        label: As text, None where there is none.
        values: Values of the record by role; those of no role are ``extra``, as JSON.
    """

    data: bytes | str
    label: str | None
    values: Mapping[str, Any]


def iter_spool_rows(source: Any, scan: ScanOptions) -> Iterator[SpoolRow]:
    """Yield every row.

    Args:
        source: What was given.
        scan: Whose ``class_names`` or ``labels`` say what numbers stand for.

    Raises:
        OptionError: If something of a row is not what it should be, with the number of the row, from 0.
    """
    for number, parts in enumerate(_iter_parts(source)):
        try:
            row = _row(parts, has_names=scan.class_names is not None or scan.labels is not None)
            if "soft_labels" in row.values and scan.class_names is None:
                raise OptionError("soft_labels found, expected to know of which classes; name them with class_names=")
            yield row
        except OptionError as error:
            raise OptionError(f"src: item {number:,}: {error}") from error


def _iter_parts(source: Any) -> Iterator[Any]:
    if isinstance(source, Mapping):
        for name, inner in source.items():
            if (split := split_word(str(name))) is None:
                raise OptionError(f"src: {name!r} found, expected names of splits: train, val, test")
            for parts in _iter_parts(inner):
                image, label, *rest = parts
                yield image, label, {**(rest[0] or {} if rest else {}), "split": split}
    elif is_hugging_face(source):
        yield from iter_hugging_face(source)
    elif hasattr(source, "__iter__"):
        yield from source
    else:  # a set for torch has a length and places, and need not say where it ends
        yield from map(source.__getitem__, range(len(source)))


def _row(parts: Any, *, has_names: bool) -> SpoolRow:
    if not isinstance(parts, (tuple, list)) or len(parts) not in (2, 3):
        raise OptionError(f"a {type(parts).__name__} found, expected (image, label) or (image, label, record)")
    image, label, record = (*parts, None)[:3]
    if record is not None and not isinstance(record, Mapping):
        raise OptionError(f"a {type(record).__name__} found as record, expected a dict or None")
    if isinstance(image, Mapping):  # as the datasets library has an image that is not decoded
        image = image["bytes"] if image.get("bytes") is not None else image.get("path") or b""
    return SpoolRow(data=encode(image), label=_label(label, has_names=has_names), values=_values(record or {}))


def _label(label: Any, *, has_names: bool) -> str | None:
    if _is_missing(label) or isinstance(label, str):
        return label if isinstance(label, str) else None
    try:
        whole = int(label) if isinstance(label, float) and label.is_integer() else label  # beside gaps, in pandas
        number = None if isinstance(label, (bool, np.bool_)) else operator.index(whole)
    except TypeError:
        number = None
    if number is None:
        raise OptionError(f"label {label!r} found, expected a class name or a number")
    if not has_names:
        raise OptionError(
            f"label {number} found, and no names for numbers, expected them, since one number is another expression in "
            "every data set; give class_names=('neutral', 'happy', ...), or labels= of a data set whose order it is"
        )
    return str(number)


def _values(record: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in record.items():
        if _is_missing(value):
            continue
        if name == "split":
            if (split := split_word(str(value))) is None:
                raise OptionError(f"split {value!r} found, expected train, val or test")
            found[name] = split
        elif name in _TEXTS:
            found[name] = str(value)
        elif name in _NUMBERS or name in _LISTS:
            found[name] = _numbers(name, value)
        else:
            extra[str(name)] = value
    if extra:
        try:
            found["extra"] = json.dumps(extra, sort_keys=True, default=_plain, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise OptionError(
                f"record {', '.join(extra)} found ({error}), expected values that JSON has; convert or leave them out"
            ) from error
    return found


def _numbers(name: str, value: Any) -> Any:
    try:
        return float(value) if name in _NUMBERS else [float(each) for each in value]
    except (TypeError, ValueError) as error:
        expected = "a number" if name in _NUMBERS else "numbers"
        raise OptionError(f"{name} {value!r} found, expected {expected}") from error


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, (float, np.floating)) and bool(np.isnan(value)))


def _plain(value: Any) -> Any:
    """Return a value of NumPy's as one of Python's."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__}")
