"""Every setting of a training run, in one value that is written to the run's folder and read back to go on.

In: keyword arguments. Out: a frozen, checked :class:`TrainOptions`.
"""

import math
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ferdata.errors import OptionError, TrainError
from ferdata.parallel import check_workers
from ferdata.place import expand
from ferdata.program import flag
from ferdata.shown import HIDDEN, printable
from ferdata.store import StrPath
from model.nets.networks import TIMM_PREFIX, find_design

__all__ = ["AUGMENTATIONS", "TrainOptions"]

AUGMENTATIONS = ("flip", "crop", "color")

SMALL_IMAGE = 100
"""From this side on, a network as large as mod4 is worth its time."""

MACHINE_FIELDS = ("shards", "num_workers", "memory_bytes", "device", "compile", "accumulate", "checkpoint_steps", "epochs")
"""What may differ between a run and its resumption: where it runs, and how long, but not what is computed."""

_RENAMED = {"deal": "assign"}
"""Settings that a run of an earlier version wrote under another name."""

_LONGEST_NAME = 200
"""Bytes of a run's name: file systems take 255, and temporary files are named after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """Settings of a run; the defaults are a sound start, not the report's.

    Attributes:
        shards: Folder or URL of a data set; may be None only with ``resume``.
        model: ``basic1`` ... ``mod4`` or ``timm:<name>``. None: ``mod4``, or ``basic1`` for images under 100 px.
        pretrained: Start with timm's published weights.
        epochs: Passes over the train split.
        batch_size: Samples of one optimizer step, over all ranks and accumulated micro-batches together.
        accumulate: Micro-batches that a rank's part of a batch is computed in: less memory, the same step.
        optimizer: ``adam``, ``adamw`` or ``sgd``.
        lr: Highest learning rate.
        momentum: Of SGD, or Adam's first beta. None: what the model's design says for SGD, 0.9 for Adam.
        weight_decay: Coupled for ``adam`` and ``sgd``, decoupled for ``adamw``.
        schedule: ``constant`` or ``cosine`` (down to zero).
        warmup: Share of all steps over which the learning rate rises from zero.
        loss: ``mean`` or ``sum`` over a batch. None: what the model's design says.
        class_weights: Weigh each class's loss by the inverse of its frequency.
        sampling: ``balanced`` over classes, ``uniform`` (every sample once an epoch), or a weight per class name. None: ``balanced``, or
            ``uniform`` with ``class_weights``.
        dropout: Share of features left out before the last layer. None: what the model's design says.
        label_smoothing: Share of the target spread over all classes.
        valence_arousal: Train a second head for valence and arousal where the samples have them.
        va_weight: Weight of its loss.
        augment: Names out of ``flip``, ``crop`` and ``color``.
        size: Height and width to train at. None: the shards' own.
        limit: Train on this many samples of the train split, the same ones in every epoch, each class with its share.
        amp: ``off``, ``bf16`` or ``fp16``.
        channels_last: Keep images channels-last in memory.
        compile: Run the network through ``torch.compile``.
        init_from: A run, or a checkpoint file, whose weights to start with.
        freeze: Train the heads only.
        seed: Of the weights, the order, the augmentation and dropout.
        num_workers: Loader processes of each rank. None: one per core, at most 8.
        memory_bytes: Bound of each loader's ring.
        assign: ``rows``: ranks train on their rows of one process's batches. ``windows``: each rank reads windows of its own.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<n>``.
        checkpoint_steps: Write a checkpoint every so many steps, beside the one after every epoch; 0 for never.
        out: Folder of runs.
        name: Of the run's folder. None: model, data set and time.
        resume: A run to go on with, which keeps its own settings; ``auto``: the newest unfinished one of ``out`` (and ``name``), if any.
    """

    shards: StrPath | None = None
    model: str | None = None
    pretrained: bool = False
    epochs: int = 10
    batch_size: int = 32
    accumulate: int = 1
    optimizer: str = "adamw"
    lr: float = 1e-3
    momentum: float | None = None
    weight_decay: float = 0.01
    schedule: str = "cosine"
    warmup: float = 0.05
    loss: str | None = None
    class_weights: bool = False
    sampling: str | Mapping[str, float] | None = None
    dropout: float | None = None
    label_smoothing: float = 0.0
    valence_arousal: bool = False
    va_weight: float = 1.0
    augment: tuple[str, ...] = ("flip", "crop")
    size: int | None = None
    limit: int | None = None
    amp: str = "off"
    channels_last: bool = False
    compile: bool = False
    init_from: StrPath | None = None
    freeze: bool = False
    seed: int = 0
    num_workers: int | None = None
    memory_bytes: int = 1 << 30
    assign: str = "rows"
    device: str = "auto"
    checkpoint_steps: int = 500
    out: StrPath = "runs"
    name: str | None = None
    resume: StrPath | None = None

    def __post_init__(self) -> None:
        for name in ("shards", "init_from", "out", "resume"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, expand(getattr(self, name)))
        if self.model is not None:
            find_design(self.model)
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise OptionError(f"{name}: {getattr(self, name)!r} found, expected one of {', '.join(filter(None, allowed))}")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                expected = f"{low:,} to {high:,}" if math.isfinite(high) else f"at least {low}"
                raise OptionError(f"{name}: {value} found, expected {expected}")
        check_workers(self.num_workers, least=0)
        if not self.lr > 0:
            raise OptionError(f"lr: {self.lr} found, expected above 0")
        unknown = [name for name in self.augment if name not in AUGMENTATIONS]
        if unknown or len(set(self.augment)) != len(self.augment):
            raise OptionError(f"augment: {', '.join(self.augment)} found, expected each of {', '.join(AUGMENTATIONS)} at most once")
        for name in ("out", "resume", "init_from"):
            if "://" in (getattr(self, name) or ""):
                raise OptionError(
                    f"{name}: {getattr(self, name)} found, expected a local folder, since a run is written to all the time; "
                    "copy the run's folder there or from there"
                )
        if self.name is not None and not _is_folder_name(self.name):
            num_bytes = len(os.fsencode(self.name))
            raise OptionError(
                f"name: {self.name[:40]!r} of {num_bytes} bytes found, expected 1 to {_LONGEST_NAME}, as the name of a folder in "
                f"{self.out}: without separators and control characters, and not . or .."
            )
        if self.freeze and not (self.init_from or self.pretrained):
            raise OptionError("freeze: a backbone with fresh weights would stay random, expected init_from or pretrained with it")
        if self.class_weights and self.sampling not in (None, "uniform"):
            raise OptionError(
                f"class_weights with sampling {self.sampling!r}: two remedies for rare classes found, which together weigh them twice, "
                "expected one; leave one out (class weights alone take every sample once an epoch)"
            )
        if self.va_weight != 1.0 and not self.valence_arousal:
            raise OptionError(f"va_weight: {self.va_weight} found without a head that it weighs, expected valence_arousal with it")
        if self.pretrained and self.model is not None and not self.model.startswith(TIMM_PREFIX):
            raise OptionError(f"pretrained: the report's {self.model} has no published weights, expected timm:<name>; use --init-from RUN")
        if self.init_from and self.pretrained:
            raise OptionError("init_from and pretrained: both found, expected one source of weights")

    @property
    def model_name(self) -> str:
        """Name of the network; to be asked once it is chosen."""
        assert self.model is not None
        return self.model

    @property
    def loss_reduction(self) -> str:
        """``mean`` or ``sum``."""
        return self.loss or find_design(self.model_name).loss

    def resolved(self, size: int) -> "TrainOptions":
        """Return the settings with what was left open filled in: the network for images of this size, and the sampling."""
        return replace(
            self,
            model=self.model or ("mod4" if (self.size or size) >= SMALL_IMAGE else "basic1"),
            sampling=self.sampling or ("uniform" if self.class_weights else "balanced"),
        )

    def located(self) -> "TrainOptions":
        """Return the settings with whole paths, which mean the same wherever the run is gone on with."""
        where = {name: getattr(self, name) for name in ("shards", "init_from")}
        return replace(self, **{name: os.path.abspath(path) for name, path in where.items() if path and "://" not in path})

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return asdict(self) | {"sampling": dict(self.sampling) if isinstance(self.sampling, Mapping) else self.sampling}

    @classmethod
    def from_json(cls, record: Mapping[str, Any], where: str) -> "TrainOptions":
        """Return the settings that :meth:`to_json` wrote.

        Raises:
            TrainError: If a setting is missing or unknown.
        """
        try:
            settings = {_RENAMED.get(name, name): value for name, value in record.items()}
            return cls(**{**settings, "augment": tuple(settings["augment"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise TrainError(f"{where}: {error}, expected the settings of this version of ferdata; start a new run") from error

    def resumed(self, saved: "TrainOptions", where: str, given: Collection[str] | None = None) -> "TrainOptions":
        """Return the settings to go on with: the saved ones, with this machine's where they are given.

        Args:
            saved: The run's settings.
            where: The run's folder.
            given: Names of the settings that were asked for. None: all that are not the defaults.

        Raises:
            OptionError: If a setting is given that would change what the run computes, or where it is.
        """
        if given is None:
            plain = TrainOptions()
            given = [field.name for field in fields(self) if getattr(self, field.name) != getattr(plain, field.name)]
        wanted = {name: getattr(self, name) for name in given if name != "resume"}
        kept = {name: getattr(saved, name) for name in wanted}
        folder = Path(where).absolute()
        if "name" in wanted and wanted["name"] != kept["name"]:
            kept["name"] = folder.name
        if "out" in wanted and Path(wanted["out"]).absolute() == folder.parent:
            kept["out"] = wanted["out"]
        # a concordance is that of a micro-batch, so other micro-batches make another loss where valence and arousal are trained
        free = [name for name in MACHINE_FIELDS if name != "accumulate" or not saved.valence_arousal]
        clashing = [
            f"{flag(name)} {value!r} found, expected {kept[name]!r}"
            for name, value in wanted.items()
            if name not in free and value != kept[name]
        ]
        if clashing:
            raise OptionError(
                f"{where}: {'; '.join(clashing)}; a resumed run keeps its settings, or start another with --init-from {where}"
            )
        settings = replace(saved, **{name: value for name, value in wanted.items() if name in MACHINE_FIELDS}, resume=self.resume)
        if HIDDEN in os.fspath(settings.shards or ""):
            raise OptionError(
                f"{where}: the address of its shards was kept without its credentials, expected them again; pass {flag('shards')}"
            )
        return settings


def _is_folder_name(name: str) -> bool:
    is_within = "/" not in name and "\\" not in name and name.strip() not in ("", ".", "..")
    return is_within and printable(name) == name and len(os.fsencode(name)) <= _LONGEST_NAME


_CHOICES: dict[str, tuple[Any, ...]] = {
    "optimizer": ("adam", "adamw", "sgd"),
    "schedule": ("constant", "cosine"),
    "loss": (None, "mean", "sum"),
    "amp": ("off", "bf16", "fp16"),
    "assign": ("rows", "windows"),
}

_RANGES: dict[str, tuple[float, float]] = {
    "epochs": (1, math.inf),
    "batch_size": (1, math.inf),
    "accumulate": (1, math.inf),
    "momentum": (0, 0.9999),
    "weight_decay": (0, math.inf),
    "warmup": (0, 1),
    "dropout": (0, 0.99),
    "label_smoothing": (0, 0.99),
    "va_weight": (0, math.inf),
    "size": (8, 1 << 16),
    "limit": (1, math.inf),
    "checkpoint_steps": (0, math.inf),
    "seed": (0, (1 << 63) - 1),
}
