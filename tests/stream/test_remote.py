"""Shards behind a URL that fails for a moment, for good, or in a bit: what was stored arrives, or an error."""

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from make_dataset import expected_pixels, make_dataset
from webserver import WebServer, serve

from ferdata import remote
from ferdata.dataset.export import export
from ferdata.dataset.preview import preview
from ferdata.dataset.recode import recode
from ferdata.dataset.verify import verify
from ferdata.errors import ShardCorruptError, ShardMissingError, StoreError
from ferdata.format import ShardReader, read_index
from ferdata.store import Store
from ferdata.stream import Loader

PASSING = ["500", "502", "503", "504", "429", "cut", "reset", "short", "other", "stall"]


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A server of a data set in ``set``; what is waited for is short."""
    monkeypatch.setattr("ferdata.remote.patience.FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("ferdata.remote.patience.LONGEST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr("ferdata.remote.protocols.STALL_SECONDS", 0.5)
    monkeypatch.setattr(remote.usual_patience(), "seconds", 2.0)
    make_dataset(tmp_path / "set", codec="raw", size=16, samples={"train": 40}, samples_per_shard=20)
    with serve(tmp_path) as server:
        yield server


@pytest.mark.parametrize("fault", PASSING)
def test_a_range_that_failed_for_a_moment_is_asked_for_again(tmp_path: Path, web: WebServer, fault: str) -> None:
    """One answer in a thousand fails on any service; an epoch is thousands of answers."""
    name = "train-000000.tar"
    store = Store(f"{web.url}/set")
    web.faults[:] = [fault] * 2

    assert store.read_range(name, 1000, 9000) == (tmp_path / "set" / name).read_bytes()[1000:9000]
    assert not web.faults


@pytest.mark.parametrize("fault", ["500", "503", "429", "cut", "reset"])
def test_a_whole_file_that_failed_for_a_moment_is_asked_for_again(tmp_path: Path, web: WebServer, fault: str) -> None:
    """The index and the sample table come first: a run that begins in a bad second must begin."""
    web.failing, web.faults[:] = "index", [fault] * 2

    assert read_index(Store(f"{web.url}/set")) == read_index(Store(tmp_path / "set"))
    assert not web.faults


@pytest.mark.parametrize("codec", ["raw", "zstd"])
@pytest.mark.parametrize("fault", ["503", "cut", "flip"])
def test_an_epoch_survives_a_fault_in_any_place(tmp_path: Path, web: WebServer, codec: str, fault: str) -> None:
    """Whatever is being read: the tables of a shard, a run of samples of the first epoch, or of a later one."""
    make_dataset(tmp_path / codec, codec=codec, size=24, samples={"train": 40}, samples_per_shard=20)
    for place in range(4):  # a shard is opened and read, and the next; in the second epoch they are read alone
        with Loader(
            f"{web.url}/{codec}", batch_size=8, num_workers=0, shuffle=False, fields=("images", "indices")
        ) as loader:
            for before in (place, place % 2):
                web.faults[:] = [""] * before + [fault]
                for batch in loader:
                    for image, number in zip(batch.images.numpy(), batch.indices.tolist(), strict=True):
                        assert np.array_equal(image, expected_pixels(number, 24))
                assert not web.faults


@pytest.mark.parametrize("codec", ["raw", "zstd"])
def test_verbs_that_read_every_sample_fetch_each_shard_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    """Two requests for every sample, one after the other, are hours for a set that is fetched in minutes."""
    make_dataset(tmp_path / "set", codec=codec, size=24, samples={"train": 40, "val": 12}, samples_per_shard=20)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with serve(tmp_path) as web:
        url = f"{web.url}/set"
        verbs: dict[str, Callable[[], object]] = {
            "verify": lambda: verify(url, num_workers=2),
            "verify --deep": lambda: verify(url, deep=True, num_workers=2),
            "tar": lambda: export(url, to="tar", out=str(tmp_path / "tar"), num_workers=2),
            "folder": lambda: export(url, to="folder", out=str(tmp_path / "folder"), num_workers=2),
            "recode": lambda: recode(url, out=str(tmp_path / "other"), codec="compact", num_workers=2),
        }
        for verb, act in verbs.items():
            act()
            fetched = [path for method, path, _ in web.of_shards() if method == "GET"]
            assert len(fetched) == len(set(fetched)) == 3, verb
        preview(url, str(tmp_path / "sheet.png"), per_class=4)
        assert len([method for method, *_ in web.of_shards() if method == "GET"]) <= 2 * 2 + 8 * 4
    assert verify(str(tmp_path / "other"), deep=True).ok
    assert not list((tmp_path / "temporary").iterdir())


def test_a_shard_larger_than_a_piece_is_fetched_in_pieces(
    tmp_path: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded by the piece; a fault costs a piece, and a bit that is wrong the shard."""
    monkeypatch.setattr("ferdata.format.index._CHUNK_BYTES", 20_000)
    size = (tmp_path / "set/train-000000.tar").stat().st_size
    web.faults[:] = ["", "cut", "", "flip"]

    assert verify(f"{web.url}/set", deep=True, num_workers=1).ok

    pieces = -(-size // 20_000)
    asked = [each for each in web.of_shards() if each[0] == "GET"]
    assert len([each for each in asked if "000000" in each[1]]) == 2 * pieces + 1
    assert len([each for each in asked if "000001" in each[1]]) == pieces


def test_a_flipped_bit_is_fetched_once_more_and_then_called_damage(tmp_path: Path, web: WebServer) -> None:
    """A bit that flips on the way is no damage; one that stays is, and asking a third time would not help."""
    store = Store(f"{web.url}/set")
    index = read_index(store)
    with ShardReader(store, index.shards[0], index) as reader:
        web.faults[:] = ["flip"]
        assert np.array_equal(reader.read(3).pixels, expected_pixels(3, 16))
        web.of_shards()
        web.faults[:] = ["flip"] * 9
        with pytest.raises(
            ShardCorruptError,
            match=r"the checksum of the head of sample 4 does not fit its bytes.*3 times.*a new connection.*same bytes",
        ):
            reader.read(4)
    assert len(web.of_shards()) == 3


@pytest.mark.parametrize("file", ["index", "samples", "rejects", "train-000001"])
def test_files_that_are_read_whole_are_fetched_once_more_too(tmp_path: Path, web: WebServer, file: str) -> None:
    """Every file has a checksum, and every one may meet a flipped bit."""
    web.failing, web.faults[:] = file, ["flip"]
    assert verify(f"{web.url}/set", deep=True, num_workers=1).ok and not web.faults

    web.faults[:] = ["flip"]
    recode(f"{web.url}/set", out=str(tmp_path / "zstd"), codec="zstd", num_workers=1)
    assert verify(str(tmp_path / "zstd"), deep=True).ok and not web.faults


def test_a_service_that_stays_away_is_one_error_with_its_own_code(web: WebServer) -> None:
    """Who reads it must find the file, once, and what the server said."""
    web.faults[:] = ["503"] * 999
    with pytest.raises(StoreError) as caught:
        Store(f"{web.url}/set").read_range("train-000000.tar", 0, 9)

    text = str(caught.value)
    assert text.startswith(
        f"{web.url}/set/train-000000.tar: HTTP 503 Service Unavailable, expected a file that can be read; "
    )
    assert text.count("train-000000.tar") == 1 and re.search(r"failed [\d,]+ times in 2 s", text)
    assert len(web.of_shards()) > 10


def test_a_file_that_is_not_there_ends_at_once(tmp_path: Path, web: WebServer) -> None:
    """404 is an answer, and says that the folder was not copied whole."""
    (tmp_path / "set/train-000001.tar").unlink()
    with (
        Loader(f"{web.url}/set", batch_size=8, num_workers=0) as loader,
        pytest.raises(ShardMissingError, match=r"000001\.tar: no such file"),
    ):
        list(loader)
    assert len([each for each in web.of_shards() if "000001" in each[1]]) <= 2


def test_a_range_past_the_end_is_what_there_is(tmp_path: Path, web: WebServer) -> None:
    """Readers of a file's first bytes ask for more than a small file has; that is no answer cut short."""
    data = (tmp_path / "set/rejects.csv").read_bytes()
    for web.ranges in (True, False):
        for start, stop in ((0, 10**6), (3, len(data) + 3), (5, len(data))):
            with contextlib.nullcontext() if web.ranges else pytest.warns(UserWarning, match="whole files"):
                assert Store(f"{web.url}/set").read_range("rejects.csv", start, stop) == data[start:stop]


def test_errors_of_object_stores_keep_their_code_and_pass_or_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """What botocore and s3fs raise, by shape: SlowDown is asked again, a refusal and a missing library are not."""
    monkeypatch.setattr("ferdata.remote.patience.FIRST_PAUSE_SECONDS", 0.01)

    class ClientError(Exception):
        def __init__(self, code: str, status: int) -> None:
            super().__init__(f"An error occurred ({code})")
            self.response = {
                "Error": {"Code": code, "Message": "Please."},
                "ResponseMetadata": {"HTTPStatusCode": status},
            }

    def wrapped(code: str, status: int) -> OSError:
        error = OSError(16, "Please reduce your request rate.")
        error.__cause__ = ClientError(code, status)
        return error

    class NoCredentialsError(Exception):
        pass

    assert remote.reason(wrapped("SlowDown", 503)) == "SlowDown (HTTP 503) Please"
    assert "credentials" in remote.advice(wrapped("AccessDenied", 403))
    assert "credentials, or others: check those in the address or the environment" in remote.advice(
        NoCredentialsError("Unable to locate credentials")
    )
    for error, tries in (
        (wrapped("SlowDown", 503), 3),
        (wrapped("AccessDenied", 403), 1),
        (ConnectionResetError(), 3),
        (PermissionError(), 1),
        (LookupError("no credentials"), 1),
    ):
        asked: list[int] = []

        def ask(error: Exception = error, asked: list[int] = asked) -> int:
            asked.append(1)
            if len(asked) < 3:
                raise error
            return 7

        patience = remote.Patience()
        with contextlib.nullcontext() if tries == 3 else pytest.raises(type(error)):
            assert patience.persist(ask, "somewhere") == 7
        assert patience.counts().retries == tries - 1
        assert len(asked) == tries
