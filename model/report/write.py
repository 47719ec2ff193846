"""The report of a run: one page that holds everything it shows, to be kept or sent.

In: a run's folder, figures, settings. Out: ``curves.png``, ``confusion.png``, ``result.json`` and ``report.html``.
"""

import base64
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ferdata.format import DatasetIndex
from ferdata.shown import html_text
from ferdata.store import Store
from model.options import TrainOptions
from model.report.page import PAGE, STYLE
from model.report.plots import draw_confusion, draw_curves
from model.report.scores import Mistake, SplitScores
from model.run.disk import naming, write_json
from model.run.folder import read_environment, read_metrics
from model.run.result import TrainResult

__all__ = ["write_report"]


def write_report(path: Path, result: TrainResult, options: TrainOptions, index: DatasetIndex, mistakes: Sequence[Mistake]) -> None:
    """Write a run's pictures, figures and page.

    Args:
        path: The run's folder.
        result: The figures.
        options: The settings.
        index: Of the data set.
        mistakes: Of the main split, surest first.
    """
    curves = draw_curves(read_metrics(path))
    main = result.scores[result.main_split]
    title = f"{result.main_split}: {main.accuracy:.1%} of {main.samples:,} right"
    confusion = draw_confusion(result.confusion, result.classes, title=title)
    store = Store(path)
    page = _page(result, options, index, mistakes, read_environment(path), curves, confusion)
    for name, data in (("curves.png", curves), ("confusion.png", confusion), ("report.html", page.encode())):
        with naming(path / name), store.write_atomic(name) as file:
            file.write(data)
    write_json(path / "result.json", result.to_json())


def _page(
    result: TrainResult,
    options: TrainOptions,
    index: DatasetIndex,
    mistakes: Sequence[Mistake],
    environment: dict[str, Any],
    curves: bytes,
    confusion: bytes,
) -> str:
    height, width = index.spec.shape[1:] if options.size is None else (options.size, options.size)
    samples = ", ".join(f"{scores.samples:,} {split}" for split, scores in result.scores.items())
    lead = (
        f"{html_text(result.model)} with {result.parameters:,} parameters, {result.epochs} epochs on {html_text(index.source)} "
        f"at {width} x {height} ({samples}); best after epoch {result.best_epoch + 1}."
    )
    return PAGE.format(
        style=STYLE,
        title=html_text(Path(result.run).name),
        lead=lead,
        cards=_cards(result),
        notes="".join(f"<p class='note'>{html_text(note)}</p>" for note in result.notes),
        curves=_data_url(curves),
        confusion=_data_url(confusion),
        main=html_text(result.main_split),
        classes=_class_table(result),
        splits=_split_table(result),
        mistakes=_mistake_grid(mistakes, result),
        settings=_settings_table(options.to_json()),
        environment=_settings_table(environment),
    )


def _cards(result: TrainResult) -> str:
    main = result.scores[result.main_split]
    cards = [(f"{value:.1%}", f"{split} accuracy") for split, value in reversed(result.accuracy.items())]
    cards.sort(key=lambda card: not card[1].startswith(result.main_split))
    cards.insert(1, (f"{result.balanced_accuracy:.1%}", f"{result.main_split} balanced accuracy"))
    cards += [(f"{value:.2f}", f"{name} CCC") for name, value in main.ccc.items() if value is not None]
    cards += [
        (f"{result.images_per_second:,.0f}", "images/s in training"),
        (f"{result.data_wait_share:.1%}", "of the time waiting for data"),
    ]
    return "".join(f"<div class='card'><b>{value}</b><span>{html_text(text)}</span></div>" for value, text in cards)


def _class_table(result: TrainResult) -> str:
    main = result.scores[result.main_split]
    rows = []
    for number, name in enumerate(result.classes):
        cells = "".join(_bar(column[number]) for column in (main.recall, main.precision, main.f1))
        rows.append(f"<tr><th>{html_text(name)}</th><td class='n'>{main.support[number]:,}</td>{cells}</tr>")
    head = "<tr><th>class</th><th class='n'>samples</th><th>recall</th><th>precision</th><th>F1</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _bar(value: float | None) -> str:
    if value is None:
        return "<td class='none'>none</td>"
    return f"<td><div class='bar'><i style='width:{value:.1%}'></i><span>{value:.1%}</span></div></td>"


def _split_table(result: TrainResult) -> str:
    columns: list[tuple[str, Any]] = [
        ("samples", lambda scores: f"{scores.samples:,}"),
        ("accuracy", lambda scores: f"{scores.accuracy:.1%}"),
        ("balanced", lambda scores: f"{scores.balanced_accuracy:.1%}"),
        ("macro F1", lambda scores: f"{scores.macro_f1:.1%}"),
        ("loss", lambda scores: f"{scores.loss:.3f}"),
    ]
    for kind in ("ccc", "rmse"):
        names = list(getattr(result.scores[result.main_split], kind))
        columns += [(f"{name} {kind.upper()}", _feeling(kind, name)) for name in names]
    head = "".join(f"<th class='n'>{html_text(name)}</th>" for name, _ in columns)
    rows = [
        f"<tr><th>{html_text(split)}</th>{''.join(f'<td class=n>{show(scores)}</td>' for _, show in columns)}</tr>"
        for split, scores in result.scores.items()
    ]
    return f"<table><thead><tr><th>split</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _feeling(kind: str, name: str) -> Any:
    def show(scores: SplitScores) -> str:
        value = getattr(scores, kind).get(name)
        return "none" if value is None else f"{value:.3f}"

    return show


def _mistake_grid(mistakes: Sequence[Mistake], result: TrainResult) -> str:
    if not mistakes:
        return "<p>None: every image was classified rightly.</p>"
    cells = [
        f"<figure><img src='{_data_url(_thumbnail(mistake.image))}' alt='{html_text(mistake.key)}' title='{html_text(mistake.key)}'>"
        f"<figcaption><b>{html_text(result.classes[mistake.predicted])}</b> {mistake.confidence:.0%}<br>"
        f"is {html_text(result.classes[mistake.actual])}</figcaption></figure>"
        for mistake in mistakes
    ]
    return f"<div class='grid'>{''.join(cells)}</div>"


def _settings_table(values: dict[str, Any]) -> str:
    rows = [f"<tr><th>{html_text(name)}</th><td>{html_text(_shown(value))}</td></tr>" for name, value in values.items()]
    return f"<table class='settings'><tbody>{''.join(rows)}</tbody></table>"


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(str(part) for part in value) or "none"
    return str(value)


def _thumbnail(image: np.ndarray) -> bytes:
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    picture.thumbnail((192, 192))
    buffer = BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
