"""Runs on a data set that may be another than theirs: figures of each split, alone or as an ensemble.

In: folders of runs, and shards of any data set; classes are matched by name. Out: an :class:`EvaluationResult`, and on
request a folder with a page, every prediction and pictures of the surest mistakes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ferdata.errors import OptionError
from ferdata.format import DatasetIndex, read_index
from ferdata.parallel import Progress
from ferdata.store import Store, StrPath
from ferdata.stream import Loader, ShardDataset
from ferdata.training.cover import Cover, common_indices, open_covered, read_covers
from ferdata.training.evaluation.ensemble import NO_CLASS, ClassMatch, Ensemble
from ferdata.training.evaluation.options import EvaluateOptions
from ferdata.training.evaluation.result import EvaluationResult, Predictions, SplitEvaluation
from ferdata.training.load import TrainedNetwork, load_run
from ferdata.training.report.certainty import calibrate, intervals
from ferdata.training.report.scores import Mistake, scores_from_confusion
from ferdata.training.run.process_group import find_device

__all__ = ["evaluate"]

SHOWN_MISTAKES = 27
"""As many are kept as a page shows, whatever is asked for in pictures."""


def evaluate(
    options: EvaluateOptions, *, progress: Progress | None = None, networks: Mapping[StrPath, nn.Module] | None = None
) -> EvaluationResult:
    """Measure runs on a data set, each sample once.

    Labels and predictions meet by the names of their classes. A sample whose class no run knows is left out of the
    figures; probabilities of classes that the data set does not have are left out too, and the others scaled to sum 1,
    unless ``all_classes`` keeps them.

    Args:
        options: What to do.
        progress: Called with (samples done, samples).
        networks: Run -> what was given to ``train`` as an object, see :func:`load_run`.

    Raises:
        OptionError: If a split is not there, runs and data set have no class in common, or nothing is left to measure.
        TrainError: If a run cannot be read.

    Example:
        >>> result = ferdata.evaluate(ferdata.EvaluateOptions(runs=["runs/first"], shards="shards/affectnet"))
        >>> result.splits["val"].scores.samples, len(result.classes)
        (32, 8)
    """
    device = find_device(options.device)
    names = tuple(map(str, options.runs))
    given = {str(run): network for run, network in (networks or {}).items()}
    loaded = [load_run(run, network=given.get(run)).to(device) for run in names]
    index = read_index(Store(options.shards))
    splits = _choose_splits(options, index.splits)
    match = ClassMatch.of(index.classes, [network.classes for network in loaded], all_classes=options.all_classes)
    ensemble = Ensemble(loaded, match, vote=options.vote)
    total, done = sum(index.num_samples(split) for split in splits), 0
    found: dict[str, SplitEvaluation] = {}
    left_out: list[str] = []
    for split in splits:
        parts = []
        covers = read_covers(loaded, options.shards, split)
        indices = common_indices(covers)
        left_out += [note for each in dict.fromkeys(covers) if each and (note := each.describe(split))]
        with _open(options, split, device, indices) as loader:
            for batch in loader:
                parts.append(_predict(ensemble, batch, match, covers))
                done += len(parts[-1].keys)
                if progress is not None:
                    progress(done, total)
        shown = open_covered(options.shards, split, covers[0] if len({*covers}) == 1 else None, indices=indices)
        found[split] = _conclude(options, split, _joined(parts), match, shown)
    result = EvaluationResult(
        runs=names,
        shards=str(options.shards),
        source=index.source,
        classes=match.classes,
        splits=found,
        notes=(*_class_notes(match, index, splits), *_transform_notes(names, loaded, index), *left_out),
    )
    if options.out is None:
        return result
    from ferdata.training.evaluation.write import write_evaluation

    page = write_evaluation(result, Path(options.out), pictures=options.pictures, vote=options.vote)
    return replace(result, page=str(page))


def _choose_splits(options: EvaluateOptions, present: Sequence[str]) -> tuple[str, ...]:
    splits = options.splits or tuple(name for name in ("val", "test") if name in present) or tuple(present)
    if missing := [name for name in splits if name not in present]:
        raise OptionError(
            f"splits: {', '.join(missing)} found, expected some of {', '.join(present)}, which {options.shards} has"
        )
    return tuple(dict.fromkeys(splits))


def _open(options: EvaluateOptions, split: str, device: torch.device, indices: np.ndarray | None) -> Loader:
    return Loader(
        options.shards,
        split=split,
        indices=indices,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
        shuffle="none",
        fields=("images", "labels", "valence", "arousal", "keys", "indices"),
        device=device,
        rank=0,
        world_size=1,
    )


def _predict(ensemble: Ensemble, batch: Any, match: ClassMatch, covers: Sequence[Cover | None]) -> Predictions:
    seen = {each: batch.images if each is None else each(batch.images, batch.indices) for each in covers}
    probabilities, predicted, by_run, feelings = ensemble([seen[each] for each in covers])
    labels = torch.tensor(match.labels, device=batch.labels.device)[batch.labels]
    return Predictions(
        keys=tuple(batch.keys),
        actual=labels.cpu().numpy(),
        predicted=predicted.cpu().numpy(),
        by_run=by_run.cpu().numpy(),
        probabilities=probabilities.cpu().numpy(),
        feelings=None if feelings is None else feelings.cpu().numpy(),
        actual_feelings=torch.stack([batch.valence, batch.arousal], 1).cpu().numpy(),
    )


def _joined(parts: Sequence[Predictions]) -> Predictions:
    def joined(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else np.concatenate(values)

    names = (each.name for each in fields(Predictions) if each.name != "keys")
    return Predictions(
        keys=tuple(chain.from_iterable(part.keys for part in parts)), **{name: joined(name) for name in names}
    )


def _conclude(
    options: EvaluateOptions, split: str, found: Predictions, match: ClassMatch, images: ShardDataset
) -> SplitEvaluation:
    counts = found.actual != NO_CLASS
    if not counts.any():
        raise OptionError(
            f"{options.shards}: {split} has no sample of {', '.join(match.classes)}, which the runs know, "
            "expected some; name other splits"
        )
    actual, predicted, probabilities = found.actual[counts], found.predicted[counts], found.probabilities[counts]
    side = len(match.classes)
    confusion = np.bincount(actual * side + predicted, minlength=side * side).reshape(side, side)
    of_label = probabilities[np.arange(len(actual)), actual]
    loss = float(-np.log(np.maximum(of_label.astype(np.float64), np.finfo(np.float32).tiny)).mean())
    sure = probabilities[np.arange(len(actual)), predicted]
    by_run = (found.by_run[counts] == actual[:, None]).mean(0).tolist()
    return SplitEvaluation(
        scores=scores_from_confusion(confusion, loss=loss, moments=_moments(found)),
        intervals=intervals(confusion),
        calibration=calibrate(sure, predicted == actual),
        members=dict(zip(map(str, options.runs), by_run, strict=True)),
        predictions=found,
        mistakes=_surest_mistakes(options, found, images),
    )


def _moments(found: Predictions) -> np.ndarray | None:
    """Return what :func:`scores_from_confusion` takes of valence and arousal, float64 ``[2, 6]``."""
    if found.feelings is None:
        return None
    known = ~np.isnan(found.actual_feelings)
    x, y = found.feelings.astype(np.float64) * known, np.nan_to_num(found.actual_feelings.astype(np.float64))
    moments: np.ndarray = np.stack([known.astype(np.float64), x, y, x * x, y * y, x * y]).sum(1).T
    return moments


def _surest_mistakes(options: EvaluateOptions, found: Predictions, images: ShardDataset) -> tuple[Mistake, ...]:
    sure = found.probabilities[np.arange(len(found.keys)), found.predicted]
    wrong = np.flatnonzero((found.predicted != found.actual) & (found.actual != NO_CLASS))
    chosen = wrong[np.argsort(-sure[wrong], kind="stable")][: max(options.pictures, SHOWN_MISTAKES)]
    return tuple(
        Mistake(
            key=found.keys[number],
            actual=int(found.actual[number]),
            predicted=int(found.predicted[number]),
            confidence=float(sure[number]),
            image=np.asarray(images[number].images).copy(),
        )
        for number in chosen.tolist()
    )


def _class_notes(match: ClassMatch, index: DatasetIndex, splits: Sequence[str]) -> list[str]:
    notes = []
    if match.unknown:
        counts = {
            split: sum(
                count for count, place in zip(index.counts[split], match.labels, strict=True) if place == NO_CLASS
            )
            for split in splits
        }
        shown = ", ".join(f"{count:,} of {split}" for split, count in counts.items())
        notes.append(f"No run knows {', '.join(match.unknown)}: samples of it are left out ({shown}).")
    if match.unasked:
        what = (
            "count as mistakes"
            if set(match.unasked) <= set(match.classes)
            else "are left out, and the other probabilities scaled to sum 1; all_classes keeps them"
        )
        notes.append(f"The data set has no {', '.join(match.unasked)}: predictions of it {what}.")
    return notes


def _transform_notes(names: Sequence[str], networks: Sequence[TrainedNetwork], index: DatasetIndex) -> list[str]:
    """Tell what made the pixels other ones than those a run was trained on, the size apart, which is mended."""
    notes = []
    here = index.transform["settings"]
    for name, network in zip(names, networks, strict=True):
        there = network.transform.get("settings")
        pairs = there.items() if isinstance(there, Mapping) else ()
        other = [f"{key} {here.get(key)} (there {value})" for key, value in pairs if here.get(key) != value]
        if other := [text for text in other if not text.startswith("size ")]:
            notes.append(f"These shards were made otherwise than those of {name}: {', '.join(other)}.")
    return notes
