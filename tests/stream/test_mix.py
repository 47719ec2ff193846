"""Several data sets in one loader: which samples come, how often, in which order, as what."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forging import forge_file
from make_dataset import expected_key, expected_label, expected_pixels, make_dataset
from PIL import Image
from torch.utils.data import DataLoader

from ferdata.errors import OptionError, StateError
from ferdata.format import read_samples
from ferdata.store import Store
from ferdata.stream import IterableShardDataset, Loader, ShardBatches, ShardDataset

CLASSES = (("Neutral", "Happy", "Sad", "Contempt"), ("Anger", "Happy", "Other", "Neutral"))
UNION = ("Neutral", "Happy", "Sad", "Anger", "Contempt", "Other")
COUNTS = (70, 40)
FIELDS = ("images", "labels", "keys", "set_index", "indices", "mask")


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two sets: 70 and 40 samples of 16 px, half as many to validate on, other classes, other codecs."""
    folder = tmp_path_factory.mktemp("sets")
    for name, codec, classes, count in zip("ab", ("compact", "raw"), CLASSES, COUNTS, strict=True):
        make_dataset(
            folder / name,
            codec=codec,
            classes=classes,
            samples={"train": count, "val": count // 2},
            samples_per_shard=16,
        )
    return [str(folder / name) for name in "ab"]


def rows(loader: Any) -> Iterator[tuple[int, int, str, int, np.ndarray]]:
    """Yield set, sample index in the set, key, label and image of every sample, and check what belongs together."""
    for batch in loader:
        for row in range(len(batch.labels)):
            if batch.mask[row]:
                each = int(batch.set_index[row])
                yield (
                    each,
                    int(batch.indices[row]) - each * COUNTS[0],
                    batch.keys[row],
                    int(batch.labels[row]),
                    np.asarray(batch.images[row]),
                )
            else:
                assert batch.set_index[row] == batch.indices[row] == -1


def test_a_list_is_every_sample_of_every_set_once_with_labels_by_name(roots: list[str]) -> None:
    """Class 1 of one set is class 3 of the other: a label that is not mapped trains a network on wrong ones."""
    with Loader(roots, batch_size=16, num_workers=0, drop_last=False, fields=FIELDS) as loader:
        assert loader.classes == UNION
        found = list(rows(loader))

    everyone = [(each, number) for each in (0, 1) for number in range(COUNTS[each])]
    assert sorted(one[:2] for one in found) == everyone
    iterated = [sample.indices for sample in IterableShardDataset(roots, fields=("images", "indices"))]
    assert sorted(iterated) == list(range(sum(COUNTS)))
    for each, number, key, label, image in found:
        assert key == expected_key(number)
        assert UNION[label] == CLASSES[each][expected_label(number, 4)]
        np.testing.assert_array_equal(image, expected_pixels(number, 16))


def test_a_condition_names_classes_of_all_sets(roots: list[str]) -> None:
    """'Contempt' is no class of the second set, which is no reason to refuse it."""
    dataset = ShardDataset(roots, where="label in ('Contempt', 'Other', 'Neutral')")

    kept = [CLASSES[each][expected_label(number, 4)] for each in (0, 1) for number in range(COUNTS[each])]
    assert [UNION[label] for label in dataset.targets] == [
        name for name in kept if name in ("Contempt", "Other", "Neutral")
    ]


def test_figures_are_those_of_all_sets_together(roots: list[str]) -> None:
    """The trainer normalises and weighs by them."""
    index = ShardDataset(roots).index
    pixels = np.stack([expected_pixels(number, 16) for count in COUNTS for number in range(count)]).astype(np.float64)

    assert np.allclose(index.mean, pixels.mean((0, 2, 3))) and np.allclose(index.std, pixels.std((0, 2, 3)))
    assert index.counts["train"] == np.bincount(ShardDataset(roots).labels, minlength=len(UNION)).tolist()
    assert index.num_samples("train") == sum(COUNTS) and index.splits == ("train", "val")


WEIGHTS = (0.7, 0.3)
OPTIONS: dict[str, Any] = {"batch_size": 8, "window_samples": 24, "seed": 3, "fields": FIELDS, "num_workers": 0}
MIXES: list[tuple[dict[str, Any], tuple[int, int]]] = [
    ({}, (77, 33)),
    ({"draws": 200}, (140, 60)),
    ({"mix": "smallest"}, (70, 30)),
    ({"mix": "largest", "shuffle": "full"}, (94, 40)),
    ({"sampling": "balanced"}, (77, 33)),
]


def weighted_sets(roots: list[str]) -> dict[str, float]:
    return dict(zip(roots, WEIGHTS, strict=True))


def epochs_of(loader: Any, count: int = 2) -> list[list[Any]]:
    """Return what epochs hold, as plain values."""
    return [
        [(each, number, key, label, image.tobytes()) for each, number, key, label, image in rows(loader)]
        for _ in range(count)
    ]


@pytest.mark.parametrize(("options", "counts"), MIXES)
def test_shares_hold_in_every_window_and_over_the_epoch(
    roots: list[str], options: dict[str, Any], counts: tuple[int, int]
) -> None:
    """An epoch is as long as is said, and no stretch of training sees one set alone."""
    with Loader(weighted_sets(roots), drop_last=False, **OPTIONS, **options) as loader:
        assert len(loader) == -(-sum(counts) // 8)
        assert f"110 samples of 2 sets ({counts[0]} + {counts[1]} an epoch), codec compact, raw" in loader.describe()
        sets = np.concatenate([batch.set_index.numpy() for batch in loader])

    assert np.bincount(sets[sets >= 0]).tolist() == list(counts)
    for first in range(0, len(sets) // 24 * 24, 24):
        assert abs(int((sets[first : first + 24] == 0).sum()) - 24 * counts[0] / sum(counts)) <= 1


@pytest.mark.parametrize(("options", "counts"), MIXES)
def test_whoever_reads_a_mix_reads_the_same(
    roots: list[str], options: dict[str, Any], counts: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers, threads, memory, a device's memory and torch's own DataLoader: one order, the same bits."""
    mixed = {**OPTIONS, **options}
    with Loader(weighted_sets(roots), **mixed) as loader:
        expected = epochs_of(loader)
    others: list[dict[str, Any]] = [{"resident": True}]
    others += [{"num_workers": 2, "workers": kind} for kind in ("process", "thread")] if not options else []
    for other in others:
        with Loader(weighted_sets(roots), **{**mixed, **other}) as loader:
            assert epochs_of(loader) == expected
    monkeypatch.setattr("ferdata.stream.loader.decodes_itself", lambda device: True)
    with Loader(weighted_sets(roots), resident=True, **mixed) as loader:
        assert epochs_of(loader) == expected
    del mixed["num_workers"]
    batches = ShardBatches(weighted_sets(roots), **mixed)
    for epoch, found in enumerate(expected):
        batches.set_epoch(epoch)
        assert epochs_of(DataLoader(batches, batch_size=None, num_workers=2 if not options else 0), 1) == [found]


def test_a_mix_goes_on_at_any_batch_and_with_other_ranks(roots: list[str]) -> None:
    """What was left of an epoch is what the rest of it is, and what two ranks read is what one would have read."""
    with Loader(weighted_sets(roots), **OPTIONS) as loader:
        whole = [[key for *_, key, _, _ in rows([batch])] for batch in loader]
    with Loader(weighted_sets(roots), **OPTIONS) as loader:
        states = [loader.state_dict(), *(loader.state_dict() for _ in loader)][: len(whole)]
    for done, state in enumerate(states):
        with Loader(weighted_sets(roots), **OPTIONS) as loader:
            loader.load_state_dict(state)
            assert [[key for *_, key, _, _ in rows([batch])] for batch in loader] == whole[done:]
    found: list[tuple[int, int]] = []
    for rank in range(2):
        with Loader(weighted_sets(roots), rank=rank, world_size=2, drop_last=False, **OPTIONS) as loader:
            found += [one[:2] for one in rows(loader)]
    with Loader(weighted_sets(roots), drop_last=False, **OPTIONS) as loader:
        first = [one[:2] for _, batch in zip(range(5), loader, strict=False) for one in rows([batch])]
        state = loader.state_dict()
        assert sorted(found) == sorted(first + [one[:2] for one in rows(loader.resume())])
    rest: list[tuple[int, int]] = []
    for rank in range(2):
        with Loader(weighted_sets(roots), rank=rank, world_size=2, drop_last=False, **OPTIONS) as loader:
            loader.load_state_dict(state)
            rest += [one[:2] for one in rows(loader)]
    assert sorted(found) == sorted(first + rest)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda roots: {"root": roots[::-1]}, "belongs to another data set"),
        (lambda roots: {"root": roots[0]}, "belongs to another data set"),
        (lambda roots: {"root": roots, "resize": 8}, "belongs to another data set"),
        (lambda roots: {"root": dict.fromkeys(roots, 1.0)}, r"set_draws None found, expected \(55, 55\)"),
    ],
)
def test_a_state_is_of_its_sets_in_their_order_and_shares(roots: list[str], change: Any, message: str) -> None:
    """Sample 3 of another mix is another picture."""
    with Loader(roots, **OPTIONS) as loader:
        state = loader.state_dict()
    with Loader(**change(roots), **OPTIONS) as other, pytest.raises(StateError, match=message):
        other.load_state_dict(state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mix": "mean"}, "mix: 'mean' found, expected concat, weights, smallest or largest"),
        ({"mix": "concat"}, r"mix: concat found with weights \[0.7, 0.3\], expected none"),
        ({"mix": "smallest", "draws": 9}, "draws: 9 found, but with mix smallest the sets tell"),
        ({"draws": 0}, "draws: 0 found, expected 1 to"),
        ({"draws": 1}, "b train: its share is none of the 1 samples"),
        ({"shuffle": False}, "mix: sets mixed by weights have no reading order"),
        ({"where": "label == 'Contempt'"}, "b train: none of its samples is left to mix"),
        ({"sampling": {"Contempt": 1.0}}, "b train: no sample of a class with a weight"),
        ({"split": "test"}, r"split: 'test' found, expected one of train, val \(.*a\)"),
        ({"resize": "fit"}, "resize: 'fit' found, expected refuse, or a height and width of 1 to 4,096"),
        ({"resize": 0}, "resize: 0 found"),
        ({"classes": ("Neutral", "Happy", "Sad", "Contempt")}, r"\['Anger', 'Other'\] found, expected only names"),
    ],
)
def test_what_makes_no_sense_is_refused(roots: list[str], options: dict[str, Any], message: str) -> None:
    """Each with what was found, what was expected, and which set."""
    with pytest.raises(OptionError, match=message):
        Loader(weighted_sets(roots), num_workers=0, **options)


def test_roots_that_make_no_sense_are_refused(roots: list[str]) -> None:
    """A share of 0 leaves nothing to draw, and a set that is named twice would be counted twice."""
    with pytest.raises(OptionError, match=r"shards: weights \[1.0, 0\] found, expected numbers above 0"):
        Loader({roots[0]: 1.0, roots[1]: 0})
    with pytest.raises(OptionError, match="a found twice, expected each set once"):
        Loader([roots[0], roots[1], f"{roots[0]}/"])
    with pytest.raises(OptionError, match="no data set found"):
        Loader([])
    with pytest.raises(OptionError, match="Loader and ShardBatches take weights"):
        ShardDataset(weighted_sets(roots))  # type: ignore[arg-type]


def images_of(loader: Loader) -> list[tuple[int, int, np.ndarray]]:
    """Return set, sample index among all, and a copy of the image of each sample."""
    return [
        (int(each), int(number), np.asarray(image).copy())
        for batch in loader
        for each, number, image in zip(batch.set_index, batch.indices, batch.images, strict=True)
    ]


@pytest.fixture(scope="module")
def unlike(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two sets: 30 samples of 16 px in colour, 20 of 10 px in grey."""
    folder = tmp_path_factory.mktemp("unlike")
    make_dataset(folder / "colour", codec="compact", size=16, samples={"train": 30})
    make_dataset(folder / "grey", codec="raw", size=10, samples={"train": 20}, channels=1)
    return [str(folder / "colour"), str(folder / "grey")]


def test_sets_of_other_sizes_are_refused_with_the_option_that_resizes(unlike: list[str]) -> None:
    """A network that sees one set blurred and does not know it is not what was asked for."""
    with pytest.raises(OptionError, match=r"\[3, 16, 16\].*\[1, 10, 10\], expected one size; resize=16 brings"):
        Loader(unlike)


def test_images_are_resized_and_given_their_channels_as_they_are_read(
    unlike: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In workers, in memory and on a device alike, each channel as Pillow resizes it."""
    sizes, channels = (16, 10), (3, 1)

    def expected(each: int, number: int) -> np.ndarray:
        planes = expected_pixels(number, sizes[each])[: channels[each]]
        resized = [np.asarray(Image.fromarray(plane).resize((12, 12), Image.Resampling.BILINEAR)) for plane in planes]
        return np.stack(resized * (3 // channels[each]))

    options = {**OPTIONS, "resize": 12, "drop_last": False}
    with Loader(unlike, **options) as loader:
        assert loader.index.spec.shape == (3, 12, 12)
        whole = images_of(loader)
        assert len(loader.dataset) == len(whole) == 50
        image = loader.dataset[49].images
    np.testing.assert_array_equal(image, expected(1, 19))
    for each, number, image in whole:
        np.testing.assert_array_equal(image, expected(each, number - 30 * each))
    for is_on_device in (False, True):
        monkeypatch.setattr("ferdata.stream.loader.decodes_itself", lambda device, on=is_on_device: on)
        with Loader(unlike, resident=True, **options) as loader:
            held = images_of(loader)
        assert all(np.array_equal(one, other) for (*_, one), (*_, other) in zip(held, whole, strict=True))


def test_soft_labels_are_of_the_classes_of_all_sets(tmp_path: Path) -> None:
    """Probabilities of four classes of a set are those of the same four among the six there are."""
    soft = [[0.1, 0.2, 0.3, 0.4], None, [0.0, 0.0, 1.0, 0.0]]
    for name, classes in zip("ab", CLASSES, strict=True):
        index = make_dataset(tmp_path / name, classes=classes, samples={"train": 3})
        table = read_samples(Store(tmp_path / name), index)
        place = table.column_names.index("soft_labels")
        table = table.set_column(place, "soft_labels", pa.array(soft, pa.list_(pa.float32())))
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        forge_file(tmp_path / name, "samples.parquet", buffer.getvalue())

    found = ShardDataset([tmp_path / "a", tmp_path / "b"], fields=("images", "labels", "soft_labels"))

    for number in range(6):
        own, classes = soft[number % 3], CLASSES[number // 3]
        given = own or np.eye(4)[expected_label(number % 3, 4)].tolist()
        expected = [given[classes.index(name)] if name in classes else 0.0 for name in UNION]
        assert np.allclose(found[number].soft_labels, expected)


def test_labels_are_of_the_classes_that_are_asked_for(roots: list[str]) -> None:
    """A network of six classes is measured on a set that has four of them."""
    with Loader(roots[1], classes=UNION, shuffle=False, **OPTIONS) as loader:
        assert loader.classes == UNION and loader.set_names == ("b",)
        labels = [label for batch in loader for label in batch.labels.tolist()]
        assert loader.dataset.targets == labels

    assert [UNION[label] for label in labels] == [CLASSES[1][expected_label(number, 4)] for number in range(COUNTS[1])]
    assert ShardDataset(roots[1], classes=UNION).index.counts["train"] == np.bincount(labels, minlength=6).tolist()
