"""What `make pages` finds wrong and how it says so, as far as no Chromium is needed."""

import runpy
from pathlib import Path

import pytest

tool = runpy.run_path(str(Path(__file__).parent.parent / "tools" / "pages.py"))


def test_pages_are_found_in_folders_and_a_place_without_any_is_an_error(tmp_path: Path) -> None:
    """A misspelled folder would otherwise be sound."""
    page, inner = tmp_path / "b.html", tmp_path / "a" / "c.html"
    inner.parent.mkdir()
    for path in (page, inner, tmp_path / "note.txt"):
        path.write_text("")

    assert tool["pages"]([tmp_path, page]) == [inner, page, page]
    with pytest.raises(
        SystemExit, match=r"nowhere: no HTML page found, expected a page or a folder .*; make them first"
    ):
        tool["pages"]([tmp_path / "nowhere"])


def test_errors_and_requests_to_another_host_are_faults_and_nothing_else_is() -> None:
    """As Chromium's protocol tells of them."""

    def request(url: str) -> dict[str, object]:
        return {"method": "Network.requestWillBeSent", "params": {"request": {"url": url}}}

    def log(level: str) -> dict[str, object]:
        return {"method": "Log.entryAdded", "params": {"entry": {"level": level, "text": "404", "url": "http://h:1/x"}}}

    events = [
        request("http://h:1/page.html"),
        request("data:image/png;base64,AA=="),
        request("https://fonts.example/a.woff"),
        log("info"),
        log("error"),
        {"method": "Runtime.consoleAPICalled", "params": {"type": "log", "args": [{"value": "fine"}]}},
        {"method": "Runtime.consoleAPICalled", "params": {"type": "error", "args": [{"value": "no"}, {"value": 3}]}},
        {"method": "Runtime.exceptionThrown", "params": {"exceptionDetails": {"text": "Uncaught"}}},
    ]

    assert list(tool["faults_of_events"](events, "h:1")) == [
        "asks another host: https://fonts.example/a.woff",
        "error in the console: 404 http://h:1/x",
        "error in the console: no 3",
        "error in the console: Uncaught",
    ]


def test_a_machine_without_chromium_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And which variable names one elsewhere."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")

    with pytest.raises(SystemExit, match=r"Chromium: none found among .*apt-get install chromium.* in CHROMIUM"):
        tool["find_browser"]()
