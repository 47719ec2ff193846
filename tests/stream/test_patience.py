"""Data sets behind services that fail, damage what they send, or go for a while: the bits stay what they were.

Against a web server and, where moto and s3fs are installed, an S3 server, both behind a proxy that fails as it is told.
"""

import logging
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_dataset import expected_pixels, make_dataset

from ferdata import remote
from ferdata.errors import StateError, StoreError
from ferdata.format import ShardReader, read_index
from ferdata.remote import Patience
from ferdata.store import Store
from ferdata.stream import Loader
from ferdata_bench.network import Proxy
from ferdata_bench.network.s3 import S3Server, environment

SAMPLES, SHARD_SAMPLES, SIZE = 160, 8, 16
SHARD = "train-000000.tar"


@dataclass(frozen=True)
class Service:
    """A data set behind a service.

    Attributes:
        proxy: Stands in front of it.
        url: The data set's.
        is_s3: Whether it is a bucket.
    """

    proxy: Proxy
    url: str
    is_s3: bool


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of thirty shards in ``set``."""
    place = tmp_path_factory.mktemp("served")
    make_dataset(place / "set", codec="raw", size=SIZE, samples={"train": SAMPLES}, samples_per_shard=SHARD_SAMPLES)
    return place


@pytest.fixture(scope="module")
def web(folder: Path) -> Iterator[Service]:
    with Proxy(folder) as proxy:
        yield Service(proxy, f"{proxy.url}/set", False)


@pytest.fixture(scope="module")
def bucket(folder: Path) -> Iterator[Service]:
    if not S3Server.is_installed():
        pytest.skip("needs s3fs and moto")
    with (
        S3Server() as server,
        Proxy(server.url, failing=r"GET .*\.tar") as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in environment(proxy.url).items():
            patch.setenv(name, value)
        store = Store("s3://patience/set")
        Store("s3://patience").make_dir()
        for path in (folder / "set").iterdir():
            store.write(path.name, path.read_bytes())
        yield Service(proxy, "s3://patience/set", True)


@pytest.fixture(params=["web", "bucket"])
def service(request: pytest.FixtureRequest, quick: None) -> Service:
    """Either of them, with nothing wrong."""
    found: Service = request.getfixturevalue(request.param)
    found.proxy.behave(faults=(), rates={})
    return found


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have everything that is waited for be short."""
    monkeypatch.setattr("ferdata.remote.patience.FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr("ferdata.remote.patience.LONGEST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr("ferdata.remote.protocols.STALL_SECONDS", 2.0)


def loader(service: Service, **options: Any) -> Loader:
    return Loader(
        service.url, **{"batch_size": 8, "num_workers": 0, "fields": ("images", "indices"), "seed": 5, **options}
    )


def assert_whole(batches: list[Any]) -> None:
    """See that an epoch has every sample, with the pixels that were stored."""
    numbers = [number for batch in batches for number in batch.indices.tolist()]
    assert sorted(numbers) == [*range(SAMPLES)]
    for batch in batches:
        for image, number in zip(batch.images.numpy(), batch.indices.tolist(), strict=True):
            assert np.array_equal(image, expected_pixels(number, SIZE))


@pytest.mark.parametrize(
    ("seconds", "kind"), [(2.0, "refused"), pytest.param(20.0, "silent", marks=pytest.mark.slow)], ids=["2 s", "20 s"]
)
def test_an_outage_in_mid_epoch_is_waited_out_and_told(
    service: Service, seconds: float, kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two seconds or twenty: a deployment on the other side is no reason to lose a night's run."""
    monkeypatch.setattr("ferdata.remote.patience.TELL_SECONDS", 0.5)
    with loader(service, patience=60) as batches, caplog.at_level(logging.WARNING, "ferdata"):
        service.proxy.outage(seconds, after_requests=20, kind=kind)
        assert_whole([*batches])
        met = batches.metrics().remote

    assert seconds - 1 < met.outage_seconds < seconds + 10 and met.retries >= 3
    gone, back, *_ = caplog.messages
    assert "waiting up to" in gone and "it is back after" in back and gone.count("train-0") == 1


def test_one_range_in_ten_is_damaged_short_or_another_and_the_bits_are_as_undisturbed(service: Service) -> None:
    """And all of it is counted: what nobody sees is never mended."""
    rates = {"flip": 0.02, "wrong": 0.02, "short": 0.02, "other": 0.02, "cut": 0.01, "503": 0.01}
    before, met_before = service.proxy.counts().faults, remote.all_counts()
    happened: dict[str, int] = {}
    with loader(service) as batches:
        service.proxy.behave(rates=rates, seed=3)
        for _ in range(12):
            assert_whole([*batches])
            after = service.proxy.counts().faults
            happened = {fault: after.get(fault, 0) - before.get(fault, 0) for fault in rates}
            if sum(count > 0 for count in happened.values()) >= 4:
                break

    met = remote.all_counts() - met_before
    assert met.retries + met.refetched >= sum(happened.values()) >= 4  # a job's pieces are fetched anew together
    assert met.retries and met.refetched


def test_a_service_that_is_dead_for_good_is_one_error_within_the_budget_and_no_thread_is_left(
    service: Service,
) -> None:
    """The file once, the server's own code, what to do; and the program may end."""
    threads = {*threading.enumerate()}
    with loader(service, patience=1.0, num_workers=2, workers="thread") as batches:
        iterator = iter(batches)
        next(iterator)
        service.proxy.behave(rates={"503": 1.0})
        start = time.monotonic()
        with pytest.raises(StoreError) as caught:
            list(iterator)
            list(batches)
        assert time.monotonic() - start < 4
    text = str(caught.value)
    assert text.count("train-0") == 1 and text.count("://") == 1
    assert ("SlowDown (HTTP 503)" if service.is_s3 else "HTTP 503") in text
    assert "times in 1 s: try again once the service has recovered" in text
    assert {thread for thread in threading.enumerate() if "ferdata" in thread.name} <= threads


def test_a_loader_that_is_closed_does_not_wait_for_a_service_that_is_gone(service: Service) -> None:
    """Whoever closes it has something else to do than to wait for two minutes."""
    with loader(service, num_workers=2, workers="thread") as batches:
        service.proxy.behave(rates={"silent": 1.0})
        caught: list[BaseException] = []

        def read() -> None:
            try:
                list(batches)
            except BaseException as error:
                caught.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        time.sleep(0.3)
        start = time.monotonic()
        batches.close()
        thread.join(5)
        assert time.monotonic() - start < 2 and isinstance(caught[0], (StateError, StoreError))


def test_ctrl_c_is_heard_while_a_service_is_waited_for(web: Service) -> None:
    """By a verb whose threads wait, and by a loop over a loader with workers."""
    web.proxy.behave(rates={"503": 1.0})
    script = f"""import ferdata, sys
try:
    with ferdata.Loader({web.url!r}, batch_size=8, num_workers=2) as batches:
        list(batches)
except KeyboardInterrupt:
    print("stopped", file=sys.stderr, flush=True)
"""
    commands = [["-m", "ferdata", "verify", "--deep", web.url], ["-c", script]]
    running = [
        subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        for command in commands
    ]
    try:
        for process in running:
            assert process.stderr is not None
            while "waiting up to" not in (line := process.stderr.readline()):
                assert line
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            while "stopped" not in (line := process.stderr.readline()):
                assert line
            assert time.monotonic() - start < 5
    finally:
        for process in running:
            process.kill()
            process.communicate()


def test_what_does_not_fit_is_fetched_over_a_new_connection_before_it_is_damaged(service: Service) -> None:
    """A proxy that damages what goes through one connection of it is passed by."""
    store = Store(service.url, patience=Patience())
    index = read_index(store)
    with ShardReader(store, index.shards[0], index) as reader:
        service.proxy.requests()
        service.proxy.behave(faults=("flip", "flip"))
        assert np.array_equal(reader.read(3).pixels, expected_pixels(3, SIZE))
    first, again, anew = [each for each in service.proxy.requests() if each.path.endswith(SHARD)][:3]
    assert again.range == anew.range and (first.fault, again.fault, anew.fault) == ("flip", "flip", "")
    assert anew.connection > max(first.connection, again.connection)  # which may be two that wait for work
    assert store.patience.counts().refetched == 2


def test_a_body_that_trickles_is_no_outage(service: Service, folder: Path) -> None:
    """It takes three times as long as a stall may: what counts is that something comes."""
    service.proxy.behave(faults=("trickle",))
    store = Store(service.url, patience=Patience(0))
    start = time.monotonic()
    assert store.read_range(SHARD, 0, 6000) == (folder / "set" / SHARD).read_bytes()[:6000]
    assert time.monotonic() - start > 1.2 and store.patience.counts().retries == 0


@pytest.mark.parametrize(("status", "text"), [("403", "do not permit this"), ("404", ""), ("401", "wants")])
def test_what_is_refused_or_not_there_ends_at_once_and_says_what_it_means(
    service: Service, status: str, text: str
) -> None:
    """It will be the same in two minutes."""
    service.proxy.behave(faults=(status,))
    with pytest.raises((StoreError, FileNotFoundError)) as caught:
        Store(service.url).read_range(SHARD, 0, 9)
    assert service.proxy.faults_left() == 0
    assert isinstance(caught.value, FileNotFoundError) == (status == "404")
    assert status == "404" or re.search(rf"{SHARD}: .*HTTP {status}.*{text}", str(caught.value))


def test_a_whole_file_is_one_request_and_what_fails_is_asked_for_once(service: Service, folder: Path) -> None:
    """Over a new connection too: s3fs asks for sizes, and asks again by itself, unless it is told otherwise."""
    store = Store(service.url, patience=Patience(0))
    for is_new in (False, True):
        service.proxy.requests()
        assert store.read(SHARD, is_new=is_new) == (folder / "set" / SHARD).read_bytes()
        assert [each.method for each in service.proxy.requests()] == ["GET"]
        service.proxy.behave(faults=("503",))
        with pytest.raises(StoreError, match=r"HTTP 503.*failed once"):
            store.read_range(SHARD, 0, 9, is_new=is_new)
        assert len(service.proxy.requests()) == 1


@pytest.mark.parametrize("way", ["no ranges", "no length", "gzip", "gzip and chunks"])
def test_a_web_server_that_sends_whole_files_sends_each_once(web: Service, way: str, quick: None) -> None:
    """However it wraps them; ``python -m http.server`` is one of these."""
    web.proxy.behave(
        faults=(),
        ranges=way == "no length",
        has_length=way == "gzip" or way == "no ranges",
        compression="always" if "gzip" in way else "no",
    )
    try:
        told = nullcontext() if way == "no length" else pytest.warns(UserWarning, match="sends whole files.*kept in")
        with told, loader(web) as batches:
            web.proxy.requests()
            for _ in range(2):
                assert_whole([*batches])
        asked = [each.path for each in web.proxy.requests() if ".tar" in each.path and each.method == "GET"]
        assert len(asked) == len(set(asked)) == SAMPLES // SHARD_SAMPLES or way == "no length"
    finally:
        web.proxy.behave(ranges=True, has_length=True, compression="no")


def test_another_host_is_told_nothing_of_who_asks(web: Service, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A server that redirects to a store of files must not learn the password of the first, nor a log."""
    web.proxy.behave(faults=(), rates={})
    with Proxy(folder, redirect=web.proxy.url.replace("127.0.0.1", "localhost"), login="me:secret") as first:
        address = first.url.replace("://", "://me:secret@") + "/set?token=hidden"
        web.proxy.requests()
        with Loader(address, batch_size=8, num_workers=0) as batches:
            assert len([*batches]) == SAMPLES // 8
        there = web.proxy.requests()
        assert there and not any(each.login or each.query != "token=hidden" for each in there)
        assert all(each.login for each in first.requests())
        first.behave(login="me:other")
        with pytest.raises(StoreError, match="HTTP 401") as caught:
            Store(address).read("index.json")
        web.proxy.outage(0.6, kind="503")
    assert "secret" not in str(caught.value) + caplog.text and "hidden" not in str(caught.value) + caplog.text
