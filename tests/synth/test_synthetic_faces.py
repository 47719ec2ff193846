"""What synthetic faces show: expressions in landmarks and in pixels, valence and arousal beside them, camera noise."""

from collections.abc import Callable

import numpy as np
import pytest

from ferdata.errors import OptionError
from ferdata.labels import AFFECTNET_ALL
from ferdata.synth import draw_face
from ferdata.synth.face.expression import sample_expression
from ferdata.synth.face.textures import load_bank

NEUTRAL, HAPPY, SAD, SURPRISE, FEAR, DISGUST, ANGER, CONTEMPT = range(8)


def median(label: int, measure: Callable[[np.ndarray], float]) -> float:
    """Median over faces of a class; landmarks are upright, in units of the distance between the outer eye corners."""
    values = []
    for seed in range(30):
        marks = draw_face(label, seed, 32).landmarks
        across = marks[45] - marks[36]
        axes = np.stack([across, (-across[1], across[0])]) / (across @ across)
        values.append(measure((marks - marks[36:48].mean(axis=0)) @ axes.T))
    return float(np.median(values))


def test_a_face_is_a_pure_function_of_class_seed_and_size() -> None:
    """Nothing remembered from an earlier face may show in a later one."""
    first = draw_face(HAPPY, 5, 64)
    for label in range(11):
        draw_face(label, 6, 48)
    again = draw_face(HAPPY, 5, 64)

    assert first.pixels.dtype == np.uint8 and first.pixels.shape == (64, 64, 3)
    assert first.landmarks.dtype == np.float64 and first.landmarks.shape == (68, 2)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.landmarks, again.landmarks)
    assert (first.valence, first.arousal) == (again.valence, again.arousal)


@pytest.mark.parametrize(
    ("arguments", "text"), [((11, 0, 64), "label: 11"), ((0, -1, 64), "seed: -1"), ((0, 0, 31), "size: 31")]
)
def test_a_face_that_cannot_be_drawn_is_refused(arguments: tuple[int, int, int], text: str) -> None:
    """A wrong class id would otherwise draw some other class."""
    with pytest.raises(OptionError, match=text):
        draw_face(*arguments)


# What the faces show.


@pytest.mark.parametrize(
    ("label", "valence", "arousal"),
    [
        (HAPPY, 1, 1),
        (SAD, -1, -1),
        (SURPRISE, 1, 1),
        (FEAR, -1, 1),
        (DISGUST, -1, 1),
        (ANGER, -1, 1),
        (CONTEMPT, -1, 1),
    ],
)
def test_valence_and_arousal_lie_on_the_expressions_side(label: int, valence: int, arousal: int) -> None:
    """A regression learned from the numbers must find the circumplex; Neutral is its centre."""
    drawn = [sample_expression(label, np.random.default_rng(seed)) for seed in range(300)]
    scores = np.array([(one.valence, one.arousal) for one in drawn])

    assert np.sign(scores.mean(axis=0)).tolist() == [valence, arousal]
    assert np.hypot(*scores.T).max() <= 1 + 1e-6
    assert np.hypot(*scores.mean(axis=0)) > 0.35
    assert scores.std(axis=0).min() > 0.05


def test_neutral_faces_are_near_the_origin() -> None:
    """A face at rest is neither pleasant nor excited."""
    drawn = [sample_expression(NEUTRAL, np.random.default_rng(seed)) for seed in range(300)]

    assert np.abs(np.mean([(one.valence, one.arousal) for one in drawn], axis=0)).max() < 0.02
    assert max(abs(one.valence) for one in drawn) < 0.3


def test_mouth_landmarks_follow_the_expression() -> None:
    """Landmarks come from the drawn geometry: corners rise in a smile, sink in grief, and a surprised jaw drops."""

    def corners(marks: np.ndarray) -> float:
        return float(marks[[48, 54], 1].mean() - marks[[51, 57], 1].mean())

    def opening(marks: np.ndarray) -> float:
        return float(marks[66, 1] - marks[62, 1])

    assert (
        median(HAPPY, corners)
        < median(NEUTRAL, corners) - 0.05
        < median(NEUTRAL, corners) + 0.05
        < median(SAD, corners)
    )
    assert median(SURPRISE, opening) > 0.12 > 0.05 > median(NEUTRAL, opening)
    assert median(HAPPY, lambda marks: float(marks[54, 0] - marks[48, 0])) > median(
        SURPRISE, lambda marks: float(marks[54, 0] - marks[48, 0])
    )


