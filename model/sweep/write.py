"""What a sweep leaves in its folder beside its runs: a page, a table, every figure, and TensorBoard's hyper-parameters.

In: a :class:`SweepResult`. Out: ``sweep.html``, ``runs.csv``, ``result.json`` and ``tensorboard/``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ferdata.optional import needs
from ferdata.store import Store
from ferdata.training.run.disk import write_json
from ferdata.training.run.folder import read_metrics
from ferdata.training.sweep.result import Group, SweepResult, text_of
from ferdata.training.sweep.trials import RUNS_NAME

with needs("train", "sweep", "tensorboard", "matplotlib", "jinja2"):
    from ferdata.training.report.render import TEMPLATES, render_page
    from ferdata.training.sweep.plots import draw_curves_of, draw_effects, draw_importance, draw_parallel

__all__ = ["PAGE_NAME", "write_sweep"]

PAGE_NAME = "sweep.html"
TABLE_NAME = "runs.csv"
EVENTS_NAME = "tensorboard"


def write_sweep(result: SweepResult, folder: Path) -> None:
    """Write everything; what was there of the same sweep is replaced.

    Raises:
        TrainError, StoreError: If the folder cannot be written.
    """
    whole = [group for group in result.groups if group.mean is not None]
    curves = [(shown(group.settings), values) for group in whole if (values := _curve(folder, group))]
    pictures = {
        "effects": draw_effects(whole, result.spec.vary),
        "parallel": draw_parallel(whole, result.spec.vary) if len(result.spec.vary) > 1 and len(whole) > 1 else None,
        "curves": draw_curves_of(curves) if curves else None,
        "importance": draw_importance(result.importance) if result.importance else None,
    }
    page = render_page(
        TEMPLATES / "sweep.html",
        title=result.spec.title or f"Sweep over {', '.join(_word(name) for name in result.spec.vary)}",
        result=result,
        names={name: _word(name) for name in result.spec.vary},
        rows=[(group, {split: _mean(group.figures(split)) for split in result.splits[1:]}) for group in result.groups],
        fixed={_word(name): value for name, value in result.spec.train.items()},
        pictures=pictures,
    )
    store = Store(folder)
    for name, data in ((TABLE_NAME, result.table()), (PAGE_NAME, page)):
        with store.write_atomic(name) as file:
            file.write(data.encode())
    write_json(folder / "result.json", result.to_json())
    _write_events(result, folder / EVENTS_NAME)


def shown(settings: Mapping[str, Any]) -> str:
    """Return settings in a few words."""
    return ", ".join(f"{_word(name)} {text_of(value)}" for name, value in settings.items())


def _word(name: str) -> str:
    return name.replace("pretrain.", "pre-training ").replace("_", " ")


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _curve(folder: Path, group: Group) -> list[float]:
    """Return the mean accuracy on val over the seeds after each epoch; empty without a val split."""
    lines = [
        [line["val"]["accuracy"] for line in read_metrics(folder / RUNS_NAME / run.name) if "val" in line]
        for run in group.runs
    ]
    length = min(map(len, lines), default=0)
    return [float(value) for value in np.mean([line[:length] for line in lines], 0)] if length else []


def _write_events(result: SweepResult, folder: Path) -> None:
    """Write each run's settings and accuracy for TensorBoard's page of hyper-parameters."""
    from torch.utils.tensorboard import SummaryWriter

    for old in folder.rglob("events.out.tfevents.*") if folder.is_dir() else ():
        old.unlink()
    for run in (run for group in result.groups for run in group.runs):
        if run.result is None:
            continue
        settings = {
            name: value if isinstance(value, bool | int | float | str) else text_of(value)
            for name, value in run.settings.items()
        }
        figures = {f"accuracy/{split}": value for split, value in run.result["accuracy"].items()}
        with SummaryWriter(str(folder / run.name)) as writer:
            writer.add_hparams({**settings, "seed": run.seed}, figures, run_name=".")
