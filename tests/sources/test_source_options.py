"""Options that a layout has no use for are refused, and taken where they decide something."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trees import csv_tree, npy_tree, plus_tree, va_tree
from trees_rafdb import KAGGLE_NAMES, class_folders, kaggle_a_tree, parquet_file, raf_kaggle_tree, rafdb_tree, yolo_tree

from ferdata.errors import LayoutError, OptionError
from ferdata.sources import Scan, ScanOptions, scan_source
from ferdata.sources.idle_options import refuse_idle_options
from ferdata.sources.layout import Detection
from ferdata.sources.layouts import LAYOUTS


def named_folders(root: Path) -> None:
    class_folders(root, {"train": dict.fromkeys(KAGGLE_NAMES[:7], 1)})


def named_parquet(root: Path) -> None:
    parquet_file(root / "train.parquet", [0, 1], names=KAGGLE_NAMES)


def text_parquet(root: Path) -> None:
    parquet_file(root / "train.parquet", ["anger", "sad"])


AFFECTNET: list[Callable[[Path], object]] = [npy_tree, va_tree, kaggle_a_tree, yolo_tree, named_folders, named_parquet]
RAFDB: list[Callable[[Path], object]] = [rafdb_tree, raf_kaggle_tree, named_folders]


def scanned(root: Path, build: Callable[[Path], object], **options: Any) -> Scan:
    build(root)
    return scan_source(
        "rafdb" if build in (rafdb_tree, raf_kaggle_tree) else "affectnet",
        str(root),
        ScanOptions(num_workers=1, **options),
    )


@pytest.mark.parametrize("build", [*AFFECTNET, *RAFDB[:2]])
def test_an_automatic_part_that_no_such_release_has_is_refused(tmp_path: Path, build: Callable[[Path], object]) -> None:
    """AN-csv and AN-plus refuse it too where it is not there."""
    with pytest.raises(
        OptionError, match=r"automatic asked for, but .* has no automatically annotated part; leave automatic= out"
    ):
        scanned(tmp_path, build, automatic=True)


@pytest.mark.parametrize("build", [csv_tree, plus_tree])
def test_an_automatic_part_that_is_not_there_is_refused(tmp_path: Path, build: Callable[[Path], object]) -> None:
    """The two releases that have one say what to unpack."""
    with pytest.raises(LayoutError, match="unpack it or do not ask for it"):
        scanned(tmp_path, build, automatic=True)


@pytest.mark.parametrize("build", [raf_kaggle_tree, npy_tree, csv_tree])
def test_original_images_of_a_release_without_them_are_refused(tmp_path: Path, build: Callable[[Path], object]) -> None:
    """RAF-kaggle holds aligned images alone; taken in silence they would pass for the originals."""
    with pytest.raises(OptionError, match=r"has no choice of images; leave rafdb_images= out"):
        scanned(tmp_path, build, rafdb_images="original")


@pytest.mark.parametrize("build", [npy_tree, rafdb_tree])
def test_a_fold_of_a_release_without_folds_is_refused(tmp_path: Path, build: Callable[[Path], object]) -> None:
    """Five trainings on one and the same split would pass for a cross-validation."""
    with pytest.raises(OptionError, match=r"fold 2 asked for, but .* has no folds of its own; leave fold= out"):
        scanned(tmp_path, build, fold=2)


def test_a_fold_is_one_of_those_that_a_release_has(tmp_path: Path) -> None:
    """Counted from 1, as such releases do."""
    detection = Detection(layout=replace(LAYOUTS["AN-npy"], folds=5), root=str(tmp_path))

    refuse_idle_options(detection, ScanOptions(fold=5))
    with pytest.raises(OptionError, match=r"fold 6 asked for, but .* has folds 1 to 5; name one"):
        refuse_idle_options(detection, ScanOptions(fold=6))


@pytest.mark.parametrize("build", [*AFFECTNET, csv_tree, plus_tree, text_parquet, *RAFDB[:2]])
@pytest.mark.parametrize("labels", ["affectnet", "alphabetical"])
def test_an_order_for_labels_that_need_none_is_refused(
    tmp_path: Path, build: Callable[[Path], object], labels: str
) -> None:
    """Ids of a release and names mean what they mean; another order was expected in vain."""
    with pytest.raises(OptionError, match=rf"labels {labels} asked for, but .* need no order, .*leave labels= out"):
        scanned(tmp_path, build, labels=labels)


def test_options_that_decide_something_are_taken(tmp_path: Path) -> None:
    """Numbers without names need an order, and RAF-DB has both kinds of images."""
    class_folders(tmp_path / "numbers", {"train": {str(number): 1 for number in range(7)}})
    parquet_file(tmp_path / "parquet/train.parquet", [0, 1])
    rafdb_tree(tmp_path / "basic", images=("aligned", "original"))

    for root in ("numbers", "parquet"):
        assert len(scan_source("affectnet", str(tmp_path / root), ScanOptions(labels="alphabetical")).items) > 1
    assert (
        scan_source("rafdb", str(tmp_path / "basic"), ScanOptions(rafdb_images="original"))
        .items[0]
        .path.startswith("Image/original/")
    )
