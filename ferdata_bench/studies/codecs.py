"""Which codec settings are worth having? Predictors, colours, arrangements, zstd levels, frame sizes, on photographs.

Run ``python -m ferdata_bench.studies.codecs --json study.json --plot study.png`` on a quiet machine: some minutes, with
``--quick`` half a minute. The answer and its explanation are in docs/codecs.md.
"""

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image

from ferdata.errors import FerdataError, OptionError
from ferdata.format import kernel_notice
from ferdata.plan.conditions import describe_machine
from ferdata.plan.timing import Timing
from ferdata_bench.loaders.photos import write_photos
from ferdata_bench.studies.front import StudyRow, choose_defaults, mark_front
from ferdata_bench.studies.front_plot import plot_study
from ferdata_bench.studies.ways import Photographs, Ring, Way, all_ways, prepare

__all__ = ["StudyOptions", "main", "run_study"]

now = time.thread_time
"""Seconds of the processor, not of the wall: the study is about one core, and another program on it must not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions:
    """What to study.

    Attributes:
        sizes: Sides of the images in pixels.
        images: Photographs at the largest size; smaller sizes take as many more as make the same number of pixels.
        runs: Timed runs of each way, each after one of the yardstick.
        seed: Chooses the photographs.
        quick: A tenth of the ways.
        cold_bytes: Size of the ring and of each way's stored bytes; more than any cache holds.
    """

    sizes: tuple[int, ...] = (224, 112, 100)
    images: int = 32
    runs: int = 7
    seed: int = 0
    quick: bool = False
    cold_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        if not self.sizes or min(self.sizes) < 8 or self.images < 1 or self.runs < 1:
            raise OptionError(
                f"study: sizes {list(self.sizes)}, images {self.images} and runs {self.runs} found, "
                "expected sizes from 8 and at least one of each; change them"
            )


def run_study(options: StudyOptions, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Measure every way at every size and choose the defaults.

    Returns:
        ``conditions``, ``yardstick`` (size -> images/s of ``decode_jpeg``), ``rows``, ``defaults`` (codec -> choice).

    Raises:
        AssertionError: If a way gives other pixels than Pillow: then its speed means nothing.
    """
    torch.set_num_threads(1)
    rows: list[StudyRow] = []
    yardstick: dict[int, float] = {}
    for size in options.sizes:
        count = round(options.images * (max(options.sizes) / size) ** 2)
        images = load_photographs(size, count, options.seed)
        ways = all_ways(images.pixels[0].size, quick=options.quick)
        say(f"{size} px: {count} photographs, {len(ways)} ways")
        ring, rates, measured = Ring.create(images, options.cold_bytes), [], []
        for way in ways:
            row, base = _measure(way, images, ring, options)
            rates.append(base)
            measured.append(row)
        marked = mark_front(measured)
        rows += marked
        yardstick[size] = statistics.median(rates)
        say("\n".join(_table(marked, yardstick[size])))
    defaults = choose_defaults(rows)
    for codec, default in defaults.items():
        say(f"default of {codec}: {default['name']}: {default['why']}; on the front at {default['on_front']} px")
    conditions = describe_machine() | {
        "kernels_missing": kernel_notice(),
        "images": options.images,
        "runs": options.runs,
        "quick": options.quick,
    }
    return {
        "conditions": conditions,
        "yardstick": yardstick,
        "rows": [row.to_json() for row in rows],
        "defaults": defaults,
    }


def load_photographs(size: int, count: int, seed: int) -> Photographs:
    """Return ``count`` crops of real photographs, as JPEG of quality 90 and as the pixels Pillow makes of it."""
    with tempfile.TemporaryDirectory() as folder:
        write_photos(folder, count=count, size=size, quality=90, seed=seed)
        jpegs = [path.read_bytes() for path in sorted(Path(folder).rglob("*.jpg"), key=lambda path: path.name)]
        pixels = [
            np.asarray(Image.open(path)) for path in sorted(Path(folder).rglob("*.jpg"), key=lambda path: path.name)
        ]
    return Photographs(jpegs=jpegs, pixels=np.ascontiguousarray(np.stack(pixels).transpose(0, 3, 1, 2)))


