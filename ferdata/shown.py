"""What may be shown and kept of a text from outside: no credentials in addresses, nothing that steers a terminal.

In: any text. Out: the same where it is harmless, which nearly all is. Whatever prints, warns or raises comes here.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

__all__ = ["HIDDEN", "counted", "printable", "shown", "without_credentials"]

HIDDEN = "***"
"""Stands where credentials stood."""

_LOGIN = re.compile(r"(://)(?:[^\s/?#@:]*:(?!:|\d*(?:[/?#\s\"']|$))[^\s\"]*|[^\s/?#]*)@")
"""What stands before the host. A password may hold any sign, even those that should be ``%2F``; digits are a port."""

_QUERY = re.compile(r"(://[^\s?\"'<>]*\?)[^\s\"'<>,;)]+?(?=[:.]?(?:[\s\"'<>,;)]|$))")
"""What follows the path: tokens and signatures have a hundred names, so none of it is shown."""

_STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's control, format, surrogate and separator characters: what ends a line, moves the cursor or turns text."""

_JOINERS = "\u200c\u200d"
"""Format characters that words and emoji are spelt with."""


def without_credentials(value: Any) -> Any:
    """Return a text, or all texts in a JSON-ready value, with user, password and query of every address hidden."""
    if isinstance(value, str):
        return _QUERY.sub(rf"\g<1>{HIDDEN}", _LOGIN.sub(rf"\g<1>{HIDDEN}@", value)) if "://" in value else value
    if isinstance(value, Mapping):
        return {name: without_credentials(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_credentials(part) for part in value]
    return value


def counted(number: int, one: str, several: str) -> str:
    """Return a number with the words that go with it.

    Example:
        >>> counted(1, "image is", "images are"), counted(1200, "image is", "images are")
        ('1 image is', '1,200 images are')
    """
    return f"{number:,} {one if number == 1 else several}"


def printable(text: str, *, keep: str = "") -> str:
    """Return a text with control characters escaped as Python writes them, all but those in ``keep``."""
    if text.isprintable():
        return text
    return "".join(
        sign.encode("unicode_escape").decode()
        if unicodedata.category(sign) in _STEERING and sign not in _JOINERS and sign not in keep
        else sign
        for sign in text
    )


def shown(text: str) -> str:
    """Return a text as one line that is safe in a terminal and gives no secret away."""
    return printable(without_credentials(text))
