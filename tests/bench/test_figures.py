"""The figures behind docs/benchmarks.md: every script runs at tiny size, and the page says what its files say."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ferdata.dataset.verify import verify
from ferdata.errors import IngestError
from ferdata_bench.figures import bars, ingest_limit, page, pipeline, scale
from ferdata_bench.figures.catalog import CATALOG
from ferdata_bench.figures.common import QUICK_VARIABLE, FigureOptions, is_quick, photo_shards, photo_tree
from ferdata_bench.figures.markdown import conditions_block, generic, table
from ferdata_bench.figures.scale_data import first_shards, read_pixels, tile
from ferdata_bench.loaders.options import BenchResult, BenchRow

ROOT = Path(__file__).parents[2]
MACHINE = {
    "cpu": "a processor",
    "cores": 2,
    "memory_bytes": 24 << 30,
    "system": "Linux 6",
    "python": "3.11.7",
    "versions": {"numpy": "2.0"},
    "commit": "0123456789ab",
    "load_before": 0.1,
}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> FigureOptions:
    """Options of the tiny mode, with one work folder for all scripts."""
    return FigureOptions(work=tmp_path_factory.mktemp("work"), quick=True, rounds=1, batch_size=8)


@pytest.fixture(scope="module")
def tiny_bars(quick: FigureOptions) -> dict[str, Any]:
    """One small set, measured."""
    return bars.measure_set(replace(bars.SETS[1], count=16), quick, say=lambda text: None)


def _measured(rate: float) -> dict[str, Any]:
    return {"images_per_second": rate, "spread": 0.05, "runs": [rate * 0.98, rate, rate * 1.03]}


def _bars(fraction: float) -> dict[str, Any]:
    ceilings = {
        "copy": {"way": "NumPy", **_measured(90_000.0)},
        "decode": {"way": "bare zstandard", **_measured(30_000.0)},
    }
    row = {
        "codec": "zstd",
        **_measured(30_000 * fraction),
        "ceilings": ceilings,
        "lower_ceiling": "decode",
        "fraction": fraction,
    }
    ratio = {
        "codec": "zstd",
        "plain": _measured(5_000.0),
        "ratio": 6 * fraction,
        "ratio_runs": [6 * fraction],
        "bar": 4.0,
    }
    one_set = {
        "size": 224,
        "images": 8192,
        "bytes_per_image": 150_528,
        "rows": [row | {"bar": 0.85}],
        "ratios": [ratio],
    }
    return {"command": "python -m bars", "conditions": MACHINE | {"workers": 2}, "sets": [one_set]}


def _bench() -> dict[str, Any]:
    row = BenchRow(
        name="memmap",
        codec="raw",
        workers=2,
        batch_size=128,
        images_per_second=9_200.0,
        spread=0.04,
        fraction_of_ceiling=0.11,
        bytes_per_image=150_528.0,
        peak_memory_bytes=900_000_000,
        peak_private_bytes=300_000_000,
        first_batch_seconds=0.31,
        cpu_seconds_per_image=0.0002,
        bytes_on_disk=1_233_125_376,
        ingest_seconds=7.5,
        images=8192,
        runs=(9_100.0, 9_200.0, 9_500.0),
        shuffle="whole set",
        version=None,
    )
    conditions = MACHINE | {
        "images": 8192,
        "image": "uint8 [3, 224, 224]",
        "bytes_per_image": 150_528,
        "source": "photographs",
        "source_bytes_per_image": 14_439,
        "cache": "warm",
        "workers": 2,
        "batch_size": 128,
        "epochs": 3,
        "min_seconds": 0.5,
        "sweep": [],
        "consumer": "reads one byte of every image",
    }
    ceilings = {
        "copy": 84_000.0,
        "decode": None,
        "decode_codec": None,
        "disk": 2_000.0,
        "decode_by_codec": {},
        "by_workers": {},
    }
    limit = "This machine's limit is memory."
    return BenchResult(
        conditions=conditions, ceilings=ceilings, rows=(row,), notes=("ffcv-raw: left out",), limit=limit
    ).to_json()


def _write(figures: Path, **files: Any) -> None:
    figures.mkdir(parents=True, exist_ok=True)
    for name, values in files.items():
        (figures / f"{name.replace('_', '-')}.json").write_text(json.dumps(values))


def test_the_page_in_the_repository_is_what_its_files_say() -> None:
    """A figure that was measured again and not rendered, or typed by hand, is a stale claim."""
    found = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")

    assert found == page.render(ROOT / "docs/figures"), "run `python -m ferdata_bench.figures.page`"


FILES = [*sorted((ROOT / "docs/figures").glob("*.json")), ROOT / "docs/pretraining.json"]


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_figure_tells_machine_versions_and_the_commit_it_was_measured_at(path: Path) -> None:
    """A plus behind the commit: the code was another."""
    conditions = json.loads(path.read_text())["conditions"]

    assert conditions["cpu"] and conditions["cores"] and conditions["versions"]
    assert re.fullmatch("[0-9a-f]{12}", conditions["commit"])


def test_the_readme_s_figures_are_those_of_the_runs_it_names() -> None:
    """A figure copied by hand grows old in silence."""
    bars_file, bench = (json.loads((ROOT / f"docs/figures/{name}.json").read_text()) for name in ("bars", "bench-224"))
    rates = {each["size"]: {row["codec"]: row for row in each["rows"]} for each in bars_file["sets"]}
    stored = {row["name"]: row["bytes_per_image"] for row in bench["rows"] if row["sweep"] is None}
    section = (ROOT / "README.md").read_text().partition("## How fast")[2].partition("\n## ")[0]
    table = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| `")]

    assert {cells[0].strip(" `") for cells in table} == set(rates[224])
    for name, num_bytes, large, share, _, small, small_share in (
        [cell.strip(" `") for cell in cells] for cells in table
    ):
        assert num_bytes == f"{round(stored[f'ferdata-{name}'], -2):,.0f}"
        for shown, fraction, row in ((large, share, rates[224][name]), (small, small_share, rates[100][name])):
            assert (shown, fraction) == (f"{round(row['images_per_second'], -2):,.0f}", f"{row['fraction']:.2f}")


def test_what_was_not_measured_is_said_with_the_way_to_measure_it(tmp_path: Path) -> None:
    """A missing file must never become a missing section, nor a number."""
    text = page.render(tmp_path, guard=tmp_path / "none.json")

    assert text.count("*Not measured on this machine yet: ") == len(CATALOG) + 1
    assert all(f"## {entry.title}" in text for entry in CATALOG)
    assert "run `python -m ferdata_bench.figures.bars --work build/figures --json docs/figures/bars.json`" in text
    assert not any(line.startswith("|") for line in text.splitlines())


def test_every_table_stands_with_its_conditions_its_command_and_a_sentence(tmp_path: Path) -> None:
    """A table that is quoted without them is the very thing this page is against."""
    figures = tmp_path / "figures"
    _write(figures, bars=_bars(0.9), bench_224=_bench())
    (tmp_path / "guard.json").write_text(json.dumps({"machine": MACHINE, "ratios": {"decode": 1.25}}))

    text = page.render(figures, guard=tmp_path / "guard.json")

    assert "| zstd | 27,000 | 5% | 90,000 (NumPy) | 30,000 (bare zstandard) | 0.90 | 0.85 | 5,000 | 5.4 | 4 |" in text
    assert "every goal is reached" in text
    assert "| memmap | raw | 9,200 | 4% | 0.11 | 200 | 150,528 | 900 | 300 | 0.31 | 7.5 | whole set |  |" in text
    assert "This machine's limit is memory." in text
    assert (
        "python cli.py bench-loader --size 224 --count 8192 --workers 2 --batch-size 128 --epochs 3 --against all"
        in text
    )
    assert "| decode | 1.250 |" in text
    assert text.count("a processor, 2 cores, 24 GiB") == 3


def test_a_file_without_its_machine_is_told_so() -> None:
    """The page promises conditions; a table of unknown origin must not look like the others."""
    assert conditions_block({"workers": 2}, "c")[2:-1] == [
        "workers: 2",
        "not in the file: the machine, versions and commit",
    ]


def test_rates_stand_by_the_number_of_workers(tmp_path: Path) -> None:
    """The fastest with the most workers first; a sweep over anything else does not belong there."""
    values = _bench()
    row = values["rows"][0]
    values["rows"] = [
        row,
        row | {"name": "ffcv-raw", "images_per_second": 66_000.0},
        *(row | {"workers": 1, "sweep": "workers", "name": name, "images_per_second": rate}
          for name, rate in (("memmap", 5_300.0), ("ffcv-raw", 41_000.0))),
        row | {"sweep": "batch-size", "batch_size": 32, "images_per_second": 1.0},
    ]  # fmt: skip
    (tmp_path / "rivals-224.json").write_text(json.dumps(values))

    text = page.render(tmp_path)

    table = [line for line in text.splitlines() if line.startswith("|")]
    assert table[0] == "| contender | 1 worker | 2 workers |"
    assert table[2:4] == ["| ffcv-raw | 41,000 | 66,000 |", "| memmap | 5,300 | 9,200 |"]


def test_a_bar_that_is_missed_is_named(tmp_path: Path) -> None:
    """The page is no advertisement: the sentence follows from the figures."""
    _write(tmp_path, bars=_bars(0.5))

    text = page.render(tmp_path)

    assert "the goal is **not reached** for zstd, zstd over plain" in text


def test_a_changed_figure_makes_the_check_fail_until_the_page_is_made_again(tmp_path: Path) -> None:
    """The one command draws and writes; the check is what keeps it honest."""
    places = ["--figures", str(tmp_path / "figures"), "--page", str(tmp_path / "benchmarks.md")]
    _write(tmp_path / "figures", bars=_bars(0.9), bench_224=_bench())

    assert page.main(places) == 0
    assert page.main([*places, "--check"]) == 0
    assert {path.name for path in (tmp_path / "figures").glob("*.png")} == {"bars.png", "bench-224.png"}
    assert "![" in (tmp_path / "benchmarks.md").read_text()

    values = _bars(0.9)
    values["sets"][0]["rows"][0]["runs"][0] += 1  # only a picture shows it
    _write(tmp_path / "figures", bars=values)

    assert page.main([*places, "--check"]) == 1


def test_a_file_without_a_section_of_its_own_is_shown_as_it_stands() -> None:
    """Others' measurements change shape; whatever they hold must appear, and no nested blob."""
    values = {
        "command": "x",
        "meaning": "neighbours end far apart",
        "rate": 1234.5,
        "distances": [
            {"shuffle": "window", "median": 0.31, "blob": {}},
            {"shuffle": "full", "median": 0.33, "blob": {}},
        ],
        "runs": {"window": {"longest": 9}, "full": {"longest": 8}},
    }

    text = "\n".join(generic(values))

    assert "neighbours end far apart." in text
    assert "| window | 0.31 |" in text and "blob" not in text
    assert "| full | 8 |" in text
    assert "| rate | 1,234 |" in text


