"""Small files of a run, read and written so that whatever goes wrong names the file and says what to do.

In: a path. Out: plain values, or a :class:`ferdata.errors.TrainError`.
"""

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ferdata.errors import FerdataError, TrainError
from ferdata.shown import without_credentials
from ferdata.store import Store

__all__ = ["json_line", "naming", "read_json", "write_json"]


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what a full or broken disk raises while ``path`` is written into an error that names both.

    Raises:
        TrainError: Instead of any ``OSError``, and of the ``RuntimeError`` torch makes of one.
    """
    try:
        yield
    except FerdataError:
        raise
    except (OSError, RuntimeError) as error:
        cause = (
            error.__context__ if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError) else error
        )
        reason = (cause.strerror if isinstance(cause, OSError) else None) or (
            str(cause).splitlines() or [type(cause).__name__]
        )[0]
        raise TrainError(
            f"{path}: {reason} while it was written, expected a disk with room for it ({_free(path)}); "
            "what was there before is whole: "
            f"make room, and go on with resume={path.parent} (start again where it has no last.pt yet)"
        ) from error


def read_json(path: Path, *, what: str) -> dict[str, Any]:
    """Return what :func:`write_json` wrote.

    Args:
        path: The file.
        what: What it should hold, for the error.

    Raises:
        FileNotFoundError, NotADirectoryError: If there is no such file, which is the caller's to explain.
        TrainError: If it cannot be read, or holds anything else.
    """
    try:
        record = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError) as error:
        raise TrainError(
            f"{path}: {str(error).splitlines()[0]}, expected {what}; put back a copy or start a new run"
        ) from error
    if not isinstance(record, dict):
        raise TrainError(
            f"{path}: a JSON {type(record).__name__} found, expected {what}; put back a copy or start a new run"
        )
    return record


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a small JSON file atomically; a number that is none becomes null, and addresses are without credentials."""
    with naming(path), Store(path.parent).write_atomic(path.name) as file:
        file.write((json.dumps(_defined(record), indent=1, allow_nan=False) + "\n").encode())


def json_line(record: Mapping[str, Any]) -> str:
    """Return one line of JSON, with null for a number that is none and addresses without credentials."""
    return json.dumps(_defined(record), allow_nan=False) + "\n"


def _defined(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return without_credentials(value)
    if isinstance(value, Mapping):
        return {name: _defined(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_defined(part) for part in value]
    return value


def _free(path: Path) -> str:
    try:
        return f"{shutil.disk_usage(os.path.dirname(path) or '.').free:,} bytes are free there"
    except OSError as error:
        return f"which cannot be asked: {error.strerror}"
