"""Ranks: equal counts, a disjoint cover, and an epoch that survives another number of ranks without loss."""

import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.distributed
from make_dataset import make_dataset
from streams import SPLITS, Truth, make_truth, small_jobs

from ferdata.errors import OptionError
from ferdata.stream import IterableShardDataset, Loader, source
from ferdata.stream.order.ranks import find_rank

pytestmark = pytest.mark.usefixtures("way")

SMALL: dict[str, Any] = {"batch_size": 8, "window_samples": 24, "fields": ("images", "labels", "indices"), "seed": 2}
TOTAL = SPLITS["train"]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_truth(tmp_path_factory.mktemp("ranks"))


@pytest.fixture(autouse=True)
def jobs_of_seven_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    small_jobs(monkeypatch)


def batches_taken(state: Any) -> int:
    """Return the batches a rank has had of its epoch, on whatever number of ranks."""
    return (sum(consumed for _, consumed in state["phases"]) + state["consumed"]) // 8


def read(
    truth: Truth, world_size: int, *, state: Any = None, batches: int | None = None, **options: Any
) -> tuple[list[int], list[int], Any]:
    """Let every rank read some batches, or all; return the real numbers, the ranks' counts, and the last state."""
    numbers, counts, states = [], [], []
    for rank in range(world_size):
        with Loader(truth.root, rank=rank, world_size=world_size, **{"num_workers": 0, **SMALL, **options}) as loader:
            if state is not None:
                loader.load_state_dict(state)
            length, count = len(loader) - batches_taken(loader.state_dict()), 0
            states.append(loader.state_dict())
            if batches != 0:
                for count, batch in enumerate(loader, 1):
                    numbers += [number for number in truth.assert_true(batch) if number >= 0]
                    states[-1] = loader.state_dict()
                    if count == batches:
                        break
            assert count == (length if batches is None else min(batches, length))
            counts.append(count)
    assert all(state == states[0] for state in states)
    return numbers, counts, states[0]


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("shuffle", ["window", "full", "none"])
@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_ranks_read_equal_counts_and_cover_the_split(
    truth: Truth, world_size: int, shuffle: str, drop_last: bool
) -> None:
    """One batch more on one rank is a hang in the next all-reduce; one sample twice is a wrong metric."""
    numbers, counts, _ = read(truth, world_size, shuffle=shuffle, drop_last=drop_last)

    assert len(set(counts)) == 1
    assert len(numbers) == len(set(numbers))
    assert TOTAL - len(numbers) < 8 * world_size if drop_last else sorted(numbers) == list(range(TOTAL))


def test_ranks_with_workers_read_what_ranks_without_read(truth: Truth) -> None:
    """Workers of a rank fill only their own rank's batches."""
    assert read(truth, 2, num_workers=2)[0] == read(truth, 2)[0]


@pytest.mark.parametrize(("samples", "world_size"), [(300, 4), (21, 4), (9, 8), (1, 3)])
def test_padding_is_masked_and_worth_nothing(tmp_path: Path, samples: int, world_size: int) -> None:
    """Evaluation on ranks pads to equal counts; who forgets the mask meets a label that losses leave out."""
    truth = make_truth(tmp_path, samples={"train": samples})
    fields = ("images", "labels", "indices", "mask", "keys", "valence", "arousal")
    real, shapes = [], []
    for rank in range(world_size):
        with Loader(
            tmp_path,
            rank=rank,
            world_size=world_size,
            shuffle=False,
            num_workers=0,
            **{**SMALL, "batch_size": 2, "fields": fields},
        ) as loader:
            batches = list(loader)
        shapes.append([tuple(batch.images.shape) for batch in batches])
        for batch in batches:
            truth.assert_true(batch)
            padded = ~batch.mask.numpy()
            assert np.array_equal(padded, batch.indices.numpy() == -1)
            assert np.isnan(batch.valence.numpy()[padded]).all() and np.isnan(batch.arousal.numpy()[padded]).all()
            assert [key == "" for key in batch.keys] == padded.tolist()
            real += batch.indices[batch.mask].tolist()
    assert all(shape == shapes[0] for shape in shapes)
    assert sorted(real) == list(range(samples))


JOURNEYS = [
    [(2, 5), (3, None)],
    [(3, 5), (2, None)],
    [(2, 4), (1, 7), (4, None)],
    [(2, 0), (3, None)],
    [(4, 1), (3, 1), (2, 1), (1, None)],
    [(3, None), (2, None)],
    [(1, 36), (4, None)],
]


@pytest.mark.parametrize("shuffle", ["window", "full", "none"])
@pytest.mark.parametrize(
    "journey", JOURNEYS, ids=lambda journey: " to ".join(str(world_size) for world_size, _ in journey)
)
def test_an_epoch_moved_between_numbers_of_ranks_is_covered_once(
    truth: Truth, journey: list[tuple[int, int | None]], shuffle: str
) -> None:
    """A cluster that shrinks or grows in mid-epoch goes on with what is left: none lost, none twice, len() exact."""
    for drop_last in (False, True):
        numbers: list[int] = []
        state = None
        for world_size, batches in journey:
            part, counts, state = read(
                truth, world_size, state=state, batches=batches, shuffle=shuffle, drop_last=drop_last
            )
            numbers += part
            assert len(set(counts)) == 1
        assert len(numbers) == len(set(numbers))
        if drop_last:
            assert TOTAL - len(numbers) < 8 * journey[-1][0]
        else:
            assert sorted(numbers) == list(range(TOTAL))


