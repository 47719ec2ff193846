"""Trees of synthetic faces: files, names, dtypes and lists of the real releases, read by public code and by ours."""

import hashlib
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferdata.labels import AFFECTNET_8, AFFECTNET_ALL, RAFDB_BASIC
from ferdata.sources import ScanOptions, scan_source
from ferdata.synth import RECIPES, SyntheticSummary, write_synthetic
from ferdata.synth.trees.files import npy_bytes

Tree = tuple[Path, SyntheticSummary]


@pytest.fixture(scope="module")
def npy_tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    root = tmp_path_factory.mktemp("npy")
    return root, write_synthetic("affectnet", str(root), count=96, num_workers=1)


@pytest.fixture(scope="module")
def csv_tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    root = tmp_path_factory.mktemp("csv")
    return root, write_synthetic("affectnet", str(root), count=120, size=64, layout="AN-csv", num_workers=1)


@pytest.fixture(scope="module")
def raf_tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    root = tmp_path_factory.mktemp("raf")
    return root, write_synthetic("rafdb", str(root), count=90, layout="RAF-original", num_workers=1)


def digests(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


# The same options give the same bytes.


@pytest.mark.parametrize(
    ("source", "layout"), [("affectnet", "AN-npy"), ("affectnet", "AN-csv"), ("rafdb", "RAF-original")]
)
def test_a_tree_does_not_depend_on_the_number_of_workers(tmp_path: Path, source: str, layout: str) -> None:
    """A tree that changes with the machine cannot be the fixed input of another test."""
    for workers in (1, 3):
        write_synthetic(source, str(tmp_path / str(workers)), count=100, size=40, layout=layout, num_workers=workers)

    one, three = digests(tmp_path / "1"), digests(tmp_path / "3")

    assert one == three
    assert len(one) > 100


def test_another_seed_gives_other_faces_and_no_image_stands_twice_in_a_tree(tmp_path: Path) -> None:
    """Equal pictures in train and val would be leakage, and a seed that changes nothing a lie."""
    trees = []
    for seed in (0, 1):
        write_synthetic("affectnet", str(tmp_path / str(seed)), count=60, size=32, seed=seed, num_workers=1)
        trees.append({digest for name, digest in digests(tmp_path / str(seed)).items() if name.endswith(".jpg")})

    assert [len(tree) for tree in trees] == [60, 60]
    assert not trees[0] & trees[1]


# AffectNet, 2021.


class PublicAffectNet:
    """Reads the 2021 release the way public code does."""

    def __init__(self, root: Path, split: str) -> None:
        self.folder = root / f"{split}_set"
        self.ids = sorted(int(p.stem) for p in (self.folder / "images").glob("*.jpg"))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, position: int) -> tuple[np.ndarray, int, float, float, np.ndarray]:
        number = self.ids[position]
        notes = self.folder / "annotations"
        image = np.array(Image.open(self.folder / "images" / f"{number}.jpg"))
        label = int(np.load(notes / f"{number}_exp.npy"))
        valence, arousal = float(np.load(notes / f"{number}_val.npy")), float(np.load(notes / f"{number}_aro.npy"))
        return image, label, valence, arousal, np.load(notes / f"{number}_lnd.npy").reshape(68, 2)


def test_a_public_affectnet_dataset_reads_the_tree_unchanged(npy_tree: Tree) -> None:
    """The tree stands in for the real one in other people's code."""
    root, summary = npy_tree
    for split in ("train", "val"):
        data = PublicAffectNet(root, split)
        samples = [data[position] for position in range(len(data))]

        counts = np.bincount([sample[1] for sample in samples], minlength=8)

        assert dict(zip(AFFECTNET_8, counts.tolist(), strict=True)) == summary.counts[split]
        for image, _, valence, arousal, landmarks in samples:
            assert image.shape == (224, 224, 3) and image.dtype == np.uint8
            assert -1 <= valence <= 1 and -1 <= arousal <= 1
            assert ((landmarks > -30) & (landmarks < 254)).all()


