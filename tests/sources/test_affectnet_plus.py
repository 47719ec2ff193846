"""AffectNet+: every outcome that the layout specification names."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from trees import (
    keys,
    plus_document,
    plus_tree,
    points,
    reasons,
    score,
)
from trees_rafdb import put

from ferdata.labels import AFFECTNET_8
from ferdata.sources import Scan, ScanOptions, scan_source


def scanned(root: Path, **options: Any) -> Scan:
    return scan_source("affectnet", str(root), ScanOptions(num_workers=1, **options))


def test_plus_items_hold_what_the_documents_say(tmp_path: Path) -> None:
    """Scores and landmarks are under meta-data; the rest is kept beside them."""
    plus_tree(tmp_path)

    found = scanned(tmp_path)

    assert (found.layout, found.classes, found.rejects, found.repairs) == ("AN-plus", AFFECTNET_8, [], {})
    assert found.skipped == {"not_emotion": 9}
    expected = [(split, i) for split, count in (("train", 22), ("val", 11)) for i in range(count) if i % 11 < 8]
    assert keys(found) == [f"{split}_{i}" for split, i in expected]
    for item, (split, i) in zip(found.items, expected, strict=True):
        folder = {"train": "train_set", "val": "validation_set"}[split]
        document = plus_document(i)
        assert item.path == f"human_annotated/{folder}/images/{i}.jpg"
        assert (item.label, item.source_label, item.valence, item.arousal) == (i % 11, str(i % 11), score(i), -score(i))
        assert item.landmarks == points(i)
        assert item.extra == {
            **{name: document["meta-data"][name] for name in ("gender", "race", "age", "pose")},
            "subset": document["subset"],
        }
        assert item.soft_labels == pytest.approx([(i + k) % 8 / 28 for k in range(8)])


@pytest.mark.parametrize("soft", [[0.5] * 7, "anger", {"0": 1}, [-1.0] + [0.25] * 7, [math.nan] * 8, [[1.0]] * 8])
def test_plus_soft_labels_that_are_none_are_counted(tmp_path: Path, soft: Any) -> None:
    """A loss would take them as they are; without Contempt the others' shares are of what is left."""
    plus_tree(tmp_path)
    path = tmp_path / "human_annotated/train_set/annotations/1.json"
    path.write_text(json.dumps(plus_document(1, soft_label=soft)))

    found = scanned(tmp_path, classes=7)

    assert (found.items[1].soft_labels, found.repairs) == (None, {"soft_labels_invalid": 1})
    assert found.items[0].soft_labels == pytest.approx([k / 21 for k in range(7)])


def test_plus_keys_match_in_any_case(tmp_path: Path) -> None:
    """``Human-Label`` occurs."""
    plus_tree(tmp_path)
    plain = scanned(tmp_path)
    for path in tmp_path.rglob("*.json"):
        document = json.loads(path.read_text())
        document = {name.title(): value for name, value in document.items()}
        document["Meta-Data"] = {name.upper(): value for name, value in document["Meta-Data"].items()}
        path.write_text(json.dumps(document), encoding="utf-8-sig")

    assert scanned(tmp_path).items.table.equals(plain.items.table)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (json.dumps(plus_document(0, human_label=None)), "unlabelled"),
        (json.dumps({"subset": 1}), "unlabelled"),
        (json.dumps(plus_document(0, human_label=11)), "label_invalid"),
        (json.dumps(plus_document(0, human_label=True)), "label_invalid"),
        (json.dumps(plus_document(0, human_label=2.5)), "label_invalid"),
        ("", "label_corrupt"),
        ("{", "label_corrupt"),
        ("[1]", "label_corrupt"),
        ("[" * 100_000, "label_corrupt"),
    ],
)
def test_plus_documents_without_a_label_are_rejected(tmp_path: Path, text: str, reason: str) -> None:
    """Each with the reason that says what to do about it."""
    plus_tree(tmp_path)
    (tmp_path / "human_annotated/train_set/annotations/3.json").write_text(text)

    found = scanned(tmp_path)

    assert reasons(found) == [("human_annotated/train_set/images/3.jpg", reason)]
    assert "3.json" in found.rejects[0].detail or reason == "label_invalid"


def test_plus_values_that_cannot_be_used_are_left_out(tmp_path: Path) -> None:
    """-2 is missing, NaN is invalid, 135 numbers are no landmarks, a missing meta-data is nothing."""
    plus_tree(tmp_path)
    folder = tmp_path / "human_annotated/train_set/annotations"
    meta = plus_document(1)["meta-data"]
    (folder / "1.json").write_text(json.dumps(plus_document(1, meta_data={**meta, "valence": -2, "arousal": None})))
    (folder / "2.json").write_text(
        json.dumps(plus_document(2, meta_data={**meta, "valence": math.nan, "landmark-68": points(1)[1:]}))
    )
    (folder / "3.json").write_text(json.dumps({"human-label": 3.0}))

    found = scanned(tmp_path)

    one, two, three = list(found.items)[1:4]
    assert (one.valence, one.arousal, one.landmarks) == (None, None, points(1))
    assert (two.valence, two.arousal, two.landmarks) == (None, meta["arousal"], None)
    assert (three.label, three.valence, three.landmarks, three.extra) == (3, None, None, None)
    assert found.repairs == {"va_invalid": 1, "landmarks_missing": 1}


