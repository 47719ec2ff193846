"""Built-in data and the choice of a data set: what this version cannot read is built again, or said."""

from functools import partial
from pathlib import Path

import pytest
from make_dataset import make_dataset

from ferdata.dataset import builtin
from ferdata.dataset.builtin import builtin_shards, find_shards, has_shards

few = partial(builtin_shards, count=24, size=32)


def test_a_new_format_version_is_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache outlives an upgrade; shards of the old version in it would end every run with an error."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = few()
    monkeypatch.setattr(builtin, "FORMAT_VERSION", builtin.FORMAT_VERSION + 1)

    assert few() != before


def test_built_in_data_that_is_damaged_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can be asked to repair a cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said: list[str] = []
    root = few(say=said.append)
    whole = (Path(root) / "index.json").read_bytes()
    (Path(root) / "index.json").write_bytes(whole[:-10])
    assert not has_shards(root)

    assert few(say=said.append) == root and len(said) == 2
    assert (Path(root) / "index.json").read_bytes() == whole
    assert few(say=said.append) == root and len(said) == 2


def test_a_data_set_that_cannot_be_read_is_passed_over_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who did not ask for it must not be stopped by it, nor wonder why it is not used."""
    monkeypatch.chdir(tmp_path)
    make_dataset("shards/rafdb", samples={"train": 4})
    (tmp_path / "shards/affectnet").mkdir()
    (tmp_path / "shards/affectnet/index.json").write_text("not ours")
    said: list[str] = []

    assert find_shards(None, say=said.append) == "shards/rafdb"
    assert (
        len(said) == 2
        and said[0].startswith("left out: shards/affectnet/index.json: ")
        and said[1] == "using shards/rafdb"
    )
