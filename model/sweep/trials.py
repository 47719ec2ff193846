"""The runs of a sweep: which settings, under which name, and what became of each.

In: a spec and a folder. Out: :class:`Trial` values, the same in every process; results are read from the runs' folders.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ferdata.errors import TrainError
from ferdata.training.options import TrainOptions
from ferdata.training.run.attempts import AUTO
from ferdata.training.run.disk import read_json
from ferdata.training.sweep.spec import PRETRAIN, Range, SweepSpec

__all__ = ["RUNS_NAME", "Trial", "grid", "pretraining", "read_result", "trials_of"]

RUNS_NAME = "runs"
_LONGEST_SLUG = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One run of a sweep.

    Attributes:
        name: Of its folder.
        settings: What is varied, by name.
        options: Of the trainer.
        after: Name of the run whose weights it starts with.
    """

    name: str
    settings: Mapping[str, Any]
    options: TrainOptions
    after: str | None = None


def grid(spec: SweepSpec) -> list[dict[str, Any]]:
    """Return every combination of the values of a spec without ranges; the first setting varies slowest."""
    values = [each for each in spec.vary.values() if not isinstance(each, Range)]
    return [dict(zip(spec.vary, each, strict=True)) for each in itertools.product(*values)]


def trials_of(spec: SweepSpec, settings: Mapping[str, Any], out: Path) -> list[Trial]:
    """Return the runs of one combination of settings, one for each seed.

    Raises:
        OptionError: If the trainer does not take the settings.
    """
    first = pretraining(spec, settings, out)
    own = {name: value for name, value in settings.items() if not name.startswith(PRETRAIN)}
    trials = []
    for seed in spec.seeds:
        name = f"{_slug(settings)}-s{seed}"
        before = {} if first is None else {"init_from": str(out / RUNS_NAME / first.name)}
        trials.append(
            Trial(
                name=name,
                settings=settings,
                options=_options({**spec.train, **own, **before}, out, name, seed),
                after=None if first is None else first.name,
            )
        )
    return trials


def pretraining(spec: SweepSpec, settings: Mapping[str, Any], out: Path) -> Trial | None:
    """Return the run that a combination of settings starts from; None if there is none, or it has no epochs."""
    own = {name.removeprefix(PRETRAIN): value for name, value in settings.items() if name.startswith(PRETRAIN)}
    if not own or own.get("epochs") == 0:
        return None
    name = f"pretrain-{_slug(own)}"
    inherited = {key: value for key, value in spec.train.items() if key in ("model", "size", "device", "num_workers")}
    return Trial(
        name=name, settings=own, options=_options({**inherited, **spec.pretrain, **own}, out, name, spec.seeds[0])
    )


def read_result(out: Path, trial: Trial) -> dict[str, Any] | None:
    """Return what a run came to, if it is finished."""
    folder = out / RUNS_NAME / trial.name
    try:
        result = read_json(folder / "result.json", what="figures")
    except (FileNotFoundError, NotADirectoryError, TrainError):
        return None
    return result if result.get("epochs") == trial.options.epochs else None


def _options(settings: Mapping[str, Any], out: Path, name: str, seed: int) -> TrainOptions:
    known = {each.name for each in fields(TrainOptions)}
    assert set(settings) <= known
    return TrainOptions(**settings, out=str(out / RUNS_NAME), name=name, seed=seed, resume=AUTO)


def _slug(settings: Mapping[str, Any]) -> str:
    """Return a folder's name that says the settings; of many or long ones a digest tells apart what was cut off."""
    texts = [f"{name.replace(PRETRAIN, 'pre-').replace('_', '-')}-{_shown(value)}" for name, value in settings.items()]
    slug = re.sub(r"[^A-Za-z0-9.+-]+", "_", "-".join(texts)).strip("._-")
    if len(slug) <= _LONGEST_SLUG:
        return slug
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True, default=str).encode(), digest_size=4).hexdigest()
    return f"{slug[:_LONGEST_SLUG]}-{digest}"


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value).lower()
