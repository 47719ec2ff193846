"""The page on pre-training: its commands, as they stand but for their sizes, end in what the page says."""

import re
import shlex
from pathlib import Path

import pytest
from verbs import run_verb

from ferdata.training import load_run

PAGE = Path(__file__).parents[2] / "docs/pretraining.md"


def test_the_commands_of_the_page_run_and_carry_the_classes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a grey set of 48 px to a coloured one of 64 px and one class more."""
    monkeypatch.chdir(tmp_path)
    commands, said = re.findall(r"```\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lines = [shlex.split(line)[2:] for line in commands.splitlines() if line]
    smaller = {"--count": "80", "--epochs": "1"}

    for words in lines:
        small = [smaller.get(before, word) for before, word in zip(["", *words], words, strict=False)]
        printed = run_verb(*small, "--workers", "0" if words[0] == "train" else "1")

    assert [words[0] for words in lines] == ["synth", "shard", "train"] * 2
    assert said.strip().replace("runs/", f"{tmp_path}/runs/") in " ".join(printed.split())
    assert load_run("runs/affectnet").classes[-1] == "Contempt"
