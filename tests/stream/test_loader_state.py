"""Resuming: a run that was stopped goes on as if it had not been; a state that does not fit is refused."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from streams import SPLITS, Truth, make_truth, small_jobs

from ferdata.errors import StateError
from ferdata.stream import ColorJitter, Compose, HorizontalFlip, Loader, RandomResizedCrop

pytestmark = pytest.mark.usefixtures("way")

SMALL: dict[str, Any] = {"batch_size": 8, "window_samples": 48, "fields": ("images", "labels", "indices"), "seed": 11}
KINDS: dict[str, dict[str, Any]] = {
    "window": {},
    "full": {"shuffle": "full"},
    "none": {"shuffle": "none"},
    "window with a short last batch": {"drop_last": False},
    "balanced": {"sampling": "balanced", "draws": 250},
    "weighted full": {"sampling": {"Happy": 1, "Contempt": 4}, "shuffle": "full"},
}


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_truth(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True)
def jobs_of_seven_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    small_jobs(monkeypatch)


def read_epochs(loader: Loader, truth: Truth, *, until: int) -> Iterator[list[int]]:
    """Yield the sample indices of every batch, checked, up to epoch ``until``."""
    while loader.epoch < until:
        for batch in loader:
            yield truth.assert_true(batch)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resume_at_any_batch_goes_on_as_if_nothing_had_happened(truth: Truth, kind: str) -> None:
    """Checkpoints fall where they fall: window edges, the last batch, the epoch's end."""
    options = {**SMALL, **KINDS[kind]}
    states, uninterrupted = [], []
    with Loader(truth.root, num_workers=0, **options) as loader:
        states.append(loader.state_dict())
        for numbers in read_epochs(loader, truth, until=2):
            uninterrupted.append(numbers)
            states.append(loader.state_dict())
        length = len(loader)
        states.append(loader.state_dict())
        uninterrupted += list(read_epochs(loader, truth, until=3))

    assert len(uninterrupted) == 3 * length and len(states) == 2 * length + 2
    for at in sorted({*range(0, 2 * length + 1, 10), 6, 7, length - 1, length, length + 1, 2 * length, 2 * length + 1}):
        with Loader(truth.root, num_workers=0, **options) as loader:
            loader.load_state_dict(states[at])
            consumed = min(at, 2 * length)
            assert len(loader) == length
            assert list(read_epochs(loader, truth, until=3)) == uninterrupted[consumed:], f"resumed after {at} batches"


@pytest.mark.parametrize(("before", "after"), [(2, 2), (2, 0), (0, 2), (1, 5)])
def test_a_resume_may_have_another_number_of_workers(truth: Truth, before: int, after: int) -> None:
    """The machine a run goes on with is seldom the one it began on."""
    with Loader(truth.root, num_workers=before, **SMALL) as loader:
        uninterrupted = list(read_epochs(loader, truth, until=2))
    for at in (10, 20, 30):
        with Loader(truth.root, num_workers=before, **SMALL) as loader:
            for _, _ in zip(range(at), loader, strict=False):
                state = loader.state_dict()
        with Loader(truth.root, num_workers=after, **SMALL) as loader:
            loader.load_state_dict(state)
            assert list(read_epochs(loader, truth, until=2)) == uninterrupted[at:]


def test_a_run_that_is_stopped_again_and_again_reads_the_same(truth: Truth) -> None:
    """Preemptible machines stop every few minutes; small errors would add up."""
    with Loader(truth.root, num_workers=0, **SMALL) as loader:
        uninterrupted = list(read_epochs(loader, truth, until=3))
    read: list[list[int]] = []
    state = None
    while len(read) < len(uninterrupted):
        with Loader(truth.root, num_workers=0, **SMALL) as loader:
            if state is not None:
                loader.load_state_dict(state)
            for numbers, _ in zip(read_epochs(loader, truth, until=3), range(5), strict=False):
                read.append(numbers)
                state = loader.state_dict()
    assert read == uninterrupted


