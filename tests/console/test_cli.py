"""The command line: what it refuses before the work, and that every refusal is one line."""

import json
from pathlib import Path

import pytest
from make_dataset import make_dataset
from typer.testing import CliRunner
from verbs import refusal as refused

from ferdata.console import options as flags
from ferdata.console.app import app


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A finished data set."""
    make_dataset(tmp_path / "shards", samples={"train": 12})
    return tmp_path / "shards"


VERBS = {
    "shard": ["rafdb", "--src", "{tmp}/shards", "--out", "{tmp}/out"],
    "synth": ["rafdb", "{tmp}/out"],
    "info": ["{tmp}/shards"],
    "verify": ["{tmp}/shards"],
    "plan": ["{tmp}/shards"],
    "export": ["{tmp}/shards", "--out", "{tmp}/out"],
    "recode": ["{tmp}/shards", "--codec", "raw", "--out", "{tmp}/out"],
    "bench-loader": ["--shards", "{tmp}/shards"],
    "train": ["--shards", "{tmp}/shards"],
    "convert": ["{tmp}/shards", "--out", "{tmp}/out.onnx"],
    "evaluate": ["{tmp}/shards", "--shards", "{tmp}/shards"],
    "explain": ["{tmp}/shards"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_json_file_that_cannot_be_written_is_refused_before_the_work(shards: Path, tmp_path: Path, verb: str) -> None:
    """After an hour of work it would be a traceback, and the figures gone."""
    arguments = [argument.format(tmp=tmp_path) for argument in VERBS[verb]]
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))

    for bad, text in (
        (str(tmp_path), "a folder found"),
        ("", "no file name found"),
        (f"{tmp_path}/file/x.json", "which is no folder"),
    ):
        assert f"--json {bad or repr(bad)}: " in (said := refused(verb, *arguments, "--json", bad)) and text in said
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("verb", ["shard", "export", "recode"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(shards: Path, tmp_path: Path, verb: str) -> None:
    """An HTTP address takes no files, and a file holds none."""
    arguments = [argument.format(tmp=tmp_path) for argument in VERBS[verb]]
    (tmp_path / "file").write_text("")

    for bad, text in (
        ("http://127.0.0.1:9/out", "an HTTP address found, which cannot be written"),
        (f"{tmp_path}/file", "a file found, expected a folder"),
        (f"{tmp_path}/file/out", f"{tmp_path}/file found, which is no folder"),
        ("", "no name found"),
    ):
        assert text in refused(verb, *arguments[: arguments.index("--out")], "--out", bad)


def test_verify_claims_only_what_it_has_decoded(shards: Path) -> None:
    """With a shard gone, "every one decoded" beside its fault would be believed."""
    sound = CliRunner().invoke(app, ["verify", str(shards), "--deep"])
    next(shards.glob("train-*")).unlink()
    missing = CliRunner().invoke(app, ["verify", str(shards), "--deep"])

    assert (sound.exit_code, missing.exit_code) == (0, 1)
    assert "sound; 1 shards, 12 samples, every one decoded" in " ".join(sound.stdout.split())
    assert "every one decoded" not in missing.stdout and "12 samples in the index" in " ".join(missing.stdout.split())


def test_the_demo_goes_to_a_local_folder(tmp_path: Path) -> None:
    """A URL would become a folder called s3: here."""
    (tmp_path / "file").write_text("")

    assert (
        refused("demo", "--out", "s3://bucket/demo")
        == "--out s3://bucket/demo: a URL found, expected a local folder; name one"
    )
    assert "a file found, expected a folder" in refused("demo", "--out", tmp_path / "file")


def test_pictures_are_refused_where_they_cannot_be_written(shards: Path, tmp_path: Path) -> None:
    """Before half a minute of measuring."""
    for bad in ("plot.pdf", "plot", "s3://bucket/plot.png"):
        assert refused("bench-loader", "--plot", bad) == (
            f"--plot {bad}: expected a local file that ends in .png or .svg (both are written); name one"
        )
    (tmp_path / "file").write_text("")
    assert "which is no folder" in refused("bench-loader", "--plot", f"{tmp_path}/file/a.png")
    for bad in (f"{tmp_path}/file/a.png", "http://127.0.0.1:9/a.png"):
        assert refused("preview", shards, "--out", bad).startswith(f"--out {bad}: ")


def test_figures_go_to_a_url_too(shards: Path) -> None:
    """Next to the shards they are about."""
    from ferdata.store import Store

    assert CliRunner().invoke(app, ["info", str(shards), "--json", "memory://figures/info.json"]).exit_code == 0
    assert json.loads(Store("memory://figures").read("info.json"))["samples"] == {"train": 12}


def test_an_unknown_codec_names_those_that_the_verb_has(shards: Path, tmp_path: Path) -> None:
    """shard can choose by itself; recode has no images to make jpeg of."""
    assert refused("shard", "folder", "--src", tmp_path, "--codec", "gzip") == (
        "--codec: 'gzip' found, expected raw, zstd, compact, jpeg or auto"
    )
    assert (
        refused("recode", shards, "--out", tmp_path / "out", "--codec", "gzip")
        == "--codec: 'gzip' found, expected raw, zstd or compact"
    )


@pytest.mark.parametrize("source", ["affectnet", "rafdb", "jaffe", "folder"])
def test_the_way_to_try_it_without_a_source_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """A hint that fails is worse than none: faces are never drawn as plain class folders."""
    monkeypatch.chdir(tmp_path)
    hint = refused("shard", source).partition("To try ferdata without it: ")[2].replace("2000", "24")

    synth, shard = (command.removeprefix("ferdata ").split() for command in hint.split(", then "))
    for arguments in (
        [*synth, "--size", "32", "--workers", "1"],
        [*shard, "--size", "32", "--out", "out", "--workers", "1"],
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output


def test_help_names_folders_as_the_page_does() -> None:
    """A reader of {folder} would type the braces."""
    for verb in ("info", "verify", "plan", "preview", "export", "recode"):
        text = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
        assert " DIR" in text and "{folder}" not in text
    assert (
        "3 or more"
        in CliRunner().invoke(app, ["bench-loader", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    )


def test_lists_of_names_may_be_empty_or_none() -> None:
    assert flags.names("a,b") == ("a", "b") and flags.names("") == flags.names("none") == ()
