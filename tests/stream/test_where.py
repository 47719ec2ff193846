"""Samples chosen by a condition: what it may say, what it means, and that order and resume hold as for any subset."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streams import Truth, make_truth

from ferdata.errors import OptionError, StateError
from ferdata.format import read_samples
from ferdata.store import Store
from ferdata.stream import IterableShardDataset, Loader, ShardDataset
from ferdata.stream.where import find_extent

SMALL: dict[str, Any] = {
    "batch_size": 8,
    "window_samples": 16,
    "fields": ("images", "labels", "indices"),
    "seed": 3,
    "num_workers": 0,
}


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_truth(tmp_path_factory.mktemp("truth"))


def chosen(truth: Truth, where: str, *, split: str = "train", indices: list[int] | None = None) -> list[int]:
    dataset = ShardDataset(truth.root, split=split, where=where, indices=indices)
    numbers = dataset._extent.indices
    assert numbers is not None
    return list(numbers.tolist())


def rows(truth: Truth, split: str = "train") -> list[dict[str, Any]]:
    table = read_samples(Store(truth.root), ShardDataset(truth.root).index).to_pylist()
    return [row for row in table if row["split"] == split]


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        ("valence > 0", lambda row: row["valence"] is not None and row["valence"] > 0),
        ("0 < valence <= 0.5", lambda row: row["valence"] is not None and 0 < row["valence"] <= 0.5),
        ("-0.3 <= arousal", lambda row: row["arousal"] is not None and row["arousal"] >= -0.3),
        ("valence > arousal", lambda row: row["valence"] is not None and row["valence"] > row["arousal"]),
        ("valence is None", lambda row: row["valence"] is None),
        ("valence is not None", lambda row: row["valence"] is not None),
        ("not valence > 0", lambda row: row["valence"] is not None and row["valence"] <= 0),
        ("valence not in [0.5, 1]", lambda row: row["valence"] is not None and row["valence"] not in (0.5, 1)),
        ("not valence in [0.5, 1]", lambda row: row["valence"] is not None and row["valence"] not in (0.5, 1)),
        ("label == 'Happy'", lambda row: row["label"] == 1),
        ("label == 'happy' or label == 2", lambda row: row["label"] in (1, 2)),
        ("label in ('Happy', 'Sad') and not shard == 0", lambda row: row["label"] in (1, 2) and row["shard"] != 0),
        ("label != 'Neutral'", lambda row: row["label"] != 0),
        ("path == 'images/12.jpg'", lambda row: row["path"] == "images/12.jpg"),
        ("label < 3 and position >= 20", lambda row: row["label"] < 3 and row["position"] >= 20),
    ],
)  # fmt: skip
def test_a_condition_means_what_it_says_in_python(truth: Truth, where: str, holds: Any) -> None:
    """One difference: a sample that has no value is left out by whatever is asked of the value, and by its opposite."""
    expected = [number for number, row in enumerate(rows(truth)) if holds(row)]
    assert expected
    assert chosen(truth, where) == expected


def test_it_is_asked_of_the_split_and_together_with_indices(truth: Truth) -> None:
    """Rows of the table count over all splits, samples within one."""
    happy = [number for number, row in enumerate(rows(truth, "val")) if row["label"] == 1]
    assert chosen(truth, "label == 'Happy'", split="val") == happy
    assert chosen(truth, "label == 'Happy'", split="val", indices=[*range(20)]) == [
        number for number in happy if number < 20
    ]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("valence >", "invalid syntax"),
        ("__import__('os').remove('x')", "is no comparison"),
        ("valence.real > 0", "without a column"),
        ("[valence for valence in label] == 1", "without a column"),
        ("age > 3", "no column 'age'"),
        ("valence", "'valence' is no comparison"),
        ("1 < 2", "without a column"),
        ("label in [label]", "neither a column nor"),
        ("label == True", "'True' is neither"),
        ("valence == None", "'None' is neither"),
        ("valence is 3", "other than None"),
        ("valence in 3", "other than a list"),
        ("label == 'Hapy'", "no class 'Hapy' among Neutral, Happy"),
        ("valence > 'a'", "can't be compared"),
        ("label < 'Happy'", "can't be compared"),
        ("shard == " + "9" * 40, "where: "),
        ("(" * 3000 + "label == 1" + ")" * 3000, "where: "),
        ("label == 1 or " * 2000 + "label == 1", "characters"),
        ("key == 'nobody'", "leaves none of the 300 samples"),
    ],
)
def test_anything_else_is_refused_with_what_is_possible(truth: Truth, where: str, message: str) -> None:
    """The text may come from a command line or a file: it is read, never run."""
    with pytest.raises(OptionError, match=message):
        ShardDataset(truth.root, where=where)


def test_class_names_are_told_apart_by_case_where_only_that_tells_them_apart(tmp_path: Path) -> None:
    """'happy' is Happy, as long as there is one of it."""
    truth = make_truth(tmp_path)
    dataset = ShardDataset(truth.root)
    opened, index = dataset._opened, dataset.index
    object.__setattr__(index, "classes", ("Neutral", "Happy", "happy", *index.classes[3:]))

    def of(name: str) -> set[int]:
        where = f"label == {name!r}"
        return {*find_extent(opened, dataset._table, indices=None, where=where).labels.tolist()}

    assert (of("Happy"), of("happy"), of("neutral")) == ({1}, {2}, {0})
    with pytest.raises(OptionError, match="no class 'HAPPY'"):
        of("HAPPY")


def test_a_loader_reads_those_samples_alone_and_goes_on_where_it_stopped(truth: Truth) -> None:
    """The condition ends in indices: order, lengths and state are those of the subset."""
    where = "label in ('Happy', 'Sad', 'Fear')"
    expected = chosen(truth, where)
    with (
        Loader(truth.root, where=where, drop_last=False, **SMALL) as loader,
        Loader(truth.root, indices=expected, drop_last=False, **SMALL) as same,
    ):
        read = [truth.assert_true(batch) for batch in loader]
        assert sorted(number for batch in read for number in batch) == expected
        assert loader.num_samples == len(expected) and loader.dataset.targets == [
            row["label"] for row in rows(truth) if row["label"] in (1, 2, 4)
        ]
        assert read == [truth.assert_true(batch) for batch in same]
        loader.set_epoch(0)
        next(iter(loader))
        state = loader.state_dict()
        same.load_state_dict(state)
        assert [truth.assert_true(batch) for batch in same] == read[1:]
    with Loader(truth.root, where="label == 'Happy'", **SMALL) as other, pytest.raises(StateError, match="subset"):
        other.load_state_dict(state)


def test_an_iterable_data_set_deals_out_those_samples(truth: Truth) -> None:
    """Between two ranks each comes once."""
    where = "label == 'Happy'"
    read = [
        sample.indices
        for rank in (0, 1)
        for sample in IterableShardDataset(
            truth.root, where=where, fields=("images", "labels", "indices"), rank=rank, world_size=2
        )
    ]
    expected = chosen(truth, where)
    assert len(read) == len({*read}) == len(expected) // 2 * 2
    assert np.isin(read, expected).all()
