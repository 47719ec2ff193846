"""plan, shard --codec auto, recode and export from the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plans import time_shortly
from verbs import run_verb

SIZE = 24


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class-folder tree of small JPEGs."""
    root = tmp_path_factory.mktemp("source")
    y, x = np.mgrid[:SIZE, :SIZE]
    for number in range(30):
        path = root / "train" / ("Happy", "Sad")[number % 2] / f"{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.stack([x * 9, y * 7 + number, x * y % 251], axis=2).astype(np.uint8)).save(path, quality=80)
    return root


def test_auto_writes_a_data_set_that_plan_then_measures(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two must agree on how they name things, on the screen and in JSON."""
    time_shortly(monkeypatch, size=SIZE)
    out, told = tmp_path / "shards", tmp_path / "shard.json"
    said = run_verb("shard", "folder", "--src", source, "--out", out, "--size", SIZE, "--codec", "auto", "--json", told)
    codec = json.loads(told.read_text())["codec"]
    assert f"codec {codec}: Use {codec} with" in " ".join(said.split())
    assert json.loads((out / "index.json").read_text())["codec"]["name"] == codec

    said = run_verb("plan", out, "--json", tmp_path / "plan.json")
    found = json.loads((tmp_path / "plan.json").read_text())
    assert found["recommendation"]["sentence"] in " ".join(said.split())
    assert found["codec"] == codec and found["num_samples"] == 30
    assert {row["codec"] for row in found["rows"]} == {"raw", "zstd", "compact", "jpeg"}
    assert all(
        row[name] > 0
        for row in found["rows"]
        for name in ("workers", "num_bytes", "cached_share", "warm", "cold", "steady")
    )
    assert {row["limit"] for row in found["rows"]} <= {"decode", "copy", "loader", "memory"}


def test_plan_without_a_data_set_says_so_in_one_line(tmp_path: Path) -> None:
    """No measuring for half a minute first."""
    said = run_verb("plan", tmp_path, code=1)
    assert said.startswith(f"error: {tmp_path}: no index.json found") and said.count("\n") == 1


def test_jpeg_goes_to_compact_to_plain_tars_and_not_back(tmp_path: Path, source: Path) -> None:
    """The way through all codecs, without the source."""
    run_verb("shard", "folder", "--src", source, "--out", tmp_path / "jpeg", "--size", SIZE, "--codec", "jpeg")
    run_verb("recode", tmp_path / "jpeg", "--codec", "compact", "--out", tmp_path / "compact")
    run_verb("export", tmp_path / "jpeg", "--to", "tar", "--out", tmp_path / "a")
    run_verb("export", tmp_path / "compact", "--to", "tar", "--out", tmp_path / "b")
    assert (tmp_path / "a" / "train-000000.tar").read_bytes() == (tmp_path / "b" / "train-000000.tar").read_bytes()

    said = run_verb("recode", tmp_path / "compact", "--codec", "jpeg", "--out", tmp_path / "back", code=1)
    assert "run 'shard --codec jpeg' on the images themselves" in said
    said = run_verb(
        "shard", "folder", "--src", source, "--out", tmp_path / "small", "--size", 12, "--codec", "jpeg", code=1
    )
    assert "of 30 images looked at, 30 resized or cropped" in said
    assert not list((tmp_path / "small").glob("*")) and not (tmp_path / "small" / ".parts").exists()
