"""Does pre-training on RAF-DB help on AffectNet? Both ways of starting, several seeds each, on synthetic faces.

    python -m ferdata_bench.studies.pretraining --out docs

In: sizes. Out: ``pretraining.png`` (validation accuracy by epoch, mean and range over seeds) and ``pretraining.json``.
The answer holds for the synthetic faces: it shows that going on from another data set's run works, not what it is worth
on photographs. About five minutes on two cores with the defaults.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ferdata.images.transform import TransformOptions
from ferdata.ingest import IngestOptions, ingest
from ferdata.plan.conditions import describe_machine
from ferdata.synth import write_synthetic
from ferdata.training.options import TrainOptions
from ferdata.training.report.callouts import label_ends
from ferdata.training.report.style import (
    DOCUMENT_DPI,
    MUTED,
    SMALL,
    TRAIN_COLOR,
    VAL_COLOR,
    WIDTH,
    new_figure,
    png_bytes,
    style_axes,
    styled,
)
from ferdata.training.run.disk import write_json
from ferdata.training.run.folder import read_metrics
from ferdata.training.trainer import train

__all__ = ["StudyOptions", "draw_study", "run_study"]

SCRATCH, PRETRAINED, FROZEN = "from scratch", "pre-trained on RAF-DB", "pre-trained, body frozen"
COLORS = {SCRATCH: VAL_COLOR, PRETRAINED: TRAIN_COLOR, FROZEN: MUTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions:
    """Sizes of the study.

    Attributes:
        rafdb_images: Synthetic RAF-DB images, in train and test together.
        affectnet_images: Synthetic AffectNet images, in train and val: few, since that is when a start matters.
        size: Height and width.
        model: The network.
        pretrain_epochs: Epochs on RAF-DB.
        epochs: Epochs on AffectNet.
        batch_size: Samples of a step.
        seeds: Number of seeds.
        num_workers: Processes for drawing, sharding and loading.
    """

    rafdb_images: int = 6000
    affectnet_images: int = 2000
    size: int = 64
    model: str = "basic1"
    pretrain_epochs: int = 8
    epochs: int = 8
    batch_size: int = 32
    seeds: int = 3
    num_workers: int = 2


def run_study(options: StudyOptions, folder: Path, *, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Train in every way and return the accuracies.

    Args:
        options: Sizes.
        folder: Where data and runs go.
        say: Called with progress.

    Returns:
        ``conditions``; ``head``, what became of the trained head; ``curves``: way -> accuracy on val ``[seed][epoch]``.
    """
    rafdb = _shards("rafdb", options.rafdb_images, options, folder, say)
    affectnet = _shards("affectnet", options.affectnet_images, options, folder, say)
    workers, out = min(1, options.num_workers), str(folder / "runs")
    base = TrainOptions(model=options.model, batch_size=options.batch_size, num_workers=workers, out=out)
    curves: dict[str, list[list[float]]] = {way: [] for way in COLORS}
    head = ""
    for seed in range(options.seeds):
        start = train(replace(base, shards=rafdb, seed=seed, epochs=options.pretrain_epochs, name=f"rafdb-{seed}")).run
        scratch = replace(base, shards=affectnet, seed=seed, epochs=options.epochs, name=f"scratch-{seed}")
        ways = {
            SCRATCH: scratch,
            PRETRAINED: replace(scratch, init_from=start, name=f"pretrained-{seed}"),
            FROZEN: replace(scratch, init_from=start, freeze="backbone", name=f"frozen-{seed}"),
        }
        for way, settings in ways.items():
            result = train(settings)
            head = next((note.split(": ", 1)[1] for note in result.notes if note.startswith("started from")), head)
            curve = [line["val"]["accuracy"] for line in read_metrics(Path(result.run)) if line["kind"] == "epoch"]
            curves[way].append(curve)
            say(f"seed {seed}, {way}: {', '.join(f'{value:.3f}' for value in curve)}")
    return {"conditions": {**describe_machine(), **asdict(options)}, "head": head, "curves": curves}


@styled
def draw_study(record: dict[str, Any]) -> bytes:
    """Return a PNG of what :func:`run_study` found."""
    figure = new_figure(WIDTH, 3.6)
    axes = figure.subplots()
    ends = []
    for way, runs in record["curves"].items():
        accuracies = np.array(runs)
        epochs = np.arange(1, accuracies.shape[1] + 1)
        mean = accuracies.mean(0)
        axes.fill_between(epochs, accuracies.min(0), accuracies.max(0), color=COLORS[way], alpha=0.15, linewidth=0)
        axes.plot(epochs, mean, color=COLORS[way], marker="o")
        ends.append((f"{way}\n{mean[-1]:.1%}", epochs[-1], mean[-1], COLORS[way]))
    sizes = record["conditions"]
    title = f"Synthetic AffectNet, {sizes['affectnet_images']:,} images of {sizes['size']} px: accuracy on val"
    style_axes(axes, title=title, x_label="epoch", percent=True)
    text = (
        f"{sizes['model']}; mean of {sizes['seeds']} seeds, and their range; RAF-DB: {sizes['rafdb_images']:,} images"
    )
    figure.supxlabel(text, fontsize=SMALL, color=MUTED)
    label_ends(axes, ends)
    return png_bytes(figure, dpi=DOCUMENT_DPI)


def _shards(source: str, count: int, options: StudyOptions, folder: Path, say: Callable[[str], None]) -> str:
    tree, out = folder / f"{source}-tree", folder / f"{source}-shards"
    say(f"drawing {count:,} faces as {source}")
    write_synthetic(source, str(tree), count=count, size=options.size, num_workers=options.num_workers)
    images, workers = TransformOptions(size=options.size), options.num_workers
    ingest(IngestOptions(source=source, src=str(tree), out=str(out), transform=images, num_workers=workers))
    return str(out)


def main() -> None:
    """Read the command line, run the study, write picture and figures."""
    plain = StudyOptions()
    parser = argparse.ArgumentParser(
        prog="python -m ferdata_bench.studies.pretraining", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for pretraining.png and pretraining.json")
    for name, value in asdict(plain).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    given = vars(parser.parse_args())
    out: Path = given.pop("out")
    with tempfile.TemporaryDirectory(prefix="ferdata-study-") as folder:
        record = run_study(StudyOptions(**given), Path(folder))
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "pretraining.json", record)
    (out / "pretraining.png").write_bytes(draw_study(record))
    means = {way: np.array(runs).mean(0).round(3).tolist() for way, runs in record["curves"].items()}
    print(json.dumps(means))


if __name__ == "__main__":
    main()
