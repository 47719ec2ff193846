"""plan, shard --codec auto, recode and export from the command line, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
SIZE = 24


def ferdata(*arguments: object, code: int = 0) -> str:
    """Run the program as a user does, and return what it printed."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=110,
        env={**os.environ, "COLUMNS": "160"},
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


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


def test_auto_writes_a_data_set_that_plan_then_measures(tmp_path: Path, source: Path) -> None:
    """The two must agree on how they name things, on the screen and in JSON."""
    out = tmp_path / "shards"
    said = ferdata(
        "shard",
        "folder",
        "--src",
        source,
        "--out",
        out,
        "--size",
        SIZE,
        "--codec",
        "auto",
        "--json",
        tmp_path / "shard.json",
    )
    codec = json.loads((tmp_path / "shard.json").read_text())["codec"]
    assert f"codec {codec}: Use {codec} with" in said
    assert json.loads((out / "index.json").read_text())["codec"]["name"] == codec

    said = ferdata("plan", out, "--json", tmp_path / "plan.json")
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
    said = ferdata("plan", tmp_path, code=1)
    assert said.startswith(f"error: {tmp_path}: no index.json found") and said.count("\n") == 1


def test_jpeg_goes_to_compact_to_plain_tars_and_not_back(tmp_path: Path, source: Path) -> None:
    """The way through all codecs, without the source."""
    ferdata("shard", "folder", "--src", source, "--out", tmp_path / "jpeg", "--size", SIZE, "--codec", "jpeg")
    ferdata("recode", tmp_path / "jpeg", "--codec", "compact", "--out", tmp_path / "compact")
    ferdata("export", tmp_path / "jpeg", "--to", "tar", "--out", tmp_path / "a")
    ferdata("export", tmp_path / "compact", "--to", "tar", "--out", tmp_path / "b")
    assert (tmp_path / "a" / "train-000000.tar").read_bytes() == (tmp_path / "b" / "train-000000.tar").read_bytes()

    said = ferdata("recode", tmp_path / "compact", "--codec", "jpeg", "--out", tmp_path / "back", code=1)
    assert "run 'shard --codec jpeg' on the images themselves" in said
    said = ferdata(
        "shard", "folder", "--src", source, "--out", tmp_path / "small", "--size", 12, "--codec", "jpeg", code=1
    )
    assert "of 30 images looked at, 30 resized or cropped" in said
    assert not list((tmp_path / "small").glob("*")) and not (tmp_path / "small" / ".parts").exists()
