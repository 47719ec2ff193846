"""Our codecs beside the lossless ones that others publish: how small, how fast on one core? On photographs.

Run ``python -m ferdata_bench.studies.codecs --json study.json --plot study.png`` on a quiet machine: some two minutes.
``imagecodecs`` and ``openzl`` (the ``bench`` extra) are left out with a word where they are missing. docs/codecs.md
explains what it says.
"""

import argparse
import importlib.metadata
import io
import json
import mmap
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from ferdata.errors import FerdataError, OptionError
from ferdata.format import kernel_notice
from ferdata.plan.conditions import describe_machine
from ferdata.plan.timing import Timing
from ferdata.training.report.style import DOCUMENT_DPI, png_bytes
from ferdata_bench.loaders.photos import draw_photo, find_photographs
from ferdata_bench.studies.filters import study_filters
from ferdata_bench.studies.front import StudyRow, mark_front
from ferdata_bench.studies.front_plot import draw_front
from ferdata_bench.studies.ways import PUBLISHED, Photographs, Way, our_ways

__all__ = ["StudyOptions", "main", "run_study"]

now = time.process_time
"""Seconds of the processor, all threads together: another program must not count, a codec's own threads must."""
QUALITY = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions:
    """What to study.

    Attributes:
        sizes: Sides of the images in pixels.
        images: Photographs at the largest size; smaller sizes take as many more as make the same number of pixels.
        runs: Timed runs of each way, in turns.
        seed: Chooses the photographs.
        cold_bytes: Memory that rows are spread over, and that is written before each run; more than any cache holds.
    """

    sizes: tuple[int, ...] = (224, 100)
    images: int = 32
    runs: int = 7
    seed: int = 0
    cold_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        if not self.sizes or min(self.sizes) < 8 or self.images < 1 or self.runs < 1:
            raise OptionError(
                f"study: sizes {list(self.sizes)}, images {self.images} and runs {self.runs} found, "
                "expected sizes from 8 and at least one of each; change them"
            )


