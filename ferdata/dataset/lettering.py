"""Fonts for names in any script: boxes say nothing, so a sign that no font here has is written as its code.

In: a text. Out: a font file that has every sign of it, and the text as it can be drawn with that. Costs nothing for
Latin, Greek, Cyrillic and what else matplotlib's own font has; for other scripts it looks through installed fonts once.
Without matplotlib the font is Pillow's, for ASCII alone.
"""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

from ferdata.shown import shown

__all__ = ["Font", "drawable", "load_font", "own_font", "with_font"]

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_IN_ASCII = str.maketrans({"·": "-", "−": "-", "×": "x", "…": "..."})


@lru_cache(maxsize=2)
def own_font(*, bold: bool = False) -> str:
    """Return the font that comes with matplotlib, which is found without importing it; "" is Pillow's font."""
    places = getattr(find_spec("matplotlib"), "submodule_search_locations", None)
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return str(Path(places[0], "mpl-data", "fonts", "ttf", name)) if places else ""


def load_font(path: str, size: int) -> Font:
    """Return a font to draw with."""
    if path:
        return ImageFont.truetype(path, size)
    try:
        return ImageFont.load_default(size)
    except TypeError:  # before Pillow 10.1 it has one size
        return ImageFont.load_default()


def drawable(text: str) -> str:
    """Return a text of ours in signs that our own font has."""
    return text if own_font() else text.translate(_IN_ASCII).encode("ascii", "backslashreplace").decode()


def with_font(text: str, *, most: int = 200, bold: bool = False) -> tuple[str, str]:
    """Return a text as it can be drawn, at most so many signs of it, and the font file to draw it with."""
    text = shown(text[: most + 1])
    if len(text) > most:
        text = text[: most - 1] + "…"
    own = own_font(bold=bold)
    if text.isascii() or not own:
        return drawable(text), own
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
