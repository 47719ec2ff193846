"""What ``index.json`` may say: a table of rules for its members, and how they must fit each other.

In: parsed JSON. Out: nothing, or an error that names the first member that is wrong. Costs about 0.3 µs a shard.
"""

import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ferdata.format.codecs import CODECS
from ferdata.format.container.members import MAX_JSON_BYTES, MAX_TENSOR_BYTES

__all__ = ["INDEX_NAME", "REJECTS_NAME", "SAMPLES_NAME", "check_record"]

INDEX_NAME = "index.json"
SAMPLES_NAME = "samples.parquet"
REJECTS_NAME = "rejects.csv"

Rule = Callable[[str, Any], None]
"""Takes the name of a member and its value; raises ValueError where the value breaks the rule."""

_MOST_SAMPLES = (1 << 31) - 1
"""Of a whole data set; positions are int32."""
_LEAST_SAMPLE_BYTES = 42
"""Two zstd frames of at least 13 bytes, and their places in the table; uncompressed samples take more."""
_MOST_SHARD_NUMBER = 10**9 - 1
_HASH_DIGITS = 16
_MOST_CLASSES = 1 << 15
"""Labels are int16."""


def check_record(record: Any) -> None:
    """Check all that an index of this format version says.

    Raises:
        ValueError: Naming the member, what it holds and what it should.
    """
    _INDEX("", record)
    channels, shape = record["spec"]["shape"][0], record["spec"]["shape"]
    for name in ("mean", "std"):
        _expect(len(record[name]) == channels, name, record[name], f"{channels} numbers, one per channel of {shape}")
    names = [info["name"] for info in record["files"]]
    _expect(sorted(names) == sorted((SAMPLES_NAME, REJECTS_NAME)), "files", names, f"{SAMPLES_NAME} and {REJECTS_NAME}")
    _check_shards(record)


