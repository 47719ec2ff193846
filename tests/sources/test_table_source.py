"""Any images with a table: columns, paths, labels and splits in whatever form people write them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trees_rafdb import names_of, put, reasons

from ferdata.errors import AmbiguousLayoutError, FerdataError, LayoutError, OptionError, SourceError
from ferdata.labels import AFFECTNET_7
from ferdata.sources import Scan, ScanOptions, scan_source
from ferdata.synth import write_synthetic

Rows = list[list[str]]
PATH, LABEL, SPLIT = range(3)


def scanned(root: Path, **options: Any) -> Scan:
    return scan_source("table", str(root), ScanOptions(num_workers=1, **options))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw images with a table, once: 35 photographs of 7 classes in 3 splits."""
    root = tmp_path_factory.mktemp("faces") / "my faces"
    write_synthetic("table", str(root), count=35, size=32, num_workers=1)
    return root


@pytest.fixture(scope="module")
def rows(drawn: Path) -> Rows:
    return [line.split(",") for line in (drawn / "labels.csv").read_text().splitlines()]


def facts(scan: Scan) -> list[tuple[Any, ...]]:
    return [
        (item.path, scan.classes[item.label], item.split, item.person, item.box, item.valence) for item in scan.items
    ]


def written(rows: Rows, mark: str = ",", encoding: str = "utf-8") -> bytes:
    return "".join(mark.join(row) + "\n" for row in rows).encode(encoding)


def small(root: Path, table: str, names: str = "abcdef", *, name: str = "labels.csv") -> Path:
    """Write ``a.jpg`` and so on into ``images/``, and a table."""
    for letter in names:
        put(root / f"images/{letter}.jpg", b"x")
    put(root / name, table)
    return root


def test_every_row_of_a_drawn_table_is_read_as_it_was_drawn(drawn: Path, rows: Rows) -> None:
    """Label, split, person, box and scores of each image are those of its row, and what was guessed is said."""
    found = scanned(drawn)

    meant = {"neutral": "Neutral", "happiness": "Happy", "sadness": "Sad", "surprise": "Surprise", "fear": "Fear",
             "disgust": "Disgust", "anger": "Anger"}  # fmt: skip
    splits = {"Training": "train", "validation": "val", "TEST": "test"}
    assert facts(found) == [
        (row[0], meant[row[1]], splits[row[2]], row[3], tuple(map(float, row[4:8])), float(row[8])) for row in rows[1:]
    ]
    assert (found.classes, found.source, found.layout) == (AFFECTNET_7, "table", "table")
    assert (found.rejects, found.skipped) == ([], {})
    told = next(note for note in found.notes if note.startswith("labels.csv: "))
    assert "path from 'image', label from 'emotion', split from 'set', person from 'subject'" in told
    assert "x from 'left', y from 'top', w from 'width', h from 'height'" in told


