"""What an audit is asked to do, and what it is told with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from ferdata.parallel import ENGINES, check_workers, usable_cores
from ferdata.place import expand
from ferdata.setting import Setting, check_settings
from ferdata.store import StrPath

__all__ = ["AuditOptions", "Say"]

Say = Callable[[str, int, int], None]
"""Called with (what goes on, done, total)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """Every setting of an audit.

    Attributes:
        shards: Folder or URL of a finished data set.
        steps: Training steps of each of the networks that judge labels; None: by the number of samples.

    Example:
        >>> from ferdata.audit import AuditOptions
        >>> AuditOptions(shards="shards/affectnet", labels=False).per_class
        12
    """

    shards: StrPath
    src: Annotated[
        str | None,
        Setting(
            "Show rejected images too, out of this source tree.", none="only why they were rejected", metavar="DIR"
        ),
    ] = None
    labels: Annotated[bool, Setting("Train networks that tell which labels are suspicious; most of the time.")] = True
    near: Annotated[bool, Setting("Look for pictures that are nearly the same.")] = True
    per_class: Annotated[int, Setting("Show so many images of each class.", least=1, most=200)] = 12
    shown: Annotated[
        int, Setting("Show so many findings of each kind; --csv holds all of them.", least=1, most=500)
    ] = 24
    device: Annotated[str, Setting("Train on auto, cpu, cuda or cuda:<n>.", metavar="NAME")] = "auto"
    seed: Annotated[int, Setting("Draw images, folds and weights from this seed.", least=0)] = 0
    engine: Annotated[
        str,
        Setting(
            "Measure images in processes here, or on a Ray cluster (RAY_ADDRESS, or one on this machine).",
            choices=ENGINES,
        ),
    ] = "local"
    num_workers: Annotated[
        int | None, Setting("Start this many worker processes.", none="one per core", flag="--workers")
    ] = None
    steps: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shards", expand(self.shards))
        if self.src is not None:
            object.__setattr__(self, "src", expand(self.src))
        check_settings(self)
        check_workers(self.num_workers)

    def resolved_workers(self) -> int:
        """Return the number of processes to use."""
        return self.num_workers if self.num_workers is not None else usable_cores()
