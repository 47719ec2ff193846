"""A loader of some of a split's samples: they are ordered, drawn, assigned and resumed as if they were all."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streams import SPLITS, Truth, make_truth

from ferdata.errors import OptionError, StateError
from ferdata.stream import Loader

pytestmark = pytest.mark.usefixtures("way")

SMALL: dict[str, Any] = {
    "batch_size": 8,
    "window_samples": 16,
    "fields": ("images", "labels", "indices"),
    "seed": 3,
    "num_workers": 0,
}
CHOSEN = np.sort(np.random.default_rng(1).permutation(SPLITS["train"])[:61])
"""Some of every shard's samples, in no regular pattern."""


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_truth(tmp_path_factory.mktemp("indices"))


def epoch(loader: Loader, truth: Truth) -> list[int]:
    """Return the sample indices of an epoch, every image and label compared."""
    return [number for batch in loader for number in truth.assert_true(batch)]


@pytest.mark.parametrize("shuffle", ["window", "full", "none"])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_epoch_reads_each_chosen_sample_once_and_no_other(truth: Truth, shuffle: str, num_workers: int) -> None:
    """A subset that differs from epoch to epoch is no subset."""
    options = SMALL | {"num_workers": num_workers, "shuffle": shuffle, "drop_last": False}
    with Loader(truth.root, indices=np.random.default_rng(0).permutation(CHOSEN), **options) as loader:
        epochs = [epoch(loader, truth) for _ in range(3)]

        assert all(sorted(numbers) == CHOSEN.tolist() for numbers in epochs)
        assert (epochs[0] == epochs[1]) == (shuffle == "none") == (epochs[0] == CHOSEN.tolist())
        assert (loader.num_samples, len(loader)) == (61, 8)


def test_every_index_is_the_whole_split(truth: Truth) -> None:
    """The order is that of a loader without indices: a subset is the same mechanism and not another one."""
    with Loader(truth.root, **SMALL) as whole, Loader(truth.root, indices=range(SPLITS["train"]), **SMALL) as chosen:
        assert epoch(whole, truth) == epoch(chosen, truth)


def test_balanced_draws_are_of_the_subset(truth: Truth) -> None:
    """Classes without chosen samples are not drawn, and an epoch is as long as the subset."""
    two_classes = np.flatnonzero(truth.labels[: SPLITS["train"]] < 2)[:40]
    with Loader(truth.root, indices=two_classes, sampling="balanced", **SMALL) as loader:
        numbers = epoch(loader, truth)

    assert len(numbers) == 40 and set(numbers) <= set(two_classes.tolist())
    assert np.bincount(truth.labels[numbers]).tolist() == [20, 20]


def test_ranks_share_the_subset(truth: Truth) -> None:
    """Each chosen sample on one rank; padding stays padding."""
    read: list[int] = []
    for rank in range(3):
        with Loader(truth.root, indices=CHOSEN, rank=rank, world_size=3, drop_last=False, **SMALL) as loader:
            read += epoch(loader, truth)

    assert sorted(number for number in read if number >= 0) == CHOSEN.tolist()
    assert len(read) == 63


def test_a_resume_goes_on_within_the_subset(truth: Truth) -> None:
    """From any batch, also with another number of ranks."""
    with Loader(truth.root, indices=CHOSEN, **SMALL) as loader:
        states, uninterrupted = [], []
        for batch in loader:
            uninterrupted.append(truth.assert_true(batch))
            states.append(loader.state_dict())
    for at, state in enumerate(states[:-1], 1):
        with Loader(truth.root, indices=CHOSEN, **SMALL) as loader:
            loader.load_state_dict(state)
            assert [truth.assert_true(batch) for batch in loader] == uninterrupted[at:]

    rest: list[int] = []
    for rank in range(2):
        with Loader(truth.root, indices=CHOSEN, rank=rank, world_size=2, **SMALL) as loader:
            loader.load_state_dict(states[2])
            rest += epoch(loader, truth)
    before = [number for numbers in uninterrupted[:3] for number in numbers]
    assert len(set(before + rest)) == len(before + rest) and set(before + rest) <= set(CHOSEN.tolist())


def test_the_state_of_another_subset_is_refused(truth: Truth) -> None:
    """Its positions mean other samples."""
    with Loader(truth.root, indices=CHOSEN, **SMALL) as loader:
        state = loader.state_dict()
    for other in (None, CHOSEN[:-1]):
        with (
            Loader(truth.root, indices=other, **SMALL) as loader,
            pytest.raises(StateError, match="another data set, split or subset"),
        ):
            loader.load_state_dict(state)


@pytest.mark.parametrize(
    ("indices", "text"),
    [
        ([1, 2, 2], r"indices: int64 \[3\] with 2 different values found, expected .* each once"),
        ([], r"indices: .*at least one"),
        ([0.5], r"indices: float64 \[1\] .*whole numbers"),
        (np.ones(9, bool), r"indices: bool \[9\] .*np.flatnonzero\(mask\)"),
        ([[1, 2]], r"indices: int64 \[1, 2\] "),
        ([-1, 2], r"indices: -1 to 2 found, expected 0 to 299"),
        ([300], r"indices: 300 to 300 found, expected 0 to 299, the sample indices of split train"),
    ],
    ids=str,
)
def test_indices_that_name_no_samples_are_refused(truth: Truth, indices: Any, text: str, tmp_path: Path) -> None:
    """A mask that is taken for numbers would read samples 0 and 1 over and over."""
    with pytest.raises(OptionError, match=text):
        Loader(truth.root, indices=indices, **SMALL)
