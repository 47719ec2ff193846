"""Options made from the dataclasses: each is said once, is a sentence, and shows what it is when it is left out."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ferdata
from ferdata.console.app import VERBS, app
from ferdata.ingest import IngestOptions
from ferdata.setting import Option, options_of
from ferdata.training import TrainOptions
from ferdata_bench.loaders.options import BenchOptions

ROOT = Path(__file__).parents[2]
MADE = {"shard": IngestOptions, "train": TrainOptions, "bench-loader": BenchOptions}


def shown(verb: str, *, columns: int = 300) -> str:
    """Return a verb's help as it is on a terminal of this width."""
    done = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": str(columns), "TERM": "dumb"})
    assert done.exit_code == 0, done.output
    return done.output


def named(option: Option) -> str:
    """Return a pattern of an option as its help names it: a switch and its opposite are one word."""
    flag, _, opposite = "/".join(option.flags).partition("/")
    return rf"--\[no-\]{flag[2:]}" if opposite == f"--no-{flag[2:]}" else "/".join(option.flags)


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_help_fits_its_terminal_and_cuts_no_word(columns: int) -> None:
    """Half an option's name cannot be typed, and half a sentence helps nobody."""
    for verb, options in MADE.items():
        text = shown(verb, columns=columns)

        assert (
            max(map(len, text.splitlines())) <= max(columns, 80) and "…" not in text
        )  # Typer's runner has 80 at least
        assert not [option.name for option in options_of(options) if not re.search(rf" {named(option)}\s", text)]


@pytest.mark.parametrize("verb", MADE)
def test_every_option_of_a_dataclass_is_listed_with_its_sentence_and_default(verb: str) -> None:
    """Under a heading of its own kind: thirty options in one list are read by nobody."""
    text = shown(verb)
    for option in options_of(MADE[verb]):
        line = next(line for line in text.splitlines() if re.search(rf" {named(option)} ", line))
        assert option.setting.help in line and option.setting.help[0].isupper() and option.setting.help[-1] == "."
        assert "[default: " in line or option.default == ()
        assert f"─ {option.setting.panel} ─" in text


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str) -> None:
    """Its sentence is the one that the list of verbs has."""
    assert VERBS[verb] in shown(verb)


def test_verbs_that_read_urls_say_how_long_they_wait() -> None:
    """One option, made in one place; a verb that reads none does not have it."""
    having = {verb for verb in VERBS if "--patience" in shown(verb)}

    assert having == {*VERBS} - {"synth", "convert", "demo"}


@pytest.mark.parametrize("start", [["cli.py"], ["-m", "ferdata"]])
def test_the_program_is_the_same_however_it_is_started(start: list[str], tmp_path: Path) -> None:
    """And hints name it as it was started."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *start, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )

    assert run("--version").stdout == f"ferdata {ferdata.__version__}\n"
    refused = run("shard", "rafdb", "--src", str(tmp_path / "none"))
    assert refused.returncode == 1 and f"without it: python {' '.join(start)} synth rafdb" in refused.stderr
    assert run("shrad").returncode == 2


def test_help_and_wrong_usage_wait_for_no_large_library() -> None:
    """Torch takes seconds to load."""
    typed = [["--help"], ["--version"], ["shrad"], *([verb, last] for verb in VERBS for last in ("--help", "--bogus"))]
    code = f"""
import sys
from typer.testing import CliRunner
from ferdata.console.app import app
codes = [CliRunner().invoke(app, arguments).exit_code for arguments in {typed}]
print(codes, *{{"torch", "torchvision", "pyarrow", "matplotlib"}} & {{*sys.modules}})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == f"{[0, 0, 2, *[0, 2] * len(VERBS)]}\n" and not done.stderr


def test_the_page_of_commands_says_what_the_options_say() -> None:
    """An option that was added or renamed leaves the page behind: run tools/commands.py."""
    made = subprocess.run(
        [sys.executable, "tools/commands.py", "-"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert made == (ROOT / "docs" / "commands.md").read_text()