def test_one_loader_can_go_back_to_any_state(truth: Truth) -> None:
    """A training that met a loss of infinity goes back to the last good checkpoint without starting workers again."""
    with Loader(truth.root, num_workers=2, **SMALL) as loader:
        read, states = [], []
        for batch in loader:
            read.append(truth.assert_true(batch))
            states.append(loader.state_dict())
        for at in (30, 4, 11):
            running = iter(loader)
            next(running)
            loader.load_state_dict(states[at])
            assert len(loader) == 37
            with pytest.raises(StateError, match="this iteration was ended"):
                next(running)
            assert [truth.assert_true(batch) for batch in loader] == read[at + 1 :]
            assert (loader.epoch, len(loader)) == (1, 37)


@pytest.mark.parametrize(("num_workers", "workers"), [(0, None), (2, None), (2, "thread")])
def test_an_interrupted_epoch_can_be_gone_on_with(truth: Truth, num_workers: int, workers: str | None) -> None:
    """A cell that was stopped in mid-epoch: the next ``for`` is the next epoch, unless the rest is asked for."""
    with Loader(truth.root, num_workers=num_workers, workers=workers, **SMALL) as loader:
        whole = [truth.assert_true(batch) for batch in loader]
        loader.set_epoch(0)
        for stop in (1, 13, 37):
            read = []
            with contextlib.suppress(KeyboardInterrupt):
                for number, batch in enumerate(loader, 1):
                    read.append(truth.assert_true(batch))
                    if number == stop:
                        raise KeyboardInterrupt
            assert (loader.epoch, len(loader)) == (0, 37)
            read += [truth.assert_true(batch) for batch in loader.resume()]
            assert read == whole and loader.epoch == 1
            loader.set_epoch(0)
        running = iter(loader.resume())
        next(running)
        loader.resume()
        with pytest.raises(StateError, match="this iteration was ended"):
            next(running)
        assert [truth.assert_true(batch) for batch in loader] == whole[1:]


def test_set_epoch_keeps_what_a_resume_has_left_of_that_epoch(truth: Truth) -> None:
    """``for epoch in range(loader.epoch, n): loader.set_epoch(epoch)`` must not begin a resumed epoch again."""
    with Loader(truth.root, num_workers=0, **SMALL) as loader:
        read = list(read_epochs(loader, truth, until=3))
        loader.set_epoch(1)
        for _, _ in zip(range(10), loader, strict=False):
            state = loader.state_dict()
    with Loader(truth.root, num_workers=0, **SMALL) as loader:
        loader.load_state_dict(state)
        again = []
        for epoch in range(loader.epoch, 3):
            loader.set_epoch(epoch)
            assert len(loader) == 37
            again += [truth.assert_true(batch) for batch in loader]
        assert again == read[37 + 10 :]
        loader.load_state_dict(state)
        loader.set_epoch(2)
        assert (loader.epoch, len(loader)) == (2, 37)


def test_augmentation_goes_on_as_well(truth: Truth) -> None:
    """Equal samples with other crops are another run."""
    options = {**SMALL, "transform": Compose([RandomResizedCrop(), HorizontalFlip(), ColorJitter()])}
    with Loader(truth.root, num_workers=0, **options) as loader:
        images = []
        for number, batch in enumerate(loader):
            images.append(batch.images)
            if number == 9:
                state = loader.state_dict()
    with Loader(truth.root, num_workers=2, **options) as loader:
        loader.load_state_dict(state)
        for batch, expected in zip(loader, images[10:], strict=True):
            assert torch.equal(batch.images, expected)


def test_a_state_is_small_plain_and_of_constant_size(truth: Truth) -> None:
    """It goes into every checkpoint, through JSON or torch.save, and must not grow with the run."""
    with Loader(truth.root, num_workers=0, **{**SMALL, **KINDS["weighted full"]}) as loader:
        sizes = set()
        for _ in loader:
            state = loader.state_dict()
            sizes.add(len(json.dumps(state)))
        assert max(sizes) - min(sizes) <= 3 and max(sizes) < 1000
        loader.load_state_dict(json.loads(json.dumps(state)))
        assert loader.state_dict() == json.loads(json.dumps(state)) | {
            "order": state["order"],
            "phases": state["phases"],
        }


