"""The notebooks in examples: each runs from top to bottom in an empty folder, and is kept without what it printed."""

import os
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

ROOT = Path(__file__).parents[1]
BOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
NEEDS = {"03": ["lightning"], "04": ["accelerate", "transformers"], "07": ["cleanlab"], "08": ["av"]}


@pytest.mark.parametrize("book", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_its_outputs(book: Path) -> None:
    """Pictures of the last run would fill the history, and be of faces that may not be shown."""
    cells = nbformat.read(book, 4).cells
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
    for cell in cells:
        assert cell.cell_type == "markdown" or (not cell.outputs and cell.execution_count is None)


@pytest.mark.parametrize("book", BOOKS, ids=lambda path: path.stem)
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_notebook_runs_from_top_to_bottom(book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the data that it draws itself, and nothing from anywhere else."""
    for package in NEEDS.get(book.stem[:2], []):
        pytest.importorskip(package)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(nbformat.read(book, 4), timeout=300, kernel_name="python3", resources=resources).execute()
