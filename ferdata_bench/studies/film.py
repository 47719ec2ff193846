"""Draws a film of one person whose expression changes every second, for what reads films.

    python -m ferdata_bench.studies.film --out film.mp4

In: a path. Out: an H.264 video without sound. What it shows when is printed.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from PIL import Image

from ferdata.labels import AFFECTNET_8
from ferdata.synth.face.face import render
from ferdata.synth.face.framing import crop_camera
from ferdata.synth.face.people import sample_portrait
from ferdata.training.prediction.frames import writing

__all__ = ["LABELS", "draw_frames"]

LABELS = (1, 6, 2, 0)
"""AffectNet's ids, in the order in which they are shown."""

SIZE = (640, 480)
FACE_SIDE = 240
FRAMES_PER_SECOND = 10


def draw_frames(seed: int) -> Iterator[tuple[int, Image.Image]]:
    """Yield each frame and the label it shows: one person, who moves to the right."""
    rest = sample_portrait(0, seed)
    for number in range(len(LABELS) * FRAMES_PER_SECOND):
        label = LABELS[number // FRAMES_PER_SECOND]
        portrait = replace(rest, label=label, expression=sample_portrait(label, seed + number // 3).expression)
        picture = Image.new("RGB", SIZE, (120, 110, 100))
        picture.paste(render(portrait, crop_camera(portrait, FACE_SIDE)).image, (40 + 8 * number, 120))
        yield label, picture


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(
        prog="python -m ferdata_bench.studies.film", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="video to write, .mp4")
    parser.add_argument("--seed", type=int, default=24, help="another person")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with writing(str(given.out), SIZE) as write:
        for number, (_, image) in enumerate(draw_frames(given.seed)):
            write(image, number / FRAMES_PER_SECOND)
    print(f"{given.out}: {', '.join(AFFECTNET_8[label] for label in LABELS)}, a second each")


if __name__ == "__main__":
    main()
