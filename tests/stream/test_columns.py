"""Columns of a split too large to be read at once: the same values, of the row groups that hold the samples."""

import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from make_dataset import make_dataset
from webserver import serve

import ferdata
from ferdata.errors import ShardCorruptError
from ferdata.format import samples
from ferdata.stream import columns
from ferdata.stream.batch import SampleTable
from ferdata.stream.sets import open_split

WHOLE = {"batch_size": 46, "num_workers": 0, "fields": ("images", "labels", "keys")}
FIELDS = ("images", "labels", "valence", "keys", "source_label", "soft_labels", "source_xxh64", "indices", "mask")


@pytest.fixture
def small_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Write two data sets of several row groups."""
    monkeypatch.setattr(samples, "_GROUP_ROWS", 10)
    monkeypatch.setattr(samples, "_WHOLE_BYTES", 0)
    for name, count in (("a", 47), ("b", 23)):
        make_dataset(tmp_path / name, samples={"val": 3, "train": count, "test": 6}, samples_per_shard=5, size=4)
    return [str(tmp_path / name) for name in ("a", "b")]


def values_of(roots: list[str], fields: tuple[str, ...], rows: np.ndarray) -> dict[str, list[object]]:
    found = SampleTable(open_split(roots, "train"), fields).values(fields, rows, lambda _: [])
    return {
        name: np.nan_to_num(value.numpy(), nan=-7).tolist() if isinstance(value, torch.Tensor) else value
        for name, value in found.items()
    }


@pytest.mark.parametrize("kept_bytes", [0, 400, 1 << 20])
def test_columns_that_are_read_by_groups_are_those_that_are_read_at_once(
    small_groups: list[str], monkeypatch: pytest.MonkeyPatch, kept_bytes: int
) -> None:
    """Whichever groups are kept: splits begin and end within groups, and windows come from many of them."""
    rng, fields = np.random.default_rng(0), tuple(name for name in FIELDS if name != "images")
    windows = [rng.permutation(70)[:count] for count in (70, 1, 32, 5, 70)] + [
        np.array([-1, 69, -1]),
        np.array([46, 47]),
    ]
    at_once = [values_of(small_groups, fields, rows) for rows in windows]
    monkeypatch.setattr(columns, "WHOLE_ROWS", 22)
    monkeypatch.setattr(columns, "KEPT_BYTES", kept_bytes)
    table = SampleTable(open_split(small_groups, "train"), fields)

    assert [values_of(small_groups, fields, rows) for rows in windows] == at_once
    for rows in windows[:-2]:
        assert table.values(("labels",), rows, lambda _: [])["labels"].tolist() == table.labels()[rows].tolist()


def test_loaders_and_data_sets_read_by_groups(small_groups: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Order, weights, subsets and fields do not depend on how the table is read."""

    def everything() -> list[object]:
        found: list[object] = []
        for options in (
            {},
            {"sampling": "balanced"},
            {"where": "label == 1", "drop_last": False},
            {"mix": "largest", "sampling": "balanced"},
        ):
            with ferdata.Loader(small_groups, batch_size=8, num_workers=0, fields=FIELDS, **options) as loader:
                found.append([(batch.keys, batch.labels.tolist(), batch.indices.tolist()) for batch in loader])
                found.append((loader.num_samples, loader.class_counts(), len(loader)))
        data = ferdata.ShardDataset(small_groups, split="train")
        return [*found, data.targets, len(data), int(data[60][1])]

    at_once = everything()
    monkeypatch.setattr(columns, "WHOLE_ROWS", 0)
    monkeypatch.setattr(columns, "KEPT_BYTES", 30)
    assert everything() == at_once


def test_a_loader_reads_only_the_groups_of_its_samples(
    small_groups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rank of a thousand must not read the whole table, and must hear of damage in what it reads."""
    monkeypatch.setattr(columns, "WHOLE_ROWS", 0)
    path = Path(small_groups[0]) / "samples.parquet"
    data, label = bytearray(path.read_bytes()), pq.read_metadata(path).row_group(2).column(2)
    data[label.data_page_offset + 20] ^= 1
    path.write_bytes(data)

    with ferdata.Loader(small_groups[0], batch_size=4, num_workers=0, shuffle=False, window_samples=4) as loader:
        batches = iter(loader)
        assert next(batches).labels.tolist() == [1, 1, 2, 1]
        with pytest.raises(ShardCorruptError, match=r"samples\.parquet: the XXH64 of its bytes"):
            for _ in batches:
                pass


def test_groups_that_lie_behind_a_url_are_asked_for_together(
    small_groups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window's samples are in thirty groups: one request after the other would be seconds, and again each window."""
    monkeypatch.setattr(columns, "WHOLE_ROWS", 0)
    asked, late, changed = list[str](), list[str](), threading.Condition()

    def hold(path: str, part: str) -> None:
        with changed:
            asked.extend([part] if "parquet" in path else [])
            changed.notify_all()
            # the footer comes first, then something of each of the five groups
            if len(asked) > 1 and not changed.wait_for(lambda: len(asked) >= 1 + 5, 10):
                late.append(part)

    with serve(Path(small_groups[0])) as web, ferdata.Loader(small_groups[0], **WHOLE) as near:
        web.gate = hold
        with ferdata.Loader(web.url, **WHOLE) as far:
            for _ in range(2):
                for one, other in zip(far, near, strict=True):
                    assert one.labels.tolist() == other.labels.tolist() and one.keys == other.keys
    assert not late
