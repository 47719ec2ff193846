"""Does ``audit`` find what is wrong? Faults are planted among synthetic faces, and looked for.

    python -m ferdata_bench.studies.audit_plants --out docs/figures

In: sizes. Out: ``audit.json``: of copies that were cropped, scaled, compressed, mirrored or made brighter, and of
labels that were changed, how many are found, and how many findings are false. Three minutes on two cores.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from ferdata.audit import Audit, AuditOptions, audit
from ferdata.images.transform import TransformOptions
from ferdata.ingest import IngestOptions, ingest
from ferdata.plan.conditions import describe_machine
from ferdata.synth import write_synthetic
from ferdata.training.run.disk import write_json

__all__ = ["PlantOptions", "Planted", "judge", "plant", "run_study"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantOptions:
    """Sizes of the study.

    Attributes:
        images: Images drawn.
        size: Their side.
        copies: Copies planted, of all kinds together.
        flipped: Share of the labels that are changed.
        seed: Of everything.
    """

    images: int = 4000
    size: int = 112
    copies: int = 200
    flipped: float = 0.05
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """What was planted: (copy, original) -> kind, and the images whose labels were changed; all as paths."""

    copies: dict[tuple[str, str], str]
    flipped: set[str]


def _crop(image: Image.Image, draw: np.random.Generator) -> Image.Image:
    side = int(image.width * draw.uniform(0.86, 0.96))
    x, y = (int(place) for place in draw.integers(0, image.width - side + 1, 2))
    return image.crop((x, y, x + side, y + side)).resize(image.size, Image.Resampling.BICUBIC)


def _scale(image: Image.Image, draw: np.random.Generator) -> Image.Image:
    side = int(image.width * draw.uniform(0.4, 0.7))
    return image.resize((side, side), Image.Resampling.LANCZOS).resize(image.size, Image.Resampling.BICUBIC)


def _brighten(image: Image.Image, draw: np.random.Generator) -> Image.Image:
    brighter = ImageEnhance.Brightness(image).enhance(float(draw.choice([0.7, 0.8, 1.2, 1.3])))
    return ImageEnhance.Contrast(brighter).enhance(float(draw.uniform(0.85, 1.15)))


KINDS: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "crop": _crop,
    "scale": _scale,
    "jpeg": lambda image, draw: image,
    "mirror": lambda image, draw: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "brightness": _brighten,
}
"""Each copy is compressed again, as whatever is passed on is; the one called ``jpeg`` much more."""


def plant(tree: Path, options: PlantOptions) -> Planted:
    """Plant copies and wrong labels in a synthetic AffectNet tree."""
    draw = np.random.default_rng(options.seed)
    images = sorted((tree / "train_set/images").iterdir(), key=lambda path: int(path.stem))
    chosen = draw.permutation(len(images))[: options.copies]
    number, copies = max(int(path.stem) for path in images), {}
    for count, place in enumerate(chosen):
        original, number = images[place], number + 1
        kind = list(KINDS)[count % len(KINDS)]
        quality = int(draw.integers(15, 50)) if kind == "jpeg" else 85
        with Image.open(original) as image:
            KINDS[kind](image.convert("RGB"), draw).save(original.with_name(f"{number}.jpg"), quality=quality)
        for note in (tree / "train_set/annotations").glob(f"{original.stem}_*.npy"):
            shutil.copy(note, note.with_name(note.name.replace(original.stem, str(number), 1)))
        copies[f"train_set/images/{number}.jpg", f"train_set/images/{original.name}"] = kind
    flipped = set()
    for place in draw.permutation(len(images))[: int(options.flipped * len(images))]:
        note = tree / f"train_set/annotations/{images[place].stem}_exp.npy"
        label = (int(np.load(note)) + int(draw.integers(1, 8))) % 8
        buffer = BytesIO()
        np.save(buffer, np.array(str(label)))
        note.write_bytes(buffer.getvalue())
        flipped.add(f"train_set/images/{images[place].name}")
    return Planted(copies=copies, flipped=flipped)


def judge(found: Audit, planted: Planted) -> dict[str, Any]:
    """Return how many of the planted faults were found, and how many findings are false."""
    paths = found.survey.table.column("path").to_pylist()
    pairs = {
        frozenset((paths[row.sample], paths[row.other]))
        for finding in found.findings
        for row in finding.rows
        if row.other is not None
    }
    wanted = {frozenset(pair): kind for pair, kind in planted.copies.items()}
    by_kind = {kind: sum(wanted[pair] == kind for pair in pairs if pair in wanted) for kind in KINDS}
    labels = next(finding for finding in found.findings if finding.name == "suspicious-label")
    suspicious = [paths[row.sample] for row in labels.rows]
    return {
        "samples": len(paths),
        "copies": {
            "planted": len(wanted),
            "found": sum(by_kind.values()),
            "by_kind": by_kind,
            "false": len(pairs - wanted.keys()),
        },
        "labels": {
            "changed": len(planted.flipped),
            "listed": len(suspicious),
            "found": len(planted.flipped & set(suspicious)),
            **{
                key: value for each in found.findings if "recall" in each.figures for key, value in each.figures.items()
            },
        },
    }


def run_study(
    options: PlantOptions, folder: Path, *, say: Callable[[str], None] = print, steps: int | None = None
) -> tuple[Audit, dict[str, Any]]:
    """Draw, plant, convert and audit; return the audit and what :func:`judge` says of it.

    Args:
        options: Sizes.
        folder: Where the tree and the shards go.
        say: Called with progress.
        steps: As in :class:`AuditOptions`.
    """
    tree, shards = folder / "tree", folder / "shards"
    say(f"drawing {options.images:,} faces")
    write_synthetic("affectnet", str(tree), count=options.images, size=options.size, seed=options.seed)
    planted = plant(tree, options)
    images = TransformOptions(size=options.size)
    ingest(IngestOptions(source="affectnet", src=str(tree), out=str(shards), transform=images))
    say("auditing")
    found = audit(AuditOptions(shards=str(shards), src=str(tree), steps=steps, seed=options.seed))
    return found, {"conditions": {**describe_machine(), **asdict(options)}, **judge(found, planted)}


def main() -> None:
    """Read the command line, run the study, write the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m ferdata_bench.studies.audit_plants", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for audit.json")
    for name, value in asdict(PlantOptions()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    given = vars(parser.parse_args())
    out: Path = given.pop("out")
    with tempfile.TemporaryDirectory(prefix="ferdata-study-") as folder:
        _, record = run_study(PlantOptions(**given), Path(folder))
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "audit.json", record)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
