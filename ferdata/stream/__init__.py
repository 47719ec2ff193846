"""The read half: batches out of shards, at memory speed, in an order that is arithmetic."""

from ferdata.stream.batch import FIELDS, IGNORED_LABEL
from ferdata.stream.batches import ShardBatches
from ferdata.stream.datasets import IterableShardDataset, ShardDataset
from ferdata.stream.device.decode import decode
from ferdata.stream.loader import Loader
from ferdata.stream.metrics import LoaderMetrics
from ferdata.stream.open import OpenDataset, open_dataset
from ferdata.stream.per_sample import PerSample
from ferdata.stream.transforms import (
    BatchContext,
    BatchTransform,
    ColorJitter,
    Compose,
    HorizontalFlip,
    Normalize,
    RandomResizedCrop,
)

__all__ = [
    "FIELDS",
    "IGNORED_LABEL",
    "BatchContext",
    "BatchTransform",
    "ColorJitter",
    "Compose",
    "HorizontalFlip",
    "IterableShardDataset",
    "Loader",
    "LoaderMetrics",
    "Normalize",
    "OpenDataset",
    "PerSample",
    "RandomResizedCrop",
    "ShardBatches",
    "ShardDataset",
    "decode",
    "open_dataset",
]