def _measure(way: Way, images: Photographs, ring: Ring, options: StudyOptions) -> tuple[StudyRow, float]:
    """Return the row of one way and the yardstick's rate beside it; both take turns, so that drift affects both."""
    bytes_per_image, decode = prepare(way, images, ring, options.cold_bytes)
    files = [
        torch.frombuffer(bytearray(jpeg), dtype=torch.uint8) for jpeg in images.jpegs[: max(8, len(images.jpegs) // 4)]
    ]
    decode(0)
    base, seconds = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torchvision announces its end at every call
        for run in range(options.runs):
            start = now()
            for file in files:
                torchvision.io.decode_jpeg(file)
            middle = now()
            decode(run)
            seconds.append(now() - middle)
            base.append(len(files) / (middle - start))
    _check(way, images, ring)
    timing = Timing(seconds=tuple(seconds), work=(float(len(images.pixels)),) * options.runs)
    return StudyRow(
        size=images.shape[1],
        name=way.name,
        codec=way.codec,
        level=way.level,
        filter=asdict(way.filter) if way.filter else None,
        images_per_frame=way.images_per_frame,
        bytes_per_image=bytes_per_image,
        ratio=images.pixels[0].size / bytes_per_image,
        images_per_second=timing.rate,
        times_decode_jpeg=statistics.median(rate / other for rate, other in zip(timing.rates, base, strict=True)),
        spread=timing.spread,
    ), statistics.median(base)


def _check(way: Way, images: Photographs, ring: Ring) -> None:
    """Compare what a way left in the ring with Pillow's pixels, and wipe it for the next way."""
    found = ring.memory[ring.rows]
    if not np.array_equal(found, images.pixels.reshape(found.shape)):
        raise AssertionError(f"{way.name}: other pixels than Pillow's")
    ring.memory[ring.rows] = 1


def _table(rows: Sequence[StudyRow], yardstick: float) -> list[str]:
    """Return the front and all ways without a filter as lines for people; the JSON file has every way."""
    lines = [
        f"decode_jpeg: {yardstick:,.0f} images/s",
        f"{'way':50} {'bytes':>8} {'smaller':>8} {'images/s':>9} {'x decode_jpeg':>13}  front",
    ]
    for row in rows:
        if row.on_front or row.filter is None:
            mark = "front" if row.on_front else f"{row.front_gap:.0%} behind"
            sizes, speeds = (
                f"{row.bytes_per_image:8,.0f} {row.ratio:8.2f}",
                f"{row.images_per_second:9,.0f} {row.times_decode_jpeg:13.2f}",
            )
            lines.append(f"{row.name:50} {sizes} {speeds}  {mark}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, study, print; write JSON and the plot where asked."""
    parser = argparse.ArgumentParser(
        prog="python -m ferdata_bench.studies.codecs", description="Compare codec settings on real photographs."
    )
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--plot", type=Path, help="draw bytes against speed to this PNG")
    parser.add_argument("--quick", action="store_true", help="a tenth of the ways, a quarter of the photographs")
    parser.add_argument("--sizes", default="224,112,100", help="sides of the images in pixels, comma-separated")
    parser.add_argument("--images", type=int, help="photographs at the largest size")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cold-bytes", type=int, default=64 << 20, help="memory that each way decodes from and to")
    given = parser.parse_args(arguments)
    try:
        sizes = tuple(int(size) for size in given.sizes.split(","))
    except ValueError:
        parser.error(f"--sizes: {given.sizes!r} found, expected numbers such as 224,112")
    try:
        images = given.images if given.images is not None else 8 if given.quick else 32
        options = StudyOptions(
            sizes=sizes, images=images, runs=given.runs, seed=given.seed, quick=given.quick, cold_bytes=given.cold_bytes
        )
        result = run_study(options)
    except FerdataError as error:
        print(error)
        return 1
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    if given.plot:
        plot_study([StudyRow(**row) for row in result["rows"]], result["defaults"], given.plot)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
