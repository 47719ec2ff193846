"""The page on reproducing the report: its commands are commands, its sweeps train, its table is what was measured."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from train_helpers import planted_dataset

from ferdata.console.app import app
from ferdata.training import train
from ferdata.training.sweep.spec import REPORT_SPECS, read_spec
from ferdata.training.sweep.trials import grid, pretraining, trials_of
from ferdata_bench.studies.reproduce import PAGE, draw_factors, factor_table, files, page_commands, reproduce

TEXT = PAGE.read_text(encoding="utf-8")
RECORD = json.loads(PAGE.with_suffix(".json").read_text())
SPECS = sorted(path.stem for path in REPORT_SPECS.glob("*.toml"))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(planted_dataset(tmp_path_factory.mktemp("data")))


@pytest.mark.parametrize("toy", [False, True])
def test_every_command_of_the_page_is_one(toy: bool) -> None:
    """With real data sets too, where nobody tries it before it costs a night; values are ones that settings take."""
    verbs = typer.main.get_command(app)
    commands = [words[2:] for words in page_commands(TEXT, toy=toy) if words[1] == "cli.py"]
    for words in commands:
        with verbs.make_context("ferdata", words) as context:
            name, command, rest = verbs.resolve_command(context, words)
            asked = command.make_context(name, rest, parent=context).params
        if words[0] == "sweep":
            spec = read_spec(asked["spec"], vary=asked["vary"] or (), seeds=asked["seeds"], train={"shards": "s"})
            assert len(grid(spec)) >= 3 and len(spec.vary) == 1

    swept = [words[1] for words in commands if words[0] == "sweep"]
    assert sorted(swept) == SPECS


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if "batch" in name or "pretraining" in name else pytest.mark.slow) for name in SPECS],
)
def test_a_run_of_each_spec_trains(name: str, shards: str, tmp_path: Path) -> None:
    """The last of its values, which is the largest, for one epoch."""
    small = {"shards": shards, "epochs": 1, "num_workers": 0, "device": "cpu"}
    small |= {"limit": 32, "size": 48} if "networks" in name else {"model": "basic1"}
    spec = read_spec(name, vary=[f"pretrain.shards={shards}"] if "pretraining" in name else [], train=small)
    settings = grid(spec)[-1]
    first, (trial,) = pretraining(spec, settings, tmp_path), trials_of(spec, settings, tmp_path)

    if first is not None:
        train(replace(first.options, epochs=1))
    result = train(trial.options)

    assert (first is None) == (trial.options.init_from is None)
    assert result.steps >= 1 and set(result.accuracy) == {"train", "val"}


def test_the_table_of_the_page_is_what_was_measured() -> None:
    """With a picture that has all of it."""
    assert factor_table(RECORD) in TEXT
    assert [*RECORD] == [read_spec(words[3]).title for words in page_commands(TEXT, toy=True) if words[2] == "sweep"]
    assert draw_factors(RECORD).startswith(b"\x89PNG")


@pytest.mark.slow
def test_all_toy_commands_run(tmp_path: Path) -> None:
    """In the order of the page, each on what those before left; a second call finds nothing to do."""
    record = reproduce(tmp_path, quick=True)

    assert [*record] == [*RECORD] and (tmp_path / "factors.png").exists()
    for words in page_commands(TEXT, toy=True):
        option = next((each for each in ("--out", "--json") if each in words), None)
        out = tmp_path / (words[words.index(option) + 1] if option else "toy")
        assert any(out.iterdir()) if out.is_dir() else out.exists()
    assert set(files(TEXT)) <= {path.name for path in tmp_path.iterdir()}
    before = (tmp_path / "toy" / "ensemble" / "evaluation.html").stat().st_mtime_ns
    reproduce(tmp_path, quick=True)
    assert (tmp_path / "toy" / "ensemble" / "evaluation.html").stat().st_mtime_ns == before
