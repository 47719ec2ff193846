"""The reader of AffectNet in YOLO format: class ids by the names of ``data.yaml``, and what each bad file becomes."""

from pathlib import Path
from typing import Any

import pytest
from trees_rafdb import KAGGLE_NAMES, names_of, put, reasons, yolo_tree

from ferdata.errors import LayoutError, OptionError, SourceError
from ferdata.labels import AFFECTNET_7, canonical_name
from ferdata.sources import Scan, ScanOptions, scan_source
from ferdata.sources.yolo.names import parse_names
from ferdata.sources.yolo.reader import parse_label


def scanned(root: Path, source: str = "affectnet", **options: Any) -> Scan:
    return scan_source(source, str(root), ScanOptions(**options))


def test_yolo_ids_are_alphabetical_and_boxes_come_along(tmp_path: Path) -> None:
    """Id 0 is Anger there and Neutral in AffectNet."""
    yolo_tree(tmp_path / "YOLO_format")

    found = scanned(tmp_path)

    assert (found.layout, found.items.splits()) == ("AN-yolo", ["train", "val", "test"])
    assert [item.source_label for item in found.items] == [str(i % 8) for count in (16, 8, 8) for i in range(count)]
    assert names_of(found) == [str(canonical_name(KAGGLE_NAMES[int(item.source_label)])) for item in found.items]
    assert found.items[0].path == "train/images/ffhq_0.png"
    assert found.items[10].path == "train/images/ffhq_10.png"
    assert found.items[1].extra == {"yolo_box": [0.5, 0.5, 0.2, 0.75]}
    assert all(item.box is None for item in found.items)
    assert len({item.key for item in found.items}) == 32


def test_yolo_names_of_the_yaml_win_over_the_usual_order(tmp_path: Path) -> None:
    """A copy with another order says so in its own file."""
    yolo_tree(tmp_path, names=("Happy", "surprised", "Fearful", "calm", "Sad", "Disgust", "ANGRY", "Contempt"))

    found = scanned(tmp_path)

    assert names_of(found)[:8] == ["Happy", "Surprise", "Fear", "Neutral", "Sad", "Disgust", "Anger", "Contempt"]


def test_yolo_unknown_name_stops(tmp_path: Path) -> None:
    """Names are the only thing that ties an id to a class."""
    yolo_tree(tmp_path, names=("Anger", "Bored"))

    with pytest.raises(LayoutError, match=r"class names Bored found.*suprise"):
        scanned(tmp_path)


@pytest.mark.parametrize(("labels", "first"), [(None, "Anger"), ("alphabetical", "Anger"), ("affectnet", "Neutral")])
@pytest.mark.parametrize("has_numbers", [False, True])
def test_yolo_without_names_is_alphabetical_unless_asked(
    tmp_path: Path, labels: str | None, first: str, has_numbers: bool
) -> None:
    """Numbers in place of names say nothing."""
    yolo_tree(tmp_path, names=[str(i) for i in range(8)] if has_numbers else None)

    found = scanned(tmp_path, labels=labels)

    assert names_of(found)[0] == first
    assert any("no class names" in note or "no data.yaml" in note for note in found.notes)


def test_yolo_in_rafdb_order_is_refused(tmp_path: Path) -> None:
    """An option that cannot be is an error, not a silent default."""
    yolo_tree(tmp_path, names=None)

    with pytest.raises(OptionError, match="expected affectnet or alphabetical"):
        scanned(tmp_path, labels="rafdb")


def test_yolo_rejects_are_named(tmp_path: Path) -> None:
    """Missing partners on either side, empty and wrong label files, ambiguous images."""
    yolo_tree(tmp_path)
    train = tmp_path / "train"
    (train / "images/ffhq_0.png").unlink()
    (train / "labels/ffhq_1.txt").unlink()
    put(train / "labels/ffhq_2.txt", "\n")
    put(train / "labels/ffhq_3.txt", "8 0.5 0.5 1 1\n")
    put(train / "labels/ffhq_4.txt", "4 0.5 0.5 1 1\n5 0.5 0.5 1 1\n")
    put(train / "images/ffhq_5.jpg")
    (train / "images/ffhq_6.png").rename(train / "images/FFHQ_6.PNG")
    put(train / "labels/ffhq_7.txt", "7.0\n")
    put(train / "labels/classes.txt", "Anger\nContempt\n")

    found = scanned(tmp_path)

    assert reasons(found) == [
        ("train/images/ffhq_1.png", "label_missing"),
        ("train/images/ffhq_2.png", "label_missing"),
        ("train/images/ffhq_3.png", "label_invalid"),
        ("train/images/ffhq_4.png", "label_invalid"),
        ("train/labels/ffhq_0.txt", "image_missing"),
        ("train/labels/ffhq_5.txt", "image_ambiguous"),
    ]
    assert found.repairs == {"name_matched": 1}
    kept = [item for item in found.items if item.split == "train"]
    assert [item.path for item in kept][:2] == ["train/images/FFHQ_6.PNG", "train/images/ffhq_7.png"]
    assert (kept[1].extra, found.classes[kept[1].label]) == (None, "Surprise")


