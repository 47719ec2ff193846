"""How several data sets are asked for: what stands behind a colon, and what a set is called."""

from pathlib import Path

import pytest

from ferdata.errors import OptionError
from ferdata.mixing import set_names, weighted


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (["a"], "a"),
        (["a:2"], "a"),
        (["a", "b"], ["a", "b"]),
        (["a:0.7", "b:0.3"], {"a": 0.7, "b": 0.3}),
        (["a", "b:3"], {"a": 1.0, "b": 3.0}),
        (["C:\\a", "s3://bucket/b:2"], {"C:\\a": 1.0, "s3://bucket/b": 2.0}),
        (["http://host:8080"], "http://host:8080"),
        (["http://host:8080/a:2", ":3"], {"http://host:8080/a": 2.0, ":3": 1.0}),
        (["a:b", "c"], ["a:b", "c"]),
    ],
)
def test_what_is_typed_is_a_set_or_several_or_several_with_weights(typed: list[str], found: object) -> None:
    """Colons stand in drives and ports too."""
    assert weighted(typed) == found


def test_a_folder_that_is_called_so_is_that_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has a folder 'a:2' cannot read it otherwise."""
    (tmp_path / "a:2").mkdir()
    monkeypatch.chdir(tmp_path)

    assert weighted(["a:2", "b"]) == ["a:2", "b"]


def test_a_set_that_is_named_twice_is_refused() -> None:
    """The second weight would win without a word."""
    with pytest.raises(OptionError, match="shards: a found twice, expected each set once; give it a larger weight"):
        weighted(["a:1", "b", "a:2"])


def test_sets_are_called_by_their_folders_where_these_differ() -> None:
    """Two folders 'shards' are told apart by their paths, and no password is a name."""
    assert set_names(["x/affectnet", "x/rafdb/"]) == ("affectnet", "rafdb")
    assert set_names(["x/set", "http://me:secret@host/set"]) == ("x/set", "http://***@host/set")
