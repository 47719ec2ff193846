"""Runs on pictures that are in no data set: the pixels are those of the shards, and every file is accounted for."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from train_helpers import small_dataset, small_options, untrained_run
from verbs import refusal, run_verb

import ferdata
from ferdata.errors import OptionError
from ferdata.images.transform import ImageCorruptError, Transform, TransformOptions
from ferdata.synth import draw_face
from ferdata.training import load_run, train
from ferdata.training.prediction.frames import writing

CLASSES = {"Happy": 1, "Sad": 2}


def save(image: Image.Image, path: Path, number: int) -> None:
    """Save in one of the forms that photographs come in: turned by EXIF, grey, transparent, plain."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if number % 4 == 0:
        exif = Image.Exif()
        exif[0x0112] = 6
        image.crop((0, 0, 50, 60)).save(path.with_suffix(".jpg"), exif=exif)
    elif number % 4 == 1:
        image.convert("L").save(path.with_suffix(".jpg"))
    elif number % 4 == 2:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save(path.with_suffix(".png"))
    else:
        image.save(path.with_suffix(".jpg"), quality=95)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("source")
    for split, count in (("train", 16), ("val", 12)):
        for name, label in CLASSES.items():
            for number in range(count):
                save(draw_face(label, number, 60).image, root / split / name / f"{number}", number)
    return root


def run_of(source: Path, root: Path, *, seed: int = 0, **transform: int) -> Path:
    """Shard the folder, and train on it for an epoch."""
    shards = root / "s"
    ferdata.shard(ferdata.IngestOptions(source="folder", src=source, out=shards, num_workers=1, **transform))
    return Path(train(small_options(str(shards), root, epochs=1, name="r", seed=seed)).run)