def test_yolo_trees_that_do_not_fit_stop(tmp_path: Path) -> None:
    """Most ids out of range: another data set; no image for any label: the wrong root."""
    yolo_tree(tmp_path / "a", names=("anger", "fear"))
    with pytest.raises(SourceError, match=r"24 of 32 labels are not classes.*0\.\.1"):
        scanned(tmp_path / "a")

    yolo_tree(tmp_path / "b")
    for path in (tmp_path / "b").rglob("*.png"):
        path.rename(path.with_name(f"other_{path.name}"))
    with pytest.raises(SourceError, match="none of 32 label rows finds its image"):
        scanned(tmp_path / "b")


def test_yolo_seven_classes_and_several_threads_give_the_same_items(tmp_path: Path) -> None:
    """Label files are read in parallel; order is the images'."""
    yolo_tree(tmp_path, train=64)

    one, four = (scanned(tmp_path, classes=7, num_workers=workers) for workers in (1, 4))

    assert [item.path for item in one.items] == [item.path for item in four.items]
    assert one.skipped == {"contempt": 10}
    assert one.classes == AFFECTNET_7


YAMLS = {
    "flow": "names: ['Anger', \"Sad\"]\nnc: 2\n",
    "flow over lines": "nc: 2\nnames: [Anger,  # first\n  Sad]\nval: x\n",
    "block": "names:\n- Anger\n- Sad\nnc: 2\n",
    "indented block": "train: x\nnames:\n  - Anger\n  - 'Sad'\n\nnc: 2\n",
    "mapping": "names:\n  0: Anger\n  1: Sad\ndownload: x\n",
    "flow mapping": "names: {0: Anger, 1: Sad}\n",
}


@pytest.mark.parametrize("form", list(YAMLS))
def test_every_form_of_names_is_read(form: str) -> None:
    """Each of them is what some YOLO tool writes."""
    assert parse_names(YAMLS[form]) == ["Anger", "Sad"]


@pytest.mark.parametrize("text", ["", "nc: 8\n", "names: []\n", "names:\nnc: 2\n"])
def test_a_yaml_without_usable_names_has_none(text: str) -> None:
    """The reader then says which order it takes."""
    assert parse_names(text) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("names:\n  1: Anger\n", "numbers from 1 to 1 of 1 names"),
        ("names:\n  0: Anger\n  0: Sad\n", "entry '0: Sad'"),
        ("names: {0: Anger, 2: Sad}\n", "numbers from 0 to 2 of 2 names"),
        ("names: names.txt\n", "names: names.txt"),
        ("names: [Anger]\0\n", "zero bytes"),
        ("names: [" + "Anger, " * 200_000 + "]", "more than 1,048,576 bytes"),
    ],
)
def test_names_that_cannot_be_understood_stop(tmp_path: Path, text: str, found: str) -> None:
    """A guess at the alphabetical order would leave names aside that are there."""
    yolo_tree(tmp_path)
    put(tmp_path / "data.yaml", text)

    with pytest.raises(LayoutError, match=rf"data.yaml: .*{found}.* found where the class names stand"):
        scanned(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
@pytest.mark.parametrize("name", ["data.yaml", "affectnet.yml", "classes.txt", "obj.names", "train/labels/classes.txt"])
def test_names_in_any_encoding_and_usual_file_are_read(tmp_path: Path, name: str, encoding: str) -> None:
    """Each tool has a file of its own for them."""
    yolo_tree(tmp_path, names=None)
    names = KAGGLE_NAMES[::-1]
    put(
        tmp_path / name, (f'"Names": {list(names)}\r\n' if name.endswith("ml") else "\r\n".join(names)).encode(encoding)
    )

    assert names_of(scanned(tmp_path))[:8] == [canonical_name(name) for name in names]


def test_several_faces_of_one_class_are_one_label() -> None:
    """The class is not in doubt; the box is the first face's."""
    assert parse_label("3 0.1 0.2 0.3 0.4\n3 0.5 0.5 1 1\n", 8) == (3, [0.1, 0.2, 0.3, 0.4], "")
    assert parse_label("3 0.1 0.2 0.3 1.4\n", 8) == (3, None, "")
    assert parse_label("x 0 0 1 1\n", 8)[2] == "class id 'x'"
