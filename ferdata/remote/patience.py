"""How long a service behind a URL may be gone before reading from it fails, and what reading it has met so far.

In: calls that may fail. Out: their answers, or the last failure once patience ends. Costs nothing where the first
answer is good; otherwise the time the service takes to come back, of which a person is told.
"""

import asyncio
import logging
import math
import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from ferdata.errors import OptionError, StoreError
from ferdata.remote import protocols
from ferdata.remote.failures import is_passing, is_unknown_host, reason
from ferdata.shown import shown

__all__ = [
    "PATIENCE_SECONDS",
    "Patience",
    "PatienceEndedError",
    "RemoteCounts",
    "all_counts",
    "be_patient",
    "usual_patience",
]

PATIENCE_SECONDS = 120.0
"""How long a service may be gone where nothing else was said."""
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
"""Pauses between attempts double up to this; each is varied by half of itself, so that nobody asks in step."""
LEAVE_SECONDS = 1.0
"""What was cancelled ends at its next step."""
TELL_SECONDS = 2.0
"""An outage that lasts longer is told of."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteCounts:
    """What reading from services behind URLs has met.

    Attributes:
        requests: Ranges and files that were asked for, every attempt.
        fetched_bytes: Bytes of them that arrived.
        retries: Attempts that failed and were made again.
        refetched: Ranges and files that arrived, and were fetched anew as a checksum in them did not fit.
        outage_seconds: Time during which every attempt failed.
    """

    requests: int = 0
    fetched_bytes: int = 0
    retries: int = 0
    refetched: int = 0
    outage_seconds: float = 0.0

    def __sub__(self, earlier: "RemoteCounts") -> "RemoteCounts":
        return RemoteCounts(**{each.name: getattr(self, each.name) - getattr(earlier, each.name) for each in _FIELDS})

    def __add__(self, other: "RemoteCounts") -> "RemoteCounts":
        return RemoteCounts(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in _FIELDS})

    def __str__(self) -> str:
        """Return in words what went wrong and was mended, or nothing."""
        words = []
        if self.retries:
            words.append(f"{self.retries:,} of {self.requests:,} requests failed and were made again")
        if self.refetched:
            words.append(f"{self.refetched:,} ranges or files were fetched again, as a checksum did not fit")
        if self.outage_seconds >= 1:
            words.append(f"{self.outage_seconds:,.0f} s of outage")
        return ", ".join(words)


_FIELDS = fields(RemoteCounts)


class PatienceEndedError(OSError):
    """A service was gone for longer than patience lasts; the cause is the last failure, the text what to do."""


class Patience:
    """How long reading waits for a service that is gone; safe to share by all threads that read.

    A new process begins with counts of its own.

    Args:
        seconds: How long an outage may last: since the last answer to anybody, or since a request began to fail that
            fails while others succeed.

    Raises:
        OptionError: If that is below 0.

    Example:
        >>> from ferdata.remote import Patience
        >>> from ferdata.store import Store
        >>> patience = Patience(60)
        >>> store = Store("s3://bucket/shards", patience=patience)
        >>> data = store.read_range("train-000000.tar", 0, 1 << 20)
        >>> patience.counts().requests
        1
    """

    def __init__(self, seconds: float = PATIENCE_SECONDS) -> None:
        if not seconds >= 0:
            raise OptionError(f"patience: {seconds} found, expected 0 or more seconds")
        self.seconds = seconds
        self._begin()
        _all.add(self)

    def __reduce__(self) -> tuple[Callable[..., "Patience"], tuple[Any, ...]]:
        return (usual_patience, ()) if self is _usual else (Patience, (self.seconds,))

    def _begin(self) -> None:
        """Begin with counts of zero."""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._asked: set[Future[Any]] = set()
        self._counts = RemoteCounts()
        self._gone_since: float | None = None
        self._answered_at = 0.0
        self._is_over = self._is_told = self._has_answered = False

    @property
    def ended(self) -> threading.Event:
        """What is set once all that is being waited for now is to end."""
        return self._ended

    def persist(self, ask: Callable[[], T], where: str) -> T:
        """Return what a service answers; wait and ask again while it fails in a way that may pass.

        Refusals, missing files and errors in how a library is used are raised at once.

        Args:
            ask: Asks once.
            where: What is asked for, for what a person is told.

        Raises:
            StoreError: If :meth:`interrupt` or :meth:`end` was called.
            PatienceEndedError: Once patience ends; its cause is the last failure.
        """
        begun, ended = time.monotonic(), self._ended
        since: float | None = None
        pause, attempts = FIRST_PAUSE_SECONDS, 0
        while True:
            self.check(where, ended)
            attempts += 1
            try:
                answer = ask()
            except Exception as error:
                self.check(where, ended)
                if not is_passing(error) or (is_unknown_host(error) and not self._has_answered):
                    raise
                now = time.monotonic()
                if since is None:  # it may have made progress until it stalled
                    since = max(begun, now - protocols.STALL_SECONDS)
                gone = now - min(since, self._note_failure(since, now, error, where))
                if gone >= self.seconds:
                    self._note_answer(where, is_good=False)
                    times = "once" if attempts == 1 else f"{attempts:,} times"
                    raise PatienceEndedError(
                        f"it failed {times} in {gone:,.0f} s: try again once the service has recovered, or allow for "
                        "longer outages with patience="
                    ) from error
                left = self.seconds - gone
            else:
                self._note_answer(where)
                return answer
            ended.wait(min(left, pause * (0.5 + random.random())))
            pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)
            self._count(retries=1)

    def wait_for(self, asked: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
        """Wait for a coroutine on a file system's own thread; :meth:`interrupt`, :meth:`end` and Ctrl-C end it."""
        has_begun, has_ended = threading.Event(), threading.Event()

        async def noted() -> T:
            has_begun.set()
            try:
                return await asked
            finally:
                has_ended.set()

        future = asyncio.run_coroutine_threadsafe(noted(), loop)
        with self._lock:
            self._asked.add(future)
        try:
            if self._is_over:  # before it could be seen among those that were asked
                future.cancel()
            return future.result()
        except CancelledError as error:
            raise InterruptedError(4, "reading was ended") from error
        except BaseException:
            future.cancel()
            raise
        finally:
            if has_begun.is_set():  # what was cancelled may be writing to memory that is about to be another's
                has_ended.wait(LEAVE_SECONDS)
            else:
                asked.close()
            with self._lock:
                self._asked.discard(future)

    def arrived(self, num_bytes: int, *, is_again: bool = False) -> None:
        """Note that a range or file arrived, perhaps because it did not fit before."""
        self._count(fetched_bytes=num_bytes, refetched=int(is_again))

    def asked(self) -> None:
        """Note a request."""
        self._count(requests=1)

    def counts(self) -> RemoteCounts:
        """Return what was met so far in this process; an outage that is not over counts up to now."""
        with self._lock:
            since = self._gone_since
            return self._counts + RemoteCounts(outage_seconds=0.0 if since is None else time.monotonic() - since)

    def end(self) -> None:
        """End all that is being read or waited for, at once, and let nothing else begin."""
        self._is_over = True
        self.interrupt()

    def interrupt(self) -> None:
        """End all that is being read or waited for now, at once; what is asked for later is read."""
        with self._lock:
            ended, self._ended = self._ended, threading.Event()
            asked = [*self._asked]
        ended.set()
        for future in asked:
            future.cancel()

    def check(self, where: str, ended: threading.Event | None = None) -> None:
        """See that reading was not ended, neither all of it nor what waits for this event.

        Raises:
            StoreError: If it was.
        """
        if self._is_over or (ended is not None and ended.is_set()):
            raise StoreError(
                f"{where}: reading was ended while it was waited for, expected to be of use; make a new loader"
            )

    def _note_failure(self, since: float, now: float, error: Exception, where: str) -> float:
        """Note a failure; return since when nothing has been answered, and tell of it if that is long ago."""
        with self._lock:
            if self._gone_since is None:  # others may have been answered since this one began to fail
                self._gone_since = max(since, self._answered_at)
            gone_since = self._gone_since
            is_news = not self._is_told and TELL_SECONDS <= now - gone_since < self.seconds
            self._is_told |= is_news
        if is_news:
            left = math.ceil(self.seconds - (now - gone_since))
            _log.warning(shown(f"{where}: {reason(error)}; waiting up to {left:,} s for it to come back"))
        return gone_since

    def _note_answer(self, where: str, *, is_good: bool = True) -> None:
        """Note the end of an outage, if there was one: somebody was answered, or gave up."""
        if is_good:
            self._answered_at = time.monotonic()
            if self._gone_since is None and self._has_answered:
                return
        with self._lock:
            since, self._gone_since = self._gone_since, None
            was_told, self._is_told = self._is_told, False
            self._has_answered |= is_good
        if since is not None:
            seconds = time.monotonic() - since
            self._count(outage_seconds=seconds)
            if was_told and is_good:
                _log.warning(shown(f"{where}: it is back after {seconds:,.0f} s"))

    def _count(self, **more: float) -> None:
        for each in (self, _total):
            with each._lock:
                each._counts += RemoteCounts(**more)  # type: ignore[arg-type]


def usual_patience() -> Patience:
    """Return what this process reads with where nothing else is said."""
    return _usual


def be_patient(seconds: float) -> None:
    """Have this process wait so long for services where nothing else is said.

    Raises:
        OptionError: If that is below 0.
    """
    _usual.seconds = Patience(seconds).seconds


def all_counts() -> RemoteCounts:
    """Return what all reading of this process has met so far."""
    return _total.counts()


_log = logging.getLogger("ferdata")
_all: "weakref.WeakSet[Patience]" = weakref.WeakSet()
_usual = Patience()
_total = Patience()


def _begin_all() -> None:
    for each in list(_all):
        each._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_all)
