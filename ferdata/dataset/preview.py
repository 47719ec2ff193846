"""Draws a contact sheet: some faces of every class, so that a person can see whether labels and pixels are right.

In: a data set. Out: one PNG. Reads only the samples it shows.
"""

import os
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby

import numpy as np
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from ferdata.dataset.lettering import Font, drawable, load_font, own_font, with_font
from ferdata.errors import OptionError
from ferdata.format import DatasetIndex, ShardReader, read_index, read_samples
from ferdata.images.colours import to_picture
from ferdata.place import check_file, is_standard_output
from ferdata.store import Store, StrPath, write_file_at

__all__ = ["preview"]

_FACE = 120
_GAP = 8
_MARGIN = 28
_SOFTWARE = "ferdata preview"
_HEAD_BYTES = 4096
_CAPTION = 18
_MAX_CLASSES = 32
_MAX_LABEL_WIDTH = 280
_NAME_SIZE = 16
_INK, _GREY, _RULE, _BAR, _PAPER = "#1c1e21", "#6b7280", "#e3e5e8", "#4a7fb5", "#ffffff"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Face:
    shard: int
    position: int
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    name: str
    count: int
    faces: list[_Face]


def preview(root: StrPath, out: StrPath, *, split: str = "train", per_class: int = 8, seed: int = 0) -> str:
    """Write a contact sheet of one split and return where it stands.

    Every class has a row: its name, its samples and their share, and up to ``per_class`` faces drawn at random, with
    valence and arousal below them where the data set has these. The same seed draws the same faces.

    Args:
        root: Folder or URL of the data set.
        out: PNG file to write; a path or URL.
        split: The split to show.
        per_class: Faces of every class, 1 to 32.
        seed: Of the draw.

    Raises:
        OptionError: If there is no such split, ``out`` is another picture, or the tensors are no pictures.

    Example:
        >>> ferdata.preview("shards/affectnet", "sheet.png", per_class=4)
        'sheet.png'
    """
    out, store = os.fspath(out), Store(root)
    index = read_index(store)
    if split not in index.splits:
        raise OptionError(
            f"split: {split!r} found, "
            f"expected one of {', '.join(index.splits) or 'none, the data set is empty'}; choose another"
        )
    if not 1 <= per_class <= 32:
        raise OptionError(f"per_class: {per_class} found, expected 1 to 32")
    if seed < 0:
        raise OptionError(f"seed: {seed} found, expected 0 or more")
    if not out.lower().endswith(".png") and not is_standard_output(out):
        raise OptionError(f"out: {out} found, expected the name of a .png file")
    out = check_file(out, option="out")
    _check_own(out)
    if len(index.spec.shape) != 3 or index.spec.shape[0] not in (1, 3):
        raise OptionError(
            f"{store}: tensors of {list(index.spec.shape)} found, expected [3, H, W] or [1, H, W] to draw"
        )
    rows = _choose(store, index, split, per_class, seed)
    sheet = _draw(store, index, split, rows, per_class, seed)
    picture = BytesIO()
    info = PngInfo()
    info.add_text("Software", _SOFTWARE)
    sheet.save(picture, "PNG", pnginfo=info)
    write_file_at(out, picture.getvalue())
    return out


def _check_own(path: str) -> None:
    """See that a picture that is replaced is an earlier contact sheet."""
    folder, slash, name = path.rpartition("/")
    store = Store(folder or slash or ".")
    if not (os.path.isfile(path) if store.is_local else store.exists(name)) or not (num_bytes := store.num_bytes(name)):
        return
    if _SOFTWARE.encode() not in store.read_range(name, 0, min(_HEAD_BYTES, num_bytes)):
        raise OptionError(
            f"out: {path} found, which is no contact sheet of ferdata's, expected one or no such file; "
            "choose another name"
        )


def _choose(store: Store, index: DatasetIndex, split: str, per_class: int, seed: int) -> list[_Row]:
    """Return a row for every class, in the order of the labels."""
    table = read_samples(store, index, ["split", "label", "valence", "arousal", "shard", "position"])
    in_split = table.column("split").to_numpy() == split
    labels = table.column("label").to_numpy()
    rows = []
    for label, name in enumerate(index.classes):
        members = np.flatnonzero(in_split & (labels == label))
        chosen = np.random.default_rng((seed, label)).permutation(members)[:per_class]
        faces = [
            _Face(shard=row["shard"], position=row["position"], caption=_caption(row["valence"], row["arousal"]))
            for row in table.take(chosen).to_pylist()
        ]
        rows.append(_Row(name=name, count=len(members), faces=faces))
    return rows


def _caption(valence: float | None, arousal: float | None) -> str:
    texts = [
        f"{letter} {round(value, 2) + 0.0:+.2f}"
        for letter, value in (("V", valence), ("A", arousal))
        if value is not None
    ]
    return drawable("  ".join(texts).replace("-", "−"))


