"""Networks, the training loop, metrics, checkpoints and reports."""

from typing import TYPE_CHECKING

from ferdata.lazy import lazily

if TYPE_CHECKING:
    from ferdata.training.conversion import Converted, convert
    from ferdata.training.load import TrainedNetwork, load_run
    from ferdata.training.nets.designs import MODEL_NAMES
    from ferdata.training.options import TrainOptions
    from ferdata.training.run.process_group import FollowingError, is_first_process
    from ferdata.training.run.progress import EpochCallback, EpochStatus, RichProgress, StepStatus, TrainProgress
    from ferdata.training.run.result import TrainResult
    from ferdata.training.trainer import train

__all__ = [
    "MODEL_NAMES",
    "Converted",
    "EpochCallback",
    "EpochStatus",
    "FollowingError",
    "RichProgress",
    "StepStatus",
    "TrainOptions",
    "TrainProgress",
    "TrainResult",
    "TrainedNetwork",
    "convert",
    "is_first_process",
    "load_run",
    "train",
]

__getattr__ = lazily(
    __name__,
    {
        "ferdata.training.conversion": ["Converted", "convert"],
        "ferdata.training.load": ["TrainedNetwork", "load_run"],
        "ferdata.training.nets.designs": ["MODEL_NAMES"],
        "ferdata.training.options": ["TrainOptions"],
        "ferdata.training.run.progress": [
            "EpochCallback",
            "EpochStatus",
            "RichProgress",
            "StepStatus",
            "TrainProgress",
        ],
        "ferdata.training.run.process_group": ["FollowingError", "is_first_process"],
        "ferdata.training.run.result": ["TrainResult"],
        "ferdata.training.trainer": ["train"],
    },
)
