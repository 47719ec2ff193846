"""FERPlus: votes find their image by row or by name, and become a class by the rule that was asked for."""

import csv
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from trees_rafdb import names_of, put, reasons

from ferdata.errors import AmbiguousLayoutError, LayoutError, OptionError, SourceError
from ferdata.labels import AFFECTNET_7, AFFECTNET_8, FERPLUS
from ferdata.sources import Scan, ScanOptions, read_image, scan_source
from ferdata.sources.ferplus.votes import VOTE_COLUMNS, class_of_votes
from ferdata.synth import write_synthetic


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("csv")
    write_synthetic("ferplus", str(root), count=80, num_workers=1)
    return root


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folders")
    write_synthetic("ferplus", str(root), count=80, layout="FERPlus-folders", num_workers=1)
    return root


@pytest.fixture
def own(tmp_path: Path, tables: Path) -> Path:
    return Path(shutil.copytree(tables, tmp_path / "own"))


def scanned(root: Path, **options: Any) -> Scan:
    return scan_source("ferplus", str(root), ScanOptions(**options))


def votes_in(root: Path) -> list[dict[str, str]]:
    with open(root / "fer2013new.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("votes", "majority", "most"),
    [
        ([4, 0, 0, 1, 3, 2, 0, 0, 0, 0], "Unknown", "Neutral"),  # 4 of 9
        ([5, 0, 0, 3, 1, 0, 0, 0, 1, 0], "Neutral", "Neutral"),  # 5 of 8, once single votes are gone
        ([4, 0, 0, 4, 1, 0, 0, 0, 1, 0], "Unknown", "Neutral"),  # the first of two
        ([0, 10, 0, 0, 0, 0, 0, 0, 0, 0], "Happy", "Happy"),
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 1], "Unknown", "Neutral"),  # single votes alone
        ([2, 0, 0, 0, 0, 0, 0, 0, 8, 0], "Unknown", "Neutral"),  # unknown has the majority
        ([0, 0, 0, 0, 0, 0, 0, 0, 0, 10], "NF", "NF"),
        ([1, 0, 0, 0, 0, 0, 0, 9, 0, 0], "Contempt", "Contempt"),
    ],
)
def test_both_rules_give_what_was_published(votes: list[int], majority: str, most: str) -> None:
    """Rows of the release, by the code of its authors and by the rule that most papers count with."""
    assert FERPLUS[class_of_votes(votes, "majority").column] == majority
    assert FERPLUS[class_of_votes(votes, "most").column] == most


@pytest.mark.parametrize("rule", ["majority", "most"])
def test_votes_are_matched_with_pixels_row_by_row(tables: Path, rule: str) -> None:
    """The tables share an order and nothing else; rows that no vote calls a face have no image name."""
    rows = votes_in(tables)

    found = scanned(tables, votes=rule)

    assert (found.layout, found.classes, found.side) == ("FERPlus-csv", AFFECTNET_8, 48)
    by_key = {item.key: item for item in found.items}
    skipped: Counter[str] = Counter()
    for number, row in enumerate(rows):
        votes = [int(row[name]) for name in VOTE_COLUMNS]
        item = by_key.get(row["Image name"][:-4])
        voted = class_of_votes(votes, rule)
        if item is None:
            if row["Image name"]:
                skipped["not_emotion" if voted.has_majority else "no_majority"] += 1
            continue
        assert item.path == f"fer2013.csv#{number}" and found.classes[item.label] == FERPLUS[voted.column]
        assert item.split == {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}[row["Usage"]]
        assert item.extra == {"votes": votes} and item.source_label == VOTE_COLUMNS[voted.column]
        assert item.soft_labels is not None
        shares = [votes[FERPLUS.index(name)] / sum(votes[:8]) for name in AFFECTNET_8]
        assert list(item.soft_labels) == pytest.approx(shares)
        assert read_image(found.root, item.path).startswith(b"P5\n48 48\n")
    assert found.skipped == skipped and skipped["not_emotion"] > 0
    unnamed = [number for number, row in enumerate(rows) if not row["Image name"]]
    assert reasons(found) == [(f"fer2013.csv#{number}", "no_face") for number in unnamed] and unnamed


def test_seven_classes_leave_contempt_out_of_labels_and_of_soft_labels(tables: Path) -> None:
    """An image of contempt must not become one of what came second."""
    eight, seven = scanned(tables), scanned(tables, classes=7)

    assert seven.classes == AFFECTNET_7 and seven.skipped["contempt"] == names_of(eight).count("Contempt") > 0
    kept = [item.key for item, name in zip(eight.items, names_of(eight), strict=True) if name != "Contempt"]
    assert [item.key for item in seven.items] == kept
    for item in seven.items:
        assert item.soft_labels is not None and len(item.soft_labels) == 7 and sum(item.soft_labels) == pytest.approx(1)


def test_what_is_no_emotion_can_be_kept(tables: Path) -> None:
    """Unknown and not-a-face become classes of their own."""
    found = scanned(tables, keep_non_emotion=True)

    assert found.classes == (*AFFECTNET_8, "Unknown", "NF") and not found.skipped
    assert {"Unknown", "NF"} < set(names_of(found))


def test_the_tables_may_lie_in_folders_of_their_own(own: Path, tables: Path) -> None:
    """One comes from GitHub and one from Kaggle."""
    (own / "FERPlus-master/data/FER2013Train").mkdir(parents=True)
    shutil.move(own / "fer2013new.csv", own / "FERPlus-master/fer2013new.csv")
    put(own / "FERPlus-master/data/FER2013Train/label.csv", b'fer0000000.png,"(0, 0, 48, 48)",4,0,0,1,3,2,0,0,0,0\n')
    (own / "kaggle").mkdir()
    shutil.move(own / "fer2013.csv", own / "kaggle/fer2013.csv")
    put(own / "kaggle/icml_face_data.csv", (own / "kaggle/fer2013.csv").read_bytes())

    found = scanned(own)

    assert names_of(found) == names_of(scanned(tables))
    assert "Ignored kaggle/icml_face_data.csv, which should hold the same images." in found.notes


