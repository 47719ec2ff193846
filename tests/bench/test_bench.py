"""The benchmark as a whole: what is timed, what processes use, what a reader is told."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from streams import wait_until

from ferdata.errors import OptionError
from ferdata.images.transform import TransformOptions
from ferdata.ingest import IngestOptions, ingest
from ferdata.parallel import usable_cores
from ferdata.plan.ceilings import Team, copy_job, drop_from_cache, read_job
from ferdata.plan.conditions import describe_machine
from ferdata.plan.timing import Timing
from ferdata_bench.loaders.explain import explain_limit, general_notes
from ferdata_bench.loaders.harness import run_bench, sweep_workers
from ferdata_bench.loaders.options import BenchOptions, BenchResult, BenchRow
from ferdata_bench.loaders.photos import write_photos
from ferdata_bench.loaders.plot import write_plots
from ferdata_bench.loaders.reference import make_reference
from ferdata_bench.loaders.report import print_result, write_json
from ferdata_bench.loaders.sources import write_faces
from ferdata_bench.loaders.subject import sizes_beside, split_to_fit
from ferdata_bench.loaders.usage import PeakMemory, cpu_seconds_of_tree, memory_of_tree

SIZE = 32
COUNT = 96


def test_a_timing_gives_the_median_rate_and_how_far_runs_lie_apart() -> None:
    """Spread is best minus worst over the median; one slow run must not move the quoted figure."""
    timing = Timing(seconds=(1.0, 2.0, 0.5), work=(100, 100, 100))

    assert timing.rates == (100, 50, 200)
    assert timing.rate == 100
    assert timing.spread == 1.5


def test_processor_time_of_children_counts_even_after_they_end() -> None:
    """Workers that ended during an epoch did work too."""
    before = cpu_seconds_of_tree(os.getpid())

    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True)

    assert cpu_seconds_of_tree(os.getpid()) - before > 0.25


def test_the_peak_of_memory_is_seen_from_outside() -> None:
    """A tree's memory is its peak, with each page counted once."""
    before = memory_of_tree(os.getpid()).total_bytes

    with PeakMemory(os.getpid()) as memory:
        held = np.ones(64 << 20, np.uint8)
        assert wait_until(lambda: memory.peak.total_bytes >= before + (50 << 20), seconds=60)
        del held

    assert memory.peak.anonymous_bytes <= memory.peak.total_bytes


def test_the_copy_ceiling_counts_images_by_their_bytes(tmp_path: Path) -> None:
    """1,000 bytes per image, whatever the chunks; processes share them."""
    (tmp_path / "bytes").write_bytes(bytes(100_500))
    job = copy_job([str(tmp_path / "bytes")], bytes_per_image=1_000, batch_size=16)

    first, second = ([step() for _ in range(count)] for step, count in ((job(0, 2), 4), (job(1, 2), 3)))

    assert sum(first) + sum(second) == pytest.approx(100.5)
    assert first == [16, 16, 16, 4.5]


def test_a_team_adds_up_what_its_processes_do(tmp_path: Path) -> None:
    """Each works for the same time on its own."""
    (tmp_path / "bytes").write_bytes(bytes(32_000))
    team = Team(copy_job([str(tmp_path / "bytes")], bytes_per_image=1_000, batch_size=16), num_processes=2)
    try:
        rate, images = team.run(0.05)
    finally:
        team.close()

    assert images >= 2 * 16 and images % 16 == 0 and 0 < rate <= images / 0.05


def test_the_disk_ceiling_reads_every_byte_once(tmp_path: Path) -> None:
    """Shares of the processes cover the file and do not overlap."""
    (tmp_path / "bytes").write_bytes(bytes(9_000_000))
    drop_from_cache([tmp_path / "bytes"])
    team = Team(read_job([str(tmp_path / "bytes")], bytes_per_image=1_000), num_processes=3)
    try:
        assert team.run(30)[1] == 9_000
        assert team.run(30)[1] == 0
    finally:
        team.close()


def test_a_copy_ceiling_needs_an_image(tmp_path: Path) -> None:
    """Less than an image can't be copied."""
    (tmp_path / "bytes").write_bytes(b"few")

    with pytest.raises(OptionError, match=r"copy ceiling: 3 bytes found, expected at least one image of 1,000"):
        copy_job([str(tmp_path / "bytes")], bytes_per_image=1_000, batch_size=16)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> BenchResult:
    """A small run against given shards: ferdata's two rows, a contender that works and one that is missing."""
    folder = tmp_path_factory.mktemp("bench")
    source = write_photos(folder / "photos", count=COUNT, size=SIZE).root / "train"
    ingest(
        IngestOptions(
            source="folder",
            src=str(source),
            out=str(folder / "shards"),
            transform=TransformOptions(size=SIZE),
            num_workers=1,
        )
    )
    options = BenchOptions(
        shards=folder / "shards",
        against=("memmap",),
        count=COUNT // 2,
        num_workers=1,
        batch_size=16,
        min_seconds=0.01,
        sweep=("codec",),
        work=folder / "work",
    )
    result = run_bench(options)
    assert list((folder / "work").iterdir()) == []
    return result


