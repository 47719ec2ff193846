"""The errors that ferdata raises.

Every error takes one string (``where: what was found, expected what; what to do``) and lives at module
level, because torch and process pools rebuild a worker's error from its message alone. The string becomes one line
without credentials and control characters here, so that no message, log or traceback of ours holds any.
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
    """Base of every error that ferdata raises on purpose.

    Example:
        >>> try:
        ...     ferdata.Loader("shards/none")
        ... except ferdata.FerdataError as error:
        ...     print(error)
        shards/none: no index.json found, expected ...
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(shown(text))


class OptionError(FerdataError, ValueError):
    """An option or an argument is outside what is allowed; the caller must change it.

    Example:
        >>> ferdata.Loader("shards/affectnet", batch_size=0)
        Traceback (most recent call last):
        ferdata.errors.OptionError: batch_size: 0 found, expected at least 1
    """


class SourceError(FerdataError):
    """A source tree cannot be used as it is; whoever owns the data must act.

    Example:
        >>> try:
        ...     ferdata.shard(ferdata.IngestOptions(source="affectnet", src="shards", out="elsewhere"))
        ... except ferdata.SourceError as error:
        ...     print(type(error).__name__)
        LayoutError
    """


class LayoutError(SourceError):
    """A folder matches no known layout, or contradicts the layout it seems to have.

    Example:
        >>> ferdata.shard(ferdata.IngestOptions(source="rafdb", src="shards", out="elsewhere"))
        Traceback (most recent call last):
        ferdata.errors.LayoutError: shards: ...
    """


class AmbiguousLayoutError(LayoutError):
    """A folder can be read in more than one way; an option must decide."""


class TransformError(FerdataError):
    """An image cannot be turned into a tensor; ingest rejects it with a reason."""


class IngestError(FerdataError):
    """Shards cannot be written or resumed with these settings.

    Example:
        >>> images = ferdata.TransformOptions(size=48)
        >>> options = ferdata.IngestOptions(
        ...     source="affectnet", src="data/affectnet", out="shards/affectnet", transform=images
        ... )
        >>> ferdata.shard(options)  # what is there has 32 pixels
        Traceback (most recent call last):
        ferdata.errors.IngestError: shards/affectnet: ...
    """


class StoreError(FerdataError, OSError):
    """A file or folder cannot be read or written at the given path.

    Example:
        >>> ferdata.recode("shards/affectnet", out="runs/first/config.json", codec="raw")
        Traceback (most recent call last):
        ferdata.errors.StoreError: runs/first/config.json...
    """


class ShardCorruptError(FerdataError):
    """The bytes of a shard, of ``index.json`` or of ``samples.parquet`` are not those that were written.

    Example:
        >>> report = ferdata.recode("shards/affectnet", out="shards/damaged", codec="raw")
        >>> size = Path("shards/damaged/index.json").write_text("{}")
        >>> ferdata.read_index("shards/damaged")
        Traceback (most recent call last):
        ferdata.errors.ShardCorruptError: shards/damaged/index.json: ...
    """


class ShardMissingError(FerdataError, FileNotFoundError):
    """A data set or one of its shards is missing.

    Example:
        >>> ferdata.open_dataset("shards/none")
        Traceback (most recent call last):
        ferdata.errors.ShardMissingError: shards/none: no index.json found, ...
    """


class StateError(FerdataError):
    """A saved loader or training state belongs to another data set, seed or shape.

    Example:
        >>> with ferdata.Loader("shards/affectnet", seed=1, num_workers=0) as loader:
        ...     state = loader.state_dict()
        >>> with ferdata.Loader("shards/affectnet", seed=2, num_workers=0) as loader:
        ...     loader.load_state_dict(state)
        Traceback (most recent call last):
        ferdata.errors.StateError: loader state: seed 1 found, expected 2; ...
    """


class StoppedError(FerdataError):
    """A verb was stopped by a person or the system."""


class WorkerError(FerdataError, RuntimeError):
    """A worker process died or could not start.

    Example:
        >>> def read(loader):
        ...     try:
        ...         yield from loader
        ...     except ferdata.WorkerError:  # a worker was killed, for want of memory perhaps: begin the epoch anew
        ...         yield from loader
        >>> with ferdata.Loader("shards/affectnet", batch_size=32, num_workers=1) as loader:
        ...     len(list(read(loader)))
        6
    """


class TrainError(FerdataError, RuntimeError):
    """A training run cannot continue: the loss is not finite, memory is full, or the run's folder does not match.

    Example:
        >>> ferdata.load_run("data/affectnet")
        Traceback (most recent call last):
        ferdata.errors.TrainError: data/affectnet: ...
    """