def test_tables_of_another_order_or_length_stop_the_run(own: Path) -> None:
    """A row too many shifts every label after it."""
    lines = (own / "fer2013new.csv").read_text().splitlines()
    put(own / "fer2013new.csv", "\n".join([lines[0], *lines[:0:-1]]).encode())
    with pytest.raises(SourceError, match=r"line 2 is of 'PrivateTest', but row 0 of fer2013.csv of 'Training'"):
        scanned(own)
    put(own / "fer2013new.csv", "\n".join(lines[:-1]).encode())
    with pytest.raises(SourceError, match=r"fer2013new.csv: 80 rows found and more in fer2013.csv, expected a row"):
        scanned(own)


def test_folders_with_label_files_are_read_by_name(folders: Path) -> None:
    """The box column is a text in quotes, there is no header, and images without votes are listed."""
    put(folders / "FER2013Train/stray.png")
    found = scanned(folders)

    assert (found.layout, found.items.splits()) == ("FERPlus-folders", ["train", "val", "test"])
    assert reasons(found) == [("FER2013Train/stray.png", "label_missing")]
    with open(folders / "FER2013Valid/label.csv", newline="") as file:
        rows = {row[0]: [int(vote) for vote in row[2:]] for row in csv.reader(file)}
    for item in (item for item in found.items if item.split == "val"):
        votes = rows[item.path.rpartition("/")[2]]
        assert item.extra == {"votes": votes} and item.box == (0, 0, 48, 48)
        assert found.classes[item.label] == FERPLUS[class_of_votes(votes, "majority").column]
    assert sum(item.split == "val" for item in found.items) + sum(
        class_of_votes(votes, "majority").column >= 8 for votes in rows.values()
    ) == len(rows)


def test_folders_of_images_may_take_their_votes_from_the_table(tmp_path: Path, folders: Path) -> None:
    """Others keep ``images/FER2013Train`` beside ``fer2013new.csv``; a name that is not there is no image."""
    shutil.copytree(folders, tmp_path / "images")
    header = f"Usage,Image name,{','.join(VOTE_COLUMNS)}"
    rows = []
    for folder, usage in (("Train", "Training"), ("Valid", "PublicTest"), ("Test", "PrivateTest")):
        with open(tmp_path / f"images/FER2013{folder}/label.csv", newline="") as file:
            rows += [f"{usage},{row[0]},{','.join(row[2:])}" for row in csv.reader(file)]
        (tmp_path / f"images/FER2013{folder}/label.csv").unlink()
    rows += ["Training,fer9999999.png,9,1,0,0,0,0,0,0,0,0", "Training,,0,0,0,0,0,0,0,0,0,10", rows[0]]
    put(tmp_path / "fer2013new.csv", "\n".join([header, *rows]).encode())

    found, other = scanned(tmp_path), scanned(folders)

    labels = {item.key: item.label for item in found.items}
    again = labels.keys() - {item.key for item in other.items}
    assert {item.key: item.label for item in other.items} == {key: labels[key] for key in labels if key not in again}
    assert again <= {f"{rows[0].split(',')[1][:-4]}_row{len(rows) + 1}"}
    assert {reason for _, reason in reasons(found)} >= {"image_missing", "no_face"}
    assert any("1 image stands in several rows" in note for note in found.notes)


def test_odd_votes_are_rejected(own: Path) -> None:
    """Nine columns, words and rows of nothing are no votes."""
    lines = (own / "fer2013new.csv").read_text().splitlines()
    for number, votes in enumerate(("1,2,3", f"a{',0' * 9}", f"0{',0' * 9}", f"-1,9{',0' * 8}"), 1):
        usage, name = lines[number].split(",")[:2]
        lines[number] = f"{usage},{name},{votes}"
    put(own / "fer2013new.csv", "\n".join(lines).encode())

    assert reasons(scanned(own))[:4] == [(f"fer2013.csv#{row}", "bad_row") for row in range(4)]


def test_what_cannot_be_settled_is_said(own: Path, folders: Path, tmp_path: Path) -> None:
    """Two tables of votes, images without any, votes without images, and a rule where there are no votes."""
    put(own / "ferplus/fer2013new.csv", (own / "fer2013new.csv").read_bytes() + b"\n")
    with pytest.raises(AmbiguousLayoutError, match=r"fer2013new.csv, ferplus/fer2013new.csv differ, expected one"):
        scanned(own)
    put(tmp_path / "bare/FER2013Train/fer0000000.png")
    with pytest.raises(LayoutError, match=r"FER2013Train found without votes, expected label.csv in each or"):
        scanned(tmp_path / "bare")
    put(tmp_path / "votes/fer2013new.csv", (own / "fer2013new.csv").read_bytes())
    with pytest.raises(LayoutError, match=r"votes in fer2013new.csv found without images, expected fer2013.csv"):
        scanned(tmp_path / "votes")
    with pytest.raises(OptionError, match="votes most asked for, but FER-csv has one label for each image"):
        scan_source("fer2013", str(own), ScanOptions(votes="most"))
    with pytest.raises(LayoutError, match=r"FERPlus-folders found, which is FERPlus, .*; use source 'ferplus'"):
        scan_source("folder", str(folders), ScanOptions())
