"""How near is ``shard`` to what the machine could do? Its rate beside bare Pillow plus bare zstd, and its memory.

Run ``python -m ferdata_bench.figures.ingest_limit --json docs/figures/ingest.json`` on a quiet machine: about 2
minutes. The limit is 2 x the rate at which one core turns the same JPEG files, already in memory, into frames; ingests
and the bare loop take turns.

A process of the bare loop is born slow or fast, by up to a third, and stays so: ``perf`` finds the difference in its
copies of pixels from buffer to buffer. So every round has processes of its own, and the medians are over them.
"""

import io
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from PIL import Image

from ferdata.errors import IngestError
from ferdata.format.codecs.zstd import Zstd
from ferdata.plan.ceilings import Team
from ferdata.plan.conditions import describe_machine
from ferdata_bench.figures.common import Figure, FigureOptions, parse, photo_tree, summary, tree_bytes_per_image
from ferdata_bench.loaders.process import PACKAGE_ROOT
from ferdata_bench.loaders.usage import MemoryUse, PeakMemory

__all__ = ["BAR", "main", "run_ingest_limit"]

BAR = 0.8
MEMORY_BAR_BYTES = 1_500_000_000
SIZE, CODEC, COUNT = 224, "zstd", 8_192
MEMORY_COUNTS = (2_048, 8_192)
QUICK_COUNT, QUICK_MEMORY_COUNTS = 32, (16, 32)
BARE_IMAGES, BARE_SECONDS = 512, 1.5


def run_ingest_limit(options: FigureOptions, say: Callable[[str], None] = print) -> Figure:
    """Measure rates in turns, then memory at two numbers of images."""
    machine = describe_machine()
    count = QUICK_COUNT if options.quick else COUNT
    say(f"preparing {count:,} photographs")
    tree = photo_tree(options, size=SIZE, count=count)
    seconds = 0.05 if options.quick else BARE_SECONDS
    job = _bare_job(tree, min(count, BARE_IMAGES))
    rates: dict[str, list[float]] = {"one": [], "both": [], "ingest": [], "written": []}
    for number in range(options.rounds):
        say(f"round {number + 1} of {options.rounds}")
        rates["one"].append(_bare_rate(job, 1, seconds))
        made = _ingest(tree, options)
        rates["ingest"].append(count / (made["scan_seconds"] + made["seconds"]))
        rates["written"].append(made["images_per_second"])
        rates["both"].append(_bare_rate(job, options.num_workers, seconds))
    fractions = [ours / (options.num_workers * bare) for ours, bare in zip(rates["ingest"], rates["one"], strict=True)]
    memory = []
    for images in QUICK_MEMORY_COUNTS if options.quick else MEMORY_COUNTS:
        say(f"memory with {images:,} images")
        memory.append({"images": images, "peak_pss_bytes": _peak_memory(tree, images, options).total_bytes})
    conditions = machine | {
        "images": count,
        "image": f"uint8 [3, {SIZE}, {SIZE}], not resized",
        "source": "photographs, JPEG quality 90, page cache warm",
        "source_bytes_per_image": tree_bytes_per_image(options, size=SIZE, count=count),
        "codec": f"{CODEC}, level {Zstd().level}",
        "workers": options.num_workers,
        "rounds": options.rounds,
        "quick": options.quick,
    }
    results = {
        "ingest": summary(rates["ingest"]),
        "ingest_without_scan": summary(rates["written"]),
        "bare_one_core": summary(rates["one"]),
        "bare_all_workers": summary(rates["both"]),
        "fraction": round(statistics.median(fractions), 4),
        "fraction_runs": [round(fraction, 4) for fraction in fractions],
        "bar": BAR,
        "memory": memory,
        "memory_bar_bytes": MEMORY_BAR_BYTES,
    }
    return Figure(conditions=conditions, results=results)


def _bare_job(tree: Path, count: int) -> Callable[[int, int], Callable[[], float]]:
    """Return the job of bare work: Pillow decodes a JPEG that is in memory, zstd compresses the pixels."""
    files = [path.read_bytes() for path in sorted(tree.rglob("*.jpg"), key=lambda path: path.name)[:count]]

    def job(rank: int, num_processes: int) -> Callable[[], float]:
        compressor = zstandard.ZstdCompressor(level=Zstd().level)
        mine = files[rank::num_processes]
        state = {"step": 0}

        def step() -> float:
            pixels = np.asarray(Image.open(io.BytesIO(mine[state["step"] % len(mine)])).convert("RGB"))
            compressor.compress(pixels.tobytes())
            state["step"] += 1
            return 1.0

        return step

    return job


def _bare_rate(job: Callable[[int, int], Callable[[], float]], num_processes: int, seconds: float) -> float:
    team = Team(job, num_processes=num_processes)
    try:
        team.run(seconds / 5)
        return team.run(seconds)[0]
    finally:
        team.close()


def _command(tree: Path, options: FigureOptions, *arguments: str) -> tuple[list[str], Path]:
    """Return the command line that writes a fresh data set, and its folder, which is emptied first."""
    out = options.work / "ingest-limit"
    shutil.rmtree(out, ignore_errors=True)
    folders = ["--src", str(tree), "--out", str(out)]
    settings = ["--size", str(SIZE), "--codec", CODEC, "--workers", str(options.num_workers), "--fresh"]
    return [sys.executable, str(PACKAGE_ROOT / "cli.py"), "shard", "folder", *folders, *settings, *arguments], out


def _ingest(tree: Path, options: FigureOptions) -> dict[str, Any]:
    """Run ``shard`` in its own process and return its summary."""
    report = options.work / "ingest-limit.json"
    command, out = _command(tree, options, "--json", str(report))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise IngestError(
            f"{tree}: shard ended with code {done.returncode}, expected 0: {(done.stderr or done.stdout).strip()}"
        )
    made: dict[str, Any] = json.loads(report.read_text())
    shutil.rmtree(out)
    report.unlink()
    return made


def _peak_memory(tree: Path, count: int, options: FigureOptions) -> MemoryUse:
    """Return the peak of the process tree of a ``shard`` that is not timed."""
    command, out = _command(tree, options, "--limit", str(count))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with PeakMemory(process.pid) as memory:
        code = process.wait()
    shutil.rmtree(out, ignore_errors=True)
    if code:
        raise IngestError(
            f"{tree}: shard --limit {count} ended with code {code}, expected 0; run it by hand to see why"
        )
    return memory.peak


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print beside the bar, write JSON if asked."""
    options, path, command = parse(
        "ferdata_bench.figures.ingest_limit", "shard beside bare decoding and compressing.", arguments
    )
    figure = run_ingest_limit(options)
    results = figure.results
    ours, bare = (results[name]["images_per_second"] for name in ("ingest", "bare_one_core"))
    print(
        f"shard {ours:,.0f} images/s; one core, bare: {bare:,.0f} images/s; "
        f"{results['fraction']:.2f} of the limit, asked {BAR}"
    )
    for row in results["memory"]:
        print(
            f"{row['images']:,} images: peak {row['peak_pss_bytes'] / 1e6:,.0f} MB, "
            f"asked at most {MEMORY_BAR_BYTES / 1e6:,.0f} MB"
        )
    if path:
        figure.write(path, command=command)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
