"""The errors that ferdata raises.

Every error takes one string (``where: what was found, expected what; what to do``) and lives at module
level, because torch and process pools rebuild a worker's error from its message alone. The string becomes one line without
credentials and control characters here, so that no message, log or traceback of ours holds any.
"""

from ferdata.shown import shown

__all__ = [
    "AmbiguousLayoutError",
    "FerdataError",
    "IngestError",
    "LayoutError",
    "OptionError",
    "ShardCorruptError",
    "ShardMissingError",
    "SourceError",
    "StateError",
    "StoppedError",
    "StoreError",
    "TransformError",
    "TrainError",
    "WorkerError",
]


class FerdataError(Exception):
    """Base of every error that ferdata raises on purpose."""

    def __init__(self, text: str = "") -> None:
        super().__init__(shown(text))


class OptionError(FerdataError, ValueError):
    """An option or an argument is outside what is allowed; the caller must change it."""


class SourceError(FerdataError):
    """A source tree cannot be used as it is; whoever owns the data must act."""


class LayoutError(SourceError):
    """A folder matches no known layout, or contradicts the layout it seems to have."""


class AmbiguousLayoutError(LayoutError):
    """A folder can be read in more than one way; an option must decide."""


class TransformError(FerdataError):
    """An image cannot be turned into a tensor; ingest rejects it with a reason."""


class IngestError(FerdataError):
    """Shards cannot be written or resumed with these settings."""


class StoreError(FerdataError, OSError):
    """A file or folder cannot be read or written at the given path."""


class ShardCorruptError(FerdataError):
    """The bytes of a shard, of ``index.json`` or of ``samples.parquet`` are not those that were written."""


class ShardMissingError(FerdataError, FileNotFoundError):
    """A data set or one of its shards is missing."""


class StateError(FerdataError):
    """A saved loader or training state belongs to another data set, seed or shape."""


class StoppedError(FerdataError):
    """A verb was stopped by a person or the system."""


class WorkerError(FerdataError, RuntimeError):
    """A worker process died or could not start."""


class TrainError(FerdataError, RuntimeError):
    """A training run cannot continue: the loss is not finite, memory is full, or the run's folder does not match."""
