"""The study of scale: every term at toy size, and the model against figures that can be worked out by hand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ferdata_bench.studies.scale import TERMS, draw_index, draw_table, main, model, open_index, open_table
from ferdata_bench.studies.scaling_page import bucket_tables, scale_tables
from ferdata_bench.studies.transport import TransportRow, markdown

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("term", ["order", "checked", "items"])
def test_a_tiny_study_runs_to_its_end(term: str, tmp_path: Path) -> None:
    """A command of the documents that no longer runs cannot be repeated by anybody."""
    found = TERMS[term][0](3000, tmp_path)

    assert found and all(value >= 0 for value in found.values())


@pytest.mark.slow
def test_memory_of_a_conversion_hardly_grows_with_its_items(capfd: pytest.CaptureFixture[str]) -> None:
    """Columns of an item are 700 bytes: some numbers of each may be in memory, and nothing else."""
    peaks = []
    for count in ("80000", "240000"):
        subprocess.run([sys.executable, "-m", "ferdata_bench.studies.scale", "items", count], check=True)
        peaks.append(json.loads(capfd.readouterr().out)["finish_mb"])

    assert peaks[1] - peaks[0] < 160_000 * 150 / 1e6


def test_indexes_and_tables_are_drawn_and_opened(tmp_path: Path) -> None:
    """Another process opens them, so that what drawing them took does not count."""
    assert draw_index(3000, tmp_path / "a")["shards"] == 4 and open_index(str(tmp_path / "a"))["open_seconds"] > 0
    assert draw_table(3000, tmp_path / "b")["bytes_per_row"] > 10 and open_table(str(tmp_path / "b"))["groups"] == 1


def test_the_tables_of_the_page_are_those_of_the_records() -> None:
    """Figures copied by hand grow old in silence."""
    text = (ROOT / "docs/scaling.md").read_text()
    scale, transport, *buckets = (
        json.loads((ROOT / f"docs/figures/{name}.json").read_text())
        for name in ("scaling", "transport", "bucket", "bucket-72000")
    )
    rows = [TransportRow(**row) for row in transport["rows"] if row["latency_ms"] == 20]

    for table in (*scale_tables(scale["rows"]).values(), *bucket_tables(buckets).values(), "\n".join(markdown(rows))):
        assert table in text
    for record in (scale, transport, *buckets):
        assert f"commit {record['conditions']['commit'][:7]}" in text


def test_the_model_is_what_one_works_out_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    """Photographs of 51,800 bytes: runs of 160 of them, windows of 40 batches."""
    found = model(images=1e6, ranks=10, image_bytes=51_800, rate=1000)

    assert found["rank_runs"] == 1e5 / 160 and found["rank_windows"] == 1e5 / (40 * 128)
    assert found["epoch_hours"] == pytest.approx(100 / 3600)
    assert found["rank_megabytes_per_second"] == pytest.approx(51.8)
    assert found["all_runs_per_second"] == pytest.approx(62.5)
    assert main(["model", "--images", "1e6"]) == 0
    assert "rank_samples" in capsys.readouterr().out
