"""The files of one sequence, video or clip in the layouts of CK+, Aff-Wild2 and DFEW: an expression that grows.

In: a portrait and its place in the tree. Out: a :class:`Drawing` of all frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ferdata.labels import CKPLUS
from ferdata.sources.affwild2.detector import AFFWILD2_LAYOUT
from ferdata.sources.ckplus.detector import CKPLUS_48, CKPLUS_SEQUENCES, LABELLED
from ferdata.sources.dfew.detector import DFEW_LAYOUT
from ferdata.synth.face.face import DrawnFace, render
from ferdata.synth.face.framing import aligned_camera, crop_camera
from ferdata.synth.face.people import Portrait, grow
from ferdata.synth.trees.files import Drawing, File, PlannedImage, image_bytes, text_bytes
from ferdata.synth.trees.recipe import Recipe

__all__ = ["CLIP_TREES"]

_ONSET = (0.0, 0.3, 0.6, 0.9, 1.0, 1.0)
"""How much of its expression the face shows in each frame of a sequence of CK+: from rest to the peak."""

_WORDS = ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
_NUM_FOLDS = DFEW_LAYOUT.folds
_CLIP_FRAMES = (1, 2, 4, 5, 7, 8)
"""Frames in which a face was found; the others are not there."""

_VIDEO = ("none", "", "", "", "no crop", "", "", "", "no expression", "", "")
"""What is amiss with each line of a video's texts."""


def _draw_ckplus(portrait: Portrait, image: PlannedImage) -> Drawing:
    """Return a sequence with landmarks, action units and an emotion, and at times one without an emotion."""
    subject = _subject(image)
    session = f"{1 + image.label + 10 * image.take:03d}"
    labelled = _sequence(portrait, image, subject, session)
    peak = f"{subject}_{session}_{len(_ONSET):08d}"
    emotion = f"   {image.label:.7e}"
    notes = (*labelled.notes, (f"Emotion/{subject}/{session}/{peak}_emotion.txt", text_bytes([emotion])))
    if image.number % 3:
        return replace(labelled, notes=notes)
    other = _sequence(grow(portrait, 0.5), image, subject, f"{9 + 10 * image.take + 100 * image.label:03d}")
    return Drawing(images=(*labelled.images, *other.images), notes=(*notes, *other.notes))


def _sequence(portrait: Portrait, image: PlannedImage, subject: str, session: str) -> Drawing:
    images: list[File] = []
    notes: list[File] = []
    camera = crop_camera(portrait, image.size)
    width = round(image.size * 640 / 490)
    camera = replace(camera, width=width, x=camera.x + (width - image.size) / 2)
    for number, share in enumerate(_ONSET, start=1):
        face = render(grow(portrait, share), camera)
        name = f"{subject}/{session}/{subject}_{session}_{number:08d}"
        images.append((f"cohn-kanade-images/{name}.png", image_bytes(face.image.convert("L"), "PNG")))
        points = [f"   {x:.7e}   {y:.7e}" for x, y in face.landmarks.tolist()]
        notes.append((f"Landmarks/{name}_landmarks.txt", text_bytes(points)))
    notes.append((f"FACS/{name}_facs.txt", text_bytes(["   4.0000000e+00   2.0000000e+00"])))
    return Drawing(images=tuple(images), notes=tuple(notes))


def _draw_ckplus_48(portrait: Portrait, image: PlannedImage) -> Drawing:
    """Return the last frames of a sequence, as grey faces in the folder of their class."""
    stem = f"{_subject(image)}_{1 + image.label + 10 * image.take:03d}"
    faces = _frames(portrait, image, _ONSET[-3:])
    return Drawing(
        images=tuple(
            (f"{_WORDS[image.label]}/{stem}_{number:08d}.png", image_bytes(face.image.convert("L"), "PNG"))
            for number, face in enumerate(faces, start=len(_ONSET) - 2)
        )
    )


