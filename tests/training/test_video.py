"""Videos: a face that changes its expression on a known timeline is found, followed and read."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from train_helpers import small_options
from verbs import refusal, run_verb

import ferdata
from ferdata.labels import AFFECTNET_8
from ferdata.synth import FilmFrame, draw_face, draw_film
from ferdata.training import train
from ferdata.training.prediction.frames import Video, writing
from ferdata.training.prediction.tracks import Tracker, smooth

CLASSES = {"Happy": 1, "Surprise": 3, "Anger": 6}
TIMELINE = ("Happy", "Surprise", "Anger")
SIZE, FPS, EACH = (321, 240), 10, 8


def train_on(root: Path, classes: dict[str, int], *, each: int, epochs: int) -> Path:
    """Train a network on drawn faces of these classes."""
    for name, label in classes.items():
        for number in range(each):
            path = root / "source" / "train" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw_face(label, 1000 + number, 48).image.save(path, compress_level=1)
    ferdata.shard(
        ferdata.IngestOptions(source="folder", src=root / "source", out=root / "s", size=48, num_workers=1, val=0.1)
    )
    return Path(train(small_options(str(root / "s"), root, epochs=epochs, name="r", lr=2e-3)).run)


def write_film(path: Path, labels: Sequence[int], seed: int) -> list[FilmFrame]:
    """Write a film of one person, nearly a second for each expression, and return its frames."""
    frames = list(draw_film(labels, seed, size=SIZE, frames_per_second=FPS, seconds_each=EACH / FPS))
    with writing(str(path), SIZE) as write:
        for frame in frames:
            write(frame.image, frame.seconds)
    return frames


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that has seen a few hundred drawn faces, and knows most of them."""
    return train_on(tmp_path_factory.mktemp("run"), CLASSES, each=200, epochs=8)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[FilmFrame]]:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return path, write_film(path, [CLASSES[name] for name in TIMELINE], seed=9)


@pytest.fixture(scope="module")
def clip(film: tuple[Path, list[FilmFrame]]) -> Path:
    return film[0]


