"""Several data sets in one loader: which samples come, how often, in which order, as what."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from make_dataset import expected_key, expected_label, expected_pixels, make_dataset

from ferdata.stream import Loader, ShardDataset

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

    assert sorted(one[:2] for one in found) == [(each, number) for each in (0, 1) for number in range(COUNTS[each])]
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
