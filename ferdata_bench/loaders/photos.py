"""Trees of real photographs for benchmarks, cut from pictures that scikit-image and scikit-learn ship in their wheels.

In: a count, a size, a layout. Out: JPEG files on disk, each one different, no download. About 1 ms of a core an image.
"""

import importlib.util
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ferdata.errors import OptionError, SourceError
from ferdata.format.codecs import make_codec
from ferdata.images.transform import TransformOptions
from ferdata.ingest import IngestOptions, ingest
from ferdata.labels import AFFECTNET_8, RAFDB_BASIC, map_ids
from ferdata.sources.affectnet_npy.detector import AN_NPY
from ferdata.sources.class_folders.detector import FOLDER_LAYOUTS
from ferdata.sources.rafdb.detector import RAF_BASIC

__all__ = ["LAYOUTS", "PhotoTree", "draw_photo", "find_photographs", "photo_label", "shard_tree", "write_photos"]

LAYOUTS = (FOLDER_LAYOUTS["folder"].name, AN_NPY.name, RAF_BASIC.name)
CROP_SHARE = (0.3, 0.5)
"""Side of a crop over the photograph's short side: as smooth as aligned faces, about 12 kB at 224 px and quality 90."""
CHUNK_IMAGES = 64

_PHOTOGRAPHS = (
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/motorcycle_left.png"),
    ("skimage", "data/motorcycle_right.png"),
    ("skimage", "data/rocket.jpg"),
    ("sklearn", "datasets/images/china.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoTree:
    """What :func:`write_photos` wrote.

    Attributes:
        root: The folder to give to ``ferdata shard`` as the source.
        layout: One of :data:`LAYOUTS`.
        size: Side of the square images in pixels.
        quality: JPEG quality.
        num_train: Images in the train split.
        num_held_out: Images in ``val`` (``test`` for RAF-basic).
        bytes_in: Bytes of all JPEG files together.
    """

    root: Path
    layout: str
    size: int
    quality: int
    num_train: int
    num_held_out: int
    bytes_in: int


def write_photos(
    root: str | os.PathLike[str],
    *,
    count: int,
    size: int = 224,
    quality: int = 90,
    seed: int = 0,
    layout: str = "folder",
    num_held_out: int = 0,
    num_threads: int = 2,
) -> PhotoTree:
    """Write ``count`` train images, and ``num_held_out`` more, as a source tree in a real layout.

    Image ``i`` is a random crop (photograph, place, scale, mirror) that depends on ``(seed, i)`` alone, so a larger
    tree begins with the images of a smaller one; its class is :func:`photo_label` of ``i``. Held-out images count on
    from ``count``.

    Raises:
        OptionError: If an argument is outside what is allowed.
        SourceError: If neither scikit-image nor scikit-learn is installed with its pictures.
    """
    if layout not in LAYOUTS:
        raise OptionError(f"layout: {layout!r} found, expected one of {list(LAYOUTS)}; pass one of these")
    if count < 1 or num_held_out < 0 or size < 8 or not 1 <= quality <= 100 or num_threads < 1:
        raise OptionError(
            f"write_photos: count {count}, num_held_out {num_held_out}, size {size}, quality {quality}, "
            f"num_threads {num_threads} found, "
            "expected count >= 1, num_held_out >= 0, size >= 8, quality 1..100, num_threads >= 1; change the argument"
        )
    photographs = [Image.open(path).convert("RGB") for path in find_photographs()]
    place = _PLACES[layout](Path(root), count=count, total=count + num_held_out)
    write = partial(_write_chunk, photographs, place, size=size, quality=quality, seed=seed)
    total = count + num_held_out
    chunks = [range(start, min(start + CHUNK_IMAGES, total)) for start in range(0, total, CHUNK_IMAGES)]
    with ThreadPoolExecutor(num_threads) as pool:  # Pillow resizes and encodes outside the interpreter lock
        bytes_in = sum(pool.map(write, chunks))
    return PhotoTree(
        root=Path(root),
        layout=layout,
        size=size,
        quality=quality,
        num_train=count,
        num_held_out=num_held_out,
        bytes_in=bytes_in,
    )


def shard_tree(tree: Path, out: Path, *, size: int, codec: str) -> None:
    """Convert class folders as ``shard folder`` does."""
    images = TransformOptions(size=size)
    ingest(IngestOptions(source="folder", src=str(tree), out=str(out), transform=images, codec=make_codec(codec)))


def photo_label(index: int, *, layout: str = "folder") -> int:
    """Return the class of image ``index``: classes take turns; an AffectNet id, never 7 (Contempt) for RAF-basic."""
    return index % (len(RAFDB_BASIC) if layout == RAF_BASIC.name else len(AFFECTNET_8))


def find_photographs() -> list[Path]:
    """Return the colour photographs on this machine's disk, in a fixed order.

    Raises:
        SourceError: If there is none.
    """
    found: list[Path] = []
    for package, name in _PHOTOGRAPHS:
        spec = importlib.util.find_spec(package)
        paths = [Path(folder, name) for folder in (spec.submodule_search_locations or [])] if spec else []
        found += [path for path in paths if path.is_file()]
    if not found:
        raise SourceError(
            "photographs: none found, expected those inside scikit-image or scikit-learn; "
            "install one of them (pip install scikit-image scikit-learn)"
        )
    return found


def draw_photo(photographs: list[Image.Image], index: int, *, size: int, seed: int) -> Image.Image:
    """Return image ``index`` as it is before a file is made of it."""
    which, *draws = np.random.default_rng((seed, index)).random(5)
    photograph = photographs[int(which * len(photographs))]
    side = min(photograph.size) * (CROP_SHARE[0] + draws[0] * (CROP_SHARE[1] - CROP_SHARE[0]))
    left, top = draws[1] * (photograph.width - side), draws[2] * (photograph.height - side)
    crop = photograph.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draws[3] < 0.5 else crop


def _write_chunk(
    photographs: list[Image.Image], place: Callable[[int], Path], indices: range, *, size: int, quality: int, seed: int
) -> int:
    return sum(_write_one(photographs, index, place(index), size=size, quality=quality, seed=seed) for index in indices)


def _write_one(photographs: list[Image.Image], index: int, path: Path, *, size: int, quality: int, seed: int) -> int:
    draw_photo(photographs, index, size=size, seed=seed).save(path, "JPEG", quality=quality)
    return path.stat().st_size


def _place_in_class_folders(root: Path, *, count: int, total: int) -> Callable[[int], Path]:
    for split in ("train", "val") if total > count else ("train",):
        for name in AFFECTNET_8:
            (root / split / name).mkdir(parents=True, exist_ok=True)
    return lambda index: (
        root / ("train" if index < count else "val") / AFFECTNET_8[photo_label(index)] / f"{index:07d}.jpg"
    )


def _place_as_affectnet(root: Path, *, count: int, total: int) -> Callable[[int], Path]:
    for split, indices in (("train_set", range(count)), ("val_set", range(count, total))):
        if not indices:
            continue
        for folder in ("images", "annotations"):
            (root / split / folder).mkdir(parents=True, exist_ok=True)
        for number, index in enumerate(indices):
            _write_annotations(root / split / "annotations", number, index)
    return lambda index: (
        root / (f"train_set/images/{index}.jpg" if index < count else f"val_set/images/{index - count}.jpg")
    )


def _write_annotations(folder: Path, number: int, index: int) -> None:
    valence, arousal = (index * 7919 % 2001 - 1000) / 1000, (index * 104729 % 2001 - 1000) / 1000
    np.save(folder / f"{number}_exp.npy", np.array(str(photo_label(index))))
    np.save(folder / f"{number}_val.npy", np.array(str(valence)))
    np.save(folder / f"{number}_aro.npy", np.array(str(arousal)))
    np.save(folder / f"{number}_lnd.npy", (np.arange(136) * 1.5 + index % 8).astype(np.float64))


def _place_as_rafdb(root: Path, *, count: int, total: int) -> Callable[[int], Path]:
    (root / "Image/aligned").mkdir(parents=True, exist_ok=True)
    (root / "EmoLabel").mkdir(parents=True, exist_ok=True)
    raf_ids = {affectnet: raf + 1 for raf, affectnet in enumerate(map_ids(RAFDB_BASIC, AFFECTNET_8))}
    stems = [f"train_{i + 1:05d}" if i < count else f"test_{i - count + 1:04d}" for i in range(total)]
    lines = [f"{stem}.jpg {raf_ids[photo_label(i, layout=RAF_BASIC.name)]}\n" for i, stem in enumerate(stems)]
    (root / "EmoLabel/list_patition_label.txt").write_bytes("".join(lines).encode("ascii"))
    return lambda index: root / f"Image/aligned/{stems[index]}_aligned.jpg"


_PLACES: dict[str, Callable[..., Callable[[int], Path]]] = {
    FOLDER_LAYOUTS["folder"].name: _place_in_class_folders,
    AN_NPY.name: _place_as_affectnet,
    RAF_BASIC.name: _place_as_rafdb,
}
