"""Faces in photographs: where they are, how they are cut out, and what is said of each."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from train_helpers import untrained_run
from verbs import run_verb

from ferdata.synth import draw_face
from ferdata.training import load_run
from ferdata.training.prediction.boxes import overlap
from ferdata.training.prediction.detector import Face
from ferdata.training.prediction.faces import FaceCutter, FaceFinder, FaceFollower, cut_face

SIDE, PLACES = 120, ((20, 60), (190, 30))


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_run(tmp_path_factory.mktemp("run"), "Happy", "Sad")


def scene() -> Image.Image:
    """Two faces, each drawn as AffectNet's are cut, somewhere in a picture."""
    picture = Image.new("RGB", (340, 240), (120, 110, 100))
    for seed, place in zip((2, 5), PLACES, strict=True):
        picture.paste(draw_face(seed, seed, SIDE).image, place)
    return picture


def test_faces_are_cut_as_data_sets_have_them(finder: FaceFinder) -> None:
    """The cut of a face that was drawn as AffectNet's are is nearly the drawn picture again."""
    found = sorted(finder(scene()), key=lambda face: face.box)

    assert len(found) == 2
    for face, (left, top) in zip(found, PLACES, strict=True):
        cut = cut_face(scene(), face, margin=0.15, align=False)
        side = max(face.box[2:]) * 1.15
        middle = face.box[0] + face.box[2] / 2, face.box[1] + face.box[3] / 2
        square = (middle[0] - side / 2, middle[1] - side / 2, side, side)
        assert overlap(square, (left, top, SIDE, SIDE)) > 0.75
        assert cut.width == cut.height == pytest.approx(side, abs=1)
        assert (left, top) < face.points[0] < face.points[1] < (left + SIDE, top + SIDE)


def test_a_shrunk_picture_has_its_faces_at_the_same_places(finder: FaceFinder) -> None:
    """Boxes are in pixels of the picture, whatever the network looked at."""
    large = scene().resize((1700, 1200))

    small, shrunk = (sorted(face.box for face in finder(picture)) for picture in (scene(), large))

    assert [overlap(tuple(5 * edge for edge in one), other) > 0.8 for one, other in zip(small, shrunk, strict=True)]
    np.testing.assert_allclose(np.multiply(small, 5), shrunk, atol=30)


def test_an_aligned_face_has_level_eyes(finder: FaceFinder) -> None:
    """By its eyes, in whichever direction it is tilted; what is beyond the picture is black."""
    for degrees in (-20, 20):
        tilted = scene().rotate(degrees, Image.Resampling.BILINEAR, fillcolor=(120, 110, 100))
        face = finder(tilted)[0]
        assert abs(face.tilt) > 10

        aligned = cut_face(tilted, face, margin=1.0, align=True)

        assert abs(finder(aligned)[0].tilt) < 6 and aligned.width == aligned.height


@pytest.mark.parametrize("align", [False, True])
def test_the_points_of_a_face_are_where_they_are_in_its_cut(align: bool) -> None:
    """A mouth that is to be shown or hidden is found by them: the detector finds them there again."""
    cutter = FaceCutter(min_score=0.4, longest_side=640, margin=0.6, align=align)
    tilted = scene().rotate(10, Image.Resampling.BILINEAR, fillcolor=(120, 110, 100))

    face = cutter.finder(tilted)[0]
    cut, points = cutter.cut(tilted, face)

    again = FaceFinder()(cut)[0]
    assert np.abs(np.array(points) + 0.5 - again.points).max() < 0.05 * face.box[3]


def test_a_face_at_the_edge_is_cut_as_far_as_it_is_there(finder: FaceFinder) -> None:
    """As a data set's boxes are; a picture that is all face has nothing around it."""
    picture = draw_face(2, 2, SIDE).image
    (face,) = finder(picture)

    assert cut_face(picture, face, margin=4, align=False).size == (SIDE, SIDE)


def test_each_face_is_a_row(run: Path, finder: FaceFinder, tmp_path: Path) -> None:
    """With its box, in pixels of the upright picture, and what the network says of its cut; a wall has no face."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    scene().rotate(90, expand=True).save(folder / "turned.png", exif=exif)
    Image.new("RGB", (64, 64)).save(folder / "wall.png")
    network = load_run(run)
    wanted = [network.predict(cut_face(scene(), face, margin=0.15, align=False))[0] for face in finder(scene())]

    printed = run_verb(
        "predict", run, folder, "--faces", "--out", tmp_path / "t.csv", "--json", tmp_path / "t.json", "--device", "cpu"
    )

    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert [(row["path"], row["reason"]) for row in rows] == [
        ("turned.png", ""), ("turned.png", ""), ("wall.png", "no_face"),
    ]  # fmt: skip
    for row, one, face in zip(rows, wanted, finder(scene()), strict=False):
        assert [float(row[name]) for name in ("x", "y", "width", "height")] == pytest.approx(face.box, abs=0.06)
        assert [float(row[name]) for name in ("Happy", "Sad")] == pytest.approx(
            list(one.probabilities.values()), abs=1e-5
        )
        assert float(row["valence"]) == pytest.approx(one.valence, abs=1e-5)
    assert "1 of 2 images: no_face" in printed
    assert len(json.loads((tmp_path / "t.json").read_text())["images"][0]["box"]) == 4


@pytest.mark.parametrize("side", [90, 420])
def test_faces_are_found_whatever_they_show_and_however_close_they_are(finder: FaceFinder, side: int) -> None:
    """Wide open mouths included, which the network does not see in a large face: it sees the picture smaller too."""
    for label in range(8):
        picture = Image.new("RGB", (640, 480), (120, 110, 100))
        picture.paste(draw_face(label, 3, side).image, (100, 40))

        (face,) = finder(picture)

        assert overlap((*face.box[:2], *[max(face.box[2:])] * 2), (100, 40, side, side)) > 0.42


def test_a_film_is_searched_only_now_and_then(finder: FaceFinder) -> None:
    """In between, faces are looked for around their places; whoever comes is found within half a second, or at once."""
    searched: list[float] = []

    class Counting(FaceFinder):
        def __call__(self, image: Image.Image) -> list[Face]:
            searched.append(now)
            return super().__call__(image)

    follow = FaceFollower(Counting())
    for number in range(12):
        now = number / 10
        picture = Image.new("RGB", (340, 240), (120, 110, 100))
        picture.paste(draw_face(2, 2, SIDE).image, (20 + 4 * number, 60))
        if number >= 7:
            picture.paste(draw_face(5, 5, SIDE).image, (200, 30))
        boxes = [face.box for face in follow(picture, now)]
        assert len(boxes) == (1 if number < 10 else 2)
        whole = [face.box for face in finder(picture)]
        assert all(max(overlap(box, other) for other in whole) > 0.75 for box in boxes)

    assert searched == [0.0, 0.5, 1.0]
    now = 1.2
    assert follow(Image.new("RGB", (340, 240)), now) == [] and searched[-1] == now  # both are lost: it looks again
    assert finder.around(scene(), finder(scene())[:1] * 2)[0] is not None and finder.around(scene(), []) == []
