"""The data sets of the run: drawn pictures as smooth as photographs, as JPEG files, and shards of both kinds of them.

In: a job. Out: for each size a folder of files and two data sets, by the ingest itself. Seconds on sixteen cores.
"""

import numpy as np
from PIL import Image

from ferdata.format import read_index
from ferdata.labels import AFFECTNET_8
from ferdata.parallel import map_in_threads
from ferdata.plan.timing import now
from ferdata.store import Store
from ferdata_bench.gpu.job import Job, Row
from ferdata_bench.loaders.photos import draw_photo, photo_label, shard_tree

__all__ = ["CODECS", "make_data", "picture"]

CODECS = ("raw", "compact")
_COUNT, _QUICK_COUNT = 3072, 64
_SIDE, _QUICK_SIDE = 640, 128
"""Of the pictures that images are cut from."""
_PICTURES = 16


def make_data(job: Job) -> None:
    """Write every data set of a job, and tell what was written."""
    told: list[Row] = []
    count, side = (_QUICK_COUNT, _QUICK_SIDE) if job.quick else (_COUNT, _SIDE)
    pictures = [Image.fromarray(picture(side, seed).transpose(1, 2, 0)) for seed in range(_PICTURES)]
    for size in job.sizes:
        began = now()
        for name in AFFECTNET_8:
            (job.files(size) / name).mkdir(parents=True)

        def write(index: int, size: int = size) -> None:
            path = job.files(size) / AFFECTNET_8[photo_label(index)] / f"{index:05d}.jpg"
            draw_photo(pictures, index, size=size, seed=0).save(path, "JPEG", quality=90)

        map_in_threads(write, range(count), num_workers=None, progress=None)
        stored = {}
        for codec in CODECS:
            shard_tree(job.files(size), job.shards(size, codec), size=size, codec=codec)
            stored[codec] = sum(info.num_bytes for info in read_index(Store(job.shards(size, codec))).shards)
        ratio = round(stored["raw"] / stored["compact"], 3)
        told.append({"size": size, "images": count, "raw over compact": ratio, "seconds": round(now() - began, 1)})
        job.tell(told)


def picture(side: int, seed: int) -> np.ndarray:
    """Return uint8 ``[3, side, side]``: random pixels smoothed on every scale, and a sensor's noise on top."""
    rng = np.random.default_rng((side, seed))
    total = np.full((side, side, 3), 128.0)
    cells = 3
    while cells < side:
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.float64)
        total += (smooth - 128) * 2 / cells**0.8
        cells *= 2
    total += rng.normal(0, 2, total.shape)
    return np.ascontiguousarray(total.clip(0, 255).astype(np.uint8).transpose(2, 0, 1))
