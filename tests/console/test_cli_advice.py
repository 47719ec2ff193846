"""What errors say to type is what works, and names things as they are typed."""

import subprocess
import sys
from pathlib import Path

import pytest
from make_dataset import make_dataset
from PIL import Image
from verbs import refusal, run_verb

CLI = str(Path(__file__).parents[2] / "cli.py")


def test_the_demo_does_not_replace_a_page_of_somebody_else_s(tmp_path: Path) -> None:
    """A report in the folder may be the thesis."""
    (tmp_path / "report.html").write_text("mine")
    assert "report.html found, which no demo has written" in refusal("demo", "--out", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("typed", "option"),
    [
        (("shard", "folder", "--src", "{tmp}", "--limit", "0"), "--limit: 0 found"),
        (("shard", "folder", "--src", "{tmp}", "--group-by", "(.)"), "--group-by: '(.)' found"),
        (("preview", "{shards}", "--out", "{tmp}/x.png", "--per-class", "99"), "--per-class: 99 found"),
        (("export", "{shards}", "--out", "{tmp}/x", "--to", "zip"), "--to: 'zip' found"),
        (("recode", "{shards}", "--out", "{tmp}/x", "--codec", "raw", "--workers", "0"), "--workers: 0 found"),
        (("shard", "folder", "--src", "{tmp}", "--rafdb-images", "x"), "--rafdb-images: 'x' found"),
        (("synth", "rafdb", "{tmp}/x", "--count", "0"), "--count: 0 found"),
        (("train", "--shards", "{shards}", "--batch-size", "0"), "--batch-size: 0 found"),
        (
            ("train", "--shards", "{shards}", "--model", "mod4", "--freeze", "backbone"),
            "--freeze: a backbone with fresh weights would stay random, expected --init-from or --pretrained",
        ),
        (("info", "htp://host/set"), "htp://host/set: Protocol not known: htp, expected an address that fsspec can"),
    ],
)
def test_an_error_names_an_option_as_it_was_typed(tmp_path: Path, typed: tuple[str, ...], option: str) -> None:
    """``batch_size`` is nothing that one can type."""
    make_dataset(tmp_path / "shards", samples={"train": 4})
    assert refusal(*(text.format(shards=tmp_path / "shards", tmp=tmp_path) for text in typed)).startswith(option)


def test_what_the_errors_about_a_lost_or_damaged_file_say_to_type_works(tmp_path: Path) -> None:
    """Literally: the command that made the data set, or the same with --fresh."""
    for name in ("a", "b"):
        (tmp_path / "src/train" / name).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (20, 20), (number, 9, len(name))).save(tmp_path / f"src/train/{name}/{number}.png")
    out = tmp_path / "out"
    made = ("shard", "folder", "--src", tmp_path / "src", "--out", out, "--size", "32", "--workers", "1")
    run_verb(*made)
    whole = {path.name: path.read_bytes() for path in out.iterdir()}

    told = refusal("shard", "affectnet", "--src", out, "--out", tmp_path / "x")
    assert "index.json of shards found, expected the images that they were made from" in told and "recode" in told

    (out / "index.json").unlink()
    assert "run 'shard' (it resumes)" in refusal("info", out)
    done = subprocess.run([sys.executable, CLI, *map(str, made)], text=True, capture_output=True, check=True)
    assert f"note: {out}: index.json is lost" in " ".join(done.stdout.split()) and not done.stderr
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole
    for name in whole:
        (out / name).write_bytes(whole[name][:-9])
        assert "shard --fresh" in run_verb("verify", out, code=1).replace("\n", " ")
        assert "--fresh" in refusal(*made)
        run_verb(*made, "--fresh")
        assert {path.name: path.read_bytes() for path in out.iterdir()} == whole