def test_plus_images_and_documents_without_each_other_are_rejected(tmp_path: Path) -> None:
    """As in AN-npy."""
    plus_tree(tmp_path)
    folder = tmp_path / "human_annotated/train_set"
    (folder / "images/2.jpg").unlink()
    (folder / "annotations/3.json").unlink()
    (folder / "images/4.jpg").rename(folder / "images/4.PNG")
    (folder / "images/5.jpg").rename(folder / "images/5.PNG")
    put(folder / "images/5.png")

    found = scanned(tmp_path)

    assert reasons(found) == [
        ("human_annotated/train_set/annotations/2.json", "image_missing"),
        ("human_annotated/train_set/images/3.jpg", "label_missing"),
        ("human_annotated/train_set/images/5.PNG", "image_ambiguous"),
    ]
    assert found.repairs == {"name_matched": 1}
    assert next(item.path for item in found.items if item.key == "train_4").endswith("4.PNG")


def test_the_part_without_human_labels_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    """Most of it has no label to learn from; each such image is named."""
    plus_tree(tmp_path, automatic=4)
    labelled = tmp_path / "no_human_annotated/annotations/2.json"
    labelled.write_text(json.dumps(plus_document(2)))

    without, found = scanned(tmp_path), scanned(tmp_path, automatic=True)

    assert (len(without.items), without.rejects) == (24, [])
    assert [item.key for item in found.items if item.key.startswith("auto")] == ["auto_2"]
    assert reasons(found) == [(f"no_human_annotated/images/{i}.jpg", "unlabelled") for i in (0, 1, 3)]
    assert any(re.match(r"train: 4 found, 539,607 in AffectNet\+ without human labels", note) for note in found.notes)


def test_the_json_form_of_split_folders_needs_no_wrapper(tmp_path: Path) -> None:
    """``train_set/annotations/*.json`` at the root is AN-plus too."""
    plus_tree(tmp_path / "x")

    found = scanned(tmp_path / "x/human_annotated")

    assert (found.layout, len(found.items)) == ("AN-plus", 24)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "brackets found"),
        ('{"a":' * 400 + "1" + "}" * 400 + "{" * 200, "brackets found"),
        ('{"human-label": ' + "9" * 5000 + "}", "Exceeds the limit"),
        ('{"human-label": 1, "human-label": 2}', "stands twice"),
        ('{"human-label": 1, "Human_Label": 2}', "stands twice"),
        ('{"human-label": 1' + " " * (1 << 20) + "}", "bytes or 500 brackets found"),
        ('{"human-label": 1}\0', "Extra data"),
        ("", "Expecting value"),
    ],
)
def test_a_forged_json_file_is_one_corrupt_label(tmp_path: Path, text: str, reason: str) -> None:
    """Depth, size and doubled keys must end neither in a traceback nor in a guess."""
    plus_tree(tmp_path)
    (tmp_path / "human_annotated/train_set/annotations/2.json").write_text(text)

    found = scanned(tmp_path)

    assert [reject.reason for reject in found.rejects] == ["label_corrupt"]
    assert reason in found.rejects[0].detail


@pytest.mark.parametrize("value", ["1e999", "-1e999", "1" + "0" * 400, '"\\ud800"', "NaN", '{"x": ["\\udfff"]}'])
def test_values_that_cannot_be_written_are_left_out_and_the_label_stays(tmp_path: Path, value: str) -> None:
    """An infinite age or half a letter would stop the ingest where records are written."""
    plus_tree(tmp_path)
    meta = f'{{"age": {value}, "pose": [1], "valence": {value}, "landmark-68": [{value}]}}'
    text = f'{{"human-label": 2, "meta-data": {meta}}}'
    (tmp_path / "human_annotated/train_set/annotations/2.json").write_text(text)

    item = scanned(tmp_path).items[2]

    assert (item.label, item.valence, item.landmarks) == (2, None, None)
    assert item.extra is not None
    assert item.extra["pose"] == [1]
    assert ("age" in item.extra) == (value == "NaN" or value.startswith("10"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_in_any_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    """Windows' own tools save UTF-16."""
    plus_tree(tmp_path)
    plain = scanned(tmp_path)
    for path in tmp_path.rglob("*.json"):
        path.write_bytes(path.read_text().encode(encoding))

    assert scanned(tmp_path).items.table.equals(plain.items.table)
