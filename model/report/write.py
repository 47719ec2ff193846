"""The report of a run: one page that holds everything it shows, to be kept or sent.

In: a run's folder, figures, settings. Out: ``curves.png``, ``confusion.png``, ``result.json`` and ``report.html``.
"""

from collections.abc import Sequence
from pathlib import Path

from ferdata.format import DatasetIndex
from ferdata.store import Store
from ferdata.training.options import TrainOptions
from ferdata.training.report.plots import draw_confusion, draw_curves
from ferdata.training.report.render import TEMPLATES, render_page
from ferdata.training.report.scores import Mistake, SplitScores
from ferdata.training.run.disk import naming, write_json
from ferdata.training.run.film import read_film
from ferdata.training.run.folder import read_environment, read_metrics
from ferdata.training.run.result import TrainResult

__all__ = ["write_report"]


def write_report(
    path: Path, result: TrainResult, options: TrainOptions, index: DatasetIndex, mistakes: Sequence[Mistake]
) -> None:
    """Write a run's pictures, figures and page.

    Args:
        path: The run's folder.
        result: The figures.
        options: The settings.
        index: Of the data set.
        mistakes: Of the main split, surest first.
    """
    curves = draw_curves(read_metrics(path))
    held_out = [split for split in ("val", "test") if split in result.scores]
    splits = held_out if len(held_out) > 1 else [result.main_split]
    confusions = {split: _draw_confusion(result, split) for split in splits}
    height, width = options.input_size(index.spec.shape)
    page = render_page(
        TEMPLATES / "run.html",
        title=path.name,
        result=result,
        source=index.source,
        height=height,
        width=width,
        cards=_cards(result),
        rows=_rows(result),
        curves=curves,
        confusions=confusions,
        turned={split: _draw_confusion(result, split, by="predicted") for split in held_out if len(held_out) > 1},
        mistakes=mistakes,
        film=read_film(path, options.epochs) if options.watch else [],
        settings=options.to_json(),
        environment=read_environment(path),
    )
    store = Store(path)
    confusion = confusions[result.main_split]
    for name, data in (("curves.png", curves), ("confusion.png", confusion), ("report.html", page.encode())):
        with naming(path / name), store.write_atomic(name) as file:
            file.write(data)
    write_json(path / "result.json", result.to_json())


def _draw_confusion(result: TrainResult, split: str, *, by: str = "actual") -> bytes:
    scores = result.scores[split]
    title = f"{split}: {scores.accuracy:.1%} of {scores.samples:,} right"
    return draw_confusion(scores.confusion, result.classes, title=title, by=by)


def _rows(result: TrainResult) -> list[tuple[str, SplitScores]]:
    """Return the figures of every split, and below each those of every data set if there are several."""
    rows: list[tuple[str, SplitScores]] = []
    for split, scores in result.scores.items():
        rows += [
            (split, scores),
            *((f"{split}: {name}", one) for name, one in result.set_scores.get(split, {}).items()),
        ]
    return rows


def _cards(result: TrainResult) -> list[tuple[str, str]]:
    """Return figures and what they are, those of the main split first."""
    splits = sorted(reversed(result.accuracy), key=lambda split: split != result.main_split)
    accuracies = [(f"{result.accuracy[split]:.1%}", f"{split} accuracy") for split in splits]
    return [
        accuracies[0],
        (f"{result.balanced_accuracy:.1%}", f"{result.main_split} balanced accuracy"),
        *(
            (f"{scores.accuracy:.1%}", f"{result.main_split} accuracy on {name}")
            for name, scores in result.set_scores.get(result.main_split, {}).items()
        ),
        *accuracies[1:],
        *(
            (f"{value:.2f}", f"{name} CCC")
            for name, value in result.scores[result.main_split].ccc.items()
            if value is not None
        ),
        (f"{result.images_per_second:,.0f}", "images/s in training"),
        (f"{result.data_wait_share:.1%}", "of the time waiting for data"),
    ]
