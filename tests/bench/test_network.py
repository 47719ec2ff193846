"""The servers that tests and studies fail with: each fault is what it says, and what it counts."""

import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferdata_bench.network import FAULTS, Proxy

DATA = bytes(range(256)) * 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("served")
    (place / "a.tar").write_bytes(DATA)
    return place


@pytest.fixture(scope="module", params=["folder", "server"])
def proxy(request: pytest.FixtureRequest, folder: Path) -> Iterator[Proxy]:
    """A server of the folder; or a proxy in front of such a server, which behaves alike."""
    with Proxy(folder) as server:
        if request.param == "folder":
            yield server
        else:
            with Proxy(server.url) as front:
                yield front


def ask(proxy: Proxy, start: int = 1000, stop: int = 3000, *, timeout: float = 5.0) -> http.client.HTTPResponse:
    headers = {"Range": f"bytes={start}-{stop - 1}"}
    return urllib.request.urlopen(urllib.request.Request(f"{proxy.url}/a.tar", headers=headers), timeout=timeout)


@pytest.mark.parametrize("fault", ["", "503", *FAULTS])
def test_a_fault_is_what_it_says(proxy: Proxy, fault: str) -> None:
    """A fault that does not happen lets every test of it pass."""
    proxy.behave(faults=(fault,))
    before = proxy.counts()
    body, error, headers = b"", None, {}
    start = time.monotonic()
    try:
        with ask(proxy, timeout=20.0 if fault == "trickle" else 0.3) as answer:
            headers = dict(answer.headers)
            while piece := answer.read1(1 << 16):
                body += piece
            if answer.length:
                raise http.client.IncompleteRead(body, answer.length)
    except (OSError, http.client.HTTPException) as raised:
        error = raised

    whole, half = DATA[1000:3000], DATA[1000:2000]
    flipped = bytes([*half, whole[1000] ^ 16, *whole[1001:]])
    said = headers.get("content-range", "").removesuffix(f"/{len(DATA)}")
    expected = {
        "": (whole, "bytes 1000-2999"),
        "trickle": (whole, "bytes 1000-2999"),
        "short": (half, ""),
        "flip": (flipped, "bytes 1000-2999"),
        "other": (DATA[1001:3001], "bytes 1001-3000"),
        "wrong": (DATA[1001:3001], "bytes 1000-2999"),
        "whole": (DATA, ""),
    }
    if fault in expected:
        assert (body, said) == expected[fault] and error is None
        assert time.monotonic() - start > 1.2 or fault != "trickle"
    elif fault == "503":
        assert isinstance(error, urllib.error.HTTPError) and error.code == 503 and b"SlowDown" in error.read()
    else:
        kinds = {"reset": ConnectionResetError, "cut": http.client.IncompleteRead}
        assert isinstance(error, kinds.get(fault, TimeoutError))
        assert body == (half if fault in ("cut", "stall") else b"")
    after = proxy.counts()
    assert after.requests == before.requests + 1 and proxy.faults_left() == 0
    assert not fault or after.faults[fault] == before.faults.get(fault, 0) + 1


def test_chance_is_the_same_for_the_same_requests(proxy: Proxy) -> None:
    """Whatever order they come in: otherwise a test that fails once can't be run again."""

    def met(order: list[int]) -> dict[str, str]:
        with Proxy(proxy.url, rates={"flip": 0.2, "short": 0.2}) as drawn:
            for start in order:
                with ask(drawn, start, start + 100) as answer:
                    answer.read()
            return {each.range: each.fault for each in drawn.requests()}

    proxy.behave(faults=())
    first = met([*range(50)])
    assert first == met([*reversed(range(50))])
    assert all(5 < sum(each == fault for each in first.values()) < 20 for fault in ("flip", "short"))


def test_latency_and_bandwidth_are_what_is_asked_for(proxy: Proxy) -> None:
    """A round trip for the connection, one for the answer, and a hundred kilobytes at a megabyte a second."""
    proxy.behave(faults=(), latency_seconds=0.1, bytes_per_second=1e6)
    start = time.monotonic()
    with ask(proxy, 0, len(DATA)) as answer:
        answer.read()
    proxy.behave(latency_seconds=0.0, bytes_per_second=0.0)

    assert 0.2 + 0.08 < time.monotonic() - start < 1.0


@pytest.mark.parametrize("kind", ["refused", "silent", "503"])
def test_an_outage_begins_when_it_is_told_and_ends(proxy: Proxy, kind: str) -> None:
    """The third request from now on finds nobody, or no answer; a moment later all is as before."""
    proxy.behave(faults=())
    proxy.outage(0.4, after_requests=3, kind=kind)
    for _ in range(2):
        assert ask(proxy).read() == DATA[1000:3000]
    start = time.monotonic()
    if kind == "silent":
        assert ask(proxy).read() == DATA[1000:3000]
        assert time.monotonic() - start > 0.3
        return
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(proxy)
    while True:
        try:
            assert ask(proxy).read() == DATA[1000:3000]
            break
        except OSError:
            time.sleep(0.02)
    assert 0.3 < time.monotonic() - start < 3


def test_a_folder_is_served_as_web_servers_do(folder: Path) -> None:
    """Without ranges, in chunks, compressed, elsewhere, or to whoever may."""
    with Proxy(folder, ranges=False, has_length=False) as proxy:
        answer = ask(proxy)
        assert answer.status == 200 and answer.headers["content-length"] is None and answer.read() == DATA
        proxy.behave(compression="always")
        answer = ask(proxy)
        assert answer.headers["content-encoding"] == "gzip" and len(answer.read()) < len(DATA)
        with Proxy(folder, redirect=proxy.url) as other:
            assert ask(other).geturl() == f"{proxy.url}/a.tar"
            assert [each.path for each in other.requests()] == ["/a.tar"]
        proxy.behave(login="me:secret")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(proxy)


def test_a_server_ends_with_its_owner(folder: Path) -> None:
    """A test that is killed leaves nobody behind."""
    proxy = Proxy(folder)
    assert proxy._process.stdin is not None and proxy._process.stdout is not None
    proxy._process.stdin.close()
    assert proxy._process.wait(10) == 0
    proxy._process.stdout.close()
    with pytest.raises(ProcessLookupError):
        os.kill(proxy._process.pid, 0)
