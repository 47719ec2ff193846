"""The class-folder tree that contenders ingest: the user's own, photographs, or the first samples of given shards.

In: options. Out: a folder ``<class>/<name>.jpg``. Costs a millisecond per image, before anything is timed.
"""

from pathlib import Path

from ferdata.errors import SourceError
from ferdata.format import ShardReader, read_index
from ferdata.images.colours import to_picture
from ferdata.labels import AFFECTNET_8
from ferdata.store import Store
from ferdata.synth import draw_face
from ferdata_bench.contenders import EXTRAS, Entry
from ferdata_bench.loaders.options import BenchOptions
from ferdata_bench.loaders.photos import write_photos

__all__ = ["choose_count", "prepare_source", "write_faces", "write_tree_of_shards"]

FULL_COUNT, USUAL_COUNT = 8_192, 1_536
QUALITY = 90


def choose_count(options: BenchOptions, entries: list[Entry]) -> int:
    """Return how many images to measure on: what was asked for, otherwise more if the slow extras are to run too."""
    return options.count or (FULL_COUNT if set(EXTRAS) <= set(entries) else USUAL_COUNT)


def prepare_source(options: BenchOptions, folder: Path, *, count: int) -> tuple[Path, str]:
    """Return the tree for these options, written below ``folder`` unless the user has one, and what it shows.

    Photographs come first, because their noise is what codecs have to deal with; without any, faces are drawn.

    Raises:
        ShardMissingError, ShardCorruptError: If the shards given are missing or damaged.
    """
    if options.source is not None:
        return options.source, str(options.source)
    if options.shards is not None:
        return write_tree_of_shards(options.shards, folder, count=count), f"{options.shards}, encoded as JPEG"
    try:
        return write_photos(
            folder, count=count, size=options.size, seed=options.seed
        ).root / "train", "crops of photographs"
    except SourceError:
        return write_faces(
            folder, count=count, size=options.size, seed=options.seed
        ), "drawn faces (no photographs installed)"


def write_faces(folder: Path, *, count: int, size: int, seed: int) -> Path:
    """Write drawn faces as JPEG files in class folders; classes take turns."""
    for name in AFFECTNET_8:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        label = index % len(AFFECTNET_8)
        face = draw_face(label, seed * count + index, size)
        face.image.save(folder / AFFECTNET_8[label] / f"{index:07d}.jpg", "JPEG", quality=QUALITY)
    return folder


def write_tree_of_shards(shards: str | Path, folder: Path, *, count: int) -> Path:
    """Write the first ``count`` train samples of a data set as JPEG files in class folders, for all who need a tree."""
    store = Store(shards)
    index = read_index(store)
    split = "train" if "train" in index.splits else next(iter(index.splits))
    for name in index.classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
    written = 0
    for info in index.shards:
        if info.split != split:
            continue
        with ShardReader(store, info, index) as reader:
            for sample in reader:
                if written == count:
                    break
                path = folder / index.classes[sample.label] / f"{written:07d}.jpg"
                to_picture(sample.pixels).save(path, "JPEG", quality=QUALITY)
                written += 1
    return folder