def test_brow_eye_and_nose_landmarks_follow_the_expression() -> None:
    """Brows rise in surprise, sink in anger, rise inside in grief; eyes widen in fear, the nose rises in disgust."""

    def brows(marks: np.ndarray) -> float:
        return float(-marks[17:27, 1].mean())

    def slant(marks: np.ndarray) -> float:
        return float(marks[[17, 26], 1].mean() - marks[[21, 22], 1].mean())

    def eyes(marks: np.ndarray) -> float:
        return float(marks[[40, 41, 46, 47], 1].mean() - marks[[37, 38, 43, 44], 1].mean())

    assert (
        median(SURPRISE, brows) > median(NEUTRAL, brows) + 0.05 > median(NEUTRAL, brows) - 0.02 > median(ANGER, brows)
    )
    assert median(SAD, slant) > median(NEUTRAL, slant) + 0.05 > median(NEUTRAL, slant) - 0.05 > median(ANGER, slant)
    assert median(FEAR, eyes) > median(NEUTRAL, eyes) > median(SAD, eyes)
    assert median(DISGUST, lambda marks: float(marks[33, 1])) < median(NEUTRAL, lambda marks: float(marks[33, 1]))


def test_contempt_is_one_sided_and_the_others_are_not() -> None:
    """A smirk lifts one corner of the mouth; which one is left to chance."""

    def lean(marks: np.ndarray) -> float:
        return float(marks[48, 1] - marks[54, 1])

    assert median(CONTEMPT, lambda marks: abs(lean(marks))) > 2 * median(HAPPY, lambda marks: abs(lean(marks)))
    assert 5 <= sum(lean(draw_face(CONTEMPT, seed, 32).landmarks) > 0 for seed in range(30)) <= 25


def test_landmarks_lie_on_what_they_name() -> None:
    """At the landmarks' pixels the surprised mouth is dark, pupils are dark, and the cheek is brighter than both."""

    def brightness(pixels: np.ndarray, place: np.ndarray) -> float:
        x, y = np.round(place).astype(int)
        return float(pixels[y - 1 : y + 2, x - 1 : x + 2].mean())

    mouth, eye, cheek = [], [], []
    for seed in range(20):
        face = draw_face(SURPRISE, seed, 224)
        marks = face.landmarks
        cheek.append(brightness(face.pixels, (marks[29] + marks[13]) / 2))
        mouth.append(brightness(face.pixels, 0.35 * marks[62] + 0.65 * marks[66]) / cheek[-1])
        eye.append(brightness(face.pixels, marks[36:42].mean(axis=0)) / cheek[-1])

    assert np.median(mouth) < 0.8
    assert np.median(eye) < 0.6


def test_a_picture_without_a_face_shows_none() -> None:
    """Id 10 of the 2017 release means that there is no face to see."""
    pixels = draw_face(AFFECTNET_ALL.index("No-Face"), 3, 96).pixels.astype(float)
    portrait = draw_face(NEUTRAL, 3, 96).pixels.astype(float)

    assert np.abs(np.diff(pixels, axis=0)).mean() < np.abs(np.diff(portrait, axis=0)).mean() * 1.5
    assert np.abs(pixels - portrait).mean() > 10


def test_sensor_noise_is_like_a_demosaicked_photographs() -> None:
    """White noise would make codecs look worse than they are on photographs."""
    noise = load_bank().noise[:, :512, :512]

    down, across = (float((noise[1] * np.roll(noise[1], 1, axis)).mean()) for axis in (0, 1))

    assert 0.15 < down < 0.7 and 0.15 < across < 0.7
    assert (noise[0] * noise[1]).mean() > 0.2
    assert noise.std(axis=(1, 2)) == pytest.approx(1.0, abs=0.01)