def test_the_timeline_of_a_drawn_video_is_recovered(
    run: Path, film: tuple[Path, list[FilmFrame]], tmp_path: Path
) -> None:
    """It is one face throughout, found in 95 frames of 100, and read as it was drawn in 80 of 100 of these."""
    clip, frames = film

    printed = run_verb(
        "predict", run, clip, "--faces", "--out", tmp_path / "t.mp4", "--json", tmp_path / "t.json", "--device", "cpu"
    )

    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert len(rows) >= 0.95 * 24 and {row["track"] for row in rows} == {"0"}
    assert np.mean([row["label"] == TIMELINE[int(row["frame"]) // EACH] for row in rows]) >= 0.8
    for row in rows:
        wanted = frames[int(row["frame"])]
        assert float(row["seconds"]) == pytest.approx(wanted.seconds, abs=0.002)
        x, _, width, _ = wanted.box
        assert float(row["x"]) + float(row["width"]) / 2 == pytest.approx(x + width / 2, abs=12)
        assert sum(float(row[name]) for name in CLASSES) == pytest.approx(1, abs=1e-5)
    assert printed.startswith("24 frames at ") and f"wrote {tmp_path / 't.png'}" in printed.replace("\n", " ")
    assert json.loads((tmp_path / "t.json").read_text())["num_frames"] == 24
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv", "t.json", "t.mp4", "t.png"]
    drawn = list(Video(str(tmp_path / "t.mp4")))
    assert [round(frame.seconds, 2) for frame in drawn] == [number / FPS for number in range(24)]
    assert drawn[0].image.size == (320, 240)
    plain = frames[5].image.crop((0, 0, 320, 240))
    changed = np.abs(np.asarray(drawn[5].image, int) - np.asarray(plain, int)).max(2) > 60
    x, _, width, _ = frames[5].box
    assert changed.sum() > 300 and changed[:, : x - 30].sum() < 60 > changed[:, x + width + 30 :].sum()


@pytest.mark.slow
def test_every_expression_of_two_dozen_people_is_found_and_most_are_read(tmp_path: Path) -> None:
    """All eight, surprise included: each film's face in 95 frames of 100, and 80 of 100 of all of these right."""
    run = train_on(tmp_path, {name: label for label, name in enumerate(AFFECTNET_8)}, each=1000, epochs=10)
    right: list[bool] = []
    for seed in range(24):
        frames = write_film(tmp_path / "film.mp4", range(8), seed)

        timeline = ferdata.predict_video(
            ferdata.PredictOptions(runs=[run], source=tmp_path / "film.mp4", faces=True, device="cpu")
        )

        largest = {moment.frame: moment for moment in reversed(timeline.moments)}
        assert len(largest) >= 0.95 * len(frames), seed
        for label in range(8):
            shown = [number for number, frame in enumerate(frames) if frame.label == label]
            assert sum(number in largest for number in shown) >= 0.8 * len(shown), (seed, AFFECTNET_8[label])
        right += [moment.prediction.label == AFFECTNET_8[frames[number].label] for number, moment in largest.items()]
    assert np.mean(right) >= 0.8


def test_frames_may_be_taken_whole(run: Path, clip: Path) -> None:
    """As of clips that were cut to faces before: one track, no detector; without smoothing each frame stands alone."""
    options = ferdata.PredictOptions(runs=[run], source=clip, smoothing=0, batch_size=7, device="cpu")

    timeline = ferdata.predict_video(options)

    wanted = ferdata.load_run(run).predict(frame.image for frame in Video(str(clip)))
    assert [moment.frame for moment in timeline.moments] == list(range(24))
    for moment, one in zip(timeline.moments, wanted, strict=True):
        assert moment.prediction.probabilities == pytest.approx(one.probabilities, abs=1e-5)
        assert (moment.track, moment.face) == (0, None)


def test_what_is_no_video_is_refused(run: Path, clip: Path, tmp_path: Path) -> None:
    """In a line, before anything is written."""
    (tmp_path / "notes.txt").write_text("nothing to see")
    assert "expected an image, a folder of images, or a video that FFmpeg decodes" in refusal(
        "predict", run, tmp_path / "notes.txt"
    )
    assert "No such file or directory, expected an image" in refusal("predict", run, tmp_path / "gone.mp4")
    assert (
        "camera: No such file or directory, expected an image, a folder of images, or a video that FFmpeg decodes "
        "(predict --live takes cameras too)" in refusal("predict", run, "camera")
    )
    assert "expected a local file that ends in .csv" in refusal("predict", run, clip, "--out", tmp_path / "t.txt")
    assert "which is the video itself" in refusal("predict", run, clip, "--out", clip)
    assert clip.stat().st_size > 1000


def test_a_damaged_video_is_told_as_far_as_it_goes(run: Path, clip: Path, tmp_path: Path) -> None:
    """And a note says how far that is: a timeline that merely ends looks like a short film."""
    data = bytearray(clip.read_bytes())
    data[len(data) * 6 // 10 : len(data) * 8 // 10] = bytes(len(data) * 8 // 10 - len(data) * 6 // 10)
    (tmp_path / "hurt.mp4").write_bytes(data)

    timeline = ferdata.predict_video(ferdata.PredictOptions(runs=[run], source=tmp_path / "hurt.mp4", device="cpu"))

    assert 0 < timeline.num_frames < 24 and len(timeline.moments) == timeline.num_frames
    assert timeline.notes[0].startswith(f"Only the first {timeline.num_frames} of 24 frames can be read: ")


def test_a_face_keeps_its_number_while_it_is_followed() -> None:
    """Two that move, one that is lost for a moment, one that is gone for longer and comes back as another."""
    follow = Tracker(longest_gap=0.5)

    assert follow(0.0, [(0, 0, 10, 10), (50, 0, 10, 10)]) == [0, 1]
    assert follow(0.1, [(48, 1, 10, 10), (2, 0, 10, 10)]) == [1, 0]
    assert follow(0.2, [(3, 0, 10, 10)]) == [0]
    assert follow(0.5, [(4, 0, 10, 10), (47, 1, 10, 10)]) == [0, 1]
    assert follow(0.6, [(100, 100, 9, 9)]) == [2]
    assert follow(5.0, []) == []
    assert follow(5.1, [(100, 100, 9, 9)]) == [3]
    assert follow(9.0, [(101, 100, 9, 9)]) == [3]  # a frame every four seconds


def test_smoothing_is_the_mean_by_distance_in_time() -> None:
    """To both sides, whatever the frame rate, so that a change stays where it is."""
    seconds = np.array([0.0, 0.1, 0.25, 0.3, 1.0])
    values = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5], [0.2, 0.8], [1.0, 0.0]])
    weights = np.exp(-np.abs(seconds[:, None] - seconds) / 0.2)

    found = smooth(seconds, values, scale=0.2)

    np.testing.assert_allclose(found, weights @ values / weights.sum(1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(found.sum(1), 1)
    assert smooth(seconds, values, scale=0) is values
