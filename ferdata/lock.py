"""One writer per folder at a time: every command that writes a folder holds its lock while it does.

In: a folder or URL. Out: a context, or an error that says somebody else is writing there. The operating system keeps
the lock if it can; otherwise a small file does, which its owner renews every few seconds: one that is not renewed has
lost its owner.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ferdata.errors import FerdataError, IngestError, OptionError, StoreError
from ferdata.store import Store

try:
    import fcntl
except ImportError:  # Windows: the lock is a file there
    fcntl = None  # type: ignore[assignment]

__all__ = ["LOCK_NAME", "check_vacant", "hold_lock"]

LOCK_NAME = ".ferdata-lock"
_WAIT_SECONDS = 5.0
_SETTLE_SECONDS = 0.3
_RENEW_SECONDS = 5.0
_STALE_SECONDS = 30.0


@contextlib.contextmanager
def hold_lock(store: Store) -> Iterator[None]:
    """Keep other writers out of a folder, which is created if it does not exist.

    A lock ends with its owner, however that ends: the operating system drops its own with the last process of a killed
    run; a lock file is taken over at once if its owner ran on this machine, and after 30 seconds without renewal if it
    ran on another.

    Raises:
        IngestError: If another run is writing there.
        StoreError: If the folder cannot be created.
    """
    store.make_dir()
    descriptor = _system_lock(store) if store.is_local and fcntl is not None else None
    if descriptor is None:
        with _lock_file(store):
            yield
        return
    try:
        yield
    finally:
        os.close(descriptor)


def check_vacant(store: Store) -> None:
    """Check that a folder is empty, except perhaps for the lock of whoever writes there.

    Raises:
        OptionError: If it is not.
    """
    if any(not entry.name.startswith(LOCK_NAME) for entry in store.list(missing_ok=True)):
        raise OptionError(
            f"{store}: a folder that is not empty found, expected a new or an empty one; choose another, or empty it"
        )


def _system_lock(store: Store) -> int | None:
    """Return the descriptor of the locked folder, or None if the file system has no locks."""
    try:
        descriptor = os.open(store.path(), os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise StoreError(
            f"{store}: {error.strerror}, expected a folder that can be read and written; choose another"
        ) from error
    deadline = time.monotonic() + _WAIT_SECONDS  # the workers of a killed run need a moment to end
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise _is_held(store) from None
                time.sleep(0.05)
            else:
                return descriptor
    except OSError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise


@contextlib.contextmanager
def _lock_file(store: Store) -> Iterator[None]:
    own = {"run": uuid.uuid4().hex, "machine": _machine(), "pid": os.getpid(), "started": _started(os.getpid())}
    if (found := _read(store)) is not None and not _is_stale(store, found):
        raise _is_held(store)
    _write(store, own, 0)
    time.sleep(_SETTLE_SECONDS)  # if two found the folder free at the same moment, the later one's file is there now
    if not _is_own(store, own):
        raise _is_held(store)
    ended, lost = threading.Event(), threading.Event()

    def renew() -> None:
        count = 0
        while not ended.wait(_RENEW_SECONDS):
            count += 1
            with contextlib.suppress(FerdataError, OSError):  # the store may be reachable again next time
                if not _is_own(store, own):
                    lost.set()
                    return
                _write(store, own, count)

    renewing = threading.Thread(target=renew, daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        if not lost.is_set() and _is_own(store, own):
            store.remove(LOCK_NAME)
    if lost.is_set():
        raise IngestError(
            f"{store}: another run took this folder over while this one was suspended, expected to be alone; "
            "write it again, or choose another out="
        )


def _is_stale(store: Store, found: dict[str, Any]) -> bool:
    """Tell whether the owner of a lock file is gone; an owner on another machine is watched for a while."""
    if found.get("machine") == _machine() and _started(os.getpid()) is not None:
        began = _started(found.get("pid"))
        return began is None or began != found.get("started")
    deadline = time.monotonic() + _STALE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(min(1.0, _STALE_SECONDS))
        if (now := _read(store)) != found:
            return now is None
    return True


def _is_own(store: Store, own: dict[str, Any]) -> bool:
    return bool((_read(store) or {}).get("run") == own["run"])


def _read(store: Store) -> dict[str, Any] | None:
    try:
        data = store.read(LOCK_NAME)
    except FileNotFoundError:
        return None
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"run": data.hex()}


def _write(store: Store, own: dict[str, Any], count: int) -> None:
    with store.write_atomic(LOCK_NAME) as file:
        file.write(json.dumps(own | {"renewed": count}).encode())


def _started(pid: object) -> int | None:
    """Return a process's start, in ticks since the boot; None if it is gone, or the system has no ``/proc``.

    Process ids are reused, starts of one id are not.
    """
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2].split()
    except (OSError, ValueError):
        return None
    return None if state == "Z" else int(fields[18])


def _machine() -> str:
    """Return what identifies this machine, this boot of it, and the container if there is one."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _is_held(store: Store) -> IngestError:
    return IngestError(f"{store}: another run is writing here, expected none; wait for it, or choose another out=")
