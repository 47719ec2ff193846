"""A folder of one data set that is taken for another, or for class folders: which one it looks like is always said."""

from pathlib import Path

import pytest
from trees_rafdb import put

from ferdata.errors import LayoutError
from ferdata.sources import ScanOptions, scan_source
from ferdata.sources.layout import SOURCES
from ferdata.synth import RECIPES, write_synthetic


@pytest.mark.parametrize(
    "name",
    [name for name, each in RECIPES.items() if each.layout.source != "table"],
)
def test_class_folders_that_are_a_data_set_are_called_so(tmp_path: Path, name: str) -> None:
    """Whoever types ``shard folder`` for it gets its name and its source, as an error or in a note."""
    source = RECIPES[name].layout.source
    write_synthetic(source, str(tmp_path), count=14, size=48, layout=name, num_workers=1)

    try:
        told = " ".join(scan_source("folder", str(tmp_path), ScanOptions(num_workers=1)).notes)
    except LayoutError as error:
        told = str(error)

    assert SOURCES[source] in told
    assert f"source {source!r}" in told


def test_images_without_labels_lead_to_a_table(tmp_path: Path) -> None:
    """With the table's name if one lies there, or to what such a table is."""
    put(tmp_path / "pics/a.jpg", b"\xff\xd8\xff")
    with pytest.raises(LayoutError, match="read a table of them with source 'table'"):
        scan_source("folder", str(tmp_path), ScanOptions())

    put(tmp_path / "who.csv", "image,emotion\npics/a.jpg,bored\n")
    with pytest.raises(LayoutError, match=r"read who.csv with source 'table' and table=who.csv"):
        scan_source("folder", str(tmp_path), ScanOptions())
    assert [item.path for item in scan_source("table", str(tmp_path), ScanOptions(table="who.csv")).items] == [
        "pics/a.jpg"
    ]