@pytest.fixture(scope="module")
def colour(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(source, tmp_path_factory.mktemp("colour"), size=40)


@pytest.fixture(scope="module")
def grey(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(source, tmp_path_factory.mktemp("grey"), seed=1, size=30, channels=1)


@pytest.mark.parametrize("kind", ["colour", "grey"])
def test_a_folder_gets_what_its_shards_get(kind: str, source: Path, request: pytest.FixtureRequest) -> None:
    """The same pixels to the bit, and so the same probabilities, EXIF, grey and transparent files included."""
    run = request.getfixturevalue(kind)
    wanted = ferdata.evaluate(
        ferdata.EvaluateOptions(runs=[run], shards=run.parent / "s", splits=("val",), num_workers=0)
    )
    predictions = wanted.splits["val"].predictions
    data = ferdata.ShardDataset(run.parent / "s", split="val", fields=("images", "path"))
    paths = [data[number].path for number in range(len(data))]
    transform = load_run(run).shard_transform()

    found = ferdata.predict(ferdata.PredictOptions(runs=[run], source=source / "val"))
    one_by_one = load_run(run).predict(source / path for path in paths)

    assert transform.fingerprint() == ferdata.read_index(run.parent / "s").transform["fingerprint"]
    assert [row.path for row in found.rows][:3] == ["Happy/0.jpg", "Happy/1.jpg", "Happy/2.png"]
    rows = {f"val/{row.path}": row.prediction for row in found.rows}
    assert sorted(rows) == sorted(paths)
    for path, label, probabilities, alone in zip(
        paths, predictions.predicted, predictions.probabilities, one_by_one, strict=True
    ):
        assert rows[path].label == found.classes[label]
        assert list(rows[path].probabilities.values()) == pytest.approx(probabilities.tolist(), abs=1e-6)
        assert alone.probabilities == pytest.approx(rows[path].probabilities, abs=1e-6)


def test_pictures_of_pillow_go_the_way_of_their_files(source: Path, colour: Path) -> None:
    """Whether Pillow or ferdata opened the file, and whatever turned it upright."""
    network = load_run(colour)
    files = sorted((source / "val" / "Happy").iterdir())
    opened = [Image.open(file) for file in files]

    by_file, by_image = network.predict(files), network.predict(opened)

    assert by_file == by_image and len(by_file) == 12
    assert network.predict(files[0]) == network.predict(opened[:1])
    with pytest.raises(OptionError, match=r"images: a ndarray found, expected a path or a picture of Pillow's"):
        network.predict([np.zeros((8, 8, 3), np.uint8)])
    with pytest.raises(ImageCorruptError, match=r"^image: .*, expected an intact image; open it again"):
        network.predict(Image.open(io.BytesIO(files[1].read_bytes()[:600])))


def test_tensors_go_as_a_loader_gives_them(source: Path, colour: Path) -> None:
    """Without another resize: they were through the transform."""
    network = load_run(colour)
    with ferdata.Loader(colour.parent / "s", split="val", batch_size=8, num_workers=0) as loader:
        images = next(iter(loader))[0].clone()

    with torch.inference_mode():
        wanted = network.answers(images)[0]

    found = [list(each.probabilities.values()) for each in network.predict(images)]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_several_runs_take_each_their_own_pixels(source: Path, colour: Path, grey: Path, tmp_path: Path) -> None:
    """One is grey and 30 px, the other in colour: the answer is the mean of both."""
    files = sorted((source / "val" / "Sad").iterdir())
    each = [[list(one.probabilities.values()) for one in load_run(run).predict(files)] for run in (colour, grey)]

    run_verb("predict", colour, grey, source / "val" / "Sad", "--out", tmp_path / "t.csv", "--device", "cpu")

    with open(tmp_path / "t.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == sorted(
        (file.name for file in files), key=lambda name: int(name.split(".")[0])
    )
    by_name = {row["path"]: [float(row[name]) for name in ("Happy", "Sad")] for row in rows}
    np.testing.assert_allclose([by_name[file.name] for file in files], np.mean(each, 0), atol=2e-6)
    assert {row["label"] for row in rows} <= set(CLASSES) and {row["valence"] + row["reason"] for row in rows} == {""}


def test_several_runs_vote_as_when_they_are_evaluated(source: Path, tmp_path: Path) -> None:
    """The class that most of them choose, in images and videos: two that are fairly sure outvote a very sure one."""
    shards = tmp_path / "s"
    ferdata.shard(ferdata.IngestOptions(source="folder", src=source, out=shards, num_workers=1, size=40))
    runs = [untrained_run(tmp_path, "Happy", "Sad", seed=seed) for seed in (0, 2, 5)]
    wanted = {}
    for vote in (False, True):
        data = ferdata.ShardDataset(shards, split="val", fields=("images", "path"))
        told = ferdata.evaluate(
            ferdata.EvaluateOptions(runs=runs, shards=shards, splits=("val",), vote=vote, num_workers=0)
        )
        labels = [("Happy", "Sad")[number] for number in told.splits["val"].predictions.predicted]
        wanted[vote] = {data[number].path: label for number, label in enumerate(labels)}

        found = ferdata.predict(ferdata.PredictOptions(runs=runs, source=source / "val", vote=vote))

        assert {f"val/{row.path}": row.prediction.label for row in found.rows} == wanted[vote]
        for row in found.rows:
            assert (row.prediction.votes is not None) == vote
            assert not vote or sum(row.prediction.votes.values()) == len(runs)
    assert wanted[True] != wanted[False]

    with writing(str(tmp_path / "clip.mp4"), (60, 60)) as write:
        for number in range(4):
            write(draw_face(1, number, 60).image, number / 4)
    for vote, label in ((False, "Sad"), (True, "Happy")):
        timeline = ferdata.predict_video(
            ferdata.PredictOptions(runs=runs, source=tmp_path / "clip.mp4", vote=vote, device="cpu")
        )
        assert [moment.prediction.label for moment in timeline.moments] == [label] * 4


def test_what_cannot_be_read_is_a_row_with_a_reason(source: Path, colour: Path, tmp_path: Path) -> None:
    """An afternoon's photographs are not lost for one broken file; what is no image is counted."""
    folder = tmp_path / "mixed"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.jpg").write_bytes((source / "val" / "Happy" / "3.jpg").read_bytes())
    (folder / "inner" / "cut.jpg").write_bytes((folder / "a.jpg").read_bytes()[:500])
    (folder / "notes.txt").write_text("x")

    printed = run_verb("predict", colour, folder, "--out", tmp_path / "t.csv", "--json", tmp_path / "t.json")

    record = json.loads((tmp_path / "t.json").read_text())
    assert [image["path"] for image in record["images"]] == ["a.jpg", "inner/cut.jpg"]
    assert record["images"][1]["reason"] == "image_corrupt" and "inner/cut.jpg: " in record["images"][1]["error"]
    assert (tmp_path / "t.csv").read_text().splitlines()[2] == "inner/cut.jpg,,,,,,image_corrupt"
    assert (
        "1 file that is no image is left out" in printed and "1 of 2 images: image_corrupt (inner/cut.jpg: " in printed
    )


def test_an_image_prints_its_probabilities(source: Path, colour: Path) -> None:
    """The likeliest first."""
    file = source / "val" / "Happy" / "3.jpg"
    wanted = load_run(colour).predict(file)[0]

    lines = run_verb("predict", colour, file).splitlines()

    assert lines[0] == f"{wanted.label:<7}  {max(wanted.probabilities.values()):>6.1%}" and len(lines) == 2


def test_what_is_asked_of_nothing_is_refused(colour: Path, tmp_path: Path) -> None:
    """And so is a run whose checkpoint does not say what its pixels went through."""
    assert "nothing found there, expected an image or a folder" in refusal("predict", colour, tmp_path / "gone.jpg")
    (tmp_path / "x").mkdir()
    assert "0 files and no image found, expected some" in refusal("predict", colour, tmp_path / "x")
    assert "a run found, expected an image, a folder of images, or a video" in refusal("predict", colour, colour)
    odd = Path(train(small_options(small_dataset(tmp_path / "s"), tmp_path, epochs=1, name="odd")).run)
    (tmp_path / "x" / "a.png").write_bytes(b"")
    assert "expected those of version 1: background, channels, crop" in refusal("predict", odd, tmp_path / "x")


def test_a_transform_comes_back_from_its_settings() -> None:
    """Whatever of it is not the default; its fingerprint is the proof."""
    made = Transform(TransformOptions(size=48, channels=1, crop="none", resample="lanczos", background=(1, 2, 3)))

    again = Transform.of(json.loads(json.dumps(made.settings())), where="x")

    assert again.fingerprint() == made.fingerprint()
