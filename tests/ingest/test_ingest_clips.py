"""Sets of few people and of sequences, from a drawn tree in their own form to the table of samples."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import ferdata
from ferdata.errors import LayoutError, OptionError
from ferdata.labels import AFFECTNET_8
from ferdata.synth import RECIPES, SyntheticSummary, write_synthetic

SETS = ("JAFFE-names", "KDEF-names", "CK+-sequences", "CK+48", "Aff-Wild2-frames", "DFEW-clips")
COUNTS = {"Aff-Wild2-frames": 96, "DFEW-clips": 84, "KDEF-names": 35}


@pytest.fixture(scope="module", params=SETS)
def drawn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[SyntheticSummary, Path]:
    root = tmp_path_factory.mktemp("people")
    source = RECIPES[request.param].layout.source
    count = COUNTS.get(request.param, 42)
    return write_synthetic(source, str(root / "tree"), count=count, size=32, layout=request.param, num_workers=1), root


def rows_of(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(out / "samples.parquet").to_pylist()


def test_every_image_has_its_label_person_and_sequence(drawn: tuple[SyntheticSummary, Path]) -> None:
    """The drawn tree knows what it shows, so nothing may be lost or renamed on the way."""
    summary, root = drawn

    made = ferdata.shard(ferdata.IngestOptions(
        source=summary.source, src=str(root / "tree"), out=str(root / "out"), num_workers=1,
        transform=ferdata.TransformOptions(size=32),
    ))  # fmt: skip

    classes = json.loads((root / "out/index.json").read_text())["classes"]
    rows = rows_of(root / "out")
    assert made.layout == summary.layout and not made.rejected and len(rows) == summary.images
    assert classes == [name for name in AFFECTNET_8 if name in classes] + ["Other"] * ("Other" in classes)
    drawn_counts = {(split, name): n for split, of_class in summary.counts.items() for name, n in of_class.items() if n}
    assert Counter((row["split"], classes[row["label"]]) for row in rows) == drawn_counts
    has_people, has_sequences = summary.source in ("jaffe", "kdef", "ckplus"), summary.source not in ("jaffe", "kdef")
    assert all((row["person"] is not None) == has_people for row in rows)
    assert all((row["sequence"] is not None) == has_sequences for row in rows)
    if has_people:
        assert 2 <= len({row["person"] for row in rows}) < len(rows) / 2


def test_a_split_by_person_or_sequence_shares_none(drawn: tuple[SyntheticSummary, Path]) -> None:
    """Faces of one person, or neighbours of one film, in train and in val measure how well a network knows them."""
    summary, root = drawn
    by = "person" if summary.source in ("jaffe", "kdef", "ckplus") else "sequence"
    options = ferdata.IngestOptions(
        source=summary.source,
        src=str(root / "tree"),
        out=str(root / "split"),
        num_workers=1,
        val=0.5,
        group_by=by,
        transform=ferdata.TransformOptions(size=32),
    )
    if summary.source == "affwild2":
        with pytest.raises(OptionError, match="val: a val split found in"):
            ferdata.shard(options)
        return

    ferdata.shard(options)

    rows = rows_of(root / "split")
    groups = {split: {row[by] for row in rows if row["split"] == split} for split in ("train", "val")}
    assert groups["train"] and groups["val"] and groups["train"].isdisjoint(groups["val"])


def test_as_class_folders_each_is_called_by_its_name(drawn: tuple[SyntheticSummary, Path]) -> None:
    """Who does not know what a folder holds is told."""
    summary, root = drawn

    with pytest.raises(LayoutError, match=rf"found, which is .*; use source '{summary.source}'"):
        ferdata.shard(ferdata.IngestOptions(source="folder", src=str(root / "tree"), out=str(root / "folder")))


def test_faces_that_look_straight_ahead_are_chosen_by_their_angle(tmp_path: Path) -> None:
    """Most papers use these alone of KDEF."""
    write_synthetic("kdef", str(tmp_path / "tree"), count=70, size=32, num_workers=1)

    made = ferdata.shard(
        ferdata.IngestOptions(
            source="kdef",
            src=str(tmp_path / "tree"),
            out=str(tmp_path / "out"),
            num_workers=1,
            splits=ferdata.SplitOptions(where="angle == 'S'"),
            transform=ferdata.TransformOptions(size=32),
        )
    )

    assert made.skipped == {"where": 56}
    assert all(row["path"].endswith("S.JPG") for row in rows_of(tmp_path / "out"))
