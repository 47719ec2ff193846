"""What an evaluation is asked to do. In: keyword arguments. Out: a frozen, checked :class:`EvaluateOptions`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from ferdata.errors import OptionError
from ferdata.parallel import check_workers
from ferdata.place import expand
from ferdata.setting import Setting, check_settings
from ferdata.store import StrPath
from ferdata.training.settings import BatchSize, Device, LoaderWorkers, Vote

__all__ = ["EvaluateOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """What is measured, and how.

    Attributes:
        runs: Folders of runs, or checkpoints; several are an ensemble.
        shards: Folder or URL of a data set.

    Example:
        >>> ferdata.EvaluateOptions(runs=["runs/first"], shards="shards/affectnet").vote
        False
    """

    runs: Sequence[StrPath]
    shards: StrPath
    splits: Annotated[
        tuple[str, ...], Setting("Measure these splits, comma-separated.", none="val and test, as there are")
    ] = ()
    vote: Vote = False
    all_classes: Annotated[
        bool, Setting("Keep the probabilities of classes that the data set does not have, as mistakes they may make.")
    ] = False
    out: Annotated[
        StrPath | None,
        Setting(
            "Write a page, every prediction and pictures of mistakes to this folder.", none="nothing", metavar="DIR"
        ),
    ] = None
    pictures: Annotated[int, Setting("Write so many of the surest mistakes of a split as pictures.", least=0)] = 100
    batch_size: BatchSize = 128
    device: Device = "auto"
    num_workers: LoaderWorkers = None

    def __post_init__(self) -> None:
        check_settings(self)
        check_workers(self.num_workers, least=0)
        if isinstance(self.runs, str) or not self.runs:
            raise OptionError(f"runs: {self.runs!r} found, expected a list of one run or more")
        object.__setattr__(self, "shards", expand(self.shards))
        if self.vote and len(self.runs) < 3:
            raise OptionError(
                f"vote: {len(self.runs)} run{'s' * (len(self.runs) > 1)} found, expected three or more, since fewer "
                "cannot outvote each other; leave vote out, which takes the mean of their probabilities"
            )
        if self.out is not None and "://" in str(self.out):
            raise OptionError(f"out: {self.out} found, expected a local folder; name one")