def test_markdown_survives_hostile_cells_and_missing_conditions() -> None:
    """A pipe or a line break in a note must not tear a table."""
    assert table(["a", "b"], [["x|y", "1\n2"]])[-1] == "| x\\|y | 1 2 |"
    assert conditions_block({}, "make it") == [
        "```text",
        "make it",
        "not in the file: the machine, versions and commit",
        "```",
    ]


def test_the_bars_come_from_one_run_in_turns(tiny_bars: dict[str, Any]) -> None:
    """Every codec needs its ceilings, its share and, where it is asked, its lead over a plain DataLoader."""
    rows = {row["codec"]: row for row in tiny_bars["rows"]}

    assert set(rows) == {"raw", "zstd", "compact", "jpeg"}
    for codec, row in rows.items():
        assert set(row["ceilings"]) == ({"copy"} if codec == "raw" else {"copy", "decode"})
        lower = row["ceilings"][row["lower_ceiling"]]
        assert lower["images_per_second"] == min(each["images_per_second"] for each in row["ceilings"].values())
        assert row["fraction"] == pytest.approx(
            row["images_per_second"] / lower["images_per_second"], rel=0.05, abs=1e-4
        )
    assert {ratio["codec"] for ratio in tiny_bars["ratios"]} == {"compact", "raw", "zstd"}
    assert rows["jpeg"]["ceilings"]["decode"]["way"] == "bare libjpeg-turbo"


