"""A resident split: no file, no process; refused if damaged or too large. The loader's own tests run for it as well."""

import gc
import re
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from streams import SPLITS, Truth, corrupt, make_truth, open_files, shard_of, wait_until, worker_pids
from webserver import serve

from ferdata.errors import OptionError, ShardCorruptError, ShardMissingError, StateError, WorkerError
from ferdata.format import ShardReader, read_index
from ferdata.store import Store
from ferdata.stream import Loader
from ferdata.stream.memory import resident

CODECS = ("raw", "zstd", "compact")
SMALL: dict[str, Any] = {"batch_size": 8, "window_samples": 48, "fields": ("images", "labels", "indices"), "seed": 3}


@pytest.fixture(scope="module", params=CODECS)
def truth(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_truth(tmp_path_factory.mktemp(request.param), codec=request.param)


def numbers(loader: Loader, truth: Truth) -> list[int]:
    """Return the sample indices of an epoch, every batch checked."""
    return [number for batch in loader for number in truth.assert_true(batch)]


def loader_threads() -> int:
    return sum(thread.name == "ferdata-loader" for thread in threading.enumerate())


@pytest.mark.parametrize("options", [{}, {"where": "label != 2"}, {"sampling": "balanced", "drop_last": False}])
def test_it_gives_what_a_streaming_loader_gives(truth: Truth, options: dict[str, Any]) -> None:
    """A run may change from one to the other at any batch: the state is the same too."""
    with (
        Loader(truth.root, num_workers=2, **SMALL, **options) as streamed,
        Loader(truth.root, num_workers=2, resident=True, **SMALL, **options) as held,
    ):
        assert len(held) == len(streamed)
        for _ in range(2):
            for one, two in zip(streamed, held, strict=True):
                truth.assert_true(two)
                assert torch.equal(one.images, two.images) and torch.equal(one.indices, two.indices)
                assert streamed.state_dict() == held.state_dict()


def test_no_process_is_started_and_no_file_is_read_after_loading(tmp_path: Path) -> None:
    """That is what it is for: the data set may be gone, and nothing needs a main guard."""
    truth = make_truth(tmp_path / "set", codec="compact")
    before = open_files()
    with Loader(truth.root, num_workers=2, resident=True, **SMALL) as loader:
        assert open_files() == before
        shutil.rmtree(truth.root)
        for _ in range(2):
            assert len(numbers(loader, truth)) == SPLITS["train"] // 8 * 8
        assert worker_pids() == []
        assert loader.metrics().bytes_read > 0


@pytest.mark.parametrize("num_workers", [0, 2])
def test_close_ends_the_threads_and_lets_go_of_the_memory(truth: Truth, num_workers: int) -> None:
    """A notebook that loads one set after the other must have room for the second; batches that are held stay."""
    loader = Loader(truth.root, num_workers=num_workers, resident=True, **SMALL)
    batch = next(iter(loader))
    assert loader_threads() == num_workers
    size = loader._pipeline.resident_bytes
    loader.close()

    assert size > 0 and loader._pipeline.resident_bytes == 0
    assert wait_until(lambda: loader_threads() == 0)
    truth.assert_true(batch)
    with pytest.raises(WorkerError, match="it was closed"):
        next(iter(loader))


@pytest.mark.parametrize("codec", CODECS)
def test_a_damaged_shard_is_refused_while_loading(tmp_path: Path, codec: str) -> None:
    """Afterwards nothing is verified, so nothing wrong may get in; what is not asked for does not count."""
    truth = make_truth(tmp_path, codec=codec)
    corrupt(shard_of(truth), 5)
    with pytest.raises(ShardCorruptError, match=rf"{shard_of(truth).name}: .*sample 5"):
        Loader(tmp_path, resident=True, **SMALL)
    with Loader(tmp_path, resident=True, num_workers=0, indices=range(23), **SMALL) as loader:
        assert set(numbers(loader, truth)) < set(range(23))
    shard_of(truth).unlink()
    with pytest.raises(ShardMissingError, match=shard_of(truth, 6).name.replace("006", "007")):
        Loader(tmp_path, resident=True, **SMALL)


def test_what_cannot_be_decoded_though_its_checksum_fits_is_an_error(tmp_path: Path) -> None:
    """A shard of somebody's own making must not turn into noise."""
    truth = make_truth(tmp_path, codec="compact")
    with Loader(tmp_path, resident=True, num_workers=1, **SMALL) as loader:
        bodies = loader._pipeline._resident.bodies  # type: ignore[union-attr]
        bodies.memory[bodies.starts[0] : bodies.stops[0]] ^= 255
        with pytest.raises(ShardCorruptError, match=r"resident sample 0: .*; write its shard again"):
            numbers(loader, truth)


@pytest.mark.parametrize(
    ("codec", "share", "text"),
    [
        ("raw", 0.5, r"indices= or where= with 45 % of the samples, or codec compact, with about 0 MB"),
        ("compact", 0.5, r"indices= or where= with 45 % of the samples"),
        ("zstd", 0.001, r"a larger machine"),
    ],
)
def test_what_does_not_fit_is_refused_and_told_what_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, share: float, text: str
) -> None:
    """A process that takes more than there is is killed, hours into a run, without a word."""
    make_truth(tmp_path, codec=codec)
    with Loader(tmp_path, num_workers=0, resident=True, **SMALL) as loader:
        needed = loader._pipeline.resident_bytes
    monkeypatch.setattr(resident, "available_memory", lambda: int(share * needed))

    expected = (
        rf"train: resident takes 0\.\d MB in {'compact' if codec == 'compact' else 'raw'}, expected at most .* MB"
    )
    with pytest.raises(OptionError, match=f"{expected}.* that are free; leave resident out, or use what fits: {text}$"):
        Loader(tmp_path, num_workers=0, resident=True, **SMALL)


