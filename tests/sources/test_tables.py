"""Label tables in the spellings that spreadsheets, scripts and people give them; and those that nobody can read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trees import npy_tree
from trees_rafdb import KAGGLE_NAMES, kaggle_a_tree, kaggle_b_tree, names_of, put, raf_kaggle_tree

from ferdata.errors import AmbiguousLayoutError, LayoutError, SourceError
from ferdata.sources import Scan, ScanOptions, scan_source
from ferdata.sources.files.text_tables import iter_rows, read_head
from ferdata.store import Store


def scanned(root: Path, source: str = "affectnet", **options: Any) -> Scan:
    return scan_source(source, str(root), ScanOptions(num_workers=1, **options))


def table_rows(root: Path) -> list[list[str]]:
    return [line.split(",") for line in (root / "labels.csv").read_text().splitlines()]


def relabelled(root: Path) -> list[list[str]]:
    """Write AN-kaggle-A with a first row that contradicts its folder; return the rows of its table, header first."""
    kaggle_a_tree(root)
    rows = table_rows(root)
    rows[1][2] = "sad"
    return rows


def write(
    root: Path, rows: list[list[str]], *, mark: str = ",", encoding: str = "utf-8", name: str = "labels.csv"
) -> None:
    (root / "labels.csv").unlink()
    put(root / name, "".join(mark.join(row) + "\n" for row in rows).encode(encoding))


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_a_label_table_in_any_spelling_beats_the_folders(tmp_path: Path, mark: str, encoding: str) -> None:
    """Passed over, it would leave the folders' labels, which are wrong for some images."""
    write(tmp_path, relabelled(tmp_path), mark=mark, encoding=encoding)

    found = scanned(tmp_path)

    assert found.layout == "AN-kaggle-A"
    assert (names_of(found)[0], found.repairs, found.rejects) == ("Sad", {"folder_differs": 1}, [])


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_a_name_that_is_no_utf8_is_read_as_latin_1(tmp_path: Path, mark: str) -> None:
    """Older spreadsheets save it so; every other row would lose its image for nothing."""
    rows = relabelled(tmp_path)
    (tmp_path / rows[2][1]).rename(tmp_path / "contempt/é.jpg")
    rows[2][1] = "contempt/é.jpg"
    write(tmp_path, rows, mark=mark, encoding="latin-1")

    found = scanned(tmp_path)

    assert (found.items[1].path, found.rejects) == ("contempt/é.jpg", [])


@pytest.mark.parametrize(
    "path_name", ["path", "image", "filename", "file", "img_path", "Image Path", "IMAGE-NAME", " pth "]
)
@pytest.mark.parametrize("label_name", ["label", "emotion", "class", "Expression", "LABELS"])
def test_columns_are_found_by_their_names_in_any_order(tmp_path: Path, path_name: str, label_name: str) -> None:
    """There is no one spelling, and no one order."""
    rows = [[rel, label, pth] for _, pth, label, rel in relabelled(tmp_path)[1:]]
    write(tmp_path, [["relFCs", label_name, f'"{path_name}"'], *rows])

    found = scanned(tmp_path)

    assert (found.layout, names_of(found)[0]) == ("AN-kaggle-A", "Sad")
    assert found.items[0].extra == {"relFCs": 0.5}


@pytest.mark.parametrize("name", ["labels.tsv", "annotations.csv", "train.csv", "Labels.CSV", "my list.tab"])
def test_a_table_of_any_name_is_read_where_it_names_images_and_classes(tmp_path: Path, name: str) -> None:
    """What makes it the label table is what it holds."""
    write(tmp_path, relabelled(tmp_path), name=name)

    assert names_of(scanned(tmp_path))[0] == "Sad"


def test_two_tables_of_images_and_classes_are_a_question(tmp_path: Path) -> None:
    """Either may be the right one; labels.csv is, where it is there."""
    rows = relabelled(tmp_path)
    put(tmp_path / "clean.csv", (tmp_path / "labels.csv").read_bytes())

    found = scanned(tmp_path)
    assert "Ignored tables that AN-kaggle-A does not read: clean.csv." in found.notes

    write(tmp_path, rows, name="noisy.csv")
    with pytest.raises(AmbiguousLayoutError, match=r"clean.csv and noisy.csv found, .*expected one table"):
        scanned(tmp_path)


