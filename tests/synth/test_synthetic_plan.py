"""How a synthetic tree is planned and written: exact counts, refused options, workers, remote folders and failures."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from ferdata.errors import OptionError, StoreError, WorkerError
from ferdata.labels import RAFDB_BASIC
from ferdata.store import Store
from ferdata.synth import RECIPES, write_synthetic
from ferdata.synth.face.people import Portrait
from ferdata.synth.trees.counts import plan_splits, share_out
from ferdata.synth.trees.draw import Batch, draw_batches
from ferdata.synth.trees.files import Drawing, PlannedImage

# Counts and numbers.


@pytest.mark.parametrize("layout", sorted(name for name, recipe in RECIPES.items() if not recipe.weights))
def test_the_count_of_the_release_gives_the_counts_of_the_release(layout: str) -> None:
    """A full-size synthetic tree has the real imbalance to the image, so a scan calls it complete."""
    plan = RECIPES[layout]
    release = plan.layout.releases[0]
    total = sum(sum(counts) for counts in plan.totals().values())

    splits = plan_splits(plan.totals(), total, seed=3, gaps=plan.gaps, first_number=plan.first_number)

    for split in splits:
        counts = np.bincount(split.labels, minlength=len(plan.classes)).tolist()
        assert dict(zip(plan.classes, counts, strict=True)) == release.splits[split.name]


@pytest.mark.parametrize("layout", sorted(RECIPES))
@pytest.mark.parametrize("count", [1, 7, 50, 64, 100, 333, 2000, 20000])
def test_any_count_is_dealt_out_exactly_and_small_ones_still_show_every_class(layout: str, count: int) -> None:
    """The user gets as many images as asked for, and no class is missing where there is room for it."""
    plan = RECIPES[layout]
    splits = plan_splits(plan.totals(), count, seed=0, gaps=plan.gaps, first_number=plan.first_number)

    assert sum(len(split.labels) for split in splits) == count
    for split in splits:
        assert len(split.labels) == len(split.numbers) == len(set(split.numbers.tolist()))
        assert list(split.numbers) == sorted(split.numbers)
        if count >= 50:
            counts = np.bincount(split.labels, minlength=len(plan.classes))
            assert counts[np.array(plan.totals()[split.name]) > 0].min() >= (4 if count > 300 else 1)


def test_affectnet_train_is_imbalanced_as_the_real_one_and_val_is_balanced() -> None:
    """Class weights, balanced sampling and balanced accuracy only matter on data like this."""
    train, val = plan_splits(RECIPES["AN-npy"].totals(), 5000, seed=0, gaps=True, first_number=0)

    counts = np.bincount(train.labels)

    assert len(val.labels) == 500
    assert np.ptp(np.bincount(val.labels)) <= 1
    np.testing.assert_allclose(counts.max() / counts, [1.795, 1, 5.28, 9.54, 21.07, 35.34, 5.40, 35.84], rtol=0.03)


def test_image_numbers_have_gaps_and_are_the_splits_own() -> None:
    """In the 2021 release ids skip numbers, and the same id in train and val means two unrelated images."""
    train, val = plan_splits(RECIPES["AN-npy"].totals(), 4000, seed=0, gaps=True, first_number=0)

    for split in (train, val):
        assert split.numbers[0] == 0
        assert 0.6 < len(split.numbers) / (split.numbers[-1] + 1) < 0.8
    assert set(train.numbers.tolist()) & set(val.numbers.tolist())


@pytest.mark.parametrize(
    ("count", "weights"), [(0, [1, 2]), (5, [1, 1, 1]), (100, [1000, 1, 1]), (7, [5, 0, 5]), (12, [900, 50, 50])]
)
def test_shares_add_up_and_keep_to_the_floor(count: int, weights: list[int]) -> None:
    """Rounding must lose no image, and raising a rare class must not create one."""
    shares = share_out(count, weights, fewest=3)

    assert sum(shares) == count
    assert min(share for share, weight in zip(shares, weights, strict=True) if weight) >= min(3, count // len(weights))
    assert not any(share for share, weight in zip(shares, weights, strict=True) if not weight)


def test_classes_are_mixed_along_the_numbers() -> None:
    """The real releases are not sorted by class: whoever takes the first thousand images must not get one class."""
    train = plan_splits(RECIPES["AN-npy"].totals(), 2000, seed=0, gaps=True, first_number=0)[0]

    assert len(set(train.labels[:300].tolist())) == 8


# Options, folders and failures.


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"source": "folder"}, r"source: 'folder' found, expected one of affectnet, .*rafdb"),
        ({"layout": "RAF-basic"}, r"layout: 'RAF-basic' found, expected one of AN-npy, AN-csv for affectnet"),
        ({"count": 0}, r"count: 0 found, expected at least 1"),
        ({"source": "jaffe", "count": 214}, r"count: 214 found, expected at most 213: .* 10 people"),
        ({"source": "ferplus", "size": 96}, r"size: 96 found, expected 48: FERPlus-csv has images of no other"),
        ({"size": 8}, r"size: 8 found, expected 32 to 1024 pixels"),
        ({"seed": -1}, r"seed: -1 found, expected 0 or more"),
        ({"num_workers": 0}, r"workers: 0 found, expected at least 1"),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_written(
    tmp_path: Path, options: dict[str, object], text: str
) -> None:
    """An error after the first thousand images is an error too late."""
    arguments: dict[str, object] = {"source": "affectnet", "count": 10, **options}
    with pytest.raises(OptionError, match=text):
        write_synthetic(arguments.pop("source"), str(tmp_path / "tree"), **arguments)  # type: ignore[arg-type]

    assert not (tmp_path / "tree").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    """Two trees in one folder make a third one that nobody drew."""
    (tmp_path / "training.csv").write_text("mine")

    with pytest.raises(OptionError, match="a folder that is not empty found, expected a new or an empty one"):
        write_synthetic("affectnet", str(tmp_path), count=10)

    assert [p.name for p in tmp_path.iterdir()] == ["training.csv"]


def test_a_root_that_cannot_be_a_folder_is_a_store_error(tmp_path: Path) -> None:
    """The owner of the disk must act, so the error names the place."""
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match=re.escape(str(tmp_path / "file"))):
        write_synthetic("rafdb", str(tmp_path / "file" / "tree"), count=10)


def test_progress_counts_up_to_the_count(tmp_path: Path) -> None:
    """A bar that stops short or overshoots looks like a fault."""
    told: list[tuple[int, int]] = []

    write_synthetic(
        "rafdb",
        str(tmp_path),
        count=75,
        size=32,
        num_workers=1,
        progress=lambda done, count: told.append((done, count)),
    )

    assert told == sorted(told) and told[-1] == (75, 75)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_tree_behind_a_url_is_the_same_tree(tmp_path: Path, num_workers: int) -> None:
    """Processes have no part in a remote connection, so this one uploads what they draw."""
    write_synthetic("rafdb", str(tmp_path), count=70, size=32, num_workers=1)
    url = f"memory://synthetic-{num_workers}"

    write_synthetic("rafdb", url, count=70, size=32, num_workers=num_workers)

    store = Store(url)
    local = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert {name: store.read(name) for name in local} == local
    assert len(store.list("Image/aligned")) == 70


def _dies(portrait: Portrait, image: PlannedImage) -> Drawing:
    os._exit(9)


def test_a_worker_that_dies_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    """A machine out of memory kills workers without a word."""
    images = (PlannedImage(split="train", number=1, label=0, size=32),)
    batches = [Batch(tree="RAF-basic", classes=RAFDB_BASIC, images=images, seed=0)] * 2

    with pytest.raises(WorkerError, match="a worker process was killed"):
        list(draw_batches(Store(tmp_path), _dies, batches, num_workers=2))


def _cannot_write(portrait: Portrait, image: PlannedImage) -> Drawing:
    return Drawing(images=(("file/below.jpg", b""),))


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A full or broken disk must not look like a fault of ours."""
    (tmp_path / "file").write_text("")
    images = (PlannedImage(split="train", number=1, label=0, size=32),)
    batches = [Batch(tree="RAF-basic", classes=RAFDB_BASIC, images=images, seed=0)] * 2

    with pytest.raises(StoreError, match=r"file/below\.jpg: Not a directory"):
        list(draw_batches(Store(tmp_path), _cannot_write, batches, num_workers=2))


def test_a_split_without_images_leaves_no_list_of_its_own(tmp_path: Path) -> None:
    """One image in all goes to train; an empty validation.csv would be a file that says nothing."""
    summary = write_synthetic("affectnet", str(tmp_path), count=1, size=32, layout="AN-csv", num_workers=1)

    assert [sum(counts.values()) for counts in summary.counts.values()] == [1, 0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["Manually_Annotated_Images", "training.csv"]
