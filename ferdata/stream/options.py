"""Keyword arguments that several classes of this room take alike, typed once, for those that pass them on.

In: nothing. Out: types for ``**options: Unpack[...]``, and signatures for ``help`` and completion. What each is for
stands at :class:`ferdata.Loader`, its default where it arrives.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict, TypeVar

import numpy as np
import torch

from ferdata.store import StrPath
from ferdata.stream.transforms import BatchTransform

__all__ = ["SampleOptions", "StreamOptions", "passing_on"]

KindT = TypeVar("KindT", bound=type)


class SampleOptions(TypedDict, total=False):
    """Which samples, and what of them."""

    split: str
    indices: Sequence[int] | np.ndarray | None
    where: str | None
    fields: Sequence[str]
    as_dict: bool
    resize: str | int
    patience: float | None
    cache: StrPath | None
    cache_gb: float | None
    classes: Sequence[str] | None


class StreamOptions(SampleOptions, total=False):
    """Batches of them, in an order."""

    batch_size: int
    shuffle: str | bool
    seed: int
    sampling: str | Mapping[str, float]
    draws: int | None
    mix: str | None
    drop_last: bool | None
    window_samples: int | None
    memory_bytes: int
    rank: int | None
    world_size: int | None
    transform: BatchTransform | Callable[[torch.Tensor], torch.Tensor] | None
    verify: str


def passing_on(to: type) -> Callable[[KindT], KindT]:
    """Let ``help`` and completion show the ``**options`` of a class as the class they are passed on to has them."""

    def shown(kind: KindT) -> KindT:
        own, passed = (dict(inspect.signature(one).parameters) for one in (kind, to))
        own = {name: each for name, each in own.items() if each.kind is not inspect.Parameter.VAR_KEYWORD}
        kind.__signature__ = inspect.Signature([*(passed | own).values()])  # type: ignore[attr-defined]
        return kind

    return shown
