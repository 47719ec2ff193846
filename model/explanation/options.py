"""What an explanation is asked to show. In: keyword arguments. Out: a frozen, checked :class:`ExplainOptions`."""

from dataclasses import dataclass
from typing import Annotated

from ferdata.errors import OptionError
from ferdata.parallel import check_workers
from ferdata.place import expand
from ferdata.setting import Setting, check_settings
from ferdata.store import StrPath
from ferdata.training.settings import BatchSize, Device, LoaderWorkers

__all__ = ["ExplainOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions:
    """What is shown of which network, on which images.

    Attributes:
        run: Folder of a run, or a checkpoint.

    Example:
        >>> ferdata.ExplainOptions(run="runs/first").split
        'val'
    """

    run: StrPath
    shards: Annotated[
        StrPath | None,
        Setting(
            "Look at the data set in this folder or URL.", none="the run's own, the first of several", metavar="DIR"
        ),
    ] = None
    split: Annotated[str, Setting("Look at this split.")] = "val"
    out: Annotated[
        StrPath | None, Setting("Write the page to this folder.", none="explain in the run's folder", metavar="DIR")
    ] = None
    limit: Annotated[
        int | None, Setting("Look at so many samples, evenly spaced over the split.", none="all of them", least=1)
    ] = None
    examples: Annotated[int, Setting("Show so many of the surest hits and mistakes of each class.", least=0)] = 2
    faces: Annotated[int, Setting("Show feature maps of so many faces.", least=1, most=32)] = 4
    grid: Annotated[int, Setting("Cover cells of a grid of so many by so many.", least=2, most=32)] = 6
    batch_size: BatchSize = 128
    device: Device = "auto"
    num_workers: LoaderWorkers = None

    def __post_init__(self) -> None:
        check_settings(self)
        check_workers(self.num_workers, least=0)
        if self.shards is not None:
            object.__setattr__(self, "shards", expand(self.shards))
        if self.out is not None and "://" in str(self.out):
            raise OptionError(f"out: {self.out} found, expected a local folder; name one")