def _draw_affwild2(portrait: Portrait, image: PlannedImage) -> Drawing:
    """Return the crops of a video and its texts; two in five videos show two people, each with texts of their own."""
    place = image.number % 5
    side = {3: "_left", 4: "_right"}.get(place, "")
    number = image.number - (place == 4)
    name = f"{number}-30-1280x720{side}" if image.split == "train" else f"video{number}{side}"
    expressions: list[str] = ["Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"]
    scores: list[str] = ["valence,arousal"]
    images: list[File] = []
    shares = [min(1.0, 0.6 + 0.1 * number) for number in range(len(_VIDEO))]
    for number, (face, amiss) in enumerate(zip(_frames(portrait, image, shares), _VIDEO, strict=True), start=1):
        expressions.append("-1" if amiss in ("none", "no expression") else str(image.label))
        scores.append("-5,-5" if amiss == "none" else f"{face.valence:.3f},{face.arousal:.3f}")
        if amiss != "no crop":
            images.append((f"cropped_aligned/{name}/{number:05d}.jpg", image_bytes(face.image)))
    folder = {"train": "Train_Set", "val": "Validation_Set"}[image.split]
    notes = (
        (f"EXPR_Classification_Challenge/{folder}/{name}.txt", text_bytes(expressions)),
        (f"VA_Estimation_Challenge/{folder}/{name}.txt", text_bytes(scores)),
    )
    return Drawing(images=tuple(images), notes=notes)


def _draw_dfew(portrait: Portrait, image: PlannedImage) -> Drawing:
    """Return the frames of a clip and its rows in the lists of every fold; the first fold's test set is the tree's."""
    # The numbers of a split are consecutive: every fifth clip is of fold 1's test set, the others of those of 2 to 5.
    clip = 5 * image.number + 1 if image.split == "test" else 5 * (image.number // 4) + image.number % 4 + 2
    rows = []
    for fold in range(1, _NUM_FOLDS + 1):
        split = "test" if clip % _NUM_FOLDS == fold % _NUM_FOLDS else "train"
        rows.append((f"EmoLabel_DataSplit/{split}(single-labeled)/set_{fold}.csv", f"{clip},{image.label + 1}"))
    shares = [number / len(_CLIP_FRAMES) for number in range(1, len(_CLIP_FRAMES) + 1)]
    stem = f"Clip/clip_224x224/{clip:05d}/{clip:05d}"
    frames = zip(_CLIP_FRAMES, _frames(portrait, image, shares), strict=True)
    images = tuple((f"{stem}_{number:05d}.jpg", image_bytes(face.image)) for number, face in frames)
    return Drawing(images=images, rows=tuple(rows))


def _subject(image: PlannedImage) -> str:
    return f"S{5 + (image.person or 0):03d}"


def _frames(portrait: Portrait, image: PlannedImage, shares: Sequence[float]) -> list[DrawnFace]:
    camera = aligned_camera(portrait, image.size)
    return [render(grow(portrait, share), camera) for share in shares]


CLIP_TREES: Mapping[str, Recipe] = {
    CKPLUS_SEQUENCES.name: Recipe(
        layout=CKPLUS_SEQUENCES,
        draw=_draw_ckplus,
        folders=(),
        people=range(118),
        frames=4,  # of six: the first, which is neutral, and the last three
        resting=1,
        weights={"train": [LABELLED.get(name, 0) for name in CKPLUS]},
    ),
    CKPLUS_48.name: Recipe(
        layout=CKPLUS_48,
        draw=_draw_ckplus_48,
        folders=(),
        people=range(118),
        frames=3,
        weights={"train": [LABELLED[name] for name in CKPLUS_48.classes]},
    ),
    AFFWILD2_LAYOUT.name: Recipe(
        layout=AFFWILD2_LAYOUT,
        draw=_draw_affwild2,
        folders=(),
        frames=_VIDEO.count(""),
        weights={"train": (740, 80, 40, 40, 410, 330, 120, 700), "val": (200, 30, 30, 30, 80, 50, 30, 250)},
    ),
    DFEW_LAYOUT.name: Recipe(
        layout=DFEW_LAYOUT,
        draw=_draw_dfew,
        folders=(),
        headers={f"EmoLabel_DataSplit/{split}(single-labeled)": "video_name,label" for split in ("train", "test")},
        frames=len(_CLIP_FRAMES),
        weights={"train": (1929, 1543, 2122, 1736, 1157, 97, 772), "test": (482, 386, 531, 434, 290, 25, 193)},
    ),
}
