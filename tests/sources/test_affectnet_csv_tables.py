"""AffectNet's own tables as spreadsheets and scripts rewrite them: columns in any order, rows of any kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trees import csv_path, csv_row, csv_text, csv_tree, points, score

from ferdata.errors import LayoutError, SourceError
from ferdata.sources import Scan, ScanOptions, scan_source


def scanned(root: Path, source: str = "affectnet", **options: Any) -> Scan:
    return scan_source(source, str(root), ScanOptions(num_workers=1, **options))


HEADER = [
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
]


def ordered(header: list[str], *, count: int = 22) -> list[list[str]]:
    return [
        header,
        *([dict(zip(HEADER, csv_row(i), strict=True)).get(name, "9") for name in header] for i in range(count)),
    ]


@pytest.mark.parametrize(
    "header",
    [
        HEADER[::-1],
        [*HEADER[:7], "arousal", "valence"],
        [HEADER[0], "face_y", "face_x", "face_height", "face_width", *HEADER[5:]],
        ["", *HEADER],
        ["number", *HEADER[::-1], "age"],
    ],
)
@pytest.mark.parametrize("change", [str, str.upper, lambda name: f" {name.replace('_', ' ')}"])
def test_affectnet_columns_are_read_by_name(tmp_path: Path, header: list[str], change: Callable[[str], str]) -> None:
    """By position, valence and arousal would change places, and boxes would turn, without a word."""
    csv_tree(tmp_path)
    plain = scanned(tmp_path, crop="box")
    rows = ordered(header)
    (tmp_path / "training.csv").write_text(csv_text([list(map(change, rows[0])), *rows[1:]], header=False))

    found = scanned(tmp_path, crop="box")

    assert found.rejects == []
    assert found.items.table.equals(plain.items.table)


def test_affectnet_landmarks_in_136_columns_are_found_by_the_others(tmp_path: Path) -> None:
    """They have no names that all copies share."""
    csv_tree(tmp_path)
    plain = scanned(tmp_path)
    rows = [[*row[6:], *row[5].split(";"), *row[:5]] for row in map(csv_row, range(22))]
    header = [*HEADER[6:], *(f"p{i}" for i in range(136)), *HEADER[:5]]
    (tmp_path / "training.csv").write_text(csv_text([header, *rows], header=False))

    assert scanned(tmp_path).items.table.equals(plain.items.table)


@pytest.mark.parametrize(
    ("header", "match"),
    [
        ([name for name in HEADER if name != "valence"], "with no column valence"),
        ([*HEADER, "valence"], "with 2 columns valence"),
        ([*HEADER[:1], "face_x", "face_x", *HEADER[3:]], "with 2 columns face_x, no column face_y"),
        ([name for name in HEADER if name != "facial_landmarks"], "with no columns facial_landmarks"),
        ([name for name in HEADER if name != "expression"], "with no column expression"),
        (["which", *HEADER[1:]], "with no column subDirectory_filePath"),
    ],
)
def test_an_affectnet_header_that_misses_a_column_or_doubles_one_stops(
    tmp_path: Path, header: list[str], match: str
) -> None:
    """To guess which one is meant would be to guess labels."""
    csv_tree(tmp_path)
    (tmp_path / "training.csv").write_text(csv_text(ordered(header), header=False))

    with pytest.raises(LayoutError, match=rf"training.csv: header .* found, .*{match}"):
        scanned(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "latin-1"])
@pytest.mark.parametrize("mark", [";", "\t", "|"])
@pytest.mark.parametrize("has_header", [True, False])
def test_affectnet_tables_in_any_spelling_give_the_same_items(
    tmp_path: Path, encoding: str, mark: str, has_header: bool
) -> None:
    """Landmarks are parted by semicolons too, so that a spreadsheet with semicolons quotes them."""
    csv_tree(tmp_path)
    plain = scanned(tmp_path)
    rows = [HEADER] * has_header + [[f'"{cell}"' if mark in cell else cell for cell in csv_row(i)] for i in range(22)]
    (tmp_path / "training.csv").write_bytes("".join(mark.join(row) + "\r\n" for row in rows).encode(encoding))

    assert scanned(tmp_path).items.table.equals(plain.items.table)


def test_rows_of_another_width_than_their_header_are_bad_rows(tmp_path: Path) -> None:
    """Taken by position they would be something else."""
    csv_tree(tmp_path)
    rows = ordered(["number", *HEADER])
    rows[3] = rows[3][1:]
    (tmp_path / "training.csv").write_text(csv_text(rows, header=False))

    found = scanned(tmp_path)

    assert [(reject.reason, reject.row, reject.detail) for reject in found.rejects][:1] == [
        ("bad_row", 4, "9 columns, expected 10 as in the header")
    ]


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 5000, bytes(range(256)) * 99, b"nothing,of,the,kind\n1,2,3,4\n", b"x" * (3 << 20)]
)
def test_an_official_table_that_cannot_be_understood_is_not_left_out(tmp_path: Path, data: bytes) -> None:
    """The other split alone would pass for the whole data set."""
    csv_tree(tmp_path)
    (tmp_path / "validation.csv").write_bytes(data)

    with pytest.raises(LayoutError, match=r"validation.csv: no row of AffectNet's release found"):
        scanned(tmp_path)


@pytest.mark.parametrize(
    ("tail", "match"),
    [
        (b"a/b.jpg," + b"x" * (3 << 20), "line 24: more than 1,048,576 bytes found"),
        (b"x" * (9 << 20) + b"\n", "line 24: more than 1,048,576 bytes found"),
        (b"\0" * 4096, "no row of AffectNet's release"),
        (b'1/a.jpg,"' + b"1;\n" * 99_999, "field larger than field limit"),
        (b"," * 1_000_000, None),
    ],
)
def test_a_line_that_is_no_row_stops_soon_and_by_name(tmp_path: Path, tail: bytes, match: str | None) -> None:
    """A gigabyte of zeros after a crash took minutes, and its memory."""
    csv_tree(tmp_path)
    with (tmp_path / "training.csv").open("ab") as file:
        file.write(tail)

    if match is None:
        assert [(reject.reason, reject.detail[:17]) for reject in scanned(tmp_path).rejects] == [
            ("bad_row", "1000001 columns, ")
        ]
    else:
        with pytest.raises((SourceError, LayoutError), match=rf"training.csv: .*{match}"):
            scanned(tmp_path)


def test_values_are_those_of_the_columns(tmp_path: Path) -> None:
    """A formula of the index shows which column went where."""
    csv_tree(tmp_path)
    (tmp_path / "training.csv").write_text(csv_text(ordered(HEADER[::-1]), header=False))

    item = scanned(tmp_path).items[5]

    assert (item.path.endswith(csv_path(5)), item.valence, item.arousal) == (True, score(5), -score(5))
    assert (item.box, item.landmarks) == ((15, 25, 105, 115), points(5))