def test_annotation_files_are_those_of_the_release_byte_for_byte(npy_tree: Tree) -> None:
    """Readers depend on 0-d unicode strings and on a flat landmark vector."""
    root, _ = npy_tree
    notes = root / "train_set" / "annotations"
    images = sorted((root / "train_set" / "images").iterdir())
    assert len(list(notes.iterdir())) == 4 * len(images)
    for image in images:
        assert re.fullmatch(r"0|[1-9]\d*\.jpg|0\.jpg", image.name)
        label = np.load(notes / f"{image.stem}_exp.npy", allow_pickle=False)
        assert label.shape == () and label.dtype == "<U1" and str(label) in "01234567"
        assert (notes / f"{image.stem}_exp.npy").stat().st_size == 132
        for kind in ("val", "aro"):
            score = np.load(notes / f"{image.stem}_{kind}.npy", allow_pickle=False)
            assert score.shape == () and score.dtype.kind == "U" and score.dtype.itemsize <= 44
            assert str(score) == f"{float(score):.6g}"
        landmarks = np.load(notes / f"{image.stem}_lnd.npy", allow_pickle=False)
        assert landmarks.shape == (136,) and landmarks.dtype == np.float64


@pytest.mark.parametrize("array", [np.array("3"), np.array("-0.176846"), np.arange(136.0), np.zeros((2, 3), np.uint8)])
def test_npy_bytes_are_what_numpy_saves(array: np.ndarray) -> None:
    """The short cut past ``numpy.save`` must not make files of its own kind."""
    buffer = io.BytesIO()
    np.save(buffer, array)

    assert npy_bytes(array) == buffer.getvalue()


def test_jpegs_are_as_large_as_the_real_ones(npy_tree: Tree, raf_tree: Tree) -> None:
    """Rates and ratios measured on the pictures must mean something for photographs."""
    crops = [p for p in npy_tree[0].rglob("*.jpg")]
    aligned = list((raf_tree[0] / "Image" / "aligned").iterdir())

    assert 10_000 < np.mean([p.stat().st_size for p in crops]) < 14_000
    assert 3_000 < np.mean([p.stat().st_size for p in aligned]) < 5_000
    assert npy_tree[1].bytes == sum(p.stat().st_size for p in crops)
    with Image.open(crops[0]) as image:
        assert image.format == "JPEG" and image.mode == "RGB"
        assert [component[1:3] for component in image.layer] == [(2, 2), (1, 1), (1, 1)]


# AffectNet, 2017.


def test_the_csv_release_has_its_header_its_missing_header_and_its_bad_row(csv_tree: Tree) -> None:
    """These three traps have cost people rows of the real data."""
    root, summary = csv_tree
    training = (root / "training.csv").read_text().splitlines()
    validation = (root / "validation.csv").read_text().splitlines()

    assert training[0].startswith(
        "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,"
    )
    assert len(training) == 1 + sum(summary.counts["train"].values()) + 1
    assert len(validation) == sum(summary.counts["val"].values())
    assert not validation[0].startswith("subDirectory")
    bad = [line.split(",") for line in training if "NULL" in line]
    assert [(row[1:5], row[6]) for row in bad] == [(["NULL", "NULL", "-1", "-1"], "1")]


def test_csv_rows_point_at_photographs_larger_than_the_face(csv_tree: Tree) -> None:
    """Boxes and landmarks are in pixels of the whole photograph; only ids 9 and 10 lack valence and arousal."""
    root, summary = csv_tree
    rows = [line.split(",") for line in (root / "training.csv").read_text().splitlines()[1:] if "NULL" not in line]
    labels = [int(row[6]) for row in rows]

    assert dict(zip(AFFECTNET_ALL, np.bincount(labels, minlength=11).tolist(), strict=True)) == summary.counts["train"]
    assert len(set(row[0] for row in rows)) == len(rows)
    for row, label in zip(rows, labels, strict=True):
        assert re.fullmatch(r"\d+/[0-9a-f]{56}\.(jpg|JPG|jpeg|png)", row[0])
        with Image.open(root / "Manually_Annotated_Images" / row[0]) as image:
            width, height = image.size
        x, y, across, down = map(int, row[1:5])
        marks = np.array(row[5].split(";"), float).reshape(68, 2)
        assert width > across and height > down * 0.9
        assert (
            x <= marks[:, 0].min()
            and marks[:, 0].max() <= x + across
            and y <= marks[:, 1].min()
            and marks[:, 1].max() <= y + down
        )
        assert (row[7:] == ["-2", "-2"]) == (label in (9, 10))


