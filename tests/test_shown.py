"""Credentials and control characters: neither reaches a message, a report or a terminal."""

import functools
import http.server
import json
import threading
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from make_dataset import make_dataset
from train_helpers import small_dataset
from verbs import run_verb

from ferdata import Loader, describe
from ferdata.errors import FerdataError, StoreError
from ferdata.shown import printable, shown, without_credentials
from ferdata.store import Store


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://user:SECRET@host/x/index.json: no answer", "http://***@host/x/index.json: no answer"),
        ("http://user:SE/CR@ET@host:80/x", "http://***@host:80/x"),
        ("ftp://SECRET@host/x", "ftp://***@host/x"),
        ("see 'https://host/x?X-Amz-Signature=SECRET&y=1', then", "see 'https://host/x?***', then"),
        ("https://host/x?token=SECRET: gone", "https://host/x?***: gone"),
        ("zip://a::https://u:SECRET@host/x", "zip://a::https://***@host/x"),
        ("http://host:8000/a@b.png, s3://bucket/a@b", "http://host:8000/a@b.png, s3://bucket/a@b"),
        ("C:/x?y, me@home", "C:/x?y, me@home"),
    ],
)
def test_credentials_are_hidden_and_the_rest_of_an_address_is_not(text: str, expected: str) -> None:
    """The host and the path say what is wrong; what stands before and behind them opens doors."""
    assert without_credentials(text) == expected
    assert without_credentials({"a": [text]}) == {"a": [expected]}


def test_what_steers_a_terminal_is_escaped_and_words_are_not() -> None:
    """A folder's name could clear the screen, forge a line of ours or turn the rest of it round."""
    assert shown("a\x1b[31m\nb\u202ec\u2028\udcff") == "a\\x1b[31m\\nb\\u202ec\\u2028\\udcff"
    for word in ("开心", "سعيد", "👩\u200d👧", "é e\u0301", "a\u00a0b\u3000c", "می\u200cخواهم"):
        assert shown(word) == word
    assert printable("a\n\tb\r", keep="\n\t") == "a\n\tb\\r"


def test_an_error_of_ours_is_one_line_without_credentials_wherever_it_is_raised() -> None:
    """Messages are put together in a hundred places; the one they all pass is where a secret is taken out."""
    error = StoreError("http://u:SECRET@h/a\nb: gone")

    assert str(error) == "http://***@h/a\\nb: gone" and error.args == (str(error),)


@pytest.mark.parametrize(
    "address", ["http://u:SECRET@127.0.0.1:1/x", "https://127.0.0.1:1/x?token=SECRET", "ftp://u:SECRET@127.0.0.1:1/x"]
)
def test_a_server_that_does_not_answer_is_one_error_whose_traceback_holds_no_secret(address: str) -> None:
    """Other libraries' errors repeat the whole address, and Python prints them as the cause."""
    with pytest.raises(FerdataError) as caught:
        Loader(address, patience=0.5)

    assert "SECRET" not in "".join(traceback.format_exception(caught.value))


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A data set behind HTTP, with credentials in its address."""
    root = tmp_path_factory.mktemp("served")
    small_dataset(root / "set", train=32, val=8)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Files, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://user:SECRET@127.0.0.1:{server.server_port}/set"
    server.shutdown()
    server.server_close()


def said_by(*arguments: object, code: int = 0) -> str:
    """Run a verb, and return what it prints and warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        printed = run_verb(*arguments, code=code)
    return printed + "".join(str(warning.message) for warning in caught)


def test_a_run_on_a_data_set_behind_credentials_keeps_none_of_them(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's folder is what people send each other; going on asks for the address again."""
    monkeypatch.chdir(tmp_path)
    settings = [
        "--model",
        "basic1",
        "--epochs",
        "1",
        "--batch-size",
        "16",
        "--workers",
        "0",
        "--name",
        "r",
        "--json",
        "out.json",
    ]
    done = said_by("train", "--shards", address, *settings)
    again = said_by("train", "--resume", "runs/r", code=1)

    assert "SECRET" not in done + again
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"SECRET" in path.read_bytes()]
    assert json.loads((tmp_path / "runs/r/config.json").read_text())["shards"].startswith("http://***@127.0.0.1:")
    assert "kept without its credentials" in again and again.count("\n") == 1
    said_by("train", "--resume", "runs/r", "--shards", address)


@pytest.mark.parametrize(
    "verb", [["info"], ["verify"], ["export", "--out", "e"], ["recode", "--codec", "raw", "--out", "r"]]
)
def test_no_verb_shows_or_keeps_credentials(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: list[str]
) -> None:
    """Screens are recorded in jobs' logs, and figures are sent on."""
    monkeypatch.chdir(tmp_path)
    said = said_by(verb[0], address, *verb[1:], "--json", "out.json")

    assert "SECRET" not in said
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"SECRET" in path.read_bytes()]


def test_a_token_in_an_address_stays_at_its_end(tmp_path: Path) -> None:
    """Behind ``?token=`` a path would be part of the token, and nothing found."""
    assert Store("https://host/set?token=t").path("index.json") == "https://host/set/index.json?token=t"
    assert Store("a?b").path("c") == "a?b/c"


def test_several_folders_are_refused_by_an_error_of_ours_where_one_is_read(tmp_path: Path) -> None:
    """A TypeError of os.fspath names neither the argument nor a way out."""
    make_dataset(tmp_path)

    with pytest.raises(FerdataError, match="a list found, expected one folder or URL; name one data set at a time"):
        describe([str(tmp_path), str(tmp_path)])  # type: ignore[arg-type]