def test_paths_may_start_above_the_class_folders(tmp_path: Path) -> None:
    """Whoever made the table had the images elsewhere; which split a row names stays as it says."""
    kaggle_b_tree(tmp_path)
    rows = [line.split(",") for line in (tmp_path / "labels.csv").read_text().splitlines()]
    plain = scanned(tmp_path)
    write(tmp_path, [rows[0], *([at, f"/home/me/data/{pth}", label, rel] for at, pth, label, rel in rows[1:])])
    assert [(item.key, item.label) for item in scanned(tmp_path).items] == [
        (item.key, item.label) for item in plain.items
    ]

    write(tmp_path, [rows[0], ["0", "data/Test/anger/image0000000.jpg", "sad", "1"], *rows[2:]])
    assert ("data/Test/anger/image0000000.jpg", "image_missing") in [
        (one.path, one.reason) for one in scanned(tmp_path).rejects
    ]


def no_header(rows: list[list[str]]) -> list[list[str]]:
    return rows[1:]


def strange_header(rows: list[list[str]]) -> list[list[str]]:
    return [["a", "b", "c", "d"], *rows[1:]]


def no_label_column(rows: list[list[str]]) -> list[list[str]]:
    return [["", "pth", "kind", "relFCs"], *rows[1:]]


def two_label_columns(rows: list[list[str]]) -> list[list[str]]:
    return [["", "pth", "label", "Label"], *rows[1:]]


def one_column_a_class(rows: list[list[str]]) -> list[list[str]]:
    return [
        ["image", *KAGGLE_NAMES],
        *([row[1], *("1" if row[2] == name else "0" for name in KAGGLE_NAMES)] for row in rows[1:]),
    ]


def colons(rows: list[list[str]]) -> list[list[str]]:
    return [[":".join(row)] for row in rows]


SPELLINGS = [no_header, strange_header, no_label_column, two_label_columns, one_column_a_class]


@pytest.mark.parametrize("spell", SPELLINGS)
@pytest.mark.parametrize("name", ["labels.csv", "faces.txt", "train.tsv"])
def test_a_table_that_looks_like_labels_and_cannot_be_understood_stops(
    tmp_path: Path, spell: Callable[..., Any], name: str
) -> None:
    """Whatever it says, the folders may say otherwise."""
    write(tmp_path, spell(relabelled(tmp_path)), name=name)

    for source in ("affectnet", "folder"):
        with pytest.raises(LayoutError, match=rf"{name}: (no )?header.* found, expected a table with a header"):
            scanned(tmp_path, source)


@pytest.mark.parametrize("name", ["labels.csv", "labels.txt", "emotion_labels.xlsx", "annotations.tsv"])
def test_a_label_file_that_is_no_text_stops(tmp_path: Path, name: str) -> None:
    """A damaged table, or one in a program's own format, still says that folders are not all there is."""
    kaggle_a_tree(tmp_path)
    (tmp_path / "labels.csv").unlink()
    put(tmp_path / name, bytes(range(256)) * 16)

    with pytest.raises(LayoutError, match=rf"{name}: .* found, expected a table"):
        scanned(tmp_path)


def test_files_that_list_no_labels_do_not_stop_class_folders(tmp_path: Path) -> None:
    """Names of classes, figures of a training run, a list of files, what a person looks like."""
    kaggle_a_tree(tmp_path)
    (tmp_path / "labels.csv").unlink()
    put(tmp_path / "labels.txt", "anger\ncontempt\n")
    put(tmp_path / "classes.csv", "id,name\n0,anger\n1,sad\n")
    put(tmp_path / "results.csv", "epoch,loss,accuracy\n1,0.5,0.7\n")
    put(tmp_path / "files.txt", "anger/image0000000.jpg\n")
    put(tmp_path / "people.csv", "image,age\nanger/image0000000.jpg,34\nanger/image0000008.jpg,51\n")
    put(tmp_path / "affectnet_train.csv", ",phase,img_path,label\n0,train,anger/image0000000.jpg,3\n")
    put(tmp_path / "README.txt", "Pictures, such as anger/image0000000.jpg, of sad people.\n")

    found = scanned(tmp_path)

    assert (found.layout, len(found.items)) == ("AN-folders", 16)
    assert any("Ignored derived files, which are no labels: affectnet_train.csv" in note for note in found.notes)


