"""Known totals: what is complete, what is missing class by class, and which copies are not the real set."""

from collections import Counter

import pytest

from ferdata.labels import AFFECTNET_8, AFFECTNET_ALL, RAFDB_BASIC
from ferdata.sources import LAYOUTS
from ferdata.sources.affectnet.totals import AFFECTNET_TRAIN
from ferdata.sources.completeness import compare_totals
from ferdata.sources.layout import Release
from ferdata.sources.rafdb.totals import RAFDB_TRAIN

RAFDB_TEST = dict(zip(RAFDB_BASIC, (329, 74, 160, 1185, 478, 162, 680), strict=True))
NPY = Counter(
    {("train", name): AFFECTNET_TRAIN[name] for name in AFFECTNET_8} | {("val", name): 500 for name in AFFECTNET_8}
)
NPY["val", "Contempt"] = 499
CSV = Counter(
    {("train", name): AFFECTNET_TRAIN[name] for name in AFFECTNET_ALL} | {("val", name): 500 for name in AFFECTNET_ALL}
)
RAF = Counter(
    {("train", name): RAFDB_TRAIN[name] for name in RAFDB_BASIC}
    | {("test", name): RAFDB_TEST[name] for name in RAFDB_BASIC}
)


def releases(name: str) -> tuple[Release, ...]:
    """Return what is known of a layout, or of its automatically annotated part."""
    layout = LAYOUTS[name.split()[0]]
    return layout.releases if name == layout.name or layout.automatic is None else (layout.automatic,)


@pytest.mark.parametrize(
    ("layout", "counts", "train", "other"),
    [
        ("AN-npy", NPY, 287_651, 3_999),
        ("AN-csv", CSV, 414_799, 5_500),
        ("RAF-basic", RAF, 12_271, 3_068),
        ("RAF-kaggle", RAF, 12_271, 3_068),
    ],
)
def test_the_tables_add_up_to_the_published_totals_and_are_complete(
    layout: str, counts: Counter[tuple[str, str]], train: int, other: int
) -> None:
    """A typing error in a table would call every real copy incomplete."""
    assert sum(number for (split, _), number in counts.items() if split == "train") == train
    assert sum(number for (split, _), number in counts.items() if split != "train") == other

    notes, complete = compare_totals(releases(layout), counts)

    assert complete is True
    assert notes[0].startswith("Complete: every count equals ")


@pytest.mark.parametrize(
    ("layout", "train", "other"),
    [
        ("AN-plus", 414_799, ("val", 5_500)),
        ("RAF-compound", 3_162, ("test", 792)),
        ("AN-csv automatic", 539_607, None),
        ("AN-plus automatic", 539_607, None),
        ("AN-kaggle-A", 29_042, None),
        ("AN-parquet", 27_823, None),
    ],
)
def test_releases_known_by_total_alone_are_complete_by_total(
    layout: str, train: int, other: tuple[str, int] | None
) -> None:
    """Their counts per class are not published."""
    counts = {("train", "Happy"): train - 3, ("train", "Sad"): 3} | ({(other[0], "Happy"): other[1]} if other else {})

    assert compare_totals(releases(layout), counts)[1] is True
    assert compare_totals(releases(layout), {**counts, ("train", "Sad"): 2})[1] is (
        None if layout == "AN-parquet" else False
    )


def test_a_tenth_of_affectnet_is_called_that() -> None:
    """People have trained on it and compared with the real set."""
    assert any(
        "about a tenth of AffectNet" in note
        for note in compare_totals(releases("AN-kaggle-A"), {("train", "Happy"): 29_042})[0]
    )
    assert any(
        "about a tenth of AffectNet" in note
        for note in compare_totals(releases("AN-kaggle-A"), {("train", "Happy"): 12})[0]
    )
    assert any(
        "about a tenth of AffectNet" in note
        for note in compare_totals(releases("AN-parquet"), {("train", "Happy"): 27_823})[0]
    )


def test_differences_are_given_per_class_and_split() -> None:
    """One number says that something is missing, the classes say what."""
    counts = NPY.copy()
    counts["train", "Sad"] -= 9
    counts["train", "Fear"] += 2

    notes, complete = compare_totals(releases("AN-npy"), counts)

    assert complete is False
    assert notes == [
        "val: complete, equals the 8-label AffectNet release of 2021.",
        "train: 287,644 found, 287,651 in the 8-label AffectNet release of 2021 (-7): Sad -9, Fear +2.",
    ]


def test_counts_that_only_moved_between_classes_are_not_complete() -> None:
    """The totals agree, the labels do not."""
    counts = NPY.copy()
    counts["train", "Sad"] -= 1
    counts["train", "Fear"] += 1

    notes, complete = compare_totals(releases("AN-npy"), counts)

    assert complete is False
    assert "(+0): Sad -1, Fear +1." in notes[-1]


def test_a_missing_and_an_unknown_split_are_named() -> None:
    """Both mean that this is not the release as it came."""
    counts = {("train", name): AFFECTNET_TRAIN[name] for name in AFFECTNET_8} | {("test", "Happy"): 3}

    notes, complete = compare_totals(releases("AN-npy"), counts)

    assert complete is False
    assert "val: missing, 3,999 in the 8-label AffectNet release of 2021." in notes
    assert "test: not a split of the 8-label AffectNet release of 2021." in notes


def test_a_reduced_copy_of_rafdb_is_recognised_and_not_complete() -> None:
    """12,175 and 3,031 images circulate as RAF-DB."""
    notes, complete = compare_totals(releases("RAF-basic"), {("train", "Happy"): 12_175, ("test", "Happy"): 3_031})

    assert complete is False
    assert any("a reduced copy of RAF-DB basic: the real one has 12,271" in note for note in notes)


def test_layouts_without_known_totals_are_not_judged() -> None:
    """No table, no verdict; class folders are judged only where they equal a release."""
    assert compare_totals(releases("AN-yolo"), {("train", "Happy"): 3}) == ([], None)
    assert compare_totals(releases("AN-folders"), {("train", "Happy"): 3}) == ([], None)
    assert compare_totals(releases("AN-folders"), NPY)[1] is True
    assert compare_totals(releases("RAF-folders"), RAF)[1] is True


def test_every_release_has_splits_that_ferdata_knows() -> None:
    """Names of splits are train, val and test everywhere."""
    known = [
        release for layout in LAYOUTS.values() for release in (*layout.releases, *filter(None, (layout.automatic,)))
    ]

    assert {split for release in known for split in release.splits} == {"train", "val", "test"}
