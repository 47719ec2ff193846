"""Markdown out of figures: tables, the block of conditions, any JSON value that has no section of its own.

In: numbers and dictionaries. Out: lines of text; the same figures always give the same text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["conditions_block", "generic", "megabytes", "percent", "rate", "table"]

MACHINE = ("cpu", "cores", "memory_bytes", "system", "python", "versions", "commit", "load_before")
NEEDED = {"cpu": "the machine", "versions": "versions and commit"}
LONGEST_LIST = 8


def table(head: str, rows: Sequence[Sequence[str]], *, text_columns: int = 1) -> list[str]:
    """Return a table under its head, ``a | b | c``; all but the first ``text_columns`` columns are aligned right."""
    marks = ["---" if number < text_columns else "---:" for number in range(head.count(" | ") + 1)]
    return [f"| {head} |", *(f"| {' | '.join(cells)} |" for cells in (marks, *([*map(_cell, row)] for row in rows)))]


def conditions_block(conditions: Mapping[str, Any], command: str) -> list[str]:
    """Return what a stranger needs to judge or repeat a table: machine, settings, versions, and the command."""
    lines = ["```text", command]
    if "cpu" in conditions:
        gibibytes = conditions["memory_bytes"] / 2**30
        load = conditions["load_before"]
        lines.append(
            f"{conditions['cpu']}, {conditions['cores']} cores, {gibibytes:.0f} GiB, {conditions['system']}, "
            f"load {load} before"
        )
    settings = {
        name: value for name, value in conditions.items() if name not in MACHINE and value not in (None, [], False)
    }
    lines += [f"{name.replace('_', ' ')}: {_value(name, value)}" for name, value in settings.items()]
    if missing := [words for name, words in NEEDED.items() if name not in conditions]:
        lines.append(f"not in the file: {', '.join(missing)}")
    if "versions" in conditions:
        versions = ", ".join(f"{name} {version}" for name, version in conditions["versions"].items())
        lines.append(f"Python {conditions['python']}, {versions}; commit {conditions['commit'] or 'unknown'}")
    return [*lines, "```"]


def generic(values: Mapping[str, Any]) -> list[str]:
    """Return every figure of a file nothing is known about: lists of records, records of records, the rest as pairs."""
    lines: list[str] = []
    pairs: dict[str, Any] = {}
    for name, value in values.items():
        if name in ("command", "conditions"):
            continue
        if isinstance(value, str) and " " in value:
            lines += [_sentence(value), ""]
        elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
            lines += [f"{_words(name)}:", "", *_records(value), ""]
        elif isinstance(value, Mapping) and value and all(isinstance(each, Mapping) for each in value.values()):
            lines += [f"{_words(name)}:", "", *_records([{"": key, **each} for key, each in value.items()]), ""]
        elif isinstance(value, Mapping):
            pairs |= {f"{name} {key}": each for key, each in value.items()}
        else:
            pairs[name] = value
    shown = [[_words(name), _value(name, value)] for name, value in pairs.items() if _is_short(value)]
    return [*lines, *(table("figure | value", shown) if shown else [])]


def rate(value: float) -> str:
    """Return images per second."""
    return f"{value:,.0f}"


def percent(value: float) -> str:
    """Return a fraction as per cent."""
    return f"{value:.0%}"


def megabytes(value: float) -> str:
    """Return bytes in MB."""
    return f"{value / 1e6:,.0f}"


def _records(records: Sequence[Mapping[str, Any]]) -> list[str]:
    every = dict.fromkeys(name for record in records for name in record)
    names = [name for name in every if all(_is_short(record.get(name)) for record in records)]
    rows = [[_value(name, record.get(name)) for name in names] for record in records]
    return table(" | ".join(map(_words, names)), rows)


def _is_short(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= LONGEST_LIST and all(_is_short(each) and not isinstance(each, list) for each in value)
    return not isinstance(value, Mapping)


def _value(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_value(name, each) for each in value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"
    return str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
