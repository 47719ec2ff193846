"""How pictures are found again: hashes as imagehash makes them, and registration of pixels."""

import imagehash
import numpy as np
import pytest
import torch
from PIL import Image

from ferdata.audit.measure import THUMB, grey, shrink
from ferdata.audit.register import compare
from ferdata.audit.search import VIEWS, View, find_candidates, frequencies
from ferdata.synth import draw_face


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    """uint8 ``[24, 3, 96, 96]``: of one expression, as alike as aligned faces are."""
    return np.stack([np.asarray(draw_face(1, number, 96).image).transpose(2, 0, 1) for number in range(24)])


def shades_of(image: Image.Image, side: int) -> np.ndarray:
    return shrink(grey(np.asarray(image.convert("RGB")).transpose(2, 0, 1)), side)


def changed(face: np.ndarray, kind: str) -> Image.Image:
    image = Image.fromarray(face.transpose(1, 2, 0))
    if kind == "crop":
        return image.crop((4, 7, 91, 94)).resize((96, 96), Image.Resampling.BICUBIC)
    if kind == "mirror":
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if kind == "scale":
        return image.resize((48, 48)).resize((96, 96))
    return Image.eval(image, lambda value: min(255, int(value * 0.8 + 12)))


def test_the_frequencies_cut_at_their_median_are_the_hash_of_imagehash(faces: np.ndarray) -> None:
    """The search is by that library's perceptual hash, computed for all pictures at once; both must mean the same."""
    pictures = [Image.fromarray(face.transpose(1, 2, 0)) for face in faces]
    thumbs = np.stack([shrink(grey(face), THUMB) for face in faces])

    low = frequencies(thumbs, 8)

    ours = low > np.median(low, axis=(1, 2), keepdims=True)
    assert (ours == [imagehash.phash(picture).hash for picture in pictures]).all()
    assert (grey(faces[0]) == np.asarray(pictures[0].convert("L"))).all()


@pytest.mark.parametrize("kind", ["crop", "mirror", "scale", "darker"])
def test_a_changed_copy_is_a_candidate_and_lies_over_its_original(faces: np.ndarray, kind: str) -> None:
    """Of many alike faces, the right pair must come first, and its pixels must say so; those of others must not."""
    thumbs = np.stack([shrink(grey(face), THUMB) for face in faces] + [shades_of(changed(faces[5], kind), THUMB)])

    found = find_candidates(thumbs, seed=0, num_threads=2, progress=lambda done, total: None)

    assert set(found.pairs[0].tolist()) == {5, 24}
    maps = torch.tensor([VIEWS[view].affine() for view in found.views])
    moving, fixed = (torch.from_numpy(thumbs[found.pairs[:, side]]).float() for side in (0, 1))
    scores, _ = compare(moving, fixed, maps, steps=3)
    assert scores[0] > 0.95
    assert (scores[1:] < 0.93).all()


def test_registration_finds_an_affine_map_and_ignores_brightness(faces: np.ndarray) -> None:
    """What a crop did is unknown to some percent; without registration its pixels would say nothing."""
    shades = np.stack([shrink(grey(face), 64) for face in faces[:6]])
    crops = [Image.fromarray(each).crop((3, 2, 60, 60)).resize((64, 64), Image.Resampling.BICUBIC) for each in shades]
    fixed = torch.from_numpy(np.stack([np.asarray(crop) for crop in crops])).float() * 0.7 + 20
    start = torch.tensor([View(0.93, 0.035, 0.035, False).affine()]).expand(6, 2, 3)

    before, _ = compare(torch.from_numpy(shades).float(), fixed, start, steps=0)
    after, maps = compare(torch.from_numpy(shades).float(), fixed, start, steps=4)

    assert (after > 0.97).all()
    assert (before < after).all()
    expected = torch.tensor([[57 / 64, 0, (3 + 60) / 64 - 1], [0, 58 / 64, (2 + 60) / 64 - 1]])
    assert (maps - expected).abs().max() < 0.02


def test_empty_and_single_pictures_have_no_partners() -> None:
    """A data set of one image, or of none that shows anything, is no special case."""
    for count in (0, 1):
        thumbs = np.zeros((count, THUMB, THUMB), np.uint8)
        found = find_candidates(thumbs, seed=0, num_threads=1, progress=lambda done, total: None)
        assert found.pairs.shape == (0, 2)
