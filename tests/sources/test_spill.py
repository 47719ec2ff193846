"""Scans whose rows wait on the disk: the same items, whatever is taken of them and in whatever order."""

import numpy as np
import pytest

from ferdata.sources import scan as scans
from ferdata.sources.scan import Scan, ScanBuilder


def scan_of(count: int) -> Scan:
    builder = ScanBuilder()
    for number in range(count):
        builder.accept(
            f"face-{number:03d}",
            f"images/{number}.jpg",
            "val" if number % 7 == 0 else "train",
            number % 3,
            f"word {number % 5}",
            valence=None if number % 4 else number / 100,
            box=(0.0, 1.0, 2.0, 3.0) if number % 2 else None,
            landmarks=[float(number)] * (number % 5) or None,
            person=f"p{number // 10}",
            soft_labels=[1.0, 0.0, 0.0] if number % 6 == 0 else None,
            extra={"n": number} if number % 3 else None,
        )
    return builder.build(source="folder", layout="drawn", root="/nowhere", classes=["a", "b", "c"])


def test_rows_that_wait_on_the_disk_are_those_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """An item with landmarks takes 700 bytes, so a large scan is not kept in memory; nothing else may change."""
    in_memory = scan_of(45)
    monkeypatch.setattr(scans, "_ROWS_AT_ONCE", 8)
    monkeypatch.setattr(scans, "_BATCHES_IN_MEMORY", 1)
    spilled = scan_of(45)

    assert spilled.items._spilled is not None and in_memory.items._spilled is None
    assert spilled.items.table.num_rows == 45 and spilled.items.table.column("key").num_chunks == 6
    assert [*spilled.items] == [*in_memory.items]
    assert spilled.items.splits() == in_memory.items.splits()
    assert spilled.items.labels().tolist() == in_memory.items.labels().tolist()
    for positions in ([], [3], [44, 0, 44, 7, 8], np.random.default_rng(0).permutation(45), range(16, 24)):
        taken = spilled.items.take(positions)
        assert [*taken] == [in_memory.items[place] for place in positions]
        assert taken.table.column("path").num_chunks <= 1
        rows = spilled.items.rows(positions, ["path", "box"])
        assert rows.column_names == ["path", "box"] and rows.column("path").to_pylist() == [one.path for one in taken]
