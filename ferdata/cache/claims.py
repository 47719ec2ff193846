"""Claims of byte ranges, which end with the process that holds them: who fetches what, and who uses what.

In: ranges. Out: whether they are ours. Across processes the operating system keeps them, as POSIX record locks on an
empty file of their own: closing any descriptor of a file ends all of a process's locks on it, so nobody else opens
that one, and one object per file and process keeps it open. Those locks know no threads; a list does.
"""

import atexit
import contextlib
import os
import threading
import time
from collections.abc import Iterator

from ferdata.lock import hold_lock
from ferdata.store import Store

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    _EXCLUSIVE = _SHARED = _NONE = 0
else:
    _EXCLUSIVE, _SHARED, _NONE = fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_SH | fcntl.LOCK_NB, fcntl.LOCK_UN

__all__ = ["JOURNAL", "USE", "Claims", "open_claims", "pauses"]

USE = 1 << 61
"""Of the claims of a set, the first bytes stand for those of its files; from here on, one for the use of each file."""
JOURNAL = 1 << 62
"""From here on, one for the journal of each file."""
_PROBE = (1 << 63) - 2
_POLL_SECONDS = (0.002, 0.05)
"""Between looks at a claim of somebody else's: at first, and at most."""

_open: dict[str, "Claims"] = {}
_opening = threading.Lock()


def open_claims(path: str) -> "Claims":
    """Return this process's claims in a file, which is made if it does not exist.

    Raises:
        OSError: If the file cannot be made, or opened for writing.
    """
    path = os.path.realpath(path)
    with _opening:
        found = _open.get(path)
        if found is None or not found.is_current():
            found = _open[path] = Claims(path)
        return found


def _after_fork() -> None:
    """Forget in a forked process what only its parent holds."""
    global _opening
    _opening = threading.Lock()
    for claims in _open.values():
        claims.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Claims:
    """The claims of one process in one file. Get it by :func:`open_claims`.

    Attributes:
        between_processes: Whether other processes know of them: not on systems and disks that have no such locks.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        self.forget()
        self.between_processes = fcntl is not None
        if self.between_processes:
            try:
                self._lock(_SHARED, _PROBE, _PROBE + 1)
            except OSError:
                self.between_processes = False

    def forget(self) -> None:
        """Begin without claims."""
        self._mutex = threading.Lock()
        self._alone: contextlib.ExitStack | None = None
        self._held: list[tuple[int, int]] = []
        self._shared: list[tuple[int, int]] = []

    def is_current(self) -> bool:
        """Tell whether the file is still the one under its name: somebody may have removed the folder."""
        with contextlib.suppress(OSError):
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        return False

    def keep_others_out(self) -> None:
        """Hold the lock of the file's folder until the process ends, if other processes know nothing of claims.

        Raises:
            IngestError: If another process holds it.
        """
        if not self.between_processes and self._alone is None:
            alone = contextlib.ExitStack()
            alone.enter_context(hold_lock(Store(os.path.dirname(self._path))))
            atexit.register(alone.close)
            self._alone = alone

    def touch(self) -> None:
        """Note when the file was used last, as its time."""
        with contextlib.suppress(OSError):
            os.utime(self._path)

    def take(self, start: int, stop: int) -> bool:
        """Claim ``[start, stop)`` for one thread; return at once whether nobody else holds any of it."""
        with self._mutex:
            if any(begin < stop and start < end for begin, end in self._held + self._shared):
                return False
            if not self._lock(_EXCLUSIVE, start, stop):
                return False
            self._held.append((start, stop))
            return True

    def release(self, start: int, stop: int) -> None:
        """End a claim."""
        with self._mutex:
            self._held.remove((start, stop))
            self._lock(_NONE, start, stop)

    @contextlib.contextmanager
    def holding(self, start: int, stop: int) -> Iterator[None]:
        """Hold a claim in the block, once nobody else does."""
        waiting = pauses()
        while not self.take(start, stop):
            next(waiting)
        try:
            yield
        finally:
            self.release(start, stop)

    def share(self, start: int, stop: int) -> bool:
        """Use ``[start, stop)`` beside others that do; return whether nobody claims it for himself."""
        with self._mutex:
            if any(begin < stop and start < end for begin, end in self._held):
                return False
            if not self._lock(_SHARED, start, stop):
                return False
            self._shared.append((start, stop))
            return True

    def unshare(self, start: int, stop: int) -> None:
        """End one use of ``[start, stop)``; other uses by this process go on."""
        with self._mutex:
            self._shared.remove((start, stop))
            self._lock(_NONE, start, stop)
            for begin, end in self._shared:
                if begin < stop and start < end:
                    self._lock(_SHARED, begin, end)

    def _lock(self, kind: int, start: int, stop: int) -> bool:
        if not self.between_processes:
            return True
        try:
            fcntl.lockf(self._descriptor, kind, stop - start, start)
        except (BlockingIOError, PermissionError):
            return False
        return True


def pauses() -> Iterator[None]:
    """Sleep at each step, a little longer every time."""
    seconds, most = _POLL_SECONDS
    while True:
        time.sleep(seconds)
        seconds = min(most, 1.5 * seconds)
        yield
