"""Payloads streamed as they are and decoded where batches go: the batches of a loader that decodes on the host.

The device is the processor here, which does the tensor operations that every device has.
"""

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streams import SPLITS, Truth, corrupt, make_truth, shard_of, small_jobs, worker_pids
from webserver import serve

from ferdata.errors import OptionError, ShardCorruptError
from ferdata.format import ShardReader, kernel_notice, read_index
from ferdata.format.kernels.native import load
from ferdata.store import Store
from ferdata.stream import Loader
from ferdata.stream.memory.payloads import PayloadRing

SMALL: dict[str, Any] = {"batch_size": 8, "window_samples": 48, "fields": ("images", "labels", "indices"), "seed": 3}
WORKERS: dict[str, dict[str, Any]] = {
    "none": {"num_workers": 0},
    "a process": {"num_workers": 1, "workers": "process"},
    "two processes": {"num_workers": 2, "workers": "process"},
    "threads": {"num_workers": 2, "workers": "thread"},
}
SPAWNED: dict[str, Any] = {"num_workers": 1, "workers": "process", "start_method": "spawn"}


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_truth(tmp_path_factory.mktemp("compact"), codec="compact")


def on_device(truth: Truth, **options: Any) -> Loader:
    return Loader(truth.root, decode="device", **{"num_workers": 0, **SMALL, **options})


def assert_same(one: Any, two: Any, truth: Truth) -> None:
    truth.assert_true(two)
    assert torch.equal(one.images, two.images) and torch.equal(one.labels, two.labels)
    assert torch.equal(one.indices, two.indices)


