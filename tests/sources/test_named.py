"""JAFFE and KDEF: the name of a file says everything, and names that have been through other hands still do."""

from pathlib import Path
from typing import Any

import pytest
from trees_rafdb import names_of, put, reasons

from ferdata.labels import AFFECTNET_7, JAFFE, KDEF
from ferdata.sources import Scan, ScanOptions, scan_source
from ferdata.sources.named.names import parse_jaffe, parse_kdef

JAFFE_NAMES = ["KA.AN1.39", "KA.NE1.26", "KL.DI4.173", "NA.SU3.210", "YM.FE4.70", "UY.HA2.138", "TM.SA3.186"]
IN_JAFFE = ["Anger", "Neutral", "Disgust", "Surprise", "Fear", "Happy", "Sad"]


def scanned(root: Path, source: str, **options: Any) -> Scan:
    return scan_source(source, str(root), ScanOptions(**options))


def jaffe(root: Path, names: list[str]) -> Path:
    for name in names:
        put(root / name)
    return root


def test_a_jaffe_name_is_person_expression_take_and_number(tmp_path: Path) -> None:
    """Nothing else says what is shown; ratings and reading tips in texts beside the images are no labels."""
    jaffe(tmp_path, [f"jaffedbase/{name}.tiff" for name in JAFFE_NAMES])
    put(tmp_path / "jaffedbase/README", "KA.AN1.39 is anger")
    put(tmp_path / "jaffedbase/README_FIRST.txt", "1 HAP SAD SUR ANG DIS FEA PIC")

    found = scanned(tmp_path, "jaffe")

    items = sorted(found.items, key=lambda item: JAFFE_NAMES.index(item.path.removesuffix(".tiff")))
    assert [found.classes[item.label] for item in items] == IN_JAFFE and found.classes == AFFECTNET_7
    assert [item.person for item in items] == [name[:2] for name in JAFFE_NAMES]
    assert items[0].source_label == "AN" and items[0].extra == {"take": 1, "number": 39}
    assert {item.split for item in items} == {"train"} and (found.rejects, found.repairs) == ([], {})
    assert any("no official split; cut one that keeps people apart" in note for note in found.notes)
    assert any("7 found, 213 in JAFFE (-206)" in note for note in found.notes)


@pytest.mark.parametrize(
    "name",
    ["ka.an1.39.tiff", "KA.AN1.39.TIF", "KA.AN1 .39.tiff", "KA_AN1_39.png", "KA.AN1.39.tiff.bmp", "KA.AN1.39.jpg"],
)
def test_a_jaffe_name_that_was_changed_is_read_all_the_same(tmp_path: Path, name: str) -> None:
    """Copies were converted, renamed by systems that dislike dots, and typed by hand."""
    jaffe(tmp_path, [name, "KA.NE1.26.tiff"])

    found = scanned(tmp_path, "jaffe")

    assert sorted(names_of(found)) == ["Anger", "Neutral"] and {item.person for item in found.items} == {"KA"}
    assert found.repairs == ({} if name.startswith("KA.AN1.39.j") or name.endswith("39.TIF") else {"name_matched": 1})


def test_jaffe_images_without_such_a_name_and_second_copies_are_named(tmp_path: Path) -> None:
    """A copy under a similar name would be in train and test at once."""
    jaffe(tmp_path, [f"{name}.tiff" for name in JAFFE_NAMES])
    jaffe(tmp_path, ["KA.AN1.39 (1).tiff", "ka.an1.39.tif", "KA.XX1.99.tiff", "me.jpg"])

    found = scanned(tmp_path, "jaffe")

    assert len(found.items) == len(JAFFE_NAMES)
    assert reasons(found) == [
        (name, "label_missing") for name in ("KA.AN1.39 (1).tiff", "KA.XX1.99.tiff", "ka.an1.39.tif", "me.jpg")
    ]
    assert {reject.detail for reject in found.rejects} == {
        "not a name like KA.AN1.39.tiff", "KA.AN1.39 is there too",
    }  # fmt: skip


def test_a_person_of_kdef_is_one_in_both_sessions(tmp_path: Path) -> None:
    """AF01 and BF01 are pictures of one woman; as two people she would be in train and in test."""
    for folder in ("AF01", "BF01", "AM01"):
        for code in KDEF:
            put(tmp_path / f"KDEF/{folder}/{folder}{code}S.JPG")
    put(tmp_path / "AKDEF/FAFFL.JPG")

    found = scanned(tmp_path, "kdef")

    assert [item.person for item in found.items] == ["F01"] * 7 + ["M01"] * 7 + ["F01"] * 7
    assert names_of(found) == ["Fear", "Anger", "Disgust", "Happy", "Neutral", "Sad", "Surprise"] * 3
    first = next(iter(found.items))
    assert first.path == "KDEF/AF01/AF01AFS.JPG" and first.source_label == "AF"
    assert first.extra == {"session": "A", "sex": "female", "angle": "S"}
    assert any("Ignored images that KDEF-names does not read: AKDEF/ (1 image)" in note for note in found.notes)


def test_the_two_cut_names_of_kdef_are_read_for_what_they_are(tmp_path: Path) -> None:
    """Readers that slice names call them an unknown class, or drop them; the release has 4,900 with them."""
    for name in ("AF31/AF31SAS", "AF31/AF31V", "AM31/AM31SUS", "AM31/AM31H"):
        put(tmp_path / f"{name}.JPG")

    found = scanned(tmp_path, "kdef")

    assert {item.path: (found.classes[item.label], (item.extra or {})["angle"]) for item in found.items} == {
        "AF31/AF31SAS.JPG": ("Sad", "S"), "AF31/AF31V.JPG": ("Sad", "HL"),
        "AM31/AM31SUS.JPG": ("Surprise", "S"), "AM31/AM31H.JPG": ("Surprise", "HR"),
    }  # fmt: skip
    assert found.repairs == {"name_matched": 2}


def test_kdef_in_one_folder_is_read_and_strangers_are_named(tmp_path: Path) -> None:
    """Many copy all pictures into one folder."""
    for name in ("AF01AFS.JPG", "bm35suhl.jpg", "AF01XXS.JPG", "AF36.JPG", "AM02NEFR.png"):
        put(tmp_path / name)

    found = scanned(tmp_path, "kdef")

    assert [(item.key, item.person) for item in found.items] == [
        ("AF01AFS", "F01"), ("AM02NEFR", "M02"), ("BM35SUHL", "M35"),
    ]  # fmt: skip
    assert reasons(found) == [("AF01XXS.JPG", "label_missing"), ("AF36.JPG", "label_missing")]


def test_codes_mean_the_same_expression_in_both_sets() -> None:
    """KDEF calls fear afraid, AF; JAFFE calls it FE."""
    assert {code: JAFFE[code] for code in KDEF if code != "AF"} == {
        code: name for code, name in KDEF.items() if code != "AF"
    }
    assert (JAFFE["FE"], KDEF["AF"]) == ("Fear", "Fear")
    assert parse_jaffe("AF01AFS") is None and parse_kdef("KA.AN1.39") is None