def _draw(store: Store, index: DatasetIndex, split: str, rows: list[_Row], per_class: int, seed: int) -> Image.Image:
    shown, hidden = rows[:_MAX_CLASSES], rows[_MAX_CLASSES:]
    total = sum(row.count for row in rows)
    title, text, small = (load_font(own_font(bold=size > 20), size) for size in (26, 14, 11))
    heading = drawable(f"{index.source} · {split}")
    names = [_fitted(row.name) for row in shown]
    label_width = max(130, *(int(font.getlength(name)) for name, font in names)) + 2 * _GAP
    caption = _CAPTION if any(face.caption for row in shown for face in row.faces) else 0
    row_height = _FACE + caption + 2 * _GAP
    lines = _subtitle(index, total, per_class, seed, has_captions=caption > 0)
    faces_width = per_class * (_FACE + _GAP)
    text_width = int(max(title.getlength(heading), *(text.getlength(line) for line in lines)))
    width = 2 * _MARGIN + max(label_width + faces_width, text_width)
    top = _MARGIN + 44 + 21 * len(lines) + _GAP
    heights = [row_height if row.faces else 56 for row in shown]
    sheet = Image.new("RGB", (width, top + sum(heights) + (30 if hidden else 0) + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), heading, font=title, fill=_INK)
    for number, line in enumerate(lines):
        draw.text((_MARGIN, _MARGIN + 44 + 21 * number), line, font=text, fill=_GREY)

    most = max((row.count for row in rows), default=0)
    pictures = _read_pictures(store, index, split, shown)
    for row, (name, bold), height in zip(shown, names, heights, strict=True):
        draw.line((_MARGIN, top, width - _MARGIN, top), fill=_RULE)
        y = top + _GAP
        draw.text((_MARGIN, y + 2), name, font=bold, fill=_INK if row.count else _GREY)
        count = drawable(f"{row.count:,} · {row.count / total:.1%}") if row.count else "no images"
        draw.text((_MARGIN, y + 25), count, font=text, fill=_GREY)
        if row.count:
            length = max(2, round((label_width - 3 * _GAP) * row.count / most))
            draw.rectangle((_MARGIN, y + 48, _MARGIN + length, y + 53), fill=_BAR)
        for column, face in enumerate(row.faces):
            x = _MARGIN + label_width + column * (_FACE + _GAP)
            picture = pictures[face]
            sheet.paste(picture, (x + (_FACE - picture.width) // 2, y + (_FACE - picture.height) // 2))
            draw.text((x + _FACE // 2, y + _FACE + 4), face.caption, font=small, fill=_GREY, anchor="ma")
        top += height
    if hidden:
        draw.text((_MARGIN, top + 6), f"and {len(hidden):,} more classes", font=text, fill=_GREY)
    return sheet


def _subtitle(index: DatasetIndex, total: int, per_class: int, seed: int, *, has_captions: bool) -> list[str]:
    channels, height, width = index.spec.shape
    codec = str(index.codec).replace("-", "−")
    lines = [
        f"{total:,} images in {len(index.classes)} classes · "
        f"{width} × {height} px{'' if channels == 3 else ', grey'} · codec {codec}",
        f"layout {index.source_layout} · up to {per_class} faces of every class, drawn with seed {seed}"
        + (" · V valence, A arousal, each −1 to 1" if has_captions else ""),
    ]
    return [drawable(line) for line in lines]


def _read_pictures(store: Store, index: DatasetIndex, split: str, rows: list[_Row]) -> dict[_Face, Image.Image]:
    """Return the faces, scaled to fit their places; one shard is open at a time."""
    shards = [info for info in index.shards if info.split == split]
    faces = sorted((face for row in rows for face in row.faces), key=lambda face: (face.shard, face.position))
    pictures: dict[_Face, Image.Image] = {}
    for shard, of_shard in groupby(faces, key=lambda face: face.shard):
        with ShardReader(store, shards[shard], index) as reader:
            shown = list(of_shard)
            pixels = np.empty((len(shown), *index.spec.shape), np.uint8)
            reader.read_rows(
                np.array([face.position for face in shown]), pixels.reshape(len(shown), -1), np.arange(len(shown))
            )
            pictures.update(zip(shown, map(_picture, pixels), strict=True))
    return pictures


def _picture(pixels: np.ndarray) -> Image.Image:
    image = to_picture(pixels).convert("RGB")
    scale = _FACE / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC)


def _fitted(name: str) -> tuple[str, Font]:
    """Return a class name that fits its place, and the font it is drawn with."""
    text, path = with_font(name, bold=True)
    font, more = load_font(path, _NAME_SIZE), drawable("…")
    if font.getlength(text) <= _MAX_LABEL_WIDTH:
        return text, font
    while text and font.getlength(text + more) > _MAX_LABEL_WIDTH:
        text = text[:-1]
    return text + more, font
