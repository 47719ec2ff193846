"""Pictures of an explanation. In: images, maps, weights, points. Out: PNG bytes."""

from collections.abc import Iterable, Sequence
from io import BytesIO

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from PIL import Image

from ferdata.dataset.lettering import with_font
from ferdata.images.colours import to_picture
from ferdata.training.explanation.result import FeatureMaps
from ferdata.training.report.style import INK, SERIES, TRAIN_COLOR, VAL_COLOR, new_figure, png_bytes, styled

__all__ = ["draw_cover", "draw_embedding", "draw_filters", "draw_frame", "draw_heat", "draw_maps", "draw_signed"]

_HEAT = LinearSegmentedColormap.from_list("ferdata-heat", ["#2a1045", "#8a1c6a", "#e2553b", "#f9b233", "#fff6c9"])
_MAPS = LinearSegmentedColormap.from_list("ferdata-maps", ["#0d1b3d", "#1f4fae", "#5b9bf0", "#d6e4fb", "#ffffff"])
_SIGNED = LinearSegmentedColormap.from_list("ferdata-signed", [TRAIN_COLOR, "#ffffff", VAL_COLOR])
_SIDE = 168
_FRAME_SIDE = 64
_FILTER_SIDE = 56
_MOST_FILTERS = 64
_GAP = 4


def draw_heat(image: np.ndarray, heat: np.ndarray) -> bytes:
    """Return an image uint8 ``[C, H, W]`` in grey under a heat map, at least 0, float ``[H, W]`` of any size."""
    share = _scaled(heat / max(float(heat.max()), 1e-12), Image.Resampling.BICUBIC).clip(0, 1)
    return _png(_mixed(_grey(image), _HEAT(share)[..., :3], 0.15 + 0.65 * share))


def draw_signed(image: np.ndarray, values: np.ndarray) -> bytes:
    """Return a pale image under what speaks for a class (orange) and against it (blue), float ``[H, W]``."""
    most = max(float(np.quantile(np.abs(values), 0.99)), 1e-12)
    share = _scaled((values / most).clip(-1, 1), Image.Resampling.NEAREST)
    pale = 0.55 + 0.45 * _grey(image)
    strength = np.abs(share) ** 0.7
    return _png(_mixed(pale, _SIGNED(share / 2 + 0.5)[..., :3], strength))


def draw_cover(mean_face: np.ndarray, lost: np.ndarray, most: float) -> bytes:
    """Return a mean face float ``[C, H, W]`` under what covering each cell costs, float ``[cells, cells]``.

    Args:
        mean_face: Values 0 to 255.
        lost: Of probability.
        most: What is drawn at full strength.
    """
    share = _scaled((lost / max(most, 1e-12)).clip(-1, 1), Image.Resampling.NEAREST)
    face = mean_face.round().clip(0, 255).astype(np.uint8)
    pale = 0.25 + 0.75 * _grey(face)
    return _png(_mixed(pale, _SIGNED(np.sign(share) / 2 + 0.5)[..., :3], 0.85 * np.abs(share) ** 0.8))


def draw_maps(faces: np.ndarray, maps: FeatureMaps) -> bytes:
    """Return a row a face: uint8 ``[faces, C, H, W]``, and beside it its maps, each channel scaled over all faces."""
    side = max(64, min(112, maps.maps.shape[3] * 3))
    low, high = maps.maps.min((0, 2, 3)), maps.maps.max((0, 2, 3))
    share = (maps.maps - low[:, None, None]) / np.maximum(high - low, 1e-12)[:, None, None]
    rows = []
    for face, channels in zip(faces, share, strict=True):
        pictures = [to_picture(face).convert("RGB"), *(_picture(_MAPS(channel)[..., :3]) for channel in channels)]
        rows.append([picture.resize((side, side), _sharp(picture, side)) for picture in pictures])
    return _tiled(rows)