def test_a_state_survives_torch_save_with_weights_only(truth: Truth, tmp_path: Path) -> None:
    """Checkpoints are read without running code."""
    loader = Loader(truth.root, num_workers=0, **{**SMALL, **KINDS["balanced"]})
    next(iter(loader))
    torch.save({"loader": loader.state_dict()}, tmp_path / "checkpoint.pt")

    loader.load_state_dict(torch.load(tmp_path / "checkpoint.pt", weights_only=True)["loader"])

    assert len(list(loader)) == 250 // 8 - 1
    assert len(loader) == 250 // 8


def test_reading_ahead_does_not_move_the_state(truth: Truth) -> None:
    """Workers are windows ahead of the consumer; a state that said so would lose what was decoded and not seen."""
    with Loader(truth.root, num_workers=2, **SMALL) as loader:
        for number, _ in enumerate(loader, 1):
            assert loader.state_dict()["consumed"] == 8 * number


def test_another_codec_of_the_same_samples_goes_on(truth: Truth, tmp_path: Path) -> None:
    """``recode`` in the midst of a run changes how bytes are stored and not what they are."""
    raw = make_truth(tmp_path, codec="raw")
    with Loader(truth.root, num_workers=0, **SMALL) as loader:
        read = []
        for number, batch in enumerate(loader):
            read.append(truth.assert_true(batch))
            if number == 9:
                state = loader.state_dict()
    with Loader(raw.root, num_workers=0, **SMALL) as loader:
        loader.load_state_dict(state)
        assert [raw.assert_true(batch) for batch in loader] == read[10:]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"seed": 12}, "seed 11 found, expected 12"),
        ({"batch_size": 16}, "batch_size 8 found, expected 16"),
        ({"shuffle": "full"}, "shuffle window found, expected full"),
        ({"drop_last": False}, "drop_last True found, expected False"),
        ({"window_samples": 96}, "window_samples 48 found, expected 96"),
        ({"sampling": "balanced"}, r"weights None found, expected \(0.125"),
        ({"split": "val"}, "split train found, expected val; it belongs to another data set, split or subset"),
    ],
)
def test_a_state_of_another_order_is_refused_by_name(truth: Truth, options: dict[str, Any], text: str) -> None:
    """Going on in another order repeats some samples and never reads others, and nobody would notice."""
    state = Loader(truth.root, num_workers=0, **SMALL).state_dict()
    loader = Loader(truth.root, num_workers=0, **{**SMALL, **options})
    with pytest.raises(StateError, match=text):
        loader.load_state_dict(state)
    assert len(loader) > 0


def test_a_state_of_another_data_set_is_refused(truth: Truth, tmp_path: Path) -> None:
    """One more sample and every number means another face."""
    other = make_truth(tmp_path, samples={**SPLITS, "train": SPLITS["train"] + 1})
    with pytest.raises(
        StateError,
        match=r"loader state: fingerprint .* found, expected .*; it belongs to another data set, split or subset",
    ):
        Loader(other.root, num_workers=0, **SMALL).load_state_dict(
            Loader(truth.root, num_workers=0, **SMALL).state_dict()
        )


@pytest.mark.parametrize(
    "change",
    [
        None,
        [],
        {},
        {"version": 99},
        {"consumed": "many"},
        {"consumed": -8},
        {"consumed": 3},
        {"epoch": None},
        {"epoch": -1},
        {"world_size": 0},
        {"phases": [[2]]},
        {"phases": 3},
        {"order": None},
        "fingerprint",
        "order",
        "phases",
    ],
)
def test_what_is_no_state_is_refused(truth: Truth, change: Any) -> None:
    """A checkpoint of something else, or one that was cut by hand: an error of ours, and the loader stays put."""
    loader = Loader(truth.root, num_workers=0, **SMALL)
    state = loader.state_dict()
    if isinstance(change, str):
        del state[change]
    else:
        state = {**state, **change} if change else change
    with pytest.raises(StateError, match=r"loader state: .* found, expected .*; take it from state_dict"):
        loader.load_state_dict(state)
    assert len(read := [number for batch in loader for number in truth.assert_true(batch)]) == len(set(read)) == 296
