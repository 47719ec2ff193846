"""The class-folder tree that contenders ingest: the user's own, photographs, or the first samples of shards that were given.

In: options. Out: a folder ``<class>/<name>.jpg``. Costs a millisecond an image, before anything is timed.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from ferdata.format import ShardReader, read_index
from ferdata.store import Store
from ferdata_bench.contenders import EXTRAS, Entry
from ferdata_bench.options import BenchOptions
from ferdata_bench.photos import write_photos

__all__ = ["choose_count", "prepare_source", "write_tree_of_shards"]

FULL_COUNT, USUAL_COUNT = 8_192, 2_048
QUALITY = 90


def choose_count(options: BenchOptions, entries: list[Entry]) -> int:
    """Return how many images to measure on: what was asked for, else more where the slow extras are asked for too."""
    return options.count or (FULL_COUNT if set(EXTRAS) <= set(entries) else USUAL_COUNT)


def prepare_source(options: BenchOptions, folder: Path, *, count: int) -> Path:
    """Return the tree for these options, written below ``folder`` unless the user has one.

    Raises:
        SourceError: If there are no photographs to cut from.
        ShardMissingError, ShardCorruptError: If the shards given are not there or not sound.
    """
    if options.source is not None:
        return options.source
    if options.shards is not None:
        return write_tree_of_shards(options.shards, folder, count=count)
    return write_photos(folder, count=count, size=options.image_size, seed=options.seed).root / "train"


def write_tree_of_shards(shards: str | Path, folder: Path, *, count: int) -> Path:
    """Write the first ``count`` train samples of a data set as JPEG files in class folders, for contenders that need a tree."""
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
                image = Image.fromarray(np.ascontiguousarray(sample.pixels.transpose(1, 2, 0)))
                image.save(folder / index.classes[sample.label] / f"{written:07d}.jpg", "JPEG", quality=QUALITY)
                written += 1
    return folder