def _check_shards(record: Mapping[str, Any]) -> None:
    """Check that every split has its columns, in the order of numbers, and that shards hold what is counted."""
    counts, num_classes, total = record["counts"], len(record["classes"]), 0
    for split, counted in counts.items():
        _expect(len(counted) == num_classes, f"counts.{split}", counted, f"{num_classes} numbers, one per class")
    splits = [*record["shards"]]
    _expect(splits == [*counts], "shards", splits, f"columns for each of {[*counts]}, in this order")
    for split, counted in counts.items():
        columns, at = record["shards"][split], f"shards.{split}"
        lengths = {name: len(columns[name]) for name in _SHARDS}
        _expect(len({*lengths.values()}) == 1, at, lengths, "columns of one length")
        numbers, samples, num_bytes = (np.array(columns[name], np.int64) for name in ("number", "samples", "num_bytes"))
        for place in np.flatnonzero(np.diff(numbers) <= 0)[:1] + 1:
            _expect(False, f"{at}.number[{place}]", int(numbers[place]), "every shard once, in the order of numbers")
        for place in np.flatnonzero(samples > num_bytes // _LEAST_SAMPLE_BYTES)[:1]:
            _expect(False, f"{at}.samples[{place}]", int(samples[place]), "no more than its bytes hold")
        found = int(samples.sum())
        _expect(sum(counted) == found, f"counts.{split}", counted, f"a sum of {found:,}, the samples of its shards")
        total += found
    _expect(total <= _MOST_SAMPLES, "shards", total, f"at most {_MOST_SAMPLES:,} samples in all")


# Rules


def _expect(is_right: bool, name: str, value: Any, expected: str) -> None:
    if not is_right:
        raise ValueError(f"{name}: {reprlib.repr(value)} found, expected {expected}")


def _whole(low: int, high: int) -> Rule:
    def check(name: str, value: Any) -> None:
        if type(value) is not int or not low <= value <= high:
            _expect(False, name, value, f"a whole number from {low:,} to {high:,}")

    return check


def _number(low: float, high: float) -> Rule:
    def check(name: str, value: Any) -> None:
        _expect(type(value) in (int, float) and low <= value <= high, name, value, f"a number from {low} to {high}")

    return check


def _text(pattern: str, expected: str) -> Rule:
    matches = re.compile(pattern, re.DOTALL).fullmatch

    def check(name: str, value: Any) -> None:
        if type(value) is not str or not matches(value):
            _expect(False, name, value, expected)

    return check


def _one_of(*allowed: str | None) -> Rule:
    def check(name: str, value: Any) -> None:
        _expect(
            isinstance(value, str | None) and value in allowed, name, value, f"one of {', '.join(map(str, allowed))}"
        )

    return check


def _or_null(rule: Rule) -> Rule:
    def check(name: str, value: Any) -> None:
        if value is not None:
            rule(name, value)

    return check


def _array(rule: Rule, least: int = 0, most: int = 1 << 31) -> Rule:
    def check(name: str, value: Any) -> None:
        _expect(
            type(value) is list and least <= len(value) <= most,
            name,
            value,
            f"an array of {least:,} to {most:,} values",
        )
        for number, element in enumerate(value):
            rule(f"{name}[{number}]", element)

    return check


def _column(rule: Rule, is_right: Callable[[list[Any]], bool]) -> Rule:
    """Return the rule of an array that may be long: if all of it is not right at a glance, ``rule`` says where."""

    def check(name: str, value: Any) -> None:
        if type(value) is not list or not is_right(value):
            _array(rule)(name, value)

    return check


def _whole_column(low: int, high: int) -> Rule:
    def is_right(values: list[Any]) -> bool:
        return {*map(type, values)} == {int} and low <= min(values) and max(values) <= high

    return _column(_whole(low, high), is_right)


def _are_hashes(values: list[Any]) -> bool:
    return (
        {*map(type, values)} == {str}
        and {*map(len, values)} == {_HASH_DIGITS}
        and not "".join(values).encode("ascii", "replace").translate(None, b"0123456789abcdef")
    )


def _table(names: Rule, values: Rule) -> Rule:
    """Return the rule of an object of any members: rules for their names and for their values."""

    def check(name: str, value: Any) -> None:
        _expect(type(value) is dict, name, value, "an object")
        for key, element in value.items():
            names(f"{name}: the name {reprlib.repr(key)}", key)
            values(f"{name}.{key}", element)

    return check


def _object(members: Mapping[str, Rule], optional: Sequence[str] = ()) -> Rule:
    """Return the rule of an object of at least these members; others are left alone."""

    def check(name: str, value: Any) -> None:
        _expect(type(value) is dict, name, value, "an object")
        for key, rule in members.items():
            if key in value:
                rule(f"{name}.{key}" if name else key, value[key])
            elif key not in optional:
                raise ValueError(f"{f'{name}.{key}' if name else key}: no such member found, expected one")

    return check


def _shape(name: str, value: Any) -> None:
    _array(_whole(1, MAX_TENSOR_BYTES), 1, 32)(name, value)
    num_bytes = 1
    for size in value:
        num_bytes *= size
    _expect(num_bytes <= MAX_TENSOR_BYTES, name, value, f"at most {MAX_TENSOR_BYTES:,} bytes")


def _json_bytes(name: str, value: Any) -> None:
    _whole(512, MAX_JSON_BYTES)(name, value)
    _expect(value % 512 == 0, name, value, "a multiple of 512")


_MOST_NESTED = 16
_MOST_NUMBER = float(1 << 64)
_HALVES = "\ud800-\udc7f\udd00-\udfff"
"""Halves of characters that nobody writes; those between stand for bytes of file names that are no text."""


def _plain_value(name: str, value: Any, depth: int = 0) -> None:
    """Whatever JSON there is, as long as it can be shown and written again."""

    def inner(at: str, element: Any) -> None:
        _plain_value(at, element, depth + 1)

    _expect(depth < _MOST_NESTED, name, value, f"at most {_MOST_NESTED} values one in the other")
    if isinstance(value, dict):
        _table(_WORDS, inner)(name, value)
    elif isinstance(value, list):
        _array(inner)(name, value)
    elif isinstance(value, str):
        _expect(not re.search(f"[{_HALVES}]", value), name, value, "whole characters")
    elif value is not None:
        _number(-_MOST_NUMBER, _MOST_NUMBER)(name, int(value) if isinstance(value, bool) else value)


_SPLIT = _text(r"[A-Za-z0-9_]{1,64}", "a split's name: 1 to 64 letters, digits and '_'")
_HASH = _text(r"[0-9a-f]{16}", "16 lower-case hexadecimal digits")
_COUNT = _whole(0, _MOST_SAMPLES)
_BYTES = _whole(0, (1 << 63) - 1)
_WORDS = _text(f"[^{_HALVES}]{{0,4096}}", "text of at most 4,096 whole characters")
_SETTINGS = _table(_WORDS, _plain_value)
_TALLY = _table(_WORDS, _BYTES)
_SUMMARY = {
    "rows": _BYTES,
    "accepted": _BYTES,
    "skipped": _TALLY,
    "rejected": _TALLY,
    "repairs": _TALLY,
    "bytes_in": _BYTES,
    "bytes_out": _BYTES,
    "notes": _array(_WORDS),
}
_HASHES = _column(_HASH, _are_hashes)
_SHARDS = {
    "number": _whole_column(0, _MOST_SHARD_NUMBER),
    "samples": _whole_column(0, _MOST_SAMPLES),
    "num_bytes": _whole_column(0, (1 << 63) - 1),
    "xxh64": _HASHES,
    "tail_xxh64": _HASHES,
}
_INDEX = _object(
    {
        "format": _one_of("ferdata"),
        "source": _WORDS,
        "source_layout": _WORDS,
        "codec": _object({"name": _one_of(*CODECS), "level": _or_null(_whole(-20, 19))}),
        "spec": _object({"dtype": _one_of("uint8"), "shape": _shape}),
        "json_bytes": _json_bytes,
        "transform": _object(
            {
                "fingerprint": _text(r"[0-9a-f]{32}", "32 lower-case hexadecimal digits"),
                "settings": _SETTINGS,
                "libraries": _SETTINGS,
            }
        ),
        "settings": _SETTINGS,
        "classes": _array(_WORDS, 1, _MOST_CLASSES),
        "counts": _table(_SPLIT, _array(_COUNT, 1, _MOST_CLASSES)),
        "mean": _array(_number(0, 255)),
        "std": _array(_number(0, 255)),
        "files": _array(
            _object(
                {
                    "name": _one_of(SAMPLES_NAME, REJECTS_NAME),
                    "num_bytes": _BYTES,
                    "xxh64": _HASH,
                    "parts_xxh64": _HASHES,
                }
            ),
            2,
            2,
        ),
        "shards": _table(_SPLIT, _object(_SHARDS)),
        "summary": _object(_SUMMARY, optional=tuple(_SUMMARY)),
    }
)