@pytest.mark.parametrize(
    ("workers", "options"),
    [
        *itertools.product(WORKERS.values(), [{"drop_last": False}, {"where": "label != 2", "sampling": "balanced"}]),
        (SPAWNED, {}),
    ],
)
def test_batches_order_and_state_are_those_of_the_host(
    truth: Truth, workers: dict[str, Any], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run may change from one to the other at any batch; the second epoch is not verified as the first one was."""
    small_jobs(monkeypatch)
    with Loader(truth.root, num_workers=0, **SMALL, **options) as host, on_device(truth, **workers, **options) as there:
        assert len(there) == len(host)
        for _ in range(2):
            for one, two in zip(host, there, strict=True):
                assert_same(one, two, truth)
                assert host.state_dict() == there.state_dict()
        assert there.metrics().bytes_read > 0 and there.metrics().copied_batches == 0
        assert len(worker_pids()) == (workers["num_workers"] if workers.get("workers") == "process" else 0)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_ranks_padding_and_resume_are_as_ever(truth: Truth, rank: int) -> None:
    """300 samples on 3 ranks in batches of 8 end in padding in the midst of a slot; three go on where two left."""
    ranks: dict[str, Any] = {"drop_last": False, "rank": rank, "world_size": 3}
    with on_device(truth, num_workers=1, **ranks) as there, Loader(truth.root, num_workers=0, **SMALL, **ranks) as host:
        for one, two in zip(host, there, strict=True):
            assert_same(one, two, truth)
        with Loader(truth.root, num_workers=0, **SMALL, drop_last=False, rank=0, world_size=2) as before:
            batches = iter(before)
            for _ in range(5):
                next(batches)
            state = before.state_dict()
        for loader in (there, host):
            loader.load_state_dict(state)
        for one, two in zip(host, there, strict=True):
            assert_same(one, two, truth)


def test_a_batch_that_is_kept_is_the_consumers_and_no_slot(truth: Truth) -> None:
    """What is decoded is fresh memory: all batches of an epoch can be kept, and none is copied."""
    with on_device(truth, num_workers=1) as loader:
        kept = list(loader)
        metrics = loader.metrics()
    assert len(kept) == SPLITS["train"] // 8 and metrics.copied_batches == 0
    for batch in kept:
        truth.assert_true(batch)


def test_the_ring_is_one_of_payloads(tmp_path: Path) -> None:
    """That is what it is for, beside the bus: flat pictures take a sixth of their pixels."""
    truth = make_truth(tmp_path, codec="compact", size=32, samples={"train": 20})
    with on_device(truth, batch_size=4) as there, Loader(tmp_path, num_workers=0, batch_size=4) as host:
        there_bytes, host_bytes = there._pipeline.ring_bytes, host._pipeline.ring_bytes
        with ShardReader(Store(tmp_path), there.index.shards[0], there.index) as reader:
            longest = int(reader.payload_bytes(np.arange(len(reader))).max())
        slots = there.metrics().ring_slots
        assert ", decoded on the device, ring " in there.describe()
    assert there_bytes == slots * -(-(8 * 5 + 4 * longest) // 64) * 64 and slots == host.metrics().ring_slots
    assert there_bytes < host_bytes


def damage(truth: Truth, kind: str) -> None:
    """Flip a bit of sample 5 of a shard: in the midst of its payload, or in a length, so that it contradicts itself."""
    path = shard_of(truth)
    if kind == "in the midst":
        corrupt(path, 5)
        return
    store, times = Store(path.parent), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    index = read_index(store)
    with ShardReader(store, next(info for info in index.shards if info.name == path.name), index) as reader:
        at = int(reader._shard.starts[5]) + 12
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=times)


@pytest.mark.parametrize("workers", WORKERS.values(), ids=WORKERS)
def test_damage_is_refused_with_the_sample_named(tmp_path: Path, workers: dict[str, Any]) -> None:
    """By the worker that copies it, in the words of one that decodes, and after the same batches."""
    truth = make_truth(tmp_path, codec="compact")
    damage(truth, "in the midst")
    texts, found = [], []
    for loader in (Loader(truth.root, num_workers=0, **SMALL), on_device(truth, **workers)):
        batches: list[list[int]] = []
        with loader, pytest.raises(ShardCorruptError, match=rf"{shard_of(truth).name}: sample 5: ") as caught:
            batches.extend(batch.indices.tolist() for batch in loader)
        texts.append(str(caught.value))
        found.append(batches)
    assert texts[0] == texts[1] and found[0] == found[1]


@pytest.mark.skipif(load() is None, reason=f"{kernel_notice()}: what is not mapped is always verified")
def test_damage_that_was_not_there_when_it_was_verified_is_named_by_the_device(tmp_path: Path) -> None:
    """Later epochs verify a 64th; what contradicts itself is found all the same, and the batches before it come."""
    truth = make_truth(tmp_path, codec="compact")
    with Loader(truth.root, num_workers=0, shuffle="none", **SMALL) as host:
        expected = [batch.indices.tolist() for batch in host]
    damaged = 7 * 23 + 5
    assert all(damaged & 63 != -epoch % 64 for epoch in (0, 1))
    with on_device(truth, num_workers=1, shuffle="none") as loader:
        list(loader)
        damage(truth, "in a length")
        found: list[list[int]] = []
        with pytest.raises(ShardCorruptError, match=rf"{shard_of(truth).name}: sample 5: .*copy or write the shard"):
            found.extend(batch.indices.tolist() for batch in loader)
        assert found == expected[: damaged // 8]
        assert loader.state_dict()["consumed"] == len(found) * 8


def test_damage_on_the_way_is_an_error_and_the_batch_can_be_had(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that lies is nobody's shard's fault: the error says so, and the rest of the epoch follows."""
    whole = PayloadRing.complete

    def damaging(ring: PayloadRing, slot: int, samples: np.ndarray) -> np.ndarray:
        filled = whole(ring, slot, samples)
        if 200 in samples:
            filled[filled[:8].view(np.int64)[0]] ^= 1
        return filled

    found: list[int] = []
    with on_device(truth, shuffle="none", drop_last=False) as loader:
        monkeypatch.setattr(PayloadRing, "complete", damaging)
        with pytest.raises(ShardCorruptError, match=r"train: samples \[200\] were damaged on their way to the device"):
            for batch in loader:
                found += batch.indices.tolist()
        monkeypatch.undo()
        for batch in loader.resume():
            found += truth.assert_true(batch)
    assert found == list(range(SPLITS["train"]))


def test_shards_behind_a_url_and_machines_without_kernels_give_the_same(
    truth: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sample by sample then, every checksum verified."""
    some: dict[str, Any] = {"indices": range(20, 60), "shuffle": "none"}
    with Loader(truth.root, num_workers=0, **SMALL, **some) as host:
        expected = [batch.images for batch in host]
    with serve(truth.root) as server, Loader(server.url, decode="device", num_workers=1, **SMALL, **some) as remote:
        assert all(torch.equal(batch.images, one) for batch, one in zip(remote, expected, strict=True))
    for module in ("format.reader", "format.container.shard_file", "format.codecs.compact.coder"):
        monkeypatch.setattr(f"ferdata.{module}.load", lambda: None)
    with on_device(truth, **some) as loader:
        assert all(torch.equal(batch.images, one) for batch, one in zip(loader, expected, strict=True))


def test_a_table_that_gives_other_sizes_is_refused(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    """Payloads are laid out by it: one of another size would be read from where its neighbour lies."""
    whole = ShardReader.payload_bytes
    monkeypatch.setattr(ShardReader, "payload_bytes", lambda reader, positions: whole(reader, positions) + 1)

    with on_device(truth) as loader, pytest.raises(ShardCorruptError, match=r"sample \d+: .* as its table says"):
        list(loader)


def test_raw_is_copied_as_ever_and_what_no_device_decodes_is_refused(tmp_path: Path) -> None:
    """Pixels need no decoding; zstd and JPEG files need a processor."""
    raw, zstd = (make_truth(tmp_path / codec, codec=codec, samples={"train": 24}) for codec in ("raw", "zstd"))
    with on_device(raw) as loader:
        assert "decoded on the device" not in loader.describe()
        assert sum(len(raw.assert_true(batch)) for batch in loader) == 24
    with pytest.raises(OptionError, match=r"decode: 'device' found for codec zstd, expected compact.*decode='host'"):
        on_device(zstd)
    with pytest.raises(OptionError, match="decode: 'gpu' found, expected host or device"):
        Loader(raw.root, decode="gpu", **SMALL)


def test_a_resident_split_decodes_where_it_is(truth: Truth) -> None:
    """Two answers to one question are none."""
    with pytest.raises(OptionError, match=r"decode: 'device' found with resident.*leave one of them out"):
        on_device(truth, resident=True)
