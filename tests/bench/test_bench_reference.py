"""The truth that contenders are checked against: who is honest passes, who is not is found out."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ferdata.errors import SourceError
from ferdata.labels import AFFECTNET_8
from ferdata_bench.contenders.common import list_source, read_planes
from ferdata_bench.loaders.photos import write_photos
from ferdata_bench.loaders.reference import ContentError, Reference, check_epoch, make_reference
from ferdata_bench.loaders.work import folder_bytes

SIZE = 32
COUNT = 96


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class-folder tree of small photographs."""
    return write_photos(tmp_path_factory.mktemp("photos"), count=COUNT, size=SIZE).root / "train"


@pytest.fixture(scope="module")
def reference(source: Path) -> Reference:
    """What Pillow decodes from it."""
    return make_reference(source)


def epoch_of(
    reference: Reference, rows: list[int], *, batch_size: int = 10
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield these rows of the source as batches."""
    for start in range(0, len(rows), batch_size):
        taken = rows[start : start + batch_size]
        images = torch.from_numpy(np.stack([read_planes(Path(reference.paths[row])) for row in taken]))
        yield images, torch.from_numpy(reference.labels[taken])


def shuffled(count: int) -> list[int]:
    """Return a fixed permutation: 7 and 96 have no common divisor."""
    return [row * 7 % count for row in range(count)]


def test_a_right_epoch_passes_in_any_order_and_any_batching(reference: Reference) -> None:
    """What honest contenders deliver must pass, exactly or nearly decoded."""
    for exact in (True, False):
        assert check_epoch(epoch_of(reference, shuffled(COUNT), batch_size=7), reference, exact=exact) == COUNT


def test_labels_in_another_class_order_are_mapped_by_name(reference: Reference) -> None:
    """ferdata's labels are AffectNet's ids, a class folder's are alphabetical: names settle it."""
    to_official = np.array([AFFECTNET_8.index(name) for name in reference.classes])
    official = (
        (images, torch.from_numpy(to_official[labels])) for images, labels in epoch_of(reference, shuffled(COUNT))
    )

    assert check_epoch(official, reference, exact=True, classes=AFFECTNET_8) == COUNT


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (shuffled(COUNT)[:-1], r"1 of 96 images too rarely and 0 too often found .*expected each exactly once"),
        ([*shuffled(COUNT)[:-1], 0], r"1 of 96 images too rarely and 1 too often"),
        (list(range(COUNT)), r"an order 100% like the source's found, expected a shuffled one"),
    ],
    ids=["one left out", "one twice", "not shuffled"],
)
def test_an_epoch_that_skips_repeats_or_does_not_shuffle_is_found_out(
    reference: Reference, rows: list[int], message: str
) -> None:
    """Fewer images or the file's own order would be faster: no contender may win so."""
    with pytest.raises(ContentError, match=message):
        check_epoch(epoch_of(reference, rows), reference, exact=True)


def test_a_wrong_label_is_found_out(reference: Reference) -> None:
    """One label of a whole epoch is enough."""
    batches = list(epoch_of(reference, shuffled(COUNT)))
    batches[3][1][2] = (batches[3][1][2] + 1) % 8

    with pytest.raises(ContentError, match=r"\.jpg: label \d found, expected \d"):
        check_epoch(batches, reference, exact=True)


@pytest.mark.parametrize(("exact", "change"), [(True, 1), (False, 30)])
def test_wrong_pixels_are_found_out(reference: Reference, exact: bool, change: int) -> None:
    """One level of one pixel where the promise is exact; visible damage where another JPEG decoder is allowed."""
    batches = list(epoch_of(reference, shuffled(COUNT)))
    image = batches[5][0][4]
    if exact:
        image[1, 2, 3] ^= change
    else:
        image.copy_((image.int() + change).clamp(0, 255).to(torch.uint8))

    with pytest.raises(
        ContentError, match=r"pixels found that no source image has|levels away from the nearest|levels off"
    ):
        check_epoch(batches, reference, exact=exact)


def test_floats_or_another_shape_are_refused(reference: Reference) -> None:
    """Everyone delivers the same thing: uint8 [N, 3, H, W]."""
    batches = ((images.float(), labels) for images, labels in epoch_of(reference, shuffled(COUNT)))

    with pytest.raises(
        ContentError, match=r"torch\.float32 \[10, 3, 32, 32\] with 10 labels found, expected torch\.uint8"
    ):
        check_epoch(batches, reference, exact=True)


def test_images_that_occur_twice_in_the_source_are_no_obstacle(tmp_path: Path) -> None:
    """AffectNet has duplicates, and some under two labels."""
    write_photos(tmp_path, count=16, size=SIZE)
    first = tmp_path / "train/Neutral/0000000.jpg"
    (tmp_path / "train/Neutral/copy.jpg").write_bytes(first.read_bytes())
    (tmp_path / "train/Happy/copy.jpg").write_bytes(first.read_bytes())
    doubled = make_reference(tmp_path / "train")

    assert check_epoch(epoch_of(doubled, [row * 5 % 18 for row in range(18)]), doubled, exact=True) == 18


def test_a_reference_survives_its_file(reference: Reference, tmp_path: Path) -> None:
    """Runner processes read it back."""
    reference.save(tmp_path / "reference.npz")
    loaded = Reference.load(tmp_path / "reference.npz")

    assert (loaded.paths, loaded.classes, loaded.shape) == (reference.paths, reference.classes, (3, SIZE, SIZE))
    assert (loaded.digests == reference.digests).all() and (loaded.labels == reference.labels).all()


def test_a_source_without_images_or_with_several_sizes_is_refused(tmp_path: Path) -> None:
    """Contenders store pixels as they are, so one size it must be."""
    with pytest.raises(SourceError, match=r"no <class>/<name>\.jpg found"):
        make_reference(tmp_path)
    write_photos(tmp_path, count=2, size=SIZE)
    Image.new("RGB", (8, 9)).save(tmp_path / "train/Happy/odd.jpg")
    with pytest.raises(SourceError, match=r"images of 2 sizes found"):
        make_reference(tmp_path / "train")


def test_listing_a_source_is_sorted_and_its_shuffle_is_fixed(source: Path) -> None:
    """Labels are places in the sorted class names; ingests of two contenders see the same order."""
    paths, labels = list_source(source)
    again, _ = list_source(source, shuffled=True)

    assert [path.parent.name for path in paths] == [sorted(AFFECTNET_8)[label] for label in labels]
    assert again == list_source(source, shuffled=True)[0] != paths
    assert folder_bytes(source) == sum(path.stat().st_size for path in paths)
