"""Sets of single pictures, from a drawn tree in their own form to shards: every image under its label, to the pixel."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import ferdata
from ferdata.labels import AFFECTNET_8
from ferdata.synth import RECIPES, SyntheticSummary, write_synthetic

SETS = (
    "FER-csv", "FER-icml", "FER-folders", "FERPlus-csv", "FERPlus-folders", "ExpW-faces", "CAER-S-folders",
    "SFEW-folders", "SFEW-aligned",
)  # fmt: skip
REJECTED = {"FERPlus-csv": "no_face", "SFEW-folders": "label_missing", "SFEW-aligned": "label_missing"}
"""What the one odd row or image of a tree becomes."""

Made = tuple[SyntheticSummary, Path, "ferdata.IngestSummary"]


@pytest.fixture(scope="module", params=SETS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("stills")
    source = RECIPES[request.param].layout.source
    summary = write_synthetic(source, str(root / "tree"), count=42, layout=request.param, num_workers=1, size=48)
    options = ferdata.IngestOptions(
        source=source, src=str(root / "tree"), out=str(root / "out"), num_workers=1,
        transform=ferdata.TransformOptions(size=48, crop="box" if source == "expw" else "none"),
    )  # fmt: skip
    return summary, root, ferdata.shard(options)


def rows_of(root: Path) -> tuple[list[str], list[dict[str, Any]]]:
    classes = json.loads((root / "out/index.json").read_text())["classes"]
    return classes, pq.read_table(root / "out/samples.parquet").to_pylist()


def test_every_image_is_stored_under_its_label(made: Made) -> None:
    """The drawn tree knows what it shows; what is no emotion is skipped, and the one odd row is rejected."""
    summary, root, told = made

    classes, rows = rows_of(root)

    drawn = {
        (split, name): n for split, of in summary.counts.items() for name, n in of.items() if n and name in classes
    }
    assert Counter((row["split"], classes[row["label"]]) for row in rows) == drawn
    assert classes == [name for name in AFFECTNET_8 if name in classes]
    assert told.rejected == ({REJECTED[summary.layout]: 1} if summary.layout in REJECTED else {})
    assert sum(told.skipped.values()) == summary.images - len(rows)


def test_a_row_of_pixels_is_stored_as_it_is(made: Made) -> None:
    """48 x 48 grey values pass through a PGM file, a decoder and a codec; none of them may change one."""
    summary, root, _ = made
    if summary.source not in ("fer2013", "ferplus") or "folders" in summary.layout:
        pytest.skip("images are files")
    (path,) = {row["path"].split("#")[0] for row in rows_of(root)[1]}
    with open(root / "tree" / path, newline="") as file:
        rows = [row.get("pixels") or row[" pixels"] for row in csv.DictReader(file)]

    for split in summary.counts:
        data = ferdata.ShardDataset(root / "out", split=split, fields=("images", "path"))
        for number in range(len(data)):
            images, place = data[number]
            expected = np.array(rows[int(place.split("#")[1])].split(), np.uint8).reshape(48, 48)
            np.testing.assert_array_equal(images.numpy(), np.broadcast_to(expected, (3, 48, 48)))


def test_votes_become_soft_labels_of_the_table(made: Made) -> None:
    """They stand in the order of the classes, beside the label that the rule gives."""
    summary, root, _ = made
    classes, rows = rows_of(root)

    soft = [row["soft_labels"] for row in rows]

    assert all((values is not None) == (summary.source == "ferplus") for values in soft)
    for row, values in zip(rows, soft, strict=True):
        if values is not None:
            assert len(values) == len(classes) and sum(values) == pytest.approx(1)
            assert values[row["label"]] == max(values) > 0.5


def test_images_that_are_enlarged_are_said_to_be(tmp_path: Path) -> None:
    """Rows of 48 px at the default size take 22 times the memory; at their own size there is nothing to say."""
    write_synthetic("fer2013", str(tmp_path / "tree"), count=14, num_workers=1)

    notes = {}
    for size in (48, 224):
        options = ferdata.IngestOptions(
            source="fer2013", src=str(tmp_path / "tree"), out=str(tmp_path / str(size)), size=size, num_workers=1
        )
        notes[size] = [note for note in ferdata.shard(options).notes if "have 48 x 48 pixels" in note]

    assert not notes[48] and "size=224 makes them take 22 times the memory" in notes[224][0]
