"""Pieces of the write half: choosing, leaks, the pool, records, options."""

import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ingest_sources import SMALL_SHARD_BYTES, folder_scan, jpeg, options, picture, samples, write_affectnet

from ferdata.errors import IngestError, OptionError, SourceError, WorkerError
from ferdata.format import channel_moments
from ferdata.images.transform import Transformed
from ferdata.ingest import IngestProgress, IngestSummary, ingest, ingest_scan
from ferdata.ingest.identity import scan_hash
from ferdata.ingest.select import selection
from ferdata.ingest.select.leaks import shared_between_splits
from ferdata.ingest.write.record import longest_record, make_record
from ferdata.parallel import run_tasks
from ferdata.sources.items import ItemTable
from ferdata.sources.scan import Scan, ScanBuilder

REPOSITORY = Path(__file__).parents[2]


finite = st.floats(-1e7, 1e7, allow_nan=False)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny images would all fit one shard; workers are forked, so they see this too."""
    monkeypatch.setattr(selection, "SMALL_SHARD_BYTES", SMALL_SHARD_BYTES)


@pytest.fixture(scope="module")
def affectnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_affectnet(tmp_path_factory.mktemp("source") / "affectnet")


def leaky_scan(root: Path) -> Scan:
    """24 train and 12 val images; val 3 and 7 are copies of train 3 and (twice) train 7; train 8 and 9 are twins."""
    files = {f"train/{number}.jpg": jpeg(number) for number in range(24)} | {
        f"val/{number}.jpg": jpeg(500 + number) for number in range(12)
    }
    files |= {"val/3.jpg": jpeg(3), "val/7.jpg": jpeg(7), "train/17.jpg": jpeg(7), "train/9.jpg": jpeg(8)}
    return folder_scan(root, files, splits=lambda number: "train" if number < 24 else "val")


def test_leaks_are_reported_and_on_request_left_out_of_train(tmp_path: Path) -> None:
    """Identical bytes in train and val; twins inside train are no leak."""
    scan = leaky_scan(tmp_path / "src")

    kept = ingest_scan(scan, options(tmp_path / "src", tmp_path / "kept", source="folder"))
    dropped = ingest_scan(
        scan, options(tmp_path / "src", tmp_path / "dropped", source="folder", drop_leaks=True, num_workers=2)
    )

    assert kept.leaked_images == 2 and kept.accepted == 36
    assert {tuple(name.split("/")[0] for name in pair) for pair in kept.leak_examples} == {("train", "val")}
    assert any(
        "2 images are, byte for byte, in more than one split" in note and "drop_leaks=True" in note
        for note in kept.notes
    )
    assert dropped.leaked_images == 0 and dropped.accepted == 33 and dropped.skipped == {"leak": 3}
    gone = set(samples(tmp_path / "kept")) - set(samples(tmp_path / "dropped"))
    assert gone == {"item_3", "item_7", "item_17"}


def test_the_same_bytes_under_two_labels_of_one_split_are_reported(tmp_path: Path) -> None:
    """One of the two labels is wrong; copies under one label, and in two splits, are something else."""
    for number, name in enumerate(("angry/0", "happy/0", "happy/1", "sad/0", "sad/1", "angry/1")):
        for split in ("train", "val"):
            path = tmp_path / f"src/{split}/{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(
                jpeg({"train/happy/0": 0, "train/sad/1": 3}.get(f"{split}/{name}", number + 10 * (split == "val")))
            )

    summary = ingest(options(tmp_path / "src", tmp_path / "out", source="folder"))

    found = [note for note in summary.notes if "different labels" in note]
    assert [note.split(";")[0] for note in found] == [
        "Warning: 1 image is, byte for byte, in one split under different labels "
        "(such as train/train_happy_0 = train/train_angry_0)"
    ]
    assert summary.leaked_images == 0


@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 2)), max_size=40),
)
@settings(max_examples=100, deadline=None)
def test_sharing_between_splits_is_what_a_dictionary_says(rows: list[tuple[int, int, int]]) -> None:
    """The sorted search against the obvious one."""
    codes, first, second = (
        (np.array(column, np.int64) for column in zip(*rows, strict=True)) if rows else (np.zeros(0, np.int64),) * 3
    )
    seen: dict[tuple[int, int], set[int]] = {}
    for code, *identity in rows:
        seen.setdefault(tuple(identity), set()).add(code)

    assert shared_between_splits(codes, first, second).tolist() == [len(seen[a, b]) > 1 for _, a, b in rows]


def test_the_jpeg_codec_refuses_images_that_the_transform_changes(tmp_path: Path) -> None:
    """Before anything is written, with every reason and its count."""
    png = io.BytesIO()
    picture(1).save(png, "PNG")
    scan = folder_scan(
        tmp_path / "src", {"a.jpg": jpeg(1), "b.jpg": jpeg(2, 40), "c.png": png.getvalue(), "d.jpg": b"broken"}
    )

    with pytest.raises(
        IngestError,
        match=r"of 4 images looked at, 1 (not a JPEG|resized or cropped), 1 .*, expected JPEGs of 24 x 24 pixels",
    ):
        ingest_scan(scan, options(tmp_path / "src", tmp_path / "out", source="folder", codec="jpeg"))


def test_sums_of_pixels_are_exact_at_every_size() -> None:
    """White images have the largest sums; they must not wrap around."""
    for side in (1, 7, 256, 257, 300):
        pixels = np.full((3, side, side), 255, np.uint8)
        pixels[1] = np.arange(side * side).reshape(side, side) % 256
        exact = pixels.astype(object)

        sums, squares = channel_moments(pixels)

        assert sums.tolist() == [exact[channel].sum() for channel in range(3)]
        assert squares.tolist() == [(exact[channel] ** 2).sum() for channel in range(3)]


def test_a_summary_that_loses_a_row_is_an_error() -> None:
    """Arithmetic is checked, not hoped for."""
    counts = {
        "skipped": {},
        "rejected": {"x": 1},
        "repairs": {},
        "class_counts": {"train": {"a": 3}},
        "bytes_in": 0,
        "bytes_out": 0,
    }

    with pytest.raises(
        IngestError, match=r"o: 3 accepted, 0 skipped and 1 rejected of 5 rows, expected each row exactly once"
    ):
        IngestSummary(
            out="o",
            source="folder",
            layout="folder",
            codec="zstd",
            rows=5,
            accepted=3,
            num_shards=1,
            leaked_images=0,
            **counts,
        )


def item_columns(count: int = 50) -> list[dict[str, object]]:
    return [
        {
            "key": f"k{n}",
            "path": f"p{n}.jpg",
            "split": "train" if n % 3 else "val",
            "label": n % 4,
            "source_label": str(n % 4),
            "valence": n / 100,
        }
        | ({"box": [n, n, 5, 5], "landmarks": [n, n + 0.5]} if n % 2 else {"extra": {"n": n}})
        for n in range(count)
    ]


def scan_of(rows: list[dict[str, object]]) -> Scan:
    builder = ScanBuilder()
    for row in rows:
        builder.accept(**row)
    return builder.build(source="folder", layout="folder", root="r", classes=("a", "b", "c", "d"))


def test_progress_ends_where_the_summary_does(affectnet: Path, tmp_path: Path) -> None:
    """Phases in order, counts that only grow."""
    seen: list[IngestProgress] = []

    summary = ingest(options(affectnet, tmp_path / "out", num_workers=2), progress=seen.append)

    assert list(dict.fromkeys(step.phase for step in seen)) == ["scan", "write", "finish"]
    written = [step for step in seen if step.phase == "write"]
    assert [step.done for step in written] == sorted(step.done for step in written)
    assert (written[-1].done, written[-1].total, written[-1].accepted) == (72, 72, 72)
    assert written[-1].bytes_in == summary.bytes_in and written[-1].images_per_second > 0


def _echo(task: int, beat: Callable[[int, int, int], None]) -> int:
    beat(1, 0, task)
    return task


def test_the_pool_takes_tasks_only_as_it_needs_them() -> None:
    """A million items must not be sliced at once."""
    ahead: list[int] = []
    started = iter(range(60))
    finished: list[int] = []

    def tasks() -> Iterator[int]:
        for number in started:
            ahead.append(number - len(finished))
            yield number

    run_tasks(_echo, tasks(), num_workers=2, on_result=finished.append, on_tick=lambda *sums: None, where="here")

    assert sorted(finished) == list(range(60)) and max(ahead) <= 2 * 2


def _exit(task: int, beat: Callable[[int, int, int], None]) -> int:
    os._exit(3)


def test_a_worker_that_dies_does_not_hang_the_pool() -> None:
    """Whatever took it."""
    with pytest.raises(WorkerError, match=r"^here: a worker process was killed, expected it to live"):
        run_tasks(_exit, range(5), num_workers=2, on_result=print, on_tick=lambda *sums: None, where="here")


@given(
    path=st.text(max_size=40),
    source_label=st.text(max_size=5),
    valence=st.none() | st.floats(-1, 1),
    box=st.none() | st.tuples(finite, finite, st.floats(-(2.0**90), 2.0**90, width=32), finite),
    landmarks=st.none()
    | st.lists(st.floats(-20_000, 20_000, width=32) | st.just(float("nan")), max_size=8).filter(
        lambda v: len(v) % 2 == 0
    ),
    extra=st.none()
    | st.dictionaries(
        st.text(max_size=5), st.text(max_size=5) | st.floats(allow_nan=False) | st.lists(st.integers()), max_size=4
    ),
)
@settings(max_examples=200, deadline=None)
def test_no_record_is_longer_than_the_bound(
    path: str, source_label: str, valence: object, box: object, landmarks: object, extra: object
) -> None:
    """Every json member has one size, fixed before the first image is read; and any JSON parser can read it."""
    builder = ScanBuilder()
    path, source_label = (text.encode("utf-8", "replace").decode() for text in (path, source_label))
    builder.accept(
        key="a",
        path=path,
        split="train",
        label=0,
        source_label=source_label,
        valence=valence,
        arousal=valence,
        box=box,
        landmarks=landmarks,
        extra=extra,
    )
    items = builder.build(source="folder", layout="folder", root="r", classes=("a",)).items
    result = Transformed(
        pixels=np.zeros((3, 1, 1), np.uint8),
        box=items[0].box,
        landmarks=None if landmarks is None else np.array(landmarks, np.float64),
        source_size=(99_999, 99_999),
        repairs=(),
        unchanged=True,
    )

    text = json.dumps(make_record(items[0], result), separators=(",", ":"), sort_keys=True)

    assert len(text) <= longest_record(items)
    given = json.loads(text)["landmarks"]
    assert given is None or all(math.isfinite(value) for value in given)


def test_the_scan_hash_sees_every_value_and_nothing_else() -> None:
    """Neither how the table is cut nor where the tree lies."""
    base = scan_of(item_columns())
    table = base.items.table
    cut = replace(base, items=ItemTable(pa.concat_tables([table.slice(0, 7), table.slice(7)])), root="elsewhere")
    changes = [
        ("path", "other.jpg"), ("split", "test"), ("label", 1), ("source_label", "x"), ("valence", None),
        ("box", [1, 2, 3, 4.5]), ("box", None), ("landmarks", [1, 1.5]), ("extra", {"n": 1}), ("key", "z"),
    ]  # fmt: skip
    hashes = {scan_hash(base)}
    for name, value in changes:
        rows = item_columns()
        rows[31][name] = value
        hashes.add(scan_hash(scan_of(rows)))

    assert scan_hash(cut) == scan_hash(base)
    assert len(hashes) == 1 + len(changes)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"num_workers": 0}, "workers: 0 found, expected at least 1"),
        ({"limit": 0}, "limit: 0 found, expected at least 1"),
        ({"fold": 0}, "fold: 0 found, expected at least 1"),
        ({"seed": -1}, "seed: -1 found, expected at least 0"),
        (
            {"val": 1.5},
            r"val: 1.5 found, expected a share of train below 1 \(0.1\), or how many images of each class \(500\)",
        ),
        ({"test": 0}, "test: 0 found, expected a share"),
        ({"val": 0.5, "test": 0.5}, "val and test: 0.5 and 0.5 of train found, expected some of it to be left"),
        ({"group_by": "person"}, "group_by: 'person' found, but no split is cut, expected val= or test= or folds="),
        ({"fold_split": "test"}, "fold_split: test found, but train is not divided, expected folds= with it"),
        ({"folds": 1, "fold": 1}, "folds: 1 found, expected at least 2"),
        ({"folds": 5}, "fold: none found, expected which of the 5 folds to cut off, from 1"),
        ({"folds": 5, "fold": 6}, "fold: 6 found, expected which of the 5 folds to cut off, from 1"),
        (
            {"folds": 5, "fold": 1, "val": 0.1},
            "val: 0.1 found, but the fold is the val split already; .*=test",
        ),
        ({"balanced": True}, "balanced: asked for, but nothing is drawn that it could balance"),
        ({"balanced": True, "folds": 5, "fold": 1}, "balanced: asked for, but nothing is drawn"),
        ({"move_splits": "val"}, "move_splits: 'val' found, expected pairs of a split of the source and train, val or"),
        ({"move_splits": "val:val"}, "move_splits: 'val:val' found"),
        ({"move_splits": "val:all"}, "move_splits: 'val:all' found"),
        ({"move_splits": "val:train,val:test"}, "move_splits: .* each split once"),
        ({"val": 0.1, "group_by": "(p"}, r"group_by: '\(p' is no regular expression"),
        ({"val": 0.1, "group_by": "(?:p)"}, "group_by: .* expected parentheses around the part of the path"),
        ({"size": 0}, "size: 0 found"),
        ({"codec": "gzip"}, "codec: 'gzip' found, expected one of"),
        ({"classes": 6}, "classes: 6 found, expected 8 or 7"),
        ({"crop": "face"}, "crop: 'face' found, expected box or none"),
    ],
)
def test_options_are_checked_when_they_are_made(change: dict[str, object], text: str) -> None:
    """Before a scan that takes minutes."""
    with pytest.raises(OptionError, match=text):
        options("src", "out", **change)


def test_two_items_with_one_key_are_an_error(tmp_path: Path) -> None:
    """One would overwrite the other when the tar is unpacked."""
    scan = scan_of([row | {"key": "same"} for row in item_columns(2)])

    with pytest.raises(SourceError, match="r: two items with one key found, expected each key once"):
        ingest_scan(scan, options("r", tmp_path / "out", source="folder"))


def test_converting_never_waits_for_torch() -> None:
    """Its import takes longer than a small ingest."""
    code = "import ferdata.ingest, sys; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
