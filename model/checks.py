"""Which settings of a run do not go together, or with what is on the disk. In: settings. Out: nothing, or an error."""

import math
import os
from typing import TYPE_CHECKING

from ferdata.errors import OptionError
from ferdata.shown import printable
from ferdata.training.nets.designs import TIMM_PREFIX, is_own
from ferdata.training.regions import Region

if TYPE_CHECKING:
    from ferdata.training.options import TrainOptions

__all__ = ["AUGMENTATIONS", "check_combination"]

AUGMENTATIONS = ("flip", "crop", "color")

_LONGEST_NAME = 200
"""Bytes of a run's name: file systems take 255, and temporary files are named after it."""


def check_combination(options: "TrainOptions") -> None:
    """See that settings can be carried out together.

    Raises:
        OptionError: If one cannot be, or clashes with another.
    """
    _check_numbers(options)
    _check_places(options)
    _check_start(options)
    if options.region is not None:
        Region.of(options.region)
    if options.class_weights and options.sampling not in (None, "uniform"):
        raise OptionError(
            f"class_weights with sampling {options.sampling!r}: two remedies for rare classes found, which together "
            "weigh them twice, expected one; leave one out (class weights alone take every sample once an epoch)"
        )
    if options.va_weight != 1.0 and not options.valence_arousal:
        raise OptionError(
            f"va_weight: {options.va_weight} found without a head that it weighs, expected valence_arousal= with it"
        )
    if options.mixup and options.valence_arousal:
        raise OptionError(
            f"mixup: {options.mixup} found with valence_arousal=True, expected one of the two, since of a mixed face "
            "nobody knows the values; leave one out"
        )


def _check_numbers(options: "TrainOptions") -> None:
    for name in ("va_weight", "checkpoint_steps"):
        if not getattr(options, name) >= 0:
            raise OptionError(f"{name}: {getattr(options, name)} found, expected at least 0")
    if not options.lr > 0:
        raise OptionError(f"lr: {options.lr} found, expected above 0")
    for text in options.lr_factors:
        pattern, _, factor = text.rpartition("=")
        try:
            fits = pattern != "" and 0 < float(factor) < math.inf
        except ValueError:
            fits = False
        if not fits:
            raise OptionError(
                f"lr_factors: {text!r} found, expected names and a factor above 0, as in backbone=0.1; "
                "freeze= leaves parameters as they are"
            )
    unknown = [name for name in options.augment if name not in AUGMENTATIONS]
    if unknown or len(set(options.augment)) != len(options.augment):
        raise OptionError(
            f"augment: {', '.join(options.augment)} found, expected each of {', '.join(AUGMENTATIONS)} at most once"
        )


def _check_places(options: "TrainOptions") -> None:
    for name in ("out", "resume", "init_from"):
        if "://" in (getattr(options, name) or ""):
            raise OptionError(
                f"{name}: {getattr(options, name)} found, expected a local folder, since a run is written to all the "
                "time; copy the run's folder there or from there"
            )
    if options.name is not None and not _is_folder_name(options.name):
        num_bytes = len(os.fsencode(options.name))
        raise OptionError(
            f"name: {options.name[:40]!r} of {num_bytes} bytes found, expected 1 to {_LONGEST_NAME}, as the name of a "
            f"folder in {options.out}: without separators and control characters, and not . or .."
        )


def _check_start(options: "TrainOptions") -> None:
    model = options.model
    own = model is not None and is_own(model)
    if options.freeze and model is not None and not (own or options.init_from or options.pretrained):
        raise OptionError(
            "freeze: a backbone with fresh weights would stay random, expected init_from= or pretrained= with it"
        )
    if own and (options.pretrained or options.dropout is not None):
        found = "pretrained" if options.pretrained else f"dropout={options.dropout}"
        raise OptionError(
            f"{found}: found with {model}, expected a network of ours or of timm for it; what your own network "
            "starts with and drops out, its own code says (weights of a file come by init_from=)"
        )
    if options.pretrained and model is not None and not model.startswith(TIMM_PREFIX):
        raise OptionError(
            f"pretrained: the report's {model} has no published weights, expected timm:<name>; use init_from=RUN"
        )
    if options.init_from and options.pretrained:
        raise OptionError("init_from and pretrained: both found, expected one source of weights")


def _is_folder_name(name: str) -> bool:
    is_within = "/" not in name and "\\" not in name and name.strip() not in ("", ".", "..")
    return is_within and printable(name) == name and len(os.fsencode(name)) <= _LONGEST_NAME
