"""The front door: what ``import ferdata`` offers, that it opens fast, and that each name's own example runs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from make_dataset import make_dataset

import ferdata
from ferdata.errors import OptionError
from ferdata.ingest.target import check_apart


def imported_for_types() -> set[str]:
    """Return the names that type checkers see."""
    tree = ast.parse(Path(ferdata.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {alias.asname or alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_every_name_is_listed_typed_and_there() -> None:
    """A name that completes in an editor and fails when it is run, or the reverse, is worse than none."""
    assert dir(ferdata) == sorted(ferdata.__all__) == sorted({*imported_for_types(), "__version__"})
    assert all(getattr(ferdata, name) is not None for name in dir(ferdata))
    with pytest.raises(AttributeError, match="no attribute 'loader'"):
        _ = ferdata.loader  # type: ignore[attr-defined]


@pytest.mark.parametrize("first", ["import ferdata.ingest, ferdata.plan, ferdata.dataset.verify", "import ferdata.stream", ""])
def test_a_name_means_the_same_whatever_was_imported_before(first: str) -> None:
    """Python binds a package that was imported over whatever its parent has of that name."""
    code = f"{first}\nimport ferdata\nassert all(callable(getattr(ferdata, name)) for name in dir(ferdata) if name != '__version__')"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(ferdata.__file__).parents[1])


def test_importing_it_waits_for_nothing_large() -> None:
    """``import ferdata`` stands at the top of scripts that may never load a batch."""
    code = "import sys, ferdata; dir(ferdata); sys.exit(len({'torch', 'numpy', 'pyarrow', 'model'} & {*sys.modules}))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(ferdata.__file__).parents[1])


def test_the_types_are_shipped() -> None:
    """Without ``py.typed`` type checkers take everything for Any."""
    home = Path(ferdata.__file__).parent
    assert (home / "py.typed").is_file()
    assert "ferdata = py.typed" in (home.parent / "setup.cfg").read_text()


def test_a_folder_is_text_or_a_path_or_a_url(tmp_path: Path) -> None:
    """Whoever has a Path should not have to know which function wants text."""
    root = tmp_path / "faces"
    make_dataset(root)
    places = [root, str(root), f"file://{root}"]

    assert len({ferdata.read_index(place).fingerprint for place in places}) == 1
    assert {ferdata.describe(place).root for place in places} == {str(root)}
    assert all(ferdata.verify(place).ok for place in places)
    assert {len(ferdata.ShardDataset(place)) for place in places} == {40}
    for number, place in enumerate(places):
        recoded = ferdata.recode(place, out=tmp_path / f"raw{number}", codec="raw")
        exported = ferdata.export(place, to="tar", out=tmp_path / f"tar{number}")
        drawn = ferdata.preview(place, tmp_path / f"{number}.png")
        assert (recoded.out, exported.out, drawn) == tuple(
            str(tmp_path / f"{name}") for name in (f"raw{number}", f"tar{number}", f"{number}.png")
        )
    options = ferdata.IngestOptions(source="folder", src=root, out=tmp_path / "out")
    assert (options.src, options.out) == (str(root), str(tmp_path / "out"))
    with pytest.raises(OptionError, match="the folder of the images"):
        check_apart(root, root)
