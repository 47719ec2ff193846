"""Read the class names out of a YOLO ``data.yaml``: the one entry ``names``, in any of the forms in use.

In: the file's text. Out: names by class id. No YAML library: a label file must not pull one in for one list.
"""

import re
from collections.abc import Iterator

__all__ = ["parse_names"]

_KEY = re.compile(r"""['"]?names['"]?\s*:\s*(.*)""", re.IGNORECASE)
_PAIR = re.compile(r"""(?:['"]?(\d{1,9})['"]?\s*:\s+|-\s+)?(.+)""")
_QUOTED_OR_PLAIN = re.compile(r"""\s*((?:\d+\s*:\s*)?(?:'(?:[^']|'')*'|"(?:[^"\\]|\\.)*"|[^,\[\]{}]+))""")


def parse_names(text: str) -> list[str] | None:
    """Return the class names by id, or None where the file has none.

    Read are ``names: [a, b]`` and ``names: {0: a}``, on one line or several, and block lists of ``- a`` or ``0: a``.

    Raises:
        ValueError: If there are entries that are not names numbered from 0, without a gap and each number once.
    """
    lines = [line for line in (_without_comment(raw) for raw in text.splitlines()) if line.strip()]
    start = next((i for i, line in enumerate(lines) if _KEY.fullmatch(line.rstrip())), None)
    if start is None:
        return None
    match = _KEY.fullmatch(lines[start].rstrip())
    first = match[1] if match else ""
    entries = list(
        _flow_entries(first, lines[start + 1 :]) if first[:1] in ("[", "{") else _block_entries(lines[start + 1 :])
    )
    names: dict[int, str] = {}
    for position, entry in enumerate(entries):
        pair = _PAIR.fullmatch(entry.strip())
        number = int(pair[1]) if pair and pair[1] else position
        if pair is None or number in names:
            raise ValueError(f"entry {entry.strip()!r}")
        names[number] = _unquoted(pair[2].strip())
    if set(names) != set(range(len(names))) or (first and not entries and first not in ("[]", "{}")):
        raise ValueError(
            f"numbers from {min(names)} to {max(names)} of {len(names):,} names" if names else f"names: {first}"
        )
    return [names[number] for number in range(len(names))] or None


def _flow_entries(first: str, rest: list[str]) -> Iterator[str]:
    close = "]" if first[0] == "[" else "}"
    parts = [first[1:]]
    for line in rest:
        if close in parts[-1]:
            break
        parts.append(line.strip())
    for found in _QUOTED_OR_PLAIN.finditer(" ".join(parts).split(close)[0]):
        if found[1].strip():
            yield found[1].strip()


def _block_entries(lines: list[str]) -> Iterator[str]:
    for line in lines:
        # A list may stand at the key's own depth, a mapping may not: an unindented line without a dash ends the block.
        if not line[0].isspace() and not line.startswith("-"):
            return
        yield line.strip()


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s)#.*", "", line)


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].replace("''", "'")
    return text
