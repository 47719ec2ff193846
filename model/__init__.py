"""Networks, the training loop, metrics, checkpoints and reports."""

from ferdata.training.load import TrainedNetwork, load_run
from ferdata.training.nets.networks import MODEL_NAMES
from ferdata.training.options import TrainOptions
from ferdata.training.run.progress import EpochStatus, RichProgress, StepStatus, TrainProgress
from ferdata.training.run.ranks import FollowingError, is_first_process
from ferdata.training.run.result import TrainResult
from ferdata.training.train import train

__all__ = [
    "MODEL_NAMES",
    "EpochStatus",
    "FollowingError",
    "RichProgress",
    "StepStatus",
    "TrainOptions",
    "TrainProgress",
    "TrainResult",
    "TrainedNetwork",
    "is_first_process",
    "load_run",
    "train",
]
