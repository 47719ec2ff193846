"""Runs that see a region of each face: what is covered, from training to prediction, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from train_helpers import (
    interrupt_at,
    planted_dataset,
    planted_landmarks,
    small_checkpoint,
    small_dataset,
    small_options,
)  # fmt: skip
from verbs import refusal

import ferdata
from ferdata.errors import OptionError, TrainError
from ferdata.images.transform import Transform, TransformOptions
from ferdata.synth import draw_face
from ferdata.training import TrainOptions, TrainResult, load_run, train
from ferdata.training.cover import cover, inside
from ferdata.training.nets.networks import build_network
from ferdata.training.prediction.predictor import Predictor
from ferdata.training.regions import REGIONS, Region, region_boxes
from ferdata.training.sweep.spec import read_spec

WITHOUT = 3
"""Samples of each split without landmarks."""


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(planted_dataset(tmp_path_factory.mktemp("planted"), without=WITHOUT))


def options_of(shards: str, out: Path, region: str, **settings: object) -> TrainOptions:
    return small_options(shards, out, region=region, name=region, **({"epochs": 3, "lr": 3e-3} | settings))


@pytest.fixture(scope="module")
def results(shards: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrainResult]:
    out = tmp_path_factory.mktemp("runs")
    return {region: train(options_of(shards, out, region)) for region in ("mouth", "eyes")}


def test_regions_hold_their_landmarks_and_not_each_others() -> None:
    """Of 68 points, and of the five of RAF-DB and of detectors; other numbers of points tell of nothing."""
    points = planted_landmarks()
    boxes = {name: region_boxes([points, points[:37], points * np.nan], [name]) for name in REGIONS[68]}
    masks = {name: inside(torch.from_numpy(each), (40, 40)) for name, each in boxes.items()}

    assert (sum(each[0].int() for each in masks.values()) <= 1).all()
    assert all(each[0].any() and not each[1:].any() for each in masks.values())
    assert masks["mouth"][0, 25, 15] and masks["eyes"][0, 10, 8] and not masks["eyes"][0, 10, 16]
    five = np.array([(8, 11), (24, 11), (16, 18), (11, 27), (21, 27)], float)
    found = region_boxes([five, points], ["mouth", "eyes"])
    assert np.isfinite(found).all() and found.shape == (2, 3, 4) and found[0, 0].tolist() == [7, 23, 25, 31]
    assert np.isnan(region_boxes([five], ["brows"])).all()


@pytest.mark.parametrize("text", ["mouth", "eyes+brows", "no-mouth", "no-eyes+brows"])
def test_what_is_covered_of_drawn_faces_is_what_is_said(text: str) -> None:
    """All of the region's landmarks are seen, or none; what is seen is as it was, and all else of one colour."""
    faces = [draw_face(number, number, 64) for number in range(8)]
    images = torch.from_numpy(np.stack([np.asarray(face.image).transpose(2, 0, 1) for face in faces]))
    region = Region.of(text)

    covered = cover(
        images, torch.from_numpy(region_boxes([f.landmarks for f in faces], region.names)), region, (1, 2, 3)
    )

    is_covered = (covered == torch.tensor([1, 2, 3])[:, None, None]).all(1)
    assert (torch.where(is_covered[:, None], images, covered) == images).all()
    numbers = [number for name in region.names for part, _ in REGIONS[68][name] for number in part]
    for face, hidden in zip(faces, is_covered, strict=True):
        x, y = face.landmarks[numbers].round().astype(int).clip(0, 63).T
        assert (hidden[y, x] == region.is_hidden).all()
        share = float(hidden.float().mean())
        assert share < 0.2 if region.is_hidden else share > 0.8


def test_a_run_learns_from_what_it_sees_alone(shards: str, results: dict[str, TrainResult]) -> None:
    """The cue is at the mouth; flips and cuts move what is covered with the image. Without landmarks, out."""
    mouth, eyes = results["mouth"], results["eyes"]

    assert mouth.scores["val"].accuracy > 0.9 and abs(eyes.scores["val"].accuracy - 0.5) < 0.25
    assert [scores.samples for scores in mouth.scores.values()] == [160 - WITHOUT, 40 - WITHOUT]
    for split, count in {"train": 160, "val": 40}.items():
        assert (
            f"{split}: {WITHOUT} of {count} samples have no landmarks that tell where the mouth is, and are left out"
            in (mouth.notes)
        )
    assert "<tr><th>region</th><td>eyes</td></tr>" in (Path(eyes.run) / "report.html").read_text()


def test_what_is_left_out_counts_for_a_limit_too(shards: str, tmp_path: Path) -> None:
    """A limit is drawn from what is left; two ranks together see what one process sees."""
    from ferdata.training.data import TrainData
    from ferdata.training.run.process_group import Ranks

    def batch(rank: int, world_size: int, **settings: object) -> tuple[torch.Tensor, TrainData]:
        options = options_of(shards, tmp_path, "no-mouth", limit=64, **settings).resolved(40)
        data = TrainData(options, Ranks(rank=rank, world_size=world_size, device=torch.device("cpu")))
        images = next(data.epoch(0, 0)).images.clone()
        data.loader.close()
        return images, data

    whole, data = batch(0, 1)
    halves = [batch(rank, 2)[0] for rank in (0, 1)]

    assert data.indices is not None and len(data.indices) == 64
    assert set(data.indices.tolist()) <= set(data.covers["train"].indices.tolist())
    assert torch.equal(torch.cat(halves), whole)
    assert (
        len(whole[:, :, 24:27, 13:17].flatten(1).unique(dim=0)) == 1
        and len(whole[:, :, :5].flatten(1).unique(dim=0)) > 1
    )


