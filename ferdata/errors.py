"""The ferdata error tree.

Every error takes one string (``where: what was found, expected what; what to do``) and lives at module
level, because torch and process pools rebuild a worker's error from its message alone.
"""

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
    "StoreError",
    "TransformError",
    "TrainError",
    "WorkerError",
]


class FerdataError(Exception):
    """Base of every error that ferdata raises on purpose."""


class OptionError(FerdataError, ValueError):
    """An option or an argument is outside what is allowed; the caller must change it."""


class SourceError(FerdataError):
    """A source tree cannot be used as it is; the owner of the data must act."""


class LayoutError(SourceError):
    """The folder matches no known layout, or contradicts the layout it seems to have."""


class AmbiguousLayoutError(LayoutError):
    """The folder can be read in more than one way; an option must settle it."""


class TransformError(FerdataError):
    """One image cannot become a tensor; ingest turns this into a reject with a reason."""


class IngestError(FerdataError):
    """Shards cannot be written or continued with these settings."""


class StoreError(FerdataError, OSError):
    """A file or folder cannot be read or written where it was asked for."""


class ShardCorruptError(FerdataError):
    """Bytes of a shard, of ``index.json`` or of ``samples.parquet`` are not what was written."""


class ShardMissingError(FerdataError, FileNotFoundError):
    """A data set or one of its shards is not there."""


class StateError(FerdataError):
    """A saved loader or training state belongs to another data set, seed or shape."""


class WorkerError(FerdataError, RuntimeError):
    """A worker process died or could not start."""


class TrainError(FerdataError, RuntimeError):
    """A training run cannot go on: loss not finite, memory full, or a run folder that does not fit."""