def test_photographs_and_shards_are_made_once_for_all_scripts(quick: FigureOptions, tiny_bars: dict[str, Any]) -> None:
    """Scripts share one work folder, or an hour goes into writing the same files."""
    tree, count = photo_tree(quick, size=100, count=bars.QUICK_COUNT), bars.QUICK_COUNT
    before = {path: path.stat().st_mtime_ns for path in sorted(tree.parent.rglob("*")) if path.is_file()}

    photo_shards(quick, size=100, count=count, codec="zstd")

    assert {path: path.stat().st_mtime_ns for path in sorted(tree.parent.rglob("*")) if path.is_file()} == before


@pytest.mark.parametrize("codec", ["raw", "zstd"])
def test_tiled_data_sets_are_sound_and_the_small_ones_are_the_first_shards(
    tmp_path: Path, quick: FigureOptions, codec: str
) -> None:
    """Speed at 100,000 images means nothing if the shards are no shards."""
    pixels = read_pixels(photo_shards(quick, size=100, count=bars.QUICK_COUNT, codec="raw"))[:5]
    tile(pixels, tmp_path / "all", count=13, codec=codec, samples_per_shard=4, num_workers=2)

    assert first_shards(tmp_path / "all", tmp_path / "few", pixels=pixels, num_shards=2) == 8

    for name, count in (("all", 13), ("few", 8)):
        report = verify(str(tmp_path / name), deep=True, num_workers=1)
        assert (report.ok, report.samples) == (True, count), report.errors
    assert (read_pixels(tmp_path / "few") == pixels[[0, 1, 2, 3, 4, 0, 1, 2]]).all()


