"""What size costs: index, order, table of samples, checksums noted and items of `shard`, each from 10^5 on.

    python -m ferdata_bench.studies.scale --json docs/figures/scaling.json     measures every term, a few minutes
    python -m ferdata_bench.studies.scale order 1e9                            measures one, in a process of its own
    python -m ferdata_bench.studies.scale model --images 1e9 --ranks 1024 --image-bytes 51800 --rate 2000

In: numbers of images. Out: a line of JSON for each term and number: processor seconds, which other work on the machine
changes less than those of the clock, and the peak of the process above what it took before; at the end, the tables of
`docs/scaling.md`. Data sets are drawn without images.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferdata.format import (
    CODECS,
    REJECTS_NAME,
    SAMPLES_SCHEMA,
    DatasetIndex,
    SamplesFile,
    ShardTable,
    json_bytes_for,
    read_index,
    write_file,
    write_index,
    write_samples,
)
from ferdata.ingest.conversion import Conversion
from ferdata.ingest.finish.outcome import gather
from ferdata.ingest.finish.publish import publish
from ferdata.ingest.options import IngestOptions
from ferdata.ingest.select.checks import check_keys
from ferdata.ingest.select.choose import choose_items
from ferdata.ingest.select.selection import plan_shards
from ferdata.ingest.write.parts import PartRecord
from ferdata.ingest.write.shards import WrittenParts
from ferdata.labels import AFFECTNET_8
from ferdata.plan.conditions import describe_machine
from ferdata.sample import TensorSpec
from ferdata.sources.scan import ScanBuilder
from ferdata.store import Store
from ferdata.stream.order.places import ClassPlaces
from ferdata.stream.order.sequence import OrderOptions, default_window, rank_order, run_within
from ferdata.stream.order.windows import Checked
from ferdata_bench.studies.scaling_page import scale_tables

__all__ = ["TERMS", "draw_index", "draw_table", "main", "model", "open_index", "open_table"]

SHARD_SAMPLES = 890
"""Photographs of 224 px in a shard."""
RANKS, BATCH_SIZE, IMAGE_BYTES = 1024, 128, 51_800
SPEC = TensorSpec(dtype="uint8", shape=(3, 224, 224))


class Meter:
    """Processor seconds and memory since it was made."""

    def __init__(self) -> None:
        self._peak, self._start = _peak_mb(), time.process_time()

    def lap(self) -> float:
        """Return the seconds since the last call."""
        start, self._start = self._start, time.process_time()
        return round(self._start - start, 5)

    def peak_mb(self) -> int:
        """Return by how much the peak has grown."""
        return _peak_mb() - self._peak


def _peak_mb(name: str = "VmHWM") -> int:
    lines = Path("/proc/self/status").read_text().splitlines()  # getrusage's peak is that of the parent at first
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) >> 10


def _sizes(count: int) -> np.ndarray:
    sizes = np.full(-(-count // SHARD_SAMPLES), SHARD_SAMPLES)
    sizes[-1] -= int(sizes.sum()) - count
    return sizes


def _index(count: int, files: tuple[Any, ...]) -> DatasetIndex:
    sizes, rng = _sizes(count), np.random.default_rng(0)
    hashes = [f"{number:016x}" for number in rng.integers(0, 1 << 63, len(sizes)).tolist()]
    columns = {
        "number": [*range(len(sizes))],
        "samples": sizes.tolist(),
        "num_bytes": (sizes * IMAGE_BYTES).tolist(),
        "xxh64": hashes,
        "tail_xxh64": hashes[::-1],
    }
    return DatasetIndex(
        source="folder",
        source_layout="drawn",
        codec=CODECS["compact"],
        spec=SPEC,
        json_bytes=json_bytes_for(100),
        transform={"fingerprint": "0" * 32, "settings": {}, "libraries": {}},
        settings={},
        classes=AFFECTNET_8,
        counts={"train": [count, *[0] * 7]},
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        files=files,
        shards=ShardTable.from_json({"train": columns}, ".tar.zst"),
    )


def _elsewhere(verb: str, folder: Path) -> dict[str, Any]:
    """Return what a function below finds in a process of its own, which did not draw the data set."""
    script = f"import json; from ferdata_bench.studies import scale; print(json.dumps(scale.{verb}({str(folder)!r})))"
    done = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def draw_index(count: int, folder: Path) -> dict[str, Any]:
    """Write the index of so many images."""
    store = Store(folder)
    store.make_dir()
    empty = [write_file(store, name, b"") for name in ("samples.parquet", REJECTS_NAME)]
    write_index(store, _index(count, tuple(empty)))
    return {"shards": len(_sizes(count)), "file_mb": round((folder / "index.json").stat().st_size / 1e6, 2)}


def measure_index(count: int, folder: Path) -> dict[str, Any]:
    """Open the index of so many images."""
    return draw_index(count, folder) | _elsewhere("open_index", folder)


def open_index(folder: str) -> dict[str, Any]:
    """Return what opening an index costs this process."""
    meter = Meter()
    index = read_index(folder)
    found: dict[str, Any] = {"open_seconds": meter.lap()}
    assert len(index.shards.of_split("train").samples) == len(index.shards)
    return found | {"sizes_seconds": meter.lap(), "peak_mb": meter.peak_mb()}


def measure_order(count: int, folder: Path) -> dict[str, Any]:
    """Plan the first batch and some windows of one rank, in two epochs of each shuffle; balanced up to 10^8."""
    del folder
    sizes, found = _sizes(count), dict[str, Any]()
    window = default_window(IMAGE_BYTES) // BATCH_SIZE * BATCH_SIZE
    options = OrderOptions(batch_size=BATCH_SIZE, window_samples=window, run_samples=run_within(window, IMAGE_BYTES))
    ways, places = {"window": options, "full": replace(options, shuffle="full")}, list[ClassPlaces]()
    if count <= 10**8:
        ways["balanced"] = replace(options, weights=(1 / 8,) * 8)
        ways["balanced_full"] = replace(ways["balanced"], shuffle="full")
        labels, meter = np.random.default_rng(0).integers(0, 8, count, np.int8), Meter()
        places = [ClassPlaces(labels, 8)]
        found |= {"classes_seconds": meter.lap(), "classes_mb": meter.peak_mb()}
    for name, way in ways.items():
        meter, world_size = Meter(), min(RANKS, max(1, count // (4 * window)))
        for epoch in range(2):
            order = rank_order(sizes, way, epoch=epoch, rank=world_size // 2, world_size=world_size, places=places)
            order[:BATCH_SIZE]
            found[f"{name}_first_seconds_{epoch}"] = meter.lap()
        windows = min(8, len(order) // window)
        order[: windows * window]
        found[f"{name}_window_seconds"] = round(meter.lap() / max(1, windows), 5)
        found[f"{name}_peak_mb"] = meter.peak_mb()
    return found


def _rows(count: int) -> pa.Table:
    rng, places = np.random.default_rng(0), np.arange(count)
    numbers = pa.array(rng.permutation(count)).cast(pa.string())
    labels = rng.choice(8, count, p=(0.26, 0.46, 0.09, 0.05, 0.02, 0.01, 0.09, 0.02)).astype(np.int16)
    words = pa.array([str(label) for label in range(8)])
    columns = {
        "key": pc.binary_join_element_wise("face-", numbers, ""),
        "split": pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int8)), pa.array(["train"])),
        "label": pa.array(labels),
        "path": pc.binary_join_element_wise("images/", numbers, ".jpg", ""),
        "source_label": pa.DictionaryArray.from_arrays(pa.array(labels), words),
        "source_bytes": pa.array(rng.integers(10_000, 60_000, count)),
        "source_xxh64": pa.array(rng.integers(0, 1 << 63, count).astype(np.uint64)),
        "shard": pa.array((places // SHARD_SAMPLES).astype(np.int32)),
        "frame": pa.array((2 * (places % SHARD_SAMPLES) + 1).astype(np.int32)),
        "position": pa.array((places % SHARD_SAMPLES).astype(np.int32)),
    }
    return pa.table(
        {each.name: columns.get(each.name, pa.nulls(count, each.type)) for each in SAMPLES_SCHEMA}, SAMPLES_SCHEMA
    )


def draw_table(count: int, folder: Path) -> dict[str, Any]:
    """Write a table of so many samples."""
    store = Store(folder)
    store.make_dir()
    files = (write_samples(store, _rows(count)), write_file(store, REJECTS_NAME, b""))
    write_index(store, _index(count, files))
    return {"bytes_per_row": round(files[0].num_bytes / count, 2)}


def measure_table(count: int, folder: Path) -> dict[str, Any]:
    """Read labels of some samples, and all of them, from a table of so many."""
    return draw_table(count, folder) | _elsewhere("open_table", folder)


def open_table(folder: str) -> dict[str, Any]:
    """Return what reading a table costs this process."""
    index = read_index(folder)
    meter, count, rng = Meter(), index.num_samples(), np.random.default_rng(1)
    file = SamplesFile(Store(folder), index)
    found: dict[str, Any] = {"groups": len(file.group_ends), "open_seconds": meter.lap(), "open_mb": meter.peak_mb()}
    seconds = []
    for start in rng.integers(0, count, 40).tolist():
        meter.lap()
        file.read(["label"], start, start + 1)
        seconds.append(meter.lap())
    found |= {"group_seconds": float(np.median(seconds[1:])), "group_mb": meter.peak_mb()}
    meter.lap()
    file.read(["label", "split"])
    return found | {"all_labels_seconds": meter.lap(), "all_labels_mb": meter.peak_mb()}


def measure_checked(count: int, folder: Path) -> dict[str, Any]:
    """Note that batches were verified."""
    del folder
    meter, rng = Meter(), np.random.default_rng(0)
    checked = Checked(count, always=False)
    made, batches = meter.lap(), [rng.integers(0, count, BATCH_SIZE) for _ in range(200)]
    meter.lap()
    for batch in batches:
        checked.needs(batch, 0)
        checked.note(batch)
    return {"made_seconds": made, "batch_seconds": round(meter.lap() / len(batches), 7), "peak_mb": meter.peak_mb()}


def measure_items(count: int, folder: Path) -> dict[str, Any]:
    """Take AffectNet's items, with boxes and landmarks, through every step of `shard`, all but the images.

    After each step: the peak so far, and how much of what is taken then is the process's own, not of a file.
    """
    meter, builder, rng, own = Meter(), ScanBuilder(), np.random.default_rng(0), _peak_mb("RssAnon")
    found = dict[str, Any]()

    def note(step: str) -> None:
        found[f"{step}_mb"], found[f"{step}_own_mb"] = meter.peak_mb(), max(0, _peak_mb("RssAnon") - own)

    marks = rng.random((500, 136)).astype(np.float32).tolist()
    for number in range(count):
        key = builder.keys.make(f"train_set/{number}")
        details: Mapping[str, Any] = {"box": (0.0, 0.0, 224.0, 224.0), "landmarks": marks[number % len(marks)]}
        builder.accept(key, f"train_set/images/{number}.jpg", "train", number % 8, str(number % 8), **details)
    scan = builder.build(source="affectnet", layout="drawn", root=str(folder), classes=AFFECTNET_8)
    del builder
    note("scan")
    options = IngestOptions(source="affectnet", src=folder, out=folder / "out")
    conversion = Conversion(scan=scan, options=options)
    conversion.store.make_dir()
    check_keys(scan)
    selection, skipped, notes = choose_items(scan, options, on_tick=lambda done, total: None)
    plan = plan_shards(selection, seed=0, sample_bytes=SPEC.num_bytes)
    conversion.all_settings()
    note("select")
    [entry], parts = _index(1, ()).shards, []
    for shard in plan:
        size = len(scan.items.take(shard.positions))
        sums: Mapping[str, Any] = {"bytes_in": 1, "pixels": 1, "sums": (1,) * 3, "squares": (1,) * 3}
        hashes = rng.integers(0, 1 << 63, size).astype(np.uint64)
        info = replace(entry, name=CODECS["compact"].shard_name("train", shard.number), samples=size)
        sizes = np.ones(size, np.int64)
        parts.append(PartRecord(shard=info, source_bytes=sizes, source_xxh64=hashes, rejects=(), repairs={}, **sums))
    note("tasks")
    outcome = gather(scan.items, selection, plan, parts, len(AFFECTNET_8))
    publish(conversion, plan, WrittenParts(parts=parts, resumed=[]), outcome, skipped=skipped, notes=notes)
    note("finish")
    return found | {"seconds": meter.lap()}


TERMS: Mapping[str, tuple[Callable[[int, Path], dict[str, Any]], tuple[int, ...]]] = {
    "index": (measure_index, (10**5, 10**6, 10**7, 10**8, 10**9)),
    "order": (measure_order, (10**5, 10**6, 10**7, 10**8, 10**9)),
    "table": (measure_table, (10**5, 10**6, 10**7)),
    "checked": (measure_checked, (10**5, 10**7, 10**9)),
    "items": (measure_items, (75_000, 290_000, 1_000_000)),
}


def model(*, images: float, ranks: float, image_bytes: float, rate: float) -> dict[str, float]:
    """Return what an epoch of one data set asks of ranks, disks and buckets, on paper.

    Args:
        images: Of the data set.
        ranks: That share it.
        image_bytes: Of an image, as stored.
        rate: Images per second of each rank.
    """
    window = default_window(int(image_bytes)) // BATCH_SIZE * BATCH_SIZE
    run = run_within(window, int(image_bytes))
    return {
        "terabytes": images * image_bytes / 1e12,
        "shards": images / SHARD_SAMPLES,
        "epoch_hours": images / ranks / rate / 3600,
        "rank_samples": images / ranks,
        "rank_windows": images / ranks / window,
        "rank_runs": images / ranks / run,
        "run_megabytes": run * image_bytes / 1e6,
        "rank_megabytes_per_second": rate * image_bytes / 1e6,
        "rank_runs_per_second": rate / run,
        "all_gigabytes_per_second": ranks * rate * image_bytes / 1e9,
        "all_runs_per_second": ranks * rate / run,
        "runs_an_epoch": images / run,
        "shard_runs_an_epoch": SHARD_SAMPLES / run,
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure one term, or all of them in processes of their own; or compute the model."""
    parser = argparse.ArgumentParser(description=__doc__ or "", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("term", nargs="?", choices=[*TERMS, "model"])
    parser.add_argument("count", nargs="?", type=float)
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--images", type=float, default=1e9)
    parser.add_argument("--ranks", type=float, default=RANKS)
    parser.add_argument("--image-bytes", type=float, default=IMAGE_BYTES)
    parser.add_argument("--rate", type=float, default=2000, help="images per second of a rank")
    chosen = parser.parse_args(arguments)
    if chosen.term == "model":
        names = ("images", "ranks", "image_bytes", "rate")
        for name, value in model(**{name: getattr(chosen, name) for name in names}).items():
            print(f"{name:28} {value:,.3f}")
        return 0
    if chosen.term and chosen.count:
        with tempfile.TemporaryDirectory() as folder:
            found = TERMS[chosen.term][0](int(chosen.count), Path(folder))
        print(json.dumps({"term": chosen.term, "count": int(chosen.count), **found}), flush=True)
        return 0
    machine, rows = describe_machine(), list[dict[str, Any]]()
    for term in [chosen.term] if chosen.term else TERMS:
        for count in TERMS[term][1]:
            command = [sys.executable, "-m", "ferdata_bench.studies.scale", term, str(count)]
            line = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            print(line, end="", flush=True)
            rows.append(json.loads(line))
    if not chosen.term:
        print("\n\n".join(scale_tables(rows).values()))
    if chosen.json:
        chosen.json.write_text(json.dumps({"conditions": machine, "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
