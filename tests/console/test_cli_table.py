"""``shard table`` as it is typed: where the source is, and what an answer to each of its questions is called."""

from pathlib import Path

import pytest
from verbs import refusal, run_verb

import ferdata


def test_a_table_alone_says_where_its_images_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn by ``synth table``, its folder is the source; what was guessed, and what each word became, is printed."""
    monkeypatch.chdir(tmp_path)
    run_verb("synth", "table", "faces", "--count", "21", "--size", "32", "--workers", "1")

    told = run_verb("shard", "table", "--table", "faces/labels.csv", "--size", "32", "--workers", "1")

    assert "person from 'subject'" in told and "name others with --columns" in told
    assert "happiness = Happy" in told
    assert sum(map(sum, ferdata.read_index("shards/table").counts.values())) == 21


def test_numbers_are_asked_about_by_flags(tmp_path: Path) -> None:
    """What Python calls class_names= is typed --class-names; a name that is missing is asked for before anything."""
    (tmp_path / "labels.csv").write_text("image,label\na.jpg,0\nb.jpg,1\n")

    asked = refusal("shard", "table", "--src", tmp_path, "--out", tmp_path.parent / "out")

    assert "--class-names neutral,happy,sad" in asked and "--labels affectnet|rafdb|fer2013" in asked
    assert f"--table {tmp_path}/labels.csv" in refusal("shard", "table", "--src", tmp_path / "labels.csv")
    assert "put images there, and a csv" in refusal("shard", "table", "--src", tmp_path / "gone")
    assert "read labels.csv with shard table and --table labels.csv" in _with_image(tmp_path)


def _with_image(root: Path) -> str:
    (root / "a.jpg").write_bytes(b"x")
    return refusal("shard", "folder", "--src", root, "--out", root.parent / "out")