def test_a_resumed_run_is_the_undisturbed_one(shards: str, results: dict[str, TrainResult], tmp_path: Path) -> None:
    """To the last bit, and another region is another run."""
    with pytest.raises(TrainError, match="stopped on request"):
        train(options_of(shards, tmp_path, "mouth"), progress=interrupt_at(12))
    with pytest.raises(OptionError, match="region='eyes' found, expected region='mouth'"):
        train(TrainOptions(resume=str(tmp_path / "mouth"), region="eyes"))

    again = train(TrainOptions(resume=str(tmp_path / "mouth")))

    assert again.scores == results["mouth"].scores
    first, second = (load_run(run).state_dict() for run in (results["mouth"].run, again.run))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_run_sees_its_region_wherever_it_is_asked(
    shards: str, results: dict[str, TrainResult], tmp_path: Path
) -> None:
    """Evaluated alone it has its own figures, beside another each sees its own; mistakes are shown as it saw them."""
    mouth, eyes = results["mouth"], results["eyes"]
    alone = ferdata.evaluate(ferdata.EvaluateOptions(runs=[eyes.run], shards=shards, num_workers=0))
    both = ferdata.evaluate(ferdata.EvaluateOptions(runs=[mouth.run, eyes.run], shards=shards, num_workers=0))
    shown = ferdata.explain(
        ferdata.ExplainOptions(run=mouth.run, grid=2, examples=1, num_workers=0, batch_size=16, out=tmp_path)
    )

    assert alone.splits["val"].scores.accuracy == eyes.scores["val"].accuracy
    assert list(both.splits["val"].members.values()) == [each.scores["val"].accuracy for each in (mouth, eyes)]
    assert alone.notes[-1].startswith(f"val: {WITHOUT} of 40 samples have no landmarks")
    colours = {tuple(mistake.image[:, 30, 30]) for mistake in alone.splits["val"].mistakes}
    assert len(colours) == 1 and colours != {(0, 0, 0)}
    assert shown.accuracy == mouth.scores["val"].accuracy and len(shown.keys) == 40 - WITHOUT
    assert shown.regions is not None and np.abs(shown.regions.lost_accuracy[-1, :3]).max() == 0
    assert shown.regions.lost_accuracy[-1, 3] > 0.3 and len(np.unique(shown.faces[:, :, 0, 0])) <= 3


def test_a_picture_is_covered_by_the_points_of_its_face(results: dict[str, TrainResult]) -> None:
    """Moved as the picture is by the transform; without points, or with too few, it is refused in a sentence."""
    network = load_run(results["mouth"].run)
    picture = Image.new("RGB", (80, 80), (200, 10, 10))
    predictor = Predictor([network])
    five = [(2 * x + 0.5, 2 * y + 0.5) for x, y in ((8, 11), (24, 11), (16, 18), (11, 27), (21, 27))]

    (seen,) = predictor.pixels_of_image(picture, "face", five)

    shows = (seen == np.array([200, 10, 10], np.uint8)[:, None, None]).all(0)
    assert seen.shape == (3, 40, 40)
    assert np.argwhere(shows)[[0, -1]].tolist() == [[24, 8], [30, 24]] and shows.sum() == 7 * 17
    with pytest.raises(
        OptionError, match=r"face.jpg: no landmarks found for a run that sees the mouth alone, expected"
    ):
        predictor.pixels_of_image(picture, "face.jpg")
    brows = small_checkpoint(build_network("basic1", size=(40, 40), num_classes=2), ("Happy", "Sad"), size=40)
    settings = Transform(TransformOptions(size=40)).settings()
    path = Path(results["mouth"].run).parent / "brows.pt"
    replace(brows, region="no-brows", transform={"settings": settings}).write(path)
    with pytest.raises(OptionError, match="5 landmarks found for a run that sees all but the brows, expected 68"):
        Predictor([load_run(path)]).pixels_of_image(picture, "face.jpg", five)
    assert "face.jpg: no landmarks found" in refusal("predict", path, _saved(picture, path.parent / "face.jpg"))


def _saved(picture: Image.Image, path: Path) -> Path:
    picture.save(path)
    return path


def test_what_has_no_regions_is_refused(tmp_path: Path) -> None:
    """A set without landmarks before anything is trained, and a region that is none."""
    plain = small_dataset(tmp_path / "plain")
    with pytest.raises(OptionError, match=r"none of the 70 samples of .*plain train has 68 landmarks, or five, that"):
        train(options_of(plain, tmp_path, "mouth"))
    assert not (tmp_path / "mouth").exists()
    for text in ("ear", "mouth+mouth", "no-", "mouth,eyes", ""):
        with pytest.raises(OptionError, match=r"region: .* found, expected brows, eyes, nose, mouth, several joined"):
            TrainOptions(region=text)


def test_mouth_or_eyes_is_a_sweep() -> None:
    """Beside the whole face."""
    assert read_spec("report-regions").vary["region"][:3] == (None, "mouth", "eyes")
    assert read_spec(None, vary=["region=none,mouth,no-eyes+brows"]).vary["region"] == (None, "mouth", "no-eyes+brows")
