"""The front door: what ``import ferdata`` offers, that it opens fast, and that each name's own example runs."""

import ast
import doctest
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from make_dataset import make_dataset

import ferdata
from ferdata.errors import OptionError
from ferdata.ingest.target import check_apart
from ferdata.synth import draw_face, write_synthetic
from ferdata.training import TrainOptions, train
from ferdata.training.prediction.frames import writing


def imported_for_types() -> set[str]:
    """Return the names that type checkers see."""
    tree = ast.parse(Path(ferdata.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.asname or alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def test_every_name_is_listed_typed_and_there() -> None:
    """A name that completes in an editor and fails when it is run, or the reverse, is worse than none."""
    assert dir(ferdata) == sorted(ferdata.__all__) == sorted({*imported_for_types(), "__version__"})
    assert all(getattr(ferdata, name) is not None for name in dir(ferdata))
    with pytest.raises(AttributeError, match="no attribute 'loader'"):
        _ = ferdata.loader  # type: ignore[attr-defined]


@pytest.mark.parametrize("first", ["import ferdata.ingest, ferdata.plan, ferdata.dataset.verify, ferdata.stream", ""])
def test_a_name_means_the_same_whatever_was_imported_before(first: str) -> None:
    """Python binds a package that was imported over whatever its parent has of that name."""
    check = "assert all(callable(getattr(ferdata, name)) for name in dir(ferdata) if name != '__version__')"
    code = f"{first}\nimport ferdata\n{check}"
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


PAGE = (Path(ferdata.__file__).parents[1] / "docs" / "frameworks.md").read_text()
FRAMEWORKS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples speak of: drawn faces, their shards, and a run on them."""
    folder = tmp_path_factory.mktemp("examples")
    for name, count in (("affectnet", 240), ("rafdb", 100)):
        source, shards = folder / "data" / name, folder / "shards" / name
        write_synthetic(name, str(source), count=count, size=32, num_workers=1)
        ferdata.shard(ferdata.IngestOptions(source=name, src=source, out=shards, size=32, num_workers=1))
    options = TrainOptions(
        shards=folder / "shards" / "affectnet",
        model="basic1",
        epochs=1,
        batch_size=64,
        num_workers=0,
        device="cpu",
        out=folder / "runs",
        name="first",
    )
    train(options)
    with writing(str(folder / "clip.mp4"), (48, 48)) as write:
        for number in range(5):
            write(draw_face(number, number, 48).image, number / 10)
    return folder


@pytest.mark.parametrize("name", [name for name in dir(ferdata) if name != "__version__"])
def test_the_example_of_each_name_runs(name: str, examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples are what is read first and copied; one that fails costs more than none."""
    monkeypatch.chdir(examples)
    names = {"ferdata": ferdata, "torch": torch, "Path": Path}
    found = doctest.DocTestFinder(recurse=False).find(getattr(ferdata, name), name, globs=names)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    said: list[str] = []

    for test in found:
        runner.run(test, out=said.append)

    assert runner.summarize(verbose=False).failed == 0, "".join(said)
    assert sum(len(test.examples) for test in found) > 0, f"ferdata.{name} has no example in its docstring"


def test_the_page_on_loading_runs_from_top_to_bottom(examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks build on each other, as they are read."""
    monkeypatch.chdir(examples)
    page = (Path(ferdata.__file__).parents[1] / "docs" / "loading.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) > 4
    names = {"ferdata": ferdata, "torch": torch}
    for block in blocks:
        exec(block, names)


def test_the_page_of_the_package_shows_every_public_name() -> None:
    """What is public and on no page is found by nobody."""
    page = (Path(ferdata.__file__).parents[1] / "docs" / "api.md").read_text()
    assert sorted(re.findall(r"^::: ferdata\.(\w+)$", page, re.MULTILINE)) == [
        each for each in dir(ferdata) if each != "__version__"
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", FRAMEWORKS)
def test_each_part_of_the_page_on_frameworks_runs(
    part: str, examples: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is copied into a training script as it stands; where a framework is not installed, its part waits."""
    for folder in ("shards", "runs", "data"):
        (tmp_path / folder).symlink_to(examples / folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    [block] = re.findall(r"```python\n(.*?)```", FRAMEWORKS[part], re.DOTALL)
    for package in re.findall(r"^(?:import|from) (\w+)", block, re.MULTILINE):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    if "pipe:zstd" in block and shutil.which("zstd") is None:
        pytest.skip("the zstd program is not installed")
    names: dict[str, object] = {"__name__": "example"}
    exec(compile(block, part, "exec"), names)
    assert names.get("tracked", True)
    loader = names.get("loader")
    if isinstance(loader, ferdata.Loader):
        loader.close()
