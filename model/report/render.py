"""HTML pages that need nothing else: templates whose values are escaped, with the style sheet and every picture inside.

In: a template's file and its values. Out: the page as text.
"""

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from ferdata.images.colours import to_picture
from ferdata.program import as_typed
from ferdata.shown import shown

__all__ = ["TEMPLATES", "picture_bytes", "render_page"]

TEMPLATES = Path(__file__).parent / "templates"
"""Where ``base.html``, which every page extends, and the style sheet are."""


def render_page(template: Path, **values: Any) -> str:
    """Return the page that a template makes of values.

    Args:
        template: The file; ``base.html`` is found from anywhere.
        values: By the names in the template.
    """
    loader = FileSystemLoader([template.parent, TEMPLATES])
    environment = Environment(
        loader=loader,
        autoescape=True,
        finalize=_finalized,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "as_typed": as_typed,
        "data_url": _data_url,
        "fmt": _formatted,
        "inches_wide": _inches_wide,
        "setting": _setting,
        "thumbnail": _thumbnail,
    }
    return environment.get_template(template.name).render(values)


def _finalized(value: Any) -> Any:
    """Return a text without credentials and control characters; what a template made itself stays as it is."""
    return shown(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _data_url(picture: bytes) -> str:
    kind = "jpeg" if picture.startswith(b"\xff\xd8") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _formatted(value: float | None, spec: str) -> str:
    return "none" if value is None else format(value, spec)


def _inches_wide(picture: bytes) -> float:
    """Return how wide a picture was meant to be; one that does not say so has the 144 px an inch of the style sheet."""
    image = Image.open(BytesIO(picture))
    return float(image.width / image.info.get("dpi", (144,))[0])


def _setting(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(str(part) for part in value) or "none"
    return str(value)


def _thumbnail(image: np.ndarray) -> bytes:
    """Return a PNG of at most 192 px of an image uint8 ``[3, H, W]`` or ``[1, H, W]``."""
    return picture_bytes(to_picture(image), 192, "PNG")


def picture_bytes(picture: Image.Image, side: int, kind: str) -> bytes:
    """Return a picture of at most ``side`` px as an image file."""
    picture = picture.copy()
    picture.thumbnail((side, side))
    buffer = BytesIO()
    picture.save(buffer, format=kind, quality=82)
    return buffer.getvalue()