SPELLINGS: dict[str, Callable[[Rows, Path], bytes]] = {
    "byte-order mark": lambda rows, root: written(rows, encoding="utf-8-sig"),
    "semicolons": lambda rows, root: written(rows, ";"),
    "tabs": lambda rows, root: written(rows, "\t"),
    "bars in UTF-16": lambda rows, root: written(rows, "|", "utf-16"),
    "quotes": lambda rows, root: written([[f'"{cell}"' for cell in row] for row in rows]),
    "spaces": lambda rows, root: written([[f" {cell} " for cell in row] for row in rows]),
    "Windows": lambda rows, root: written(
        [[cell.replace("/", "\\") for cell in row] for row in rows]
    ).replace(b"\n", b"\r\n"),
    "absolute": lambda rows, root: written([rows[0], *([f"{root}/{row[0]}", *row[1:]] for row in rows[1:])]),
    "another machine": lambda rows, root: written(
        [rows[0], *([f"C:\\Users\\x\\data\\{row[0]}".replace("/", "\\"), *row[1:]] for row in rows[1:])]
    ),
    "names alone": lambda rows, root: written([rows[0], *([row[0].split("/")[1], *row[1:]] for row in rows[1:])]),
    "without endings": lambda rows, root: written([rows[0], *([row[0][:-4], *row[1:]] for row in rows[1:])]),
    "other case": lambda rows, root: written([rows[0], *([row[0].upper(), *row[1:]] for row in rows[1:])]),
    "dots": lambda rows, root: written([rows[0], *([f"./x/..//{row[0]}", *row[1:]] for row in rows[1:])]),
    "from above": lambda rows, root: written([rows[0], *([f"my faces/{row[0]}", *row[1:]] for row in rows[1:])]),
    "other words": lambda rows, root: written(rows).replace(b"validation", b"dev").replace(b"TEST", b"PrivateTest"),
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_table_in_any_spelling_is_the_same(drawn: Path, rows: Rows, tmp_path: Path, spelling: str) -> None:
    """Spreadsheets, scripts and other machines write the same facts in other ways."""
    table = tmp_path / "own.csv"
    table.write_bytes(SPELLINGS[spelling](rows, drawn))

    found = scanned(drawn, table=table)

    assert facts(found) == facts(scanned(drawn))
    assert found.rejects == []


def test_paths_start_at_the_source_or_at_the_table(drawn: Path, rows: Rows, tmp_path: Path) -> None:
    """A table in a folder of its own may name images from there; images outside the source are read where they lie."""
    root = tmp_path / "set"
    put(root / "a/images/1.jpg")
    put(root / "a/labels.csv", "path,label\nimages/1.jpg,happy\n")
    assert [item.path for item in scanned(root, table=root / "a/labels.csv").items] == ["a/images/1.jpg"]

    put(tmp_path / "else/2.jpg")
    put(root / "a/labels.csv", f"path,label\nimages/1.jpg,happy\n{tmp_path}/else/2.jpg,sad\n")
    found = scanned(root, table="a/labels.csv")
    assert (found.root, [item.path for item in found.items]) == (str(tmp_path), ["set/a/images/1.jpg", "else/2.jpg"])


def test_a_path_finds_no_image_that_may_be_another(tmp_path: Path) -> None:
    """A row of train must not take val's image, nor one of two that are called alike."""
    for path in ("val/happy/1.jpg", "x/2.jpg", "y/2.jpg", "y/sad/3.jpg"):
        put(tmp_path / path)
    put(tmp_path / "l.csv", "path,label\ntrain/happy/1.jpg,happy\n2.jpg,happy\nz/3.jpg,sad\nsad/3.jpg,sad\n")

    found = scanned(tmp_path)

    assert reasons(found) == [
        ("2.jpg", "image_ambiguous"), ("train/happy/1.jpg", "image_missing"), ("z/3.jpg", "image_missing"),
    ]  # fmt: skip
    assert [item.path for item in found.items] == ["y/sad/3.jpg"]


def test_rows_that_cannot_be_used_are_rejected_by_name(tmp_path: Path) -> None:
    """Each with its reason and its line; the others are kept, images in several rows once for each."""
    small(
        tmp_path,
        "path,label,split,x,y,w,h,note\n"
        "images/a.jpg,happy,train,1,1,9,9,\n"
        "images/b.jpg,,train,,,,,\n"
        "images/c.jpg,NaN,train,,,,,\n"
        ",sad,train,,,,,\n"
        "images/gone.jpg,sad,train,1,1,9,9,\n"
        "images/d.jpg,sad,,1,1,9,9,\n"
        "images/e.jpg,sad,train,1,1,-9,9,\n"
        "images/f.jpg,sad,train,1,1,9,9,,too,many\n"
        "\n"
        "images/a.jpg,happy,train,3,3,9,9,again\n",
    )

    found = scanned(tmp_path, crop="box")

    assert [(reject.row, reject.reason) for reject in found.rejects] == [
        (3, "label_missing"), (4, "label_missing"), (5, "bad_row"), (6, "image_missing"), (7, "split_missing"),
        (8, "box_invalid"), (9, "bad_row"),
    ]  # fmt: skip
    assert [(item.key, item.box) for item in found.items] == [
        ("train_images_a", (1, 1, 9, 9)),
        ("train_images_a_row11", (3, 3, 9, 9)),
    ]
    assert [item.extra for item in found.items] == [None, {"note": "again"}]
    assert any("1 image stands in several rows" in note for note in found.notes)
    assert any("Images beside those that are read: 1 is in no row" in note for note in found.notes)
    assert scanned(tmp_path).repairs["box_invalid"] == 1


def test_a_table_whose_images_are_elsewhere_stops(tmp_path: Path) -> None:
    """Nothing is gained by a million rejects."""
    small(tmp_path, "path,label\npics/a.jpg,happy\npics/b.jpg,sad\n", names="")

    with pytest.raises(SourceError, match=r"none of 2 rows finds its image, .*pics/a.jpg.*give the folder .* src="):
        scanned(tmp_path)


@pytest.mark.parametrize(
    ("table", "box"),
    [
        ("path,label,x1,y1,x2,y2\nimages/a.jpg,sad,1,2,11,22\n", (1, 2, 10, 20)),
        ("path,label,bbox_left,bbox_top,bbox_right,bbox_bottom\nimages/a.jpg,sad,1,2,11,22\n", (1, 2, 10, 20)),
        ("path,label,face_x,face_y,face_w,face_h\nimages/a.jpg,sad,1,2,10,20\n", (1, 2, 10, 20)),
        ('path,label,box\nimages/a.jpg,sad,"[1, 2, 10, 20]"\n', (1, 2, 10, 20)),
        ("path,label,xmin,other\nimages/a.jpg,sad,1,2\n", None),
    ],
)
def test_boxes_are_two_corners_or_a_corner_and_a_size(tmp_path: Path, table: str, box: object) -> None:
    """Read as the other, a corner is a size, and every face is cut out wrongly."""
    assert scanned(small(tmp_path, table)).items[0].box == box


def test_columns_are_what_the_user_says(tmp_path: Path) -> None:
    """By name in any delimiter, by number if there is no header; what is left empty is not guessed either."""
    small(tmp_path, "fichier;étiquette;label;subject;val\na;joy;9;p1;0.5\nb;anger;9;p2;-2\n")
    found = scanned(tmp_path, columns="path=fichier,label=étiquette,person=,valence=val,sequence=subject")
    assert names_of(found) == ["Happy", "Anger"]
    assert [(item.person, item.sequence, item.valence) for item in found.items] == [
        (None, "p1", 0.5),
        (None, "p2", None),
    ]
    assert [item.extra for item in found.items] == [{"label": 9}] * 2

    put(tmp_path / "plain.txt", "images/a.jpg 3 train\nimages/b.jpg 0 test\n")
    numbered = {"path": "1", "label": "2", "split": "3"}
    found = scanned(tmp_path, table="plain.txt", columns=numbered, labels="affectnet")
    assert [(item.split, item.source_label) for item in found.items] == [("train", "3"), ("test", "0")]
    assert names_of(found) == ["Surprise", "Neutral"]


def test_two_columns_need_no_header(tmp_path: Path) -> None:
    """One of them names images, so the other is the label."""
    small(tmp_path, "happy,images/a.jpg\nsad,images/b.jpg\n")

    assert names_of(scanned(tmp_path)) == ["Happy", "Sad"]


@pytest.mark.parametrize(
    ("table", "options", "error", "match"),
    [
        ("path,f1\na,b\n", {}, LayoutError, r"header path, f1 found, expected one with its label .*columns=label="),
        ("image,path,label\na,b,c\n", {}, LayoutError, r"columns image, path .*can all be the path.*columns=path="),
        ("path,label,subject,actor\na,b,c,d\n", {}, LayoutError, "all be the person.*or columns=person= for none"),
        ("path,label\na,b\n", {"columns": "label=x"}, LayoutError, "no columns 'x' found for label, expected one of"),
        ("path,label\na,b\n", {"columns": "lable=label"}, OptionError, "columns: lable found, expected only path"),
        ("path,label\na,b\n", {"columns": "label"}, OptionError, r"columns: label found, expected .* path=file"),
        ("images/a.jpg,3,train\nimages/b.jpg,0,test\n", {}, LayoutError, r"no header found.*columns=path=1,label=2"),
        ("path,label,x1,y1,w,h\na,b,1,1,1,1\n", {"columns": "x1=x1,w=w"}, LayoutError, "columns for w, x1 found"),
        ("path,label,split\nimages/a.jpg,sad,fold3\n", {}, LayoutError, r"splits with fold3 found.*columns=split="),
        ("", {}, LayoutError, "an empty file found"),
        ("path,label\nimages/a.jpg,\n", {}, LayoutError, "no label found in any row"),
        ("path,label\nimages/a.jpg,sad\n", {"labels": "rafdb"}, OptionError, "labels rafdb asked for"),
    ],
)  # fmt: skip
def test_what_a_table_does_not_say_is_asked(
    tmp_path: Path, table: str, options: dict[str, str], error: type[FerdataError], match: str
) -> None:
    """Each question names the option that settles it."""
    with pytest.raises(error, match=match):
        scanned(small(tmp_path, table), **options)


def test_numbers_are_never_guessed(tmp_path: Path) -> None:
    """At least four orders of the same seven words are in use."""
    small(tmp_path, "path,label\nimages/a.jpg,1\nimages/b.jpg,2\nimages/c.jpg,2.0\nimages/d.jpg,3\n")
    with pytest.raises(
        AmbiguousLayoutError, match=r"1: 1, 2: 2, 3: 1.*class_names=neutral,happy,sad.*labels=affectnet\|"
    ):
        scanned(tmp_path)

    assert names_of(scanned(tmp_path, class_names="neutral,happy,sad")) == ["Neutral", "Happy", "Happy", "Sad"]
    assert names_of(scanned(tmp_path, labels="rafdb")) == ["Surprise", "Fear", "Fear", "Disgust"]
    assert names_of(scanned(tmp_path, class_names={1: "sad", 2: "bored", 3: "happy"})) == [
        "Sad",
        "bored",
        "bored",
        "Happy",
    ]
    only_two = scanned(tmp_path, class_names="1:sad,2:bored")
    assert (only_two.classes, reasons(only_two)) == (("Sad", "bored"), [("images/d.jpg", "label_invalid")])
    assert names_of(scanned(tmp_path, labels="fer2013")) == ["Disgust", "Fear", "Fear", "Happy"]
    assert names_of(scanned(tmp_path, labels="dfew")) == ["Happy", "Sad", "Sad", "Neutral"]
    with pytest.raises(AmbiguousLayoutError, match=r"whether a is 0 or 1; .*class_names=1:a,2:b"):
        scanned(tmp_path, class_names="a,b,c,d")
    with pytest.raises(OptionError, match="labels and class_names"):
        scanned(tmp_path, class_names="a,b,c", labels="rafdb")
    for wrong in ("happy,happy", "1:happy,sad", "happy,,sad"):
        with pytest.raises(OptionError, match="expected different names"):
            scanned(tmp_path, class_names=wrong)
    with pytest.raises(SourceError, match="3 of 4 labels are not classes"):
        scanned(tmp_path, class_names="1:sad")


def test_words_are_mapped_by_what_they_mean(tmp_path: Path) -> None:
    """Known ones in AffectNet's order, own ones behind; what is no emotion is skipped, and three classes are three."""
    small(
        tmp_path,
        "path,label\nimages/a.jpg,JOY\nimages/b.jpg,Bored\nimages/c.jpg,bored \nimages/d.jpg,angry\n"
        "images/e.jpg,unknown\n",
    )
    found = scanned(tmp_path)
    assert (found.classes, names_of(found)) == (("Happy", "Anger", "Bored"), ["Happy", "Bored", "Bored", "Anger"])
    assert found.skipped == {"not_emotion": 1}

    small(tmp_path, "path,label\nimages/a.jpg,anger\nimages/b.jpg,Angry\n")
    assert scanned(tmp_path).classes == ("Anger",)

    small(tmp_path, "path,label\nimages/a.jpg,calm\nimages/b.jpg,neutral\nimages/c.jpg,contempt\n")
    assert scanned(tmp_path).classes == ("Neutral", "Contempt", "calm")
    assert (scanned(tmp_path, classes=7).classes, scanned(tmp_path, classes=7).skipped) == (
        ("Neutral", "calm"),
        {"contempt": 1},
    )

    small(tmp_path, "path,label\nimages/a.jpg,yes\nimages/b.jpg,no\nimages/c.jpg,unknown\n")
    assert scanned(tmp_path).classes == ("no", "Unknown", "yes")


def test_a_column_that_is_no_label_stops(tmp_path: Path) -> None:
    """A thousand classes are names of files, of people or of days."""
    for number in range(1001):
        put(tmp_path / f"{number}.jpg")
    put(tmp_path / "l.csv", "path,label\n" + "".join(f"{number}.jpg,who{number}\n" for number in range(1001)))

    with pytest.raises(LayoutError, match=r"1,001 different labels in 1,001 rows found.*columns=label=NAME"):
        scanned(tmp_path)


def test_splits_are_read_from_folders_and_from_names_of_tables(tmp_path: Path) -> None:
    """An official split must not be mixed because nobody made a column of it."""
    for path in ("train/1.jpg", "valid/2.jpg", "other/3.jpg"):
        put(tmp_path / path)
    put(tmp_path / "all.csv", "path,label\ntrain/1.jpg,sad\nvalid/2.jpg,sad\n")
    assert [item.split for item in scanned(tmp_path).items] == ["train", "val"]

    put(tmp_path / "all.csv", "path,label\ntrain/1.jpg,sad\nvalid/2.jpg,sad\nother/3.jpg,sad\n")
    found = scanned(tmp_path)
    assert [item.split for item in found.items] == ["train"] * 3
    assert any("Warning: 2 of 3 paths have a folder called train or val" in note for note in found.notes)

    here, there = tmp_path / "test/set", "/home/test/x"  # folders above all images tell nothing
    put(here / "images/1.jpg")
    put(here / "all.csv", f"path,label\n{here}/images/1.jpg,sad\n")
    assert [item.split for item in scanned(here).items] == ["train"]
    put(here / "all.csv", f"path,label\n{there}/images/1.jpg,sad\n")
    assert [item.split for item in scanned(here).items] == ["train"]

    (tmp_path / "all.csv").unlink()
    put(tmp_path / "my_train.csv", "path,label\ntrain/1.jpg,sad\n")
    put(tmp_path / "my_test.csv", "path,label\nvalid/2.jpg,happy\n")
    found = scanned(tmp_path)
    assert [(item.path, item.split) for item in found.items] == [("valid/2.jpg", "test"), ("train/1.jpg", "train")]
    assert any("my_test.csv is test, my_train.csv is train" in note for note in found.notes)


def test_tables_in_split_folders_name_the_images_beside_them(tmp_path: Path) -> None:
    """As Hugging Face's image folders do: one name in two folders is two images, each of its own split."""
    for split, label in (("train", "sad"), ("test", "joy")):
        put(tmp_path / split / "1.jpg")
        put(tmp_path / split / "metadata.csv", f"file_name,label\n1.jpg,{label}\n")

    for named in (None, "test/metadata.csv,train/metadata.csv"):
        found = scanned(tmp_path, table=named)
        assert {(item.path, item.split, item.source_label) for item in found.items} == {
            ("test/1.jpg", "test", "joy"), ("train/1.jpg", "train", "sad"),
        }  # fmt: skip


def test_which_table_is_asked_where_there_are_several(tmp_path: Path) -> None:
    """Two that name images and labels may differ; one that does not is no doubt."""
    small(tmp_path, "path,label\nimages/a.jpg,sad\n")
    put(tmp_path / "notes.csv", "day,text\n1,x\n")
    assert len(scanned(tmp_path).items) == 1

    put(tmp_path / "old.csv", "path,label\nimages/a.jpg,happy\n")
    with pytest.raises(AmbiguousLayoutError, match=r"labels.csv, old.csv found.*table="):
        scanned(tmp_path)
    assert names_of(scanned(tmp_path, table="old.csv")) == ["Happy"]
    with pytest.raises(LayoutError, match=r"new.csv: no such file.*table="):
        scanned(tmp_path, table="new.csv")
    with pytest.raises(LayoutError, match=r"no table found that names images and labels.*table="):
        scanned(tmp_path / "images")
    put(tmp_path / "faces/happy/1.jpg")
    put(tmp_path / "faces/sad/1.jpg")
    with pytest.raises(OptionError, match="class_names asked for, but folder says itself"):
        scan_source("folder", str(tmp_path / "faces"), ScanOptions(class_names="a,b"))
