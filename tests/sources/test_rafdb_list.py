"""RAF-DB's label list: every spelling that is one, and the ids that are not RAF-DB's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trees_rafdb import RAF_CLASSES, put, rafdb_tree

from ferdata.errors import LayoutError
from ferdata.sources import Scan, ScanOptions, scan_source

LIST = "EmoLabel/list_patition_label.txt"


def scanned(root: Path, **options: Any) -> Scan:
    return scan_source("rafdb", str(root), ScanOptions(**options))


def edit_list(root: Path, change: Callable[[str], str]) -> None:
    path = root / LIST
    path.write_bytes(change(path.read_bytes().decode()).encode())


@pytest.mark.parametrize("kind", ["basic", "compound"])
@pytest.mark.parametrize("extra", [0, 1])
def test_ids_out_of_the_set_stop(tmp_path: Path, kind: str, extra: int) -> None:
    """Id 0 is a 0-based list; an id above the last is the other set's. Both would shift or mix the classes."""
    rafdb_tree(tmp_path, kind=kind)
    bad = 0 if not extra else RAF_CLASSES[kind] + 1
    edit_list(tmp_path, lambda text: text.replace(" 2\n", f" {bad}\n", 3))

    with pytest.raises(
        LayoutError, match=rf"id {bad}, expected 1..{RAF_CLASSES[kind]} .*3 of 21 lines are not.*0-based"
    ):
        scanned(tmp_path)


def test_a_list_from_0_stops_however_few_its_zeros_are(tmp_path: Path) -> None:
    """Without the last id, 0 is the first class, and every other row means another class than it says."""
    rafdb_tree(tmp_path, train=70)
    edit_list(
        tmp_path,
        lambda text: "".join(
            f"{line.split()[0]} {0 if i == 1 else i % 5 + 1}\n" for i, line in enumerate(text.splitlines())
        ),
    )

    with pytest.raises(LayoutError, match="0-based"):
        scanned(tmp_path)


@pytest.mark.parametrize("kind", ["basic", "compound"])
def test_a_few_ids_out_of_the_set_are_rejected_rows(tmp_path: Path, kind: str) -> None:
    """Two typing errors in a list of 48 are no reason to refuse the other 46."""
    rafdb_tree(tmp_path, kind=kind, train=33, test=15)
    beyond = RAF_CLASSES[kind] + 1
    edit_list(tmp_path, lambda text: text.replace(" 2\n", " 0\n", 1).replace(" 4\n", f" {beyond}\n", 1))

    found = scanned(tmp_path)

    assert [(reject.reason, reject.detail) for reject in found.rejects] == [
        ("label_invalid", "label '0'"),
        ("label_invalid", f"label '{beyond}'"),
    ]
    assert len(found.items) == 46


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "line", ["{} {}", "{}  {} ", "{}\t{}", "{},{}", "{};{}", "{}|{}", '"{}","{}"', "{1} {0}", "{1},{0}"]
)
def test_a_list_in_any_spelling_is_the_same_list(tmp_path: Path, line: str, encoding: str, end: str) -> None:
    """Spreadsheets save lists in spellings of their own."""
    rows = rafdb_tree(tmp_path)
    plain = scanned(tmp_path)
    text = end.join(line.format(f"{stem}.jpg", raf_id) for stem, raf_id in rows)
    (tmp_path / LIST).write_bytes(text.encode(encoding))

    found = scanned(tmp_path)

    assert found.rejects == []
    assert found.items.table.equals(plain.items.table)


def test_a_list_with_a_header_is_read_by_its_names(tmp_path: Path) -> None:
    """A first column of row numbers would else be taken for the labels."""
    rows = rafdb_tree(tmp_path)
    (tmp_path / LIST).unlink()
    text = ",label,image\n" + "".join(f"{i % 7 + 1},{raf_id},{stem}.jpg\n" for i, (stem, raf_id) in enumerate(rows))
    put(tmp_path / "EmoLabel/list_partition_label.csv", text)

    found = scanned(tmp_path)

    assert [item.source_label for item in found.items] == [str(raf_id) for _, raf_id in rows]
