"""``ShardBatches``: a ``DataLoader`` gives the loader's batches in the loader's order, whatever its workers."""

import copy
import gc
import importlib.util
import inspect
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streams import Truth, corrupt, make_truth, shard_of
from torch.utils.data import DataLoader

from ferdata.errors import OptionError, ShardCorruptError, StateError
from ferdata.stream import HorizontalFlip, IterableShardDataset, Loader, ShardBatches, ShardDataset
from ferdata.stream.memory import handoff
from ferdata.stream.options import SampleOptions, StreamOptions
from ferdata.stream.source import BatchSource

SMALL: dict[str, Any] = {"batch_size": 8, "window_samples": 48, "fields": ("images", "labels", "indices"), "seed": 3}


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_truth(tmp_path_factory.mktemp("batches"), codec="raw")


def loader_of(batches: ShardBatches, num_workers: int) -> DataLoader[Any]:
    return DataLoader(batches, batch_size=None, num_workers=num_workers, persistent_workers=num_workers > 0)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("num_workers", [0, 1, 2, 5])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shuffle": False},
        {"drop_last": False},
        {"sampling": "balanced", "draws": 100},
        {"rank": 1, "world_size": 3, "drop_last": False},
        {"where": "label != 'Happy'"},
    ],
    ids=lambda options: " ".join(options) or "defaults",
)
def test_the_batches_and_their_order_are_the_loaders(truth: Truth, num_workers: int, options: dict[str, Any]) -> None:
    """Whoever needs torch's own processes gets the run that the loader gives, state and figures included."""
    batches = ShardBatches(truth.root, **{**SMALL, **options})
    loader = loader_of(batches, num_workers)
    with Loader(truth.root, num_workers=0, **{**SMALL, **options}) as ours:
        for epoch in range(2):
            batches.set_epoch(epoch)
            expected = [truth.assert_true(batch) for batch in ours]
            assert [truth.assert_true(batch) for batch in loader] == expected
            assert len(loader) == len(batches) == len(expected)


def test_a_transform_draws_what_it_draws_in_the_loader(truth: Truth) -> None:
    options = {**SMALL, "transform": HorizontalFlip()}
    loader = loader_of(ShardBatches(truth.root, **options), 2)
    with Loader(truth.root, num_workers=0, **options) as ours:
        for batch, other in zip(ours, loader, strict=True):
            assert torch.equal(batch.images, other.images)


def test_batches_can_be_dicts_with_any_field(truth: Truth) -> None:
    fields = ("images", "labels", "keys", "records", "mask")
    batches = ShardBatches(truth.root, batch_size=16, fields=fields, as_dict=True)
    batch = next(iter(loader_of(batches, 1)))
    assert set(batch) == {"pixel_values", "labels", "keys", "records", "mask"}
    assert [record["path"] for record in batch["records"]] == [f"images/{int(key[5:])}.jpg" for key in batch["keys"]]


def halve(images: torch.Tensor) -> torch.Tensor:
    return images[:, :, ::2]


@pytest.mark.parametrize("transform", [None, halve, torch.Tensor.float])
def test_kept_batches_and_views_of_the_workers_memory_stay_true(truth: Truth, transform: Any) -> None:
    """Workers use their memory again; only what nobody refers to, here or there, may be overwritten."""
    options = {**SMALL, "transform": transform, "drop_last": False}
    loader = loader_of(ShardBatches(truth.root, **options), 2)
    with Loader(truth.root, num_workers=0, **options) as ours:
        expected = [batch.images.clone() for batch in ours]
    for _ in range(2):
        kept = list(loader)
        views = [batch.images[-1].numpy()[1:] for batch in kept]
        for batch, images, view in zip(kept, expected, views, strict=True):
            assert type(batch.images) is torch.Tensor and torch.equal(batch.images, images)
            assert np.array_equal(view, images[-1].numpy()[1:])


def transpose_in_place(images: torch.Tensor) -> torch.Tensor:
    return images.transpose_(2, 3)


def replace_data(images: torch.Tensor) -> torch.Tensor:
    images.data = images.float() / 255
    return images


@pytest.mark.parametrize("transform", [transpose_in_place, replace_data, copy.deepcopy, copy.copy])
def test_a_transform_may_change_the_images_in_any_way(truth: Truth, transform: Any) -> None:
    """What is no longer the worker's memory as it was must not be sent as if it were."""
    options = {**SMALL, "transform": transform}
    loader = loader_of(ShardBatches(truth.root, **options), 1)
    with Loader(truth.root, num_workers=0, **options) as ours:
        for batch, other in zip(ours, loader, strict=True):
            assert batch.images.dtype is other.images.dtype and torch.equal(batch.images, other.images)


def test_a_process_number_that_somebody_else_has_by_now_is_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert not handoff._is_alive(1)


