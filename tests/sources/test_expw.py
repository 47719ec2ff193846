"""ExpW: each face of a photograph is an item, with its own box, key and class, whatever the list looks like."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trees_rafdb import names_of, put, reasons

import ferdata
from ferdata.errors import AmbiguousLayoutError, LayoutError, SourceError
from ferdata.labels import AFFECTNET_7, FER2013
from ferdata.sources import Scan, ScanOptions, scan_source
from ferdata.synth import write_synthetic

HEADER = (
    "image_name,face_id_in_image,face_box_top,face_box_left,face_box_right,face_box_bottom,"
    "face_box_cofidence,expression_label"
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("expw")
    write_synthetic("expw", str(root), count=40, size=64, num_workers=1)
    return root


@pytest.fixture
def own(tmp_path: Path, drawn: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "own"))


def scanned(root: Path, **options: Any) -> Scan:
    return scan_source("expw", str(root), ScanOptions(**options))


def lines_of(root: Path) -> list[list[str]]:
    """Return the fields of each line; a name may have spaces."""
    return [line.rsplit(" ", 7) for line in (root / "label/label.lst").read_text().splitlines()]


def test_every_face_is_an_item_with_its_box(drawn: Path) -> None:
    """The list has top before left and right before bottom; taken as x, y, width, height, boxes are someplace else."""
    lines = lines_of(drawn)

    found = scanned(drawn)

    assert (found.layout, found.classes, found.items.splits()) == ("ExpW-faces", AFFECTNET_7, ["train"])
    assert not found.rejects and len(found.items) == len(lines) == 40
    assert names_of(found) == [FER2013[int(line[7])] for line in lines]
    for item, (name, face, *numbers, label) in zip(found.items, lines, strict=True):
        top, left, right, bottom, confidence = map(float, numbers)
        assert item.path == f"image/origin/{name}" and item.source_label == label
        assert item.box == (left, top, right - left, bottom - top)
        assert item.extra == {"face": face, "confidence": confidence}
    paths = [item.path for item in found.items]
    assert 0 < len(paths) - len(set(paths)) == sum(line[1] == "1" for line in lines)
    assert len({item.key for item in found.items}) == 40
    assert any("photographs show several faces" in note for note in found.notes)


def test_a_line_of_the_release_is_a_square(tmp_path: Path) -> None:
    """Its boxes are squares, which shows the order of the four sides."""
    put(tmp_path / "label/label.lst", b"angry_actor_104.jpg 0 28 113 226 141 22.9362 0\n")
    put(tmp_path / "image/origin/angry_actor_104.jpg")

    (item,) = scanned(tmp_path).items

    assert (item.key, item.box, item.source_label) == ("angry_actor_104_0", (113, 28, 113, 113), "0")


def test_two_faces_of_a_photograph_become_two_pictures(own: Path, tmp_path: Path) -> None:
    """Cropped, they share no pixel, and are no contradiction; the box that was stored is the list's."""
    out = tmp_path / "shards"
    images = ferdata.TransformOptions(size=48, crop="box")

    summary = ferdata.shard(ferdata.IngestOptions(source="expw", src=own, out=out, transform=images, num_workers=1))

    assert summary.accepted == 40 and not any("under different labels" in note for note in summary.notes)
    data = ferdata.ShardDataset(out, fields=("images", "keys", "path", "boxes"))
    samples = [data[number] for number in range(len(data))]
    by_path: dict[str, list[Any]] = {}
    for sample in samples:
        by_path.setdefault(sample.path, []).append(sample)
    pairs = [both for both in by_path.values() if len(both) == 2]
    assert pairs
    for one, other in pairs:
        assert np.abs(one.images.numpy().astype(int) - other.images.numpy().astype(int)).mean() > 10
        assert one.boxes.tolist() != other.boxes.tolist()