def test_a_smaller_size_that_would_fit_is_named(tmp_path: Path) -> None:
    """The figures come from the square of the side."""
    make_truth(tmp_path, codec="raw", size=32)
    index = read_index(Store(tmp_path))

    with pytest.raises(OptionError, match=re.escape("images of 20 px in place of 32, or codec compact")):
        resident.check_room(1000, 500, index=index, codec=index.codec, where="x train")
    resident.check_room(449, 500, index=index, codec=index.codec, where="x train")
    resident.check_room(1 << 60, None, index=index, codec=index.codec, where="x train")


def test_processes_are_refused(truth: Truth) -> None:
    """They would need the memory once more each."""
    with pytest.raises(OptionError, match="workers: 'process' found with resident, expected 'thread'"):
        Loader(truth.root, workers="process", resident=True, **SMALL)


def test_it_says_what_it_holds(truth: Truth) -> None:
    """Whoever looks at a loader sees what takes the memory."""
    with Loader(truth.root, num_workers=2, resident=True, **SMALL) as loader:
        assert re.search(r"2 threads, .*, resident 0 MB, ring 0 MB$", loader.describe())


def test_a_terminal_sees_a_bar_and_nothing_else_does(
    truth: Truth, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Sixteen gigabytes take a while; a log file needs no bar."""
    Loader(truth.root, num_workers=0, resident=True, **SMALL).close()
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(Console, "is_terminal", True)
    Loader(truth.root, num_workers=0, resident=True, rank=1, world_size=2, **SMALL).close()
    assert capfd.readouterr() == ("", "")
    Loader(truth.root, num_workers=0, resident=True, **SMALL).close()
    out, err = capfd.readouterr()
    assert not out and "loading shards into memory" in err


def test_shards_behind_a_url_are_held_too(truth: Truth) -> None:
    """Fetched once, where a streaming loader fetches them in every epoch."""
    with (
        serve(truth.root) as server,
        Loader(server.url, num_workers=1, resident=True, **SMALL) as loader,
        Loader(truth.root, num_workers=0, **SMALL) as local,
    ):
        assert numbers(loader, truth) == numbers(local, truth)


def test_without_kernels_it_gives_the_same(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compiled is faster and nothing else."""
    with Loader(truth.root, num_workers=0, **SMALL) as loader:
        expected = numbers(loader, truth)
    for module in ("format.held", "format.reader", "format.container.shard_file", "format.codecs.compact.coder"):
        monkeypatch.setattr(f"ferdata.{module}.load", lambda: None)
    with Loader(truth.root, num_workers=0, resident=True, **SMALL) as loader:
        assert numbers(loader, truth) == expected


def test_leaving_an_epoch_and_a_second_iteration_are_as_ever(truth: Truth) -> None:
    """The rules of iteration are the loader's, wherever its samples are."""
    with Loader(truth.root, num_workers=2, resident=True, **SMALL) as loader:
        first = next(iter(loader)).indices.tolist()
        rest = numbers(loader.resume(), truth)
        loader.set_epoch(0)
        assert [*first, *rest] == numbers(loader, truth)
        old = iter(loader)
        next(old)
        next(iter(loader))
        with pytest.raises(StateError):
            next(old)
    assert np.array_equal(np.unique([*first, *rest]), np.sort([*first, *rest]))


@pytest.fixture
def as_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processor be a device: the tensor operations are the same."""
    monkeypatch.setattr("ferdata.stream.loader.decodes_itself", lambda device: True)


@pytest.mark.usefixtures("as_a_device")
def test_on_a_device_batches_are_made_there_and_nothing_else_runs(
    truth: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread, no ring; payloads are cut out of one buffer, also where a batch takes more than one go."""
    monkeypatch.setattr("ferdata.stream.device.resident._GATHER_BYTES", 600)
    gc.collect()  # loaders of other tests that nobody closed
    before = loader_threads(), worker_pids()
    with (
        Loader(truth.root, num_workers=2, resident=True, drop_last=False, **SMALL) as loader,
        Loader(truth.root, num_workers=0, drop_last=False, **SMALL) as streamed,
    ):
        for one, two in zip(loader, streamed, strict=True):
            assert torch.equal(one.images, two.images) and torch.equal(one.labels, two.labels)
            assert (loader_threads(), worker_pids()) == before
        metrics = loader.metrics()
        assert (metrics.images, metrics.ring_slots) == (SPLITS["train"], 0)
        assert metrics.bytes_read == loader._pipeline.resident_bytes
        assert (loader.num_workers, loader._pipeline.ring_bytes) == (0, 0)
        loader.close()
        assert loader._pipeline.resident_bytes == 0
        with pytest.raises(WorkerError, match="it was closed"):
            next(iter(loader))


@pytest.mark.usefixtures("as_a_device")
def test_a_device_refuses_damage_and_what_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the processor does."""
    truth = make_truth(tmp_path, codec="compact")
    with (
        monkeypatch.context() as patch,
        pytest.raises(OptionError, match=r"resident takes .* MB in compact, expected at most .* leave resident out"),
    ):
        patch.setattr("ferdata.stream.device.resident.free_bytes", lambda device: 1000)
        Loader(tmp_path, resident=True, **SMALL)
    corrupt(shard_of(truth), 5)
    with pytest.raises(ShardCorruptError, match=rf"{shard_of(truth).name}: .*sample 5"):
        Loader(tmp_path, resident=True, **SMALL)


@pytest.mark.usefixtures("as_a_device")
def test_a_payload_of_another_size_than_its_table_says_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forged table must not move every later payload by a byte."""
    make_truth(tmp_path, codec="compact")
    whole = ShardReader.payload_bytes
    monkeypatch.setattr(ShardReader, "payload_bytes", lambda reader, positions: whole(reader, positions) + 1)
    monkeypatch.setattr("ferdata.stream.device.resident.ShardReader", ShardReader)

    with pytest.raises(ShardCorruptError, match=r"sample 0: .* bytes found, expected .* as its table says"):
        Loader(tmp_path, resident=True, **SMALL)


def test_a_device_that_is_not_there_is_refused(truth: Truth) -> None:
    """Before anything is loaded."""
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(OptionError, match="device: cuda found, but this torch sees no CUDA device"):
        Loader(truth.root, resident=True, device="cuda", **SMALL)