def test_batches_that_are_dropped_take_no_fresh_memory(truth: Truth) -> None:
    """Fresh memory for every batch, twice, is what a DataLoader's workers spend most of their time on."""
    loader = loader_of(ShardBatches(truth.root, **SMALL), 1)
    for _ in range(2):
        assert len({batch.images.data_ptr() for batch in loader}) <= handoff.SLOTS
    assert len(handoff._received) >= 1
    del loader
    gc.collect()
    handoff.forget_ended()
    assert len(handoff._received) == 0
    with pytest.raises(StateError, match="came without its memory"):
        handoff._receive("other", 1, 10, None, 0, (10,))


def test_an_iteration_that_is_left_costs_no_memory_in_the_next(truth: Truth) -> None:
    loader = loader_of(ShardBatches(truth.root, **SMALL), 2)
    for _ in range(8):
        for number, batch in enumerate(loader):
            truth.assert_true(batch)
            if number == 5:
                break
    pointers = {batch.images.data_ptr() for batch in loader}
    assert len(pointers) <= 2 * handoff.SLOTS + 1


def test_workers_may_be_started_anew(truth: Truth) -> None:
    """What they are sent must hold no open file."""
    batches = ShardBatches(truth.root, **SMALL)
    expected = [truth.assert_true(batch) for batch in batches]
    loader: DataLoader[Any] = DataLoader(batches, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    assert [truth.assert_true(batch) for batch in loader] == expected


def test_a_damaged_shard_is_an_error_that_names_it(tmp_path: Path) -> None:
    truth = make_truth(tmp_path, codec="raw")
    corrupt(shard_of(truth), 12)
    with pytest.raises(ShardCorruptError, match=r"train-000007\.tar: the checksum of sample 12"):
        list(loader_of(ShardBatches(truth.root, **SMALL), 2))


def test_what_it_says_of_itself_and_refuses(truth: Truth) -> None:
    batches = ShardBatches(truth.root, **SMALL)
    assert "37 batches, shuffle window" in repr(batches) and batches.classes[1] == "Happy"
    with pytest.raises(OptionError, match="epoch: -1 found, expected 0 or more"):
        batches.set_epoch(-1)
    with pytest.raises(OptionError, match="batch_size: 0 found"):
        ShardBatches(truth.root, batch_size=0)


@pytest.mark.parametrize("taken", [0, 1, 10, 37])
def test_an_iteration_goes_on_from_its_state(truth: Truth, taken: int) -> None:
    """What torchdata's loader asks every worker for, without that library."""
    batches = ShardBatches(truth.root, **SMALL)
    batches.set_epoch(2)
    iteration: Any = iter(batches)
    read = [truth.assert_true(next(iteration)) for _ in range(taken)]
    state = iteration.state_dict()
    rest = [truth.assert_true(batch) for batch in iteration]
    assert len(read) + len(rest) == 37

    other: Any = iter(ShardBatches(truth.root, **SMALL))
    other.load_state_dict(state)
    assert [truth.assert_true(batch) for batch in other] == rest
    with pytest.raises(StateError, match=r"worker \[0, 2\] found, expected 1, \[0, 1\]; resume with as many"):
        other.load_state_dict({**state, "worker": [0, 2]})
    with pytest.raises(StateError, match="seed 3 found, expected 4"):
        iter(ShardBatches(truth.root, **{**SMALL, "seed": 4})).load_state_dict(state)  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(importlib.util.find_spec("torchdata") is None, reason="torchdata not installed")
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_stateful_loader_resumes_within_an_epoch(truth: Truth, num_workers: int) -> None:
    from torchdata.stateful_dataloader import StatefulDataLoader

    def make() -> Any:
        return StatefulDataLoader(ShardBatches(truth.root, **SMALL), batch_size=None, num_workers=num_workers)

    whole = [truth.assert_true(batch) for batch in make()]
    loader, read = make(), []
    for number, batch in enumerate(loader, 1):
        read.append(truth.assert_true(batch))
        if number == 11:
            state = loader.state_dict()
            break
    other = make()
    other.load_state_dict(state)
    assert read + [truth.assert_true(batch) for batch in other] == whole
    assert np.concatenate(whole).size == 296


@pytest.mark.parametrize(
    ("kind", "to", "options"),
    [
        (Loader, BatchSource, StreamOptions),
        (ShardBatches, BatchSource, StreamOptions),
        (IterableShardDataset, ShardDataset, SampleOptions),
    ],
)
def test_every_option_that_is_passed_on_is_shown_with_its_default(kind: Any, to: Any, options: Any) -> None:
    """What help and completion show of it is made, and a TypedDict is a second list of the same names."""
    shown, passed = inspect.signature(kind).parameters, inspect.signature(to).parameters
    assert {name: shown[name] for name in passed} == dict(passed)
    assert {*options.__annotations__} <= {*passed}
    assert options is SampleOptions or {*options.__annotations__} == {*passed} - {"root"}
    assert not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in shown.values())
    text = inspect.getdoc(Loader if kind is ShardBatches else kind) or ""
    assert all(f"\n    {name}: " in text for name in shown)
    with pytest.raises(TypeError, match="'batchsize'"):
        kind("shards", batchsize=3)
