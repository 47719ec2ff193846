"""ferdata: AffectNet and RAF-DB as zstd tar shards of ready tensors, streamed at memory speed.

Public names load on first use, so that converting images never waits for torch. ``ferdata.shard`` is the function
behind the verb of that name; ``ferdata.ingest`` is the package it lives in, and a name can't be both.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferdata.dataset.export import export
    from ferdata.dataset.fetch import fetch
    from ferdata.dataset.info import describe
    from ferdata.dataset.preview import preview
    from ferdata.dataset.recode import recode
    from ferdata.dataset.verify import verify
    from ferdata.dataset.webdataset import webdataset_decoder
    from ferdata.errors import (
        FerdataError,
        IngestError,
        LayoutError,
        OptionError,
        ShardCorruptError,
        ShardMissingError,
        SourceError,
        StateError,
        StoreError,
        TrainError,
        WorkerError,
    )
    from ferdata.format import make_codec, read_index
    from ferdata.images.transform import TransformOptions
    from ferdata.ingest import IngestOptions
    from ferdata.ingest import ingest as shard
    from ferdata.ingest.split_options import SplitOptions
    from ferdata.sources.options import ScanOptions
    from ferdata.stream import (
        BatchContext,
        ColorJitter,
        Compose,
        HorizontalFlip,
        IterableShardDataset,
        Loader,
        Normalize,
        PerSample,
        RandomResizedCrop,
        ShardBatches,
        ShardDataset,
        decode,
        open_dataset,
    )
    from ferdata.training import convert, load_run
    from ferdata.training.evaluation.evaluate import evaluate
    from ferdata.training.evaluation.options import EvaluateOptions
    from ferdata.training.explanation.explain import explain
    from ferdata.training.explanation.options import ExplainOptions
    from ferdata.training.prediction.live import predict_live
    from ferdata.training.prediction.options import PredictOptions
    from ferdata.training.prediction.predict import predict
    from ferdata.training.prediction.predict_video import predict_video

__version__ = "0.1.0"

__all__ = [
    "BatchContext",
    "ColorJitter",
    "Compose",
    "EvaluateOptions",
    "ExplainOptions",
    "FerdataError",
    "HorizontalFlip",
    "IngestError",
    "IngestOptions",
    "IterableShardDataset",
    "LayoutError",
    "Loader",
    "Normalize",
    "OptionError",
    "PerSample",
    "PredictOptions",
    "RandomResizedCrop",
    "ScanOptions",
    "ShardBatches",
    "ShardCorruptError",
    "ShardDataset",
    "ShardMissingError",
    "SourceError",
    "SplitOptions",
    "StateError",
    "StoreError",
    "TrainError",
    "TransformOptions",
    "WorkerError",
    "__version__",
    "convert",
    "decode",
    "describe",
    "evaluate",
    "explain",
    "export",
    "fetch",
    "load_run",
    "make_codec",
    "open_dataset",
    "predict",
    "predict_live",
    "predict_video",
    "preview",
    "read_index",
    "recode",
    "shard",
    "verify",
    "webdataset_decoder",
]

_HOMES = {
    "EvaluateOptions": "ferdata.training.evaluation.options",
    "ExplainOptions": "ferdata.training.explanation.options",
    "IngestOptions": "ferdata.ingest",
    "PredictOptions": "ferdata.training.prediction.options",
    "ScanOptions": "ferdata.sources.options",
    "SplitOptions": "ferdata.ingest.split_options",
    "TransformOptions": "ferdata.images.transform",
    "convert": "ferdata.training",
    "describe": "ferdata.dataset.info",
    "evaluate": "ferdata.training.evaluation.evaluate",
    "explain": "ferdata.training.explanation.explain",
    "export": "ferdata.dataset.export",
    "fetch": "ferdata.dataset.fetch",
    "load_run": "ferdata.training",
    "make_codec": "ferdata.format",
    "predict": "ferdata.training.prediction.predict",
    "predict_live": "ferdata.training.prediction.live",
    "predict_video": "ferdata.training.prediction.predict_video",
    "preview": "ferdata.dataset.preview",
    "read_index": "ferdata.format",
    "recode": "ferdata.dataset.recode",
    "shard": "ferdata.ingest",
    "verify": "ferdata.dataset.verify",
    "webdataset_decoder": "ferdata.dataset.webdataset",
}
"""Module of each public name that is neither an error nor of ``ferdata.stream``."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ferdata' has no attribute {name!r}")
    home = _HOMES.get(name) or ("ferdata.errors" if name.endswith("Error") else "ferdata.stream")
    value = globals()[name] = getattr(import_module(home), {"shard": "ingest"}.get(name, name))
    return value


def __dir__() -> list[str]:
    return __all__