def test_the_epoch_after_a_change_of_ranks_is_whole(truth: Truth) -> None:
    """What happened in one epoch must not follow the run into the next."""
    _, _, state = read(truth, 2, batches=5)
    following = []
    for resumed in (True, False):
        with Loader(truth.root, rank=1, world_size=3, num_workers=0, **SMALL) as loader:
            if resumed:
                loader.load_state_dict(state)
                assert len(list(loader)) == (TOTAL - 2 * 5 * 8) // 24
            else:
                loader.set_epoch(1)
            assert (loader.epoch, len(loader)) == (1, TOTAL // 24)
            following.append([truth.assert_true(batch) for batch in loader])
    assert following[0] == following[1]


def test_the_environment_of_torchrun_is_understood(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    """``torchrun train.py`` needs no option."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with Loader(truth.root, num_workers=0, **SMALL) as loader:
        assert (loader.rank, loader.world_size) == (1, 3)
        found = [truth.assert_true(batch) for batch in loader]
    with Loader(truth.root, rank=1, world_size=3, num_workers=0, **SMALL) as loader:
        assert [truth.assert_true(batch) for batch in loader] == found
    assert find_rank(0, 1) == (0, 1)
    assert len(IterableShardDataset(truth.root)) == TOTAL // 3


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"RANK": "3", "WORLD_SIZE": "3"}, "rank 3 of 3: expected 0 <= rank < world_size; check RANK and WORLD_SIZE"),
        (
            {"WORLD_SIZE": "3"},
            "rank: WORLD_SIZE 3 found in the environment without RANK, expected both or neither; initialise torch",
        ),
        ({"RANK": "3"}, "rank 3 of 1: expected 0 <= rank < world_size"),
        ({"RANK": "one", "WORLD_SIZE": "3"}, "RANK: 'one' found in the environment, expected a whole number"),
        ({"RANK": "0", "WORLD_SIZE": "-2"}, "WORLD_SIZE: '-2' found in the environment, expected a whole number"),
    ],
)
def test_an_environment_that_makes_no_sense_is_refused(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], text: str
) -> None:
    """A rank that reads everything, because a variable was misspelt, trains on every sample once per rank."""
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(OptionError, match=text):
        find_rank()


def _distributed(rank: int, meeting: str, root: str, results: Any, early: bool) -> None:
    for name in ("RANK", "WORLD_SIZE") if early else ():
        os.environ.pop(name)
    if early and rank == 1:
        os.environ["WORLD_SIZE"] = "2"  # as Lightning starts its further processes
    loader = Loader(root, num_workers=1, **SMALL) if early else None
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    with loader or Loader(root, num_workers=1, **SMALL) as loader:
        assert len(loader) == TOTAL // 16
        results.put((loader.rank, loader.world_size, [number for batch in loader for number in batch.indices.tolist()]))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("early", [False, True])
def test_an_initialised_process_group_is_understood(
    truth: Truth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    """torch.distributed knows better than the environment; frameworks initialise it long after the loader is made."""
    monkeypatch.setenv("RANK", "7")
    monkeypatch.setenv("WORLD_SIZE", "9")
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    ranks = [
        context.Process(target=_distributed, args=(rank, f"file://{tmp_path}/meeting", str(truth.root), results, early))
        for rank in range(2)
    ]
    for process in ranks:
        process.start()
    found = sorted(results.get(timeout=60) for _ in ranks)
    for process in ranks:
        process.join(60)

    assert [entry[:2] for entry in found] == [(0, 2), (1, 2)]
    numbers = found[0][2] + found[1][2]
    assert len(numbers) == len(set(numbers)) == TOTAL // 16 * 16


def test_samples_that_fill_no_batch_on_every_rank_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,024 ranks with batches of 128 leave out 8.9 % of AffectNet; one rank says so, and how to read them."""
    make_dataset(tmp_path, samples={"train": 90}, size=4)
    monkeypatch.setattr(source, "_MANY", 10)
    with (
        pytest.warns(UserWarning, match=r"train: 26 of 90 samples \(28.9%\) do not fill a batch of 8 on each of 8"),
        Loader(tmp_path, batch_size=8, num_workers=0, rank=0, world_size=8) as loader,
    ):
        assert len(loader) == 1
    for rank in range(8):
        with Loader(
            tmp_path, batch_size=8, num_workers=0, rank=rank, world_size=8, drop_last=False, fields=("images", "mask")
        ) as whole:
            assert [int(batch.mask.sum()) for batch in whole] == [8, 4 if rank % 4 == 3 else 3]