def draw_frame(faces: np.ndarray, maps: Sequence[np.ndarray]) -> bytes:
    """Return faces uint8 ``[N, C, H, W]`` in a row, and below a row a channel of maps ``[N, channels, h, w]``."""
    rows = [[to_picture(face).convert("RGB") for face in faces]]
    for each in maps:
        low, high = each.min((0, 2, 3)), each.max((0, 2, 3))
        share = (each - low[:, None, None]) / np.maximum(high - low, 1e-12)[:, None, None]
        rows += [[_picture(_MAPS(one)[..., :3]) for one in channel] for channel in share.transpose(1, 0, 2, 3)]
    side = _FRAME_SIDE
    return _tiled([[picture.resize((side, side), _sharp(picture, side)) for picture in row] for row in rows])


def draw_filters(filters: np.ndarray) -> bytes:
    """Return the first 64 filters, float ``[filters, C, h, w]``: in colour if C is 3, else each as its mean."""
    shown = filters[:_MOST_FILTERS]
    if shown.shape[1] != 3:
        shown = shown.mean(1, keepdims=True).repeat(3, 1)
    most = np.maximum(np.abs(shown).max((1, 2, 3), keepdims=True), 1e-12)
    colours = (shown / most / 2 + 0.5).transpose(0, 2, 3, 1)
    pictures = [_picture(each).resize((_FILTER_SIDE, _FILTER_SIDE), Image.Resampling.NEAREST) for each in colours]
    columns = min(16, len(pictures))
    return _tiled([pictures[first : first + columns] for first in range(0, len(pictures), columns)])


@styled
def draw_embedding(points: np.ndarray, labels: np.ndarray, is_right: np.ndarray, classes: Sequence[str]) -> bytes:
    """Return a map of samples, float ``[N, 2]``, coloured by class; what was said wrongly is a cross."""
    figure = new_figure(9.6, 6.4)
    axes = figure.subplots()
    size = float(np.clip(9_000 / max(1, len(points)), 5, 30))
    for number, name in enumerate(classes):
        color = SERIES[number % len(SERIES)]
        own = labels == number
        x, y = points[own & is_right].T
        axes.scatter(x, y, s=size, color=color, alpha=0.8, linewidths=0)
        x, y = points[own & ~is_right].T
        axes.scatter(x, y, s=size, color=color, alpha=0.8, linewidths=0.9, marker="x")
        if own.any():
            axes.scatter([], [], s=28, color=color, label=with_font(name, most=32)[0])
    axes.scatter([], [], s=24, color=INK, linewidths=0.9, marker="x", label="said wrongly")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    axes.margins(0.02)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return png_bytes(figure)


def _grey(image: np.ndarray) -> np.ndarray:
    """Return an image as a picture's values 0 to 1, float ``[side, side, 1]``."""
    picture = to_picture(image).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    return np.asarray(picture, float)[..., None] / 255


def _mixed(below: np.ndarray, colours: np.ndarray, strength: np.ndarray) -> Image.Image:
    return _picture(below * (1 - strength[..., None]) + colours * strength[..., None])


def _scaled(values: np.ndarray, how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize((_SIDE, _SIDE), how), float)


def _sharp(picture: Image.Image, side: int) -> Image.Resampling:
    """Return how to scale: cells of a small map stay visible as cells."""
    return Image.Resampling.NEAREST if picture.width < side else Image.Resampling.BICUBIC


def _picture(values: np.ndarray) -> Image.Image:
    return Image.fromarray((values.clip(0, 1) * 255).round().astype(np.uint8))


def _tiled(rows: Sequence[Iterable[Image.Image]]) -> bytes:
    laid = [[*row] for row in rows]
    side = laid[0][0].width
    step = side + _GAP
    sheet = Image.new("RGB", (max(map(len, laid)) * step - _GAP, len(laid) * step - _GAP), "white")
    for number, row in enumerate(laid):
        for column, picture in enumerate(row):
            sheet.paste(picture, (column * step, number * step))
    return _png(sheet)


def _png(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