def test_scale_measures_every_size_in_a_fresh_process(quick: FigureOptions, tmp_path: Path) -> None:
    """Start-up and memory of a process that has done something else already would be another figure."""
    figure = scale.run_scale(quick, say=lambda text: None)
    figure.write(tmp_path / "scale.json", command="python -m scale")

    assert [row["images"] for row in figure.results["rows"]] == list(scale.QUICK_COUNTS)
    for row in figure.results["rows"]:
        assert row["images_per_second"] > 0 and 0 < row["first_batch_seconds"] < 60
        assert 0 < row["after"]["own_bytes"] <= row["after"]["rss_bytes"]
    assert "from 24 to 48 images" in page.render(tmp_path)
    assert page.QUICK_WARNING in page.render(tmp_path)


def test_ingest_and_the_whole_way_go_through_the_command_line(quick: FigureOptions, tmp_path: Path) -> None:
    """What is timed is what a user runs; nothing of it stays behind."""
    ingest_limit.run_ingest_limit(quick, say=lambda text: None).write(tmp_path / "ingest.json", command="a")
    pipeline.run_pipeline(quick, say=lambda text: None).write(tmp_path / "pipeline.json", command="b")

    ingest = json.loads((tmp_path / "ingest.json").read_text())
    assert ingest["fraction"] == pytest.approx(
        ingest["ingest"]["runs"][0] / (2 * ingest["bare_one_core"]["runs"][0]), rel=0.05, abs=1e-3
    )
    assert [row["images"] for row in ingest["memory"]] == list(ingest_limit.QUICK_MEMORY_COUNTS)
    assert min(row["peak_pss_bytes"] for row in ingest["memory"]) > 10_000_000
    assert [row["verb"] for row in json.loads((tmp_path / "pipeline.json").read_text())["rows"]] == [
        "synth",
        "shard",
        "verify --deep",
    ]
    assert not list(quick.work.glob("ingest-limit*")) and not list(quick.work.glob("pipeline*"))
    assert "of 2 x the bare rate of one core" in page.render(tmp_path)


def test_a_command_that_fails_is_an_error_with_its_words(quick: FigureOptions) -> None:
    """A benchmark of a run that did not happen must not become a figure."""
    with pytest.raises(IngestError, match=r"pipeline: shard ended with code 1, expected 0: .*no such folder"):
        pipeline._run("shard", ["affectnet", "--src", str(quick.work / "nothing")], quick.work, 1, quick)


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("0", False), ("", False)])
def test_the_tiny_mode_is_asked_for_by_an_environment_variable(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: bool
) -> None:
    """make bench-docs hands it on to every script."""
    monkeypatch.setenv(QUICK_VARIABLE, value)

    assert is_quick() is expected


def test_every_catalogued_command_is_one_that_exists() -> None:
    """The page tells people to run them."""
    for entry in CATALOG:
        command = entry.command(figures=Path("f"), work=Path("w"), quick=True)
        if command and command[0] == "-m" and ".figures." in command[1]:
            assert (ROOT / f"{command[1].replace('.', '/')}.py").exists()
            assert f"f/{entry.name}.json" in command and "--quick" in command


def test_data_made_before_is_left_alone_when_a_run_is_stopped(quick: FigureOptions) -> None:
    """A half-written tree must not pass for a whole one."""
    half = quick.work / f"photos-16-4-{quick.seed}.part-1"
    half.mkdir()

    tree = photo_tree(quick, size=16, count=4)

    assert len(list(tree.rglob("*.jpg"))) == 4
    shutil.rmtree(half)