def run_study(options: StudyOptions, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Measure every way on photographs of every size that were JPEG, and on the same before that.

    Returns:
        ``conditions``, ``rows``, ``filters`` (with one ratio for each size and kind), and what is ``missing``.

    Raises:
        AssertionError: If a way gives other pixels: then its speed means nothing.
    """
    published, missing = _find_published()
    rows: list[StudyRow] = []
    filters: dict[str, dict[str, Any]] = {}
    for size in options.sizes:
        count = round(options.images * (max(options.sizes) / size) ** 2)
        for images in _load_photographs(size, count, options.seed):
            ways = our_ways(images)
            for library, module in published.items():
                ways += PUBLISHED[library][1](images, module)
            say(f"{size} px, {images.kind}: {count} photographs, {len(ways)} ways")
            marked = mark_front(_measure(ways, images, options))
            rows += marked
            say("\n".join(_table(marked)))
            for variant, ratio in study_filters(images.pixels):
                row = filters.setdefault(variant.name, {"name": variant.name, "verdict": variant.verdict, "ratios": []})
                row["ratios"].append(ratio)
    say("\n".join(missing))
    conditions = describe_machine() | {
        **{library: importlib.metadata.version(library) for library in published},
        "kernels_missing": kernel_notice(),
        "images": options.images,
        "runs": options.runs,
    }
    rows_json = [asdict(row) for row in rows]
    return {"conditions": conditions, "rows": rows_json, "filters": list(filters.values()), "missing": missing}


def _find_published() -> tuple[dict[str, ModuleType], list[str]]:
    """Return the libraries that are installed, and a sentence on each that is not."""
    found, missing = {}, []
    for library, (module, _) in PUBLISHED.items():
        try:
            found[library] = importlib.import_module(module)
        except ImportError as error:
            missing.append(f"{library} was not measured ({error}): pip install {library}.")
    return found, missing


def _load_photographs(size: int, count: int, seed: int) -> list[Photographs]:
    """Return ``count`` crops of real photographs as JPEG of quality 90 leaves them, and as they were before."""
    photographs = [Image.open(path).convert("RGB") for path in find_photographs()]
    crops = [draw_photo(photographs, index, size=size, seed=seed) for index in range(count)]
    jpegs = [_jpeg(crop) for crop in crops]
    decoded = [Image.open(io.BytesIO(jpeg)) for jpeg in jpegs]
    return [Photographs(pixels=_planes(decoded), jpegs=jpegs), Photographs(pixels=_planes(crops))]


def _jpeg(image: Image.Image) -> bytes:
    image.save(file := io.BytesIO(), "JPEG", quality=QUALITY)
    return file.getvalue()


def _planes(images: Sequence[Image.Image]) -> np.ndarray:
    return np.ascontiguousarray(np.stack([np.asarray(image) for image in images]).transpose(0, 3, 1, 2))


def _measure(ways: Sequence[Way], images: Photographs, options: StudyOptions) -> list[StudyRow]:
    """Return a row for every way; they take turns, so that drift affects all alike."""
    count, row_bytes = len(images.pixels), images.pixels[0].size
    num_rows = max(count, options.cold_bytes // row_bytes)
    ring = np.frombuffer(mmap.mmap(-1, num_rows * row_bytes), np.uint8).reshape(num_rows, row_bytes)
    other = np.zeros(options.cold_bytes, np.uint8)
    rows = np.random.default_rng(options.seed).permutation(num_rows)[:count].tolist()
    seconds: list[list[float]] = [[] for _ in ways]
    for run in range(-1, options.runs):
        for way, times in zip(ways, seconds, strict=True):
            ring[:] = 1
            other[:] = run % 7  # bodies and rows come from memory, not from a cache
            start = now()
            for body, row in zip(way.stored, rows, strict=True):
                way.decode(body, ring[row])
            times.append(now() - start)
            if run < 0:  # the first warms up and is checked
                times.clear()
                _check(way, images, ring[rows])
    size = images.pixels.shape[-1]
    return [_row(way, times, images.kind, size, row_bytes) for way, times in zip(ways, seconds, strict=True)]


def _check(way: Way, images: Photographs, found: np.ndarray) -> None:
    expected = images.pixels if way.is_planar else images.pixels.transpose(0, 2, 3, 1)
    if not np.array_equal(found, expected.reshape(found.shape)):
        raise AssertionError(f"{way.name}: other pixels than were stored")


def _row(way: Way, seconds: Sequence[float], kind: str, size: int, row_bytes: int) -> StudyRow:
    timing = Timing(seconds=tuple(seconds), work=(float(len(way.stored)),) * len(seconds))
    bytes_per_image = sum(map(len, way.stored)) / len(way.stored)
    return StudyRow(
        size=size,
        kind=kind,
        name=way.name,
        library=way.library,
        bytes_per_image=bytes_per_image,
        ratio=row_bytes / bytes_per_image,
        images_per_second=timing.rate,
        mb_per_second=timing.rate * row_bytes / 1e6,
        spread=timing.spread,
    )


def _table(rows: Sequence[StudyRow]) -> list[str]:
    """Return the rows as lines for people."""
    lines = [f"{'way':28} {'bytes':>8} {'smaller':>8} {'images/s':>9} {'MB/s':>7}  front"]
    for row in rows:
        mark = "front" if row.on_front else f"{row.front_gap:.0%} behind"
        figures = (
            f"{row.bytes_per_image:8,.0f} {row.ratio:8.2f} {row.images_per_second:9,.0f} {row.mb_per_second:7,.0f}"
        )
        lines.append(f"{row.name:28} {figures}  {mark}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, study, print; write JSON and the plot where asked."""
    parser = argparse.ArgumentParser(
        prog="python -m ferdata_bench.studies.codecs", description="Compare lossless codecs on real photographs."
    )
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--plot", type=Path, help="draw ratio against speed to this PNG")
    parser.add_argument("--sizes", default="224,100", help="sides of the images in pixels, comma-separated")
    parser.add_argument("--images", type=int, default=32, help="photographs at the largest size")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cold-bytes", type=int, default=64 << 20, help="memory that rows are spread over")
    given = parser.parse_args(arguments)
    try:
        sizes = tuple(int(size) for size in given.sizes.split(","))
    except ValueError:
        parser.error(f"--sizes: {given.sizes!r} found, expected numbers such as 224,100")
    try:
        options = StudyOptions(
            sizes=sizes, images=given.images, runs=given.runs, seed=given.seed, cold_bytes=given.cold_bytes
        )
        result = run_study(options)
    except FerdataError as error:
        print(error)
        return 1
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if given.plot:
        given.plot.write_bytes(png_bytes(draw_front([StudyRow(**row) for row in result["rows"]]), dpi=DOCUMENT_DPI))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
