"""Fonts for names in any script: boxes say nothing, so a sign that no font here has is written as its code.

In: a text. Out: a font file that has every sign of it, and the text as it can be drawn with that. Costs nothing for
Latin, Greek, Cyrillic and what else matplotlib's own font has; for other scripts it looks through installed fonts once.
"""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from ferdata.shown import shown

__all__ = ["own_font", "with_font"]


@lru_cache(maxsize=2)
def own_font(*, bold: bool = False) -> str:
    """Return the font that comes with matplotlib, which is found without importing it."""
    places = getattr(find_spec("matplotlib"), "submodule_search_locations", None) or [""]
    return str(Path(places[0], "mpl-data", "fonts", "ttf", "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"))


def with_font(text: str, *, most: int = 200, bold: bool = False) -> tuple[str, str]:
    """Return a text as it can be drawn, at most so many signs of it, and the font file to draw it with."""
    text = shown(text[: most + 1])
    if len(text) > most:
        text = text[: most - 1] + "…"
    own = own_font(bold=bold)
    if text.isascii():
        return text, own
    missing = frozenset(text) - _has(own, frozenset(text))
    if not missing:
        return text, own
    if (other := _installed_with(frozenset(text))) is not None:
        return text, other
    return "".join(sign.encode("unicode_escape").decode() if sign in missing else sign for sign in text), own


def _has(path: str, signs: frozenset[str]) -> frozenset[str]:
    """Return those of the signs that a font has a scalable glyph for."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        return frozenset(sign for sign in signs if font.get_char_index(ord(sign))) if font.scalable else frozenset()
    except (OSError, RuntimeError, ValueError):  # a damaged font, or a kind that FreeType does not know
        return frozenset()


@lru_cache(maxsize=256)
def _installed_with(signs: frozenset[str]) -> str | None:
    from matplotlib.font_manager import fontManager

    files = sorted({entry.fname for entry in fontManager.ttflist if "LastResort" not in entry.fname})
    return next((path for path in files if _has(path, signs) == signs), None)
