"""FER2013 in every form it circulates in: the same pixels under the same label, and a reason for every odd row."""

import csv
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image
from trees_rafdb import names_of, put, reasons

from ferdata.errors import AmbiguousLayoutError, LayoutError, SourceError, StoreError
from ferdata.labels import AFFECTNET_7, FER2013
from ferdata.sources import Scan, ScanOptions, read_image, scan_source
from ferdata.synth import write_synthetic

Row = tuple[int, str, str]
"""Label, pixels, usage."""

HEADER = "emotion,pixels,Usage"
SPLITS = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    root = tmp_path_factory.mktemp("fer")
    write_synthetic("fer2013", str(root), count=56, num_workers=1)
    with open(root / "fer2013.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [(int(row["emotion"]), row["pixels"], row["Usage"]) for row in rows]


def scanned(root: Path | str, source: str = "fer2013", **options: Any) -> Scan:
    return scan_source(source, str(root), ScanOptions(**options))


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def table(rows: list[Row], *, header: str = HEADER, end: str = "\n", mark: str = "", quote: str = "") -> bytes:
    """Return rows as a table: in the order of the header's columns, with this line end, byte-order mark and quotes."""
    columns = [["emotion", "pixels", "Usage"].index(name.strip()) for name in header.split(",")]
    lines = [header, *(",".join(f"{quote}{row[column]}{quote}" for column in columns) for row in rows)]
    return (mark + end.join(lines) + end).encode()


FORMS: dict[str, Callable[[list[Row]], tuple[str, bytes]]] = {
    "fer2013": lambda rows: ("fer2013.csv", table(rows)),
    "icml": lambda rows: ("icml_face_data.csv", table(rows, header="emotion, Usage, pixels")),
    "mark and CRLF": lambda rows: ("fer2013.csv", table(rows, end="\r\n", mark="\ufeff")),
    "quotes": lambda rows: ("fer2013.csv", table(rows, quote='"')),
    "blank lines": lambda rows: ("mine.csv", table(rows, end="\n\n")),
    "wrapped": lambda rows: ("fer2013/fer2013/fer2013.csv", table(rows)),
    "semicolons": lambda rows: ("fer2013.csv", table(rows).replace(b",", b";")),
    "names": lambda rows: ("f.csv", re.sub(rb"(?m)^(\d)", lambda m: FER2013[int(m[1])].encode(), table(rows))),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_images_under_the_same_labels(tmp_path: Path, drawn: list[Row], form: str) -> None:
    """Copies differ in names, order and spelling of columns, line ends and quotes; the rows are the same."""
    name, content = FORMS[form](drawn)
    put(tmp_path / name, content)

    found = scanned(tmp_path)

    assert (found.layout, found.classes, found.items.splits()) == ("FER-csv", AFFECTNET_7, ["train", "val", "test"])
    assert not found.rejects and found.side == 48
    assert names_of(found) == [FER2013[label] for label, _, _ in drawn]
    assert [item.split for item in found.items] == [SPLITS[usage] for _, _, usage in drawn]
    assert [item.path for item in found.items] == [f"{name.split('/')[-1]}#{row}" for row in range(len(drawn))]
    for number in (len(drawn) - 1, 0, 30, 7):
        expected = np.array(drawn[number][1].split(), np.uint8).reshape(48, 48)
        np.testing.assert_array_equal(pixels(read_image(found.root, found.items[number].path)), expected)


def test_the_challenge_has_labels_for_train_alone(tmp_path: Path) -> None:
    """Its test.csv is what was to be predicted: every row of it is listed as having no label."""
    summary = write_synthetic("fer2013", str(tmp_path), count=60, layout="FER-challenge", num_workers=1)

    found = scanned(tmp_path)

    train, *others = (sum(counts.values()) for counts in summary.counts.values())
    assert len(found.items) == train and found.items.splits() == ["train"]
    assert reasons(found) == sorted((f"test.csv#{row}", "label_missing") for row in range(sum(others)))
    assert found.rejects[0].detail == "test.csv has no labels"


def test_of_several_copies_the_one_that_others_take_is_read_and_the_rest_is_named(
    tmp_path: Path, drawn: list[Row]
) -> None:
    """The challenge's archive holds all of them, and reading two would double every image."""
    put(tmp_path / "icml_face_data.csv", table(drawn, header="emotion, Usage, pixels"))
    put(tmp_path / "train.csv", table(drawn, header="emotion,pixels"))
    put(tmp_path / "test.csv", table(drawn, header="pixels"))
    put(tmp_path / "example_submission.csv", b"id,Prediction\n1,3\n")
    put(tmp_path / "fer2013/fer2013.csv", table(drawn))

    found = scanned(tmp_path)

    assert {item.path.split("#")[0] for item in found.items} == {"fer2013/fer2013.csv"}
    assert "Ignored icml_face_data.csv, test.csv, train.csv, which should hold the same images." in found.notes
    shutil.rmtree(tmp_path / "fer2013")
    assert {item.path.split("#")[0] for item in scanned(tmp_path).items} == {"icml_face_data.csv"}


def test_every_odd_row_has_a_reason(tmp_path: Path, drawn: list[Row]) -> None:
    """A row that is bent into shape is a face nobody looked at."""
    good = drawn[0][1]
    odd = {
        f"3,{good} 7,Training": ("image_corrupt", "2,305 pixels, expected 2,304 (48 x 48)"),
        f"3,{good.replace(' ', ',', 1)},Training": ("bad_row", "4 fields, expected 3"),
        f"3,256 {good[good.index(' ') + 1 :]},Training": ("image_corrupt", "a pixel of 256, expected 0 to 255"),
        f"3,-{good},Training": ("image_corrupt", "'-' among the pixels, expected numbers parted by spaces"),
        f"3,{good.replace(' ', '.', 1)},Training": ("image_corrupt", "'.' among the pixels"),
        "3,,Training": ("image_corrupt", "no pixels"),
        f"3,{good},Holdout": ("bad_row", "Usage 'Holdout', expected Training, PublicTest or PrivateTest"),
        f"7,{good},Training": ("label_invalid", "label '7'"),
        f",{good},PublicTest": ("label_missing", "the label is empty"),
        f"3,{good}": ("bad_row", "2 fields, expected 3"),
    }
    lines = table(drawn).decode().splitlines()
    put(tmp_path / "fer2013.csv", "\n".join([*lines, *odd, lines[-1]]).encode())

    found = scanned(tmp_path)

    told = [(reject.reason, reject.detail) for reject in found.rejects]
    expected = list(odd.values())
    assert [(why, text[: len(part)]) for (why, text), (_, part) in zip(told, expected, strict=True)] == expected
    count, end = len(drawn), len(drawn) + len(odd)
    assert [reject.row for reject in found.rejects] == list(range(count, end))
    assert len(found.items) == count + 1 and found.items[count].path == f"fer2013.csv#{end}"
    last, same = (read_image(found.root, found.items[number].path) for number in (count, count - 1))
    assert last == same


def test_images_of_one_value_are_kept_and_named(tmp_path: Path, drawn: list[Row]) -> None:
    """The release has black images; they count in its totals, and who trains should know."""
    black = " ".join(["0"] * 2304)
    put(tmp_path / "fer2013.csv", table([*drawn, (4, black, "Training"), (4, black, "PublicTest")]))

    found = scanned(tmp_path)

    count = len(drawn)
    assert len(found.items) == count + 2
    assert (
        f"Warning: 2 images are of one grey value all over (fer2013.csv#{count}, fer2013.csv#{count + 1}); "
        "they are kept." in found.notes
    )


def test_a_table_of_other_classes_stops_the_run(tmp_path: Path, drawn: list[Row]) -> None:
    """Tables of the same columns hold ages or other emotions; a wrong map must not become shards."""
    put(tmp_path / "fer2013.csv", table([(label + 10, image, usage) for label, image, usage in drawn]))

    with pytest.raises(SourceError, match=r"fer2013\.csv: 56 of 56 labels are not classes.*expected 0 Angry"):
        scanned(tmp_path)


def test_tables_that_could_each_be_meant_are_refused(tmp_path: Path, drawn: list[Row]) -> None:
    """Reading one of two and saying nothing would be a guess."""
    for name in ("a.csv", "b.csv"):
        put(tmp_path / name, table(drawn))

    with pytest.raises(AmbiguousLayoutError, match=r"a\.csv, b\.csv found, expected one table of images"):
        scanned(tmp_path)


def test_a_row_that_is_gone_or_no_text_is_an_error_that_names_it(tmp_path: Path, drawn: list[Row]) -> None:
    """The file may change between the scan and the reading."""
    put(tmp_path / "fer2013.csv", table(drawn))
    with pytest.raises(StoreError, match=r"fer2013\.csv#56: 56 rows of pixels found, expected more; scan the source"):
        read_image(str(tmp_path), "fer2013.csv#56")
    put(tmp_path / "b.csv", table([*drawn, (1, "3 4", "Training")]))
    with pytest.raises(StoreError, match=r"b\.csv#56: 2 pixels, expected 2,304 \(48 x 48\) found; scan the source"):
        read_image(str(tmp_path), "b.csv#56")
    put(tmp_path / "wide/fer2013.csv", table(drawn).decode().encode("utf-16"))
    with pytest.raises(SourceError, match=r"fer2013\.csv: a zero byte found, expected a table in UTF-8"):
        scanned(tmp_path / "wide")


def test_a_table_behind_a_url_is_read_in_parts(drawn: list[Row]) -> None:
    """Rows are asked for by their place in the file."""
    files = fsspec.filesystem("memory")
    files.pipe_file("/fer-far/fer2013.csv", table(drawn))

    found = scanned("memory://fer-far")

    assert len(found.items) == len(drawn)
    expected = np.array(drawn[9][1].split(), np.uint8).reshape(48, 48)
    np.testing.assert_array_equal(pixels(read_image(found.root, found.items[9].path)), expected)


def test_class_folders_are_compared_with_the_release(tmp_path: Path) -> None:
    """Under the source's own name they have seven classes, and the notes say what is missing."""
    summary = write_synthetic("fer2013", str(tmp_path), count=49, layout="FER-folders", num_workers=1)

    found = scanned(tmp_path)

    assert (found.layout, found.classes) == ("FER-folders", AFFECTNET_7) and len(found.items) == summary.images
    assert any(note.startswith("test: ") and "7,178 in FER2013 as class folders" in note for note in found.notes)


def test_under_another_source_the_error_names_this_one(tmp_path: Path, drawn: list[Row]) -> None:
    """Who does not know what a folder holds is told."""
    put(tmp_path / "fer2013.csv", table(drawn))

    with pytest.raises(LayoutError, match=r"FER-csv found, which is FER2013, .*; use source 'fer2013'"):
        scanned(tmp_path, "folder")