@pytest.mark.parametrize("form", ["header", "tabs", "other folders", "CRLF and mark", "beside the images"])
def test_other_forms_of_the_list_give_the_same_faces(own: Path, drawn: Path, form: str) -> None:
    """People convert it to a table, and unpack the images where they like."""
    lines, path = lines_of(own), own / "label/label.lst"
    if form == "header":
        put(own / "label/label.csv", "\n".join([HEADER, *map(",".join, lines)]).encode())
        path.unlink()
    elif form == "tabs":
        put(path, "\n".join(map("\t".join, lines)).encode())
    elif form == "other folders":
        (own / "image/origin").rename(own / "origin_001")
        (own / "image").rmdir()
        (own / "label/label.lst").rename(own / "label.lst")
    elif form == "CRLF and mark":
        put(path, b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    else:
        shutil.move(path, own / "image/origin/label.lst")
        own = own / "image/origin"

    found, expected = scanned(own), scanned(drawn)

    assert names_of(found) == names_of(expected)
    assert [(item.box, item.key) for item in found.items] == [(item.box, item.key) for item in expected.items]


def test_every_odd_row_has_a_reason(own: Path) -> None:
    """The release names images that are not in its archive, and holds some that nobody labelled."""
    lines = lines_of(own)
    odd = {
        "gone.jpg 0 1 2 3 4 50.5 3": ("image/origin/gone.jpg", "image_missing"),
        f"{lines[0][0]} 7 28 113 226 141 22.9 7": (f"image/origin/{lines[0][0]}", "label_invalid"),
        f"{lines[1][0]} 7 28 226 113 141 22.9 3": (f"image/origin/{lines[1][0]}", "box_invalid"),
        "short.jpg 0 1 2": ("image/origin", "bad_row"),
    }
    put(own / "label/label.lst", "\n".join([*map(" ".join, lines), *odd, " ".join(lines[0])]).encode())
    put(own / "image/origin/nobody.jpg")

    found, cropped = scanned(own), scanned(own, crop="box")

    assert reasons(cropped) == sorted([*odd.values(), ("image/origin/nobody.jpg", "label_missing")])
    assert found.repairs["box_invalid"] == 1 and len(found.items) == 42
    assert found.items[41].key == f"{found.items[0].key}_row{len(lines) + len(odd) + 1}"
    assert any(note.startswith("label/label.lst: 1 image stands in several rows") for note in found.notes)


def test_another_table_with_as_many_numbers_is_no_list_of_faces(own: Path) -> None:
    """Its header says that the numbers are something else."""
    lines = [",".join([line[0], *line[2:6], "1", "2", "happy"]) for line in lines_of(own)]
    shutil.rmtree(own / "label")
    put(own / "labels.csv", "\n".join(["image,x,y,width,height,age,sex,emotion", *lines]).encode())

    with pytest.raises(LayoutError, match=r"read labels\.csv with source 'table'"):
        scanned(own)


def test_a_list_of_other_labels_or_without_its_images_stops_the_run(own: Path) -> None:
    """Half a data set under wrong names is worse than none."""
    put(own / "label/label.lst", "\n".join(" ".join([*line[:7], "9"]) for line in lines_of(own)).encode())
    with pytest.raises(SourceError, match=r"label\.lst: 40 of 40 labels are not classes"):
        scanned(own)
    shutil.copytree(own / "image/origin", own / "copy")
    with pytest.raises(AmbiguousLayoutError, match=r"images of label/label\.lst found in copy, image/origin"):
        scanned(own)
    shutil.rmtree(own / "copy")
    shutil.rmtree(own / "image")
    with pytest.raises(LayoutError, match=r"label\.lst: none of angry_actor_0\.jpg, .* expected the photographs"):
        scanned(own)


def test_under_another_source_the_error_names_this_one(drawn: Path) -> None:
    """Who does not know what a folder holds is told."""
    with pytest.raises(
        LayoutError, match=r"ExpW-faces found, which is ExpW, expected class folders; use source 'expw'"
    ):
        scan_source("folder", str(drawn), ScanOptions())