def test_a_run_measures_ferdata_and_contenders_on_the_same_images(result: BenchResult) -> None:
    """Rows, ceilings and conditions are all there, and plausible."""
    rows = {row.name: row for row in result.rows}

    ways = ("", "resident-", "dataloader-", "plain-")
    assert set(rows) - {"ferdata-device-compact"} == {*(f"ferdata-{way}compact" for way in ways), "memmap"}
    assert rows["ferdata-compact"].images == COUNT and rows["memmap"].images == COUNT // 2
    for row in rows.values():
        assert len(row.runs) == 3 and min(row.runs) <= row.images_per_second <= max(row.runs)
        assert row.fraction_of_ceiling is not None and row.fraction_of_ceiling > 0
        assert row.peak_memory_bytes > row.peak_private_bytes > 10 << 20
        assert row.first_batch_seconds > 0 and row.cpu_seconds_per_image >= 0
    assert rows["memmap"].bytes_per_image == pytest.approx(3 * SIZE * SIZE, rel=0.1)
    assert rows["memmap"].ingest_seconds is not None and rows["ferdata-compact"].ingest_seconds is None
    assert result.ceilings["copy"] > 0 and result.ceilings["decode"] > 0 and result.ceilings["disk"] > 0
    assert result.ceilings["decode"] == result.ceilings["decode_by_codec"]["compact"]


def test_the_json_file_has_the_keys_that_are_promised(result: BenchResult, tmp_path: Path) -> None:
    """Scripts read these names; and the file alone makes the same result again."""
    write_json(result, tmp_path / "sub/out.json")
    values = json.loads((tmp_path / "sub/out.json").read_text())

    promised = {
        "name", "codec", "workers", "batch_size", "images_per_second", "spread", "fraction_of_ceiling",
        "bytes_per_image", "peak_memory_bytes", "first_batch_seconds",
    }  # fmt: skip
    assert {"conditions", "ceilings", "rows"} <= set(values) and {"copy", "decode"} <= set(values["ceilings"])
    assert all(promised <= set(row) for row in values["rows"])
    assert {"cpu", "cores", "memory_bytes", "versions", "commit", "cache", "workers", "batch_size"} <= set(
        values["conditions"]
    )
    assert BenchResult.from_json(values) == result


def test_without_photographs_faces_are_drawn(tmp_path: Path) -> None:
    """A machine without scikit-image and scikit-learn can still measure; the conditions then say what was shown."""
    tree = write_faces(tmp_path, count=9, size=SIZE, seed=0)

    drawn = make_reference(tree)

    assert drawn.shape == (3, SIZE, SIZE) and len(set(drawn.digests.tolist())) == 9
    assert np.bincount(drawn.labels).tolist() == [1, 1, 1, 1, 1, 2, 1, 1]  # Neutral, the sixth by name, comes twice


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal_and_says_everything(result: BenchResult, width: int) -> None:
    """No heading or figure may be cut off with dots."""
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file:
        print_result(result, console)
    text = console.export_text()

    assert "…" not in text and max(map(len, text.splitlines())) <= width
    for words in (
        "ferdata-compact",
        "memmap",
        "ceiling: copy",
        "ceiling: decode compact",
        "images/s",
        "encoded again as JPEG",
    ):
        assert words in text
    assert ("peak MB" in text) == (width > 100)


def test_pictures_are_written_as_png_and_svg(result: BenchResult, tmp_path: Path) -> None:
    """Bars, curves of a sweep, and speed against size; the file alone is enough to draw them."""
    memmap = next(row for row in result.rows if row.name == "memmap")
    swept = replace(memmap, sweep="workers", workers=2)
    ceilings = {**result.ceilings, "by_workers": {"1": {"copy": 5e5}, "2": {"copy": 9e5}}}

    written = write_plots(replace(result, rows=(*result.rows, swept), ceilings=ceilings), tmp_path / "plot.png")

    names = ["plot.png", "plot.svg", "plot-workers.png", "plot-workers.svg", "plot-codec.png", "plot-codec.svg"]
    assert [path.name for path in written] == names
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert len(image.convert("RGB").getcolors(1 << 24)) > 20
        else:
            assert "<svg" in path.read_text()


def test_a_picture_s_footnote_names_the_folder_and_not_where_it_lies(result: BenchResult, tmp_path: Path) -> None:
    """Pictures are passed on; a person's home is not."""
    there = replace(result, conditions=result.conditions | {"source": "/home/me/shards/affectnet, encoded as JPEG"})

    with matplotlib.rc_context({"svg.fonttype": "none"}):
        drawn = write_plots(there, tmp_path / "plot.png")[1].read_text()

    assert "from affectnet, encoded as JPEG" in drawn
    assert "/home" not in drawn


