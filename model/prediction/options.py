"""What a prediction is asked to do. In: keyword arguments. Out: a frozen, checked :class:`PredictOptions`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from ferdata.errors import OptionError
from ferdata.place import expand
from ferdata.setting import Setting, check_settings
from ferdata.store import StrPath

__all__ = ["PredictOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """What is looked at, and how.

    Attributes:
        runs: Folders of runs, or checkpoints; several are an ensemble.
        source: An image, or a folder of images.
        out: The table to write, ``-`` for standard output.

    Example:
        >>> ferdata.PredictOptions(runs=["runs/first"], source="photographs").batch_size
        128
    """

    runs: Sequence[StrPath]
    source: StrPath
    out: StrPath | None = None
    batch_size: Annotated[int, Setting("Take so many pictures at a time.", "Machine", least=1)] = 128
    device: Annotated[str, Setting("Compute on this device: auto, cpu, cuda or cuda:<n>.", "Machine")] = "auto"

    def __post_init__(self) -> None:
        check_settings(self)
        if isinstance(self.runs, str) or not self.runs:
            raise OptionError(f"runs: {self.runs!r} found, expected a list of one run or more")
        object.__setattr__(self, "source", expand(self.source))
