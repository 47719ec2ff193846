"""Tables as parquet files: of paths, or with the images inside, with classes of any kind."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trees_rafdb import jpeg_bytes, names_of, parquet_file, put, reasons

from ferdata.errors import LayoutError, StoreError
from ferdata.sources import Scan, ScanOptions, read_image, scan_source


def scanned(root: Path, **options: Any) -> Scan:
    return scan_source("table", str(root), ScanOptions(num_workers=1, **options))


def small(root: Path, columns: dict[str, Any]) -> Path:
    """Write ``a.jpg`` to ``d.jpg`` and a table of them, with these columns beside their paths."""
    for letter in "abcd":
        put(root / f"{letter}.jpg", b"x")
    pq.write_table(pa.table({"path": [f"{letter}.jpg" for letter in "abcd"]} | columns), root / "faces.parquet")
    return root


def test_a_parquet_table_of_paths_is_a_table(tmp_path: Path) -> None:
    """Pandas writes gaps as NaN and whole numbers beside them as fractions."""
    columns = {
        "path": ["a.jpg", "b.jpg", None, "d.jpg"],
        "emotion": pa.array(["sad", "joy", "sad", None]).dictionary_encode(),
        "subject": [3.0, float("nan"), 1.0, 1.0],
        "box": [[1.0, 1.0, 5.0, 5.0], None, None, None],
        "lighting": ["dark", None, "x", "x"],
        "score": [0.25, float("nan"), 1.0, 1.0],
    }

    found = scanned(small(tmp_path, columns))

    assert names_of(found) == ["Sad", "Happy"]
    assert [(item.person, item.box, item.extra) for item in found.items] == [
        ("3", (1, 1, 5, 5), {"lighting": "dark", "score": 0.25}),
        (None, None, None),
    ]
    assert [(reject.row, reject.reason) for reject in found.rejects] == [(2, "bad_row"), (3, "label_missing")]


def test_parquet_files_with_images_may_have_classes_of_their_own(tmp_path: Path) -> None:
    """The names that the ``datasets`` library stores count, whatever they are; so does the type of an image column."""
    for split, labels in (("train", [0, 1, 2, 0]), ("validation", [2, None])):
        parquet_file(tmp_path / f"data/{split}-00000-of-00001.parquet", labels, names=("bored", "anger", "joy"))
        path = tmp_path / f"data/{split}-00000-of-00001.parquet"
        table = pq.read_table(path)
        renamed = table.rename_columns(["picture" if name == "image" else name for name in table.column_names])
        pq.write_table(renamed.replace_schema_metadata(table.schema.metadata), path)

    found = scanned(tmp_path)

    assert (found.classes, found.items.splits()) == (("Happy", "Anger", "bored"), ["train", "val"])
    assert names_of(found) == ["bored", "Anger", "Happy", "bored", "Happy"]
    assert [item.source_label for item in found.items][:2] == ["bored", "anger"]
    assert read_image(found.root, found.items[3].path) == jpeg_bytes(3)
    assert reasons(found) == [("data/validation-00000-of-00001.parquet#1", "label_missing")]


def test_soft_labels_are_a_list_in_the_order_of_the_names(tmp_path: Path) -> None:
    """Of classes that are left out they are spread over the others; a list of another length is none."""
    votes = [[1.0, 1.0, 2.0], [0.0, 4.0, 0.0], [1.0], None]
    small(tmp_path, {"label": ["sad", "bored", "sad", "sad"], "votes": votes})

    with pytest.raises(LayoutError, match="a column of soft labels found, expected to know of which classes"):
        scanned(tmp_path, columns="soft_labels=votes")
    found = scanned(tmp_path, columns="soft_labels=votes", class_names=("bored", "contempt", "sad"), classes=7)

    assert (found.classes, found.repairs["soft_labels_invalid"]) == (("Sad", "bored"), 1)
    soft = [item.soft_labels and [round(share, 3) for share in item.soft_labels] for item in found.items]
    assert soft == [[0.667, 0.333], None, None, None]


def test_further_values_may_be_a_json_object(tmp_path: Path) -> None:
    """And what is none is kept as the text that it is."""
    texts = ['{"age": 3, "seen": [1, 2]}', "a note", '{"age": NaN}', None]

    found = scanned(small(tmp_path, {"label": ["sad"] * 4, "more": texts}), columns="extra=more")

    assert [item.extra for item in found.items] == [
        {"age": 3, "seen": [1, 2]}, {"extra": "a note"}, {"extra": '{"age": NaN}'}, None,
    ]  # fmt: skip


def test_what_is_no_table_stops(tmp_path: Path) -> None:
    """Lists of labels are another task, and half a file is none."""
    small(tmp_path, {"label": [["sad", "joy"]] * 4})
    with pytest.raises(LayoutError, match=r"label column 'label' of type list.* found, expected class numbers"):
        scanned(tmp_path)

    (tmp_path / "faces.parquet").write_bytes((tmp_path / "faces.parquet").read_bytes()[:-9])
    with pytest.raises(StoreError, match=r"faces.parquet: .*expected a parquet file"):
        scanned(tmp_path)