def row(name: str, rate: float, codec: str = "raw") -> BenchRow:
    """Return a row with this rate."""
    return BenchRow(
        name=name, codec=codec, workers=2, batch_size=8, images_per_second=rate, spread=0.1, fraction_of_ceiling=0.5,
        bytes_per_image=9.0, peak_memory_bytes=2, peak_private_bytes=1, first_batch_seconds=0.1,
        cpu_seconds_per_image=1e-3, bytes_on_disk=9, ingest_seconds=1.0, images=1, runs=(rate,), shuffle="",
        version=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("codec", "decode", "disk", "message"),
    [
        (
            "zstd",
            50.0,
            500.0,
            "limit is decoding: 1 core and 2 workers decode 50 zstd images/s, while memory could take 100; a",
        ),
        (
            "raw",
            50.0,
            500.0,
            "limit is memory: 1 core and 2 workers can copy 100 ready images/s into batches, "
            "and decode 50 from zstd; a",
        ),
        ("raw", None, 500.0, "limit is memory: 1 core and 2 workers can copy 100 ready images/s into batches; a"),
        (
            "raw",
            200.0,
            30.0,
            "delivers 40 (40% of the copy ceiling); data that is not in memory arrives at 30 images/s from the disk.",
        ),
    ],
)
def test_one_sentence_says_what_limits_the_machine(codec: str, decode: float | None, disk: float, message: str) -> None:
    """The lower ceiling is the limit, and a disk slower than the loader is named."""
    rows = [row("a", 40, codec), row("b", 30)]

    ceilings = {"copy": 100.0, "decode": decode, "decode_codec": "zstd", "disk": disk}
    assert message in explain_limit(ceilings, rows, cores=1, workers=2)


def test_more_workers_than_cores_and_a_busy_machine_are_noted() -> None:
    """Measured as asked, but nobody should be misled by it."""
    notes = general_notes(BenchOptions(num_workers=8, cold=True), cores=2, load=3.0)

    assert [note.split(":")[0].split(" were")[0] for note in notes] == [
        "8 workers",
        "the machine was busy before the run (load 3.0 on 2 cores)",
        "cold",
    ]
    assert general_notes(BenchOptions(num_workers=2), cores=2, load=0.1) == []


def test_conditions_name_the_machine() -> None:
    """A figure without its machine is worth nothing."""
    machine = describe_machine()

    assert machine["cpu"] and 1 <= machine["cores"] == usable_cores() <= (os.cpu_count() or 1)
    assert (
        machine["versions"]["torch"] == str(torch.__version__).partition("+")[0]
        or machine["versions"]["torch"] in torch.__version__
    )


@pytest.mark.parametrize(("most", "counts"), [(1, [1]), (2, [1, 2]), (8, [1, 2, 4, 8]), (6, [1, 2, 4, 6]), (0, [])])
def test_a_sweep_of_workers_doubles_up_to_what_was_asked(most: int, counts: list[int]) -> None:
    """The asked number itself is always among them."""
    assert sweep_workers(most) == counts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 2}, r"epochs: 2 found, expected at least 3"),
        ({"batch_size": 0}, r"batch_size: 0 found, expected at least 1"),
        ({"sweep": ("seed",)}, r"sweep: seed found, expected axes out of"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    """Two timed epochs have no median worth the name."""
    with pytest.raises(OptionError, match=message):
        BenchOptions(**options)  # type: ignore[arg-type]


def test_contenders_whose_data_do_not_fit_memory_together_are_timed_in_groups() -> None:
    """A page cache that lost a contender's files would time the disk, and say that the contender is slow."""
    subjects: list[Any] = ["a", "b", "c", "d", "e"]

    assert split_to_fit(subjects, [3, 3, 9, 1, 1], 6) == [["a", "b"], ["c"], ["d", "e"]]
    assert split_to_fit(subjects, [1, 1, 1, 1, 1], 6) == [subjects]
    assert split_to_fit(subjects, [1, 1, 1, 1, 1], -2) == [["a"], ["b"], ["c"], ["d"], ["e"]]


def test_a_folder_that_several_contenders_read_is_counted_once(tmp_path: Path) -> None:
    for name, size in (("ours", 100), ("theirs", 10)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data").write_bytes(bytes(size))
    subjects: list[Any] = [SimpleNamespace(out=tmp_path / name) for name in ("ours", "theirs", "theirs")]

    assert sizes_beside(subjects, []) == [100, 10, 0]
    assert sizes_beside(subjects, [tmp_path / "ours"]) == [0, 10, 0]