@pytest.mark.parametrize("paths", ["{pth}", "{name}"])
def test_a_table_beside_classes_of_ones_own_must_agree_with_them(tmp_path: Path, paths: str) -> None:
    """Class folders say the same as the table, or one of them is wrong."""
    lines = ["image;label"]
    for i in range(8):
        pth, name = f"{'smile' if i % 2 else 'frown'}/{i}.jpg", f"{i}.jpg"
        put(tmp_path / pth)
        lines.append(f"{paths.format(pth=pth, name=name)};{'Smile' if i % 2 else 'frown'}")
    put(tmp_path / "labels.csv", "\n".join(lines))

    assert "labels.csv gives every image the class of its folder." in scanned(tmp_path, "folder").notes

    put(tmp_path / "labels.csv", "\n".join([*lines[:-1], lines[-1].replace("Smile", "frown")]))
    with pytest.raises(
        LayoutError, match=r"labels.csv: labels of 1 in 8 rows found that are not the class of the image's folder"
    ):
        scanned(tmp_path, "folder")


def test_a_kaggle_table_without_its_header_does_not_leave_the_folders(tmp_path: Path) -> None:
    """RAF-DB's Kaggle form without one is class folders like others."""
    raf_kaggle_tree(tmp_path)
    for path in (*tmp_path.glob("*.csv"), *(tmp_path / "DATASET").iterdir()):
        (
            path.rename(tmp_path / path.name)
            if path.is_dir()
            else path.write_text("\n".join(path.read_text().splitlines()[1:]))
        )

    with pytest.raises(
        LayoutError, match=r"test_labels.csv: header test_0001_aligned.jpg, 2 found, expected a table with a header"
    ):
        scanned(tmp_path, "rafdb", labels="rafdb")


def test_a_table_beside_labels_of_their_own_is_told(tmp_path: Path) -> None:
    """The release's own files are right; whoever made the table should know that it changes nothing."""
    npy_tree(tmp_path)
    put(tmp_path / "new_labels.csv", "image,label\n0.jpg,3\n")

    assert "Ignored tables that AN-npy does not read: new_labels.csv." in scanned(tmp_path).notes


def test_a_zero_byte_far_down_stops_and_names_its_line(tmp_path: Path) -> None:
    """Zeros are what a crash leaves at the end of a file."""
    put(tmp_path / "t.csv", b"image,label\n" * 400_000 + b"x\0y\n")

    with pytest.raises(SourceError, match=r"t.csv: line 400,001: a zero byte found, expected a table as text"):
        list(iter_rows(Store(str(tmp_path)), "t.csv"))


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_rows_across_block_ends_are_whole_in_every_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, newline: str, encoding: str
) -> None:
    """The file is read in blocks, and a line end or a letter may be cut by one."""
    rows = [["image", "label"], *([f"{'ä' * (i % 5)}{i}.jpg", str(i)] for i in range(500))]
    put(tmp_path / "t.csv", newline.join(map(",".join, rows)).encode(encoding))

    for num_bytes in (31, 64, 1 << 22):
        monkeypatch.setattr("ferdata.sources.files.text_tables._BLOCK_BYTES", num_bytes)
        assert list(iter_rows(Store(str(tmp_path)), "t.csv")) == list(enumerate(rows, start=1))


@pytest.mark.parametrize(
    "data",
    [b"", b"\n\n", b"\xff\xfe", b"\xff", b'"', b"\0", b"a" * (1 << 17), "\ud800".encode("utf-16", "surrogatepass")],
)
def test_no_file_is_too_strange_for_a_look_at_its_head(tmp_path: Path, data: bytes) -> None:
    """Detection looks at every table, whatever it is."""
    put(tmp_path / "t.csv", data)

    assert sum(map(len, read_head(Store(str(tmp_path)), "t.csv").rows)) <= 1
