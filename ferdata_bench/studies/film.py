"""Draws a film of one person whose expression changes every second, for what reads films.

    python -m ferdata_bench.studies.film --out film.mp4

In: a path. Out: an H.264 video without sound. What it shows when is printed.
"""

import argparse
from pathlib import Path

from ferdata.labels import AFFECTNET_8
from ferdata.synth import draw_film
from ferdata.training.prediction.frames import writing

__all__ = ["write_film"]

_LABELS = (1, 6, 2, 0)
"""AffectNet's ids, in the order in which they are shown."""

_SIZE = (640, 480)
_FRAMES_PER_SECOND = 10


def write_film(path: Path, seed: int) -> None:
    """Write the film of a person; another seed is another one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(str(path), _SIZE) as write:
        for frame in draw_film(_LABELS, seed, size=_SIZE, frames_per_second=_FRAMES_PER_SECOND):
            write(frame.image, frame.seconds)


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(
        prog="python -m ferdata_bench.studies.film", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="video to write, .mp4")
    parser.add_argument("--seed", type=int, default=5, help="another person")
    given = parser.parse_args()
    write_film(given.out, given.seed)
    print(f"{given.out}: {', '.join(AFFECTNET_8[label] for label in _LABELS)}, a second each")


if __name__ == "__main__":
    main()
