"""The measurement of shuffles: it must see a bad shuffle as bad, and measure the loader's own order and no other."""

import json
from pathlib import Path

import numpy as np
import pytest
from make_dataset import make_dataset

from ferdata.errors import OptionError
from ferdata.stream import Loader
from ferdata_bench.studies import shuffle_quality
from ferdata_bench.studies.shuffle_quality import QualityOptions, main, measure_quality

SMALL = QualityOptions(data_set="rafdb", batch_size=32, spans=(64, 2048), epochs=2, seed=1)


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], dict[str, float]]:
    return {(row["way"], row["stored"]): row for row in measure_quality(SMALL)["ways"]}


def test_a_true_permutation_measures_as_chance(rows: dict[tuple[str, str], dict[str, float]]) -> None:
    """The yardstick itself: distances of 1 - sqrt(1/2) of the epoch, a batch's share of meetings, balance 1."""
    for stored in shuffle_quality.STORED:
        row = rows["true permutation", stored]
        assert row["neighbour_median"] == pytest.approx(1 - 0.5**0.5, abs=0.01)
        assert row["neighbours_in_batch"] == pytest.approx(32 / 12271, rel=0.3)
        assert row["together_again"] == pytest.approx(32 / 12271, rel=0.1)
        assert row["batch_balance"] == pytest.approx(1, abs=0.12)


def test_a_full_shuffle_cannot_be_told_from_a_permutation(rows: dict[tuple[str, str], dict[str, float]]) -> None:
    """``shuffle="full"`` promises an exact permutation."""
    full, true = rows["full", "sorted by class"], rows["true permutation", "sorted by class"]
    assert full["neighbour_median"] == pytest.approx(true["neighbour_median"], abs=0.01)
    assert full["batch_balance"] == pytest.approx(1, abs=0.12)


def test_a_narrow_window_over_sorted_shards_is_seen_to_be_bad(rows: dict[tuple[str, str], dict[str, float]]) -> None:
    """Who finds everything good measures nothing; runs of neighbours must show where neighbours are of one class."""
    narrow, wide = rows["window of 64", "sorted by class"], rows["window of 2,048", "sorted by class"]
    assert narrow["neighbour_median"] < wide["neighbour_median"] < 0.2
    assert min(narrow["batch_balance"], wide["batch_balance"]) > 1.25
    assert narrow["neighbours_in_batch"] > 0.2 > 8 * wide["neighbours_in_batch"]


def test_the_default_window_over_shards_of_ingest_gives_the_labels_of_a_permutation(
    rows: dict[tuple[str, str], dict[str, float]],
) -> None:
    """What the default promises to a training: batches composed as chance composes them, runs of labels no longer."""
    window, true = rows["window of 2,048", "as ingest writes"], rows["true permutation", "as ingest writes"]
    assert window["batch_balance"] == pytest.approx(1, abs=0.12)
    assert window["label_run_mean"] == pytest.approx(true["label_run_mean"], rel=0.02)


def test_what_is_measured_is_what_the_loader_does(tmp_path: Path) -> None:
    """The options of the order come from here and from the loader; where they part, the figures mean nothing."""
    make_dataset(tmp_path, size=64, samples={"train": 40}, codec="raw")
    loader = Loader(tmp_path, num_workers=0, batch_size=32, drop_last=False, seed=1)
    stored_bytes = loader.index.shards[0].num_bytes // 40
    ways = shuffle_quality._ways(QualityOptions(size=64, batch_size=32, seed=1, stored_bytes=stored_bytes, spans=(64,)))
    assert loader.order in ways.values() and f"window of {loader.order.window_samples:,}" in ways


def test_figures_table_and_picture_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the documentation shows comes from these files."""
    assert main(["--out", str(tmp_path / "out"), "--data-set", "rafdb", "--epochs", "2"]) == 0
    table = (tmp_path / "out/shuffle.md").read_text()
    assert capsys.readouterr().out == table and table.count("\n") == 2 + 2 * 7
    values = json.loads((tmp_path / "out/shuffle.json").read_text())
    assert values["samples"] == 12271 and values["conditions"]["batch_size"] == 128
    assert (tmp_path / "out/shuffle.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert np.isfinite([row["neighbour_median"] for row in values["ways"]]).all()


def test_settings_out_of_range_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """By name, and as one line from the command."""
    with pytest.raises(OptionError, match="data_set: 'imagenet' found, expected one of affectnet, rafdb"):
        QualityOptions(data_set="imagenet")
    assert main(["--epochs", "1"]) == 1
    assert "expected at least 2 epochs" in capsys.readouterr().out
