"""Networks, the training loop, metrics, checkpoints and reports."""

from model.load import TrainedNetwork, load_run
from model.nets.networks import MODEL_NAMES
from model.options import TrainOptions
from model.run.progress import EpochStatus, RichProgress, StepStatus, TrainProgress
from model.run.ranks import FollowingError, is_first_process
from model.run.result import TrainResult
from model.train import train

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