# RAF-DB.


def test_the_label_list_is_in_the_form_that_strict_readers_need(raf_tree: Tree) -> None:
    """One space, one digit, LF, train first in number order, names without ``_aligned``."""
    root, summary = raf_tree
    content = (root / "EmoLabel" / "list_patition_label.txt").read_bytes()
    lines = content.decode("ascii").split("\n")

    assert lines.pop() == ""
    train, test = sum(summary.counts["train"].values()), sum(summary.counts["test"].values())
    assert [line.split(" ")[0] for line in lines] == [
        *(f"train_{number:05d}.jpg" for number in range(1, train + 1)),
        *(f"test_{number:04d}.jpg" for number in range(1, test + 1)),
    ]
    assert all(re.fullmatch(r"\S+ [1-7]", line) for line in lines)
    ids = [int(line[-1]) for line in lines[:train]]
    assert dict(zip(RAFDB_BASIC, np.bincount(ids, minlength=8)[1:].tolist(), strict=True)) == summary.counts["train"]


def test_a_public_rafdb_dataset_reads_the_tree_unchanged(raf_tree: Tree) -> None:
    """Public code takes the list, keeps a split by its prefix, and puts ``_aligned`` into the names."""
    root, summary = raf_tree
    rows = [line.split(" ") for line in (root / "EmoLabel" / "list_patition_label.txt").read_text().splitlines()]
    for split in ("train", "test"):
        found = [
            (name.split(".")[0] + "_aligned.jpg", int(label) - 1) for name, label in rows if name.startswith(split)
        ]
        images = [np.asarray(Image.open(root / "Image" / "aligned" / name)) for name, _ in found]
        assert {image.shape for image in images} == {(100, 100, 3)}
        assert len(images) == sum(summary.counts[split].values())


def test_original_photographs_come_with_their_annotations(raf_tree: Tree) -> None:
    """Five points and three facts, 37 points, and a box by its corners, all in pixels of the original."""
    root, summary = raf_tree
    for original in (root / "Image" / "original").iterdir():
        notes = {
            kind: root / "Annotation" / kind / f"{original.stem}_{suffix}.txt" for kind, suffix in _RAF_NOTES.items()
        }
        manual = notes["manual"].read_text().splitlines()
        assert len(manual) == 8 and all(re.fullmatch(r"-?\d+\.\d{3}\t-?\d+\.\d{3}", line) for line in manual[:5])
        assert [int(line) in range(limit) for line, limit in zip(manual[5:], (3, 3, 5), strict=True)] == [True] * 3
        assert len(notes["auto"].read_text().splitlines()) == 37
        left, top, right, bottom = map(float, notes["boundingbox"].read_text().split())
        points = np.array([line.split("\t") for line in manual[:5]], float)
        assert ((points >= (left, top)) & (points <= (right, bottom))).all()
    assert len(list((root / "Image" / "original").iterdir())) == summary.images


_RAF_NOTES = {"manual": "manu_attri", "auto": "auto_attri", "boundingbox": "boundingbox"}


@pytest.mark.parametrize("fixture", ["npy_tree", "csv_tree", "raf_tree"])
def test_our_own_readers_accept_every_image(fixture: str, request: pytest.FixtureRequest) -> None:
    """The scan of a tree finds the layout by itself and the counts that were written; only the bad row is rejected."""
    root, summary = request.getfixturevalue(fixture)

    images = "original" if summary.source == "rafdb" else "aligned"
    scan = scan_source(summary.source, str(root), ScanOptions(keep_non_emotion=True, rafdb_images=images, crop="box"))

    assert scan.layout == RECIPES[summary.layout].layout.name
    assert [reject.reason for reject in scan.rejects] == (["bad_row"] if summary.layout == "AN-csv" else [])
    labels, splits = scan.items.labels(), np.array(scan.items.table.column("split").to_pylist())
    for split, counts in summary.counts.items():
        found = np.bincount(labels[splits == split], minlength=len(scan.classes))
        assert {
            name: number for name, number in zip(scan.classes, found.tolist(), strict=True) if name in counts
        } == counts
