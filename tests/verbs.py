"""Verbs of the command line, run in this process: what they print and how they end, without the time of an import."""

from typer.testing import CliRunner

from ferdata.console.app import app
from ferdata.console.screen import console
from ferdata.errors import FerdataError

console.width = 160  # it would keep the width that it was imported with, in whatever test that was


def run_verb(*arguments: object, code: int = 0) -> str:
    """Run a verb that ends with this code, and return what it prints; an error of ours is the last line."""
    done = CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "160"})
    if done.exception and not isinstance(done.exception, FerdataError | SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output + (f"error: {done.exception}\n" if isinstance(done.exception, FerdataError) else "")


def refusal(*arguments: object) -> str:
    """Run a verb that ends with an error of ours, and return its text, which is one line."""
    text = run_verb(*arguments, code=1).rpartition("error: ")[2].removesuffix("\n")
    assert "\n" not in text
    return text
