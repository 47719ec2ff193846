"""Networks, the training loop, metrics, checkpoints and reports."""

from model.networks import MODEL_NAMES
from model.options import TrainOptions
from model.progress import EpochStatus, RichProgress, StepStatus, TrainProgress
from model.result import TrainResult
from model.train import train

__all__ = ["MODEL_NAMES", "EpochStatus", "RichProgress", "StepStatus", "TrainOptions", "TrainProgress", "TrainResult", "train"]
