"""The harness's end of a runner: starts it in the right interpreter, asks, waits for so long, ends it and its children.

In: a contender's name. Out: replies as dictionaries. A runner that fails, hangs or dies becomes a
:class:`ContenderError` that holds its last words.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ferdata.errors import FerdataError
from ferdata.plan.timing import now
from ferdata_bench.contenders import Entry

__all__ = ["ContenderError", "RunnerProcess", "find_interpreter"]

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
LAST_WORDS = 300
QUIT_SECONDS = 2.0


class ContenderError(FerdataError):
    """A contender failed, hung or died; the others go on without it."""


def find_interpreter(entry: Entry, folders: Sequence[Path]) -> tuple[str, str | None]:
    """Return the Python that has the contender's library, and None; or any text and the reason there is none.

    The interpreter we run in is taken where it can; otherwise the entry's environment in the first folder that has it.
    """
    here = entry.available()
    if here is None or not entry.environment:
        return sys.executable, here
    for folder in folders:
        if (python := folder / entry.environment / "bin" / "python").exists():
            return str(python), None
    return "", f"{here}; no environment {entry.environment}: make it with `python -m ferdata_bench.extras`"


class RunnerProcess:
    """One contender's runner, from start to end."""

    def __init__(self, name: str, *, python: str = sys.executable, folder: Path) -> None:
        self.name = name
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [python, "-m", "ferdata_bench.loaders.runner", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            cwd=folder,
            env=_environment(),
            start_new_session=True,
            bufsize=0,
        )
        self._unread = b""

    @property
    def pid(self) -> int:
        """Process id, the root of the tree whose memory counts."""
        return self._process.pid

    def ask(self, verb: str, *, timeout_seconds: float, **arguments: Any) -> dict[str, Any]:
        """Send one request and wait for its reply.

        Raises:
            ContenderError: If the runner refuses, dies, or is silent for ``timeout_seconds``.
        """
        self.send(verb, **arguments)
        return self.receive(verb, timeout_seconds=timeout_seconds)

    def send(self, verb: str, **arguments: Any) -> None:
        """Send one request without waiting; :meth:`receive` must follow."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it is dead: receiving will tell why
            self._process.stdin.write(json.dumps({"do": verb, **arguments}).encode() + b"\n")

    def receive(self, verb: str, *, timeout_seconds: float) -> dict[str, Any]:
        """Wait for the reply to a request already sent."""
        reply = json.loads(self._read_line(verb, timeout_seconds))
        if not reply.pop("ok"):
            raise ContenderError(f"{self.name}: {verb} failed: {_shorten(reply['error'])}")
        return dict(reply)

    def close(self) -> None:
        """End the runner and every process it has started."""
        if self._process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.send("quit")
                self._process.wait(QUIT_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # workers that outlived it
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._words):
            if stream is not None:
                stream.close()

    def _read_line(self, verb: str, timeout_seconds: float) -> bytes:
        assert self._process.stdout is not None
        deadline = now() + timeout_seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, deadline - now())):
                    raise ContenderError(
                        f"{self.name}: no reply to {verb} in {timeout_seconds:.0f} s ({self._last_words()}); "
                        "leave it out"
                    )
                content = self._process.stdout.read(1 << 16)
                if not content:
                    code = self._process.wait()
                    raise ContenderError(
                        f"{self.name}: ended with code {code} during {verb} ({self._last_words()}); look at its message"
                    )
                self._unread += content
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _last_words(self) -> str:
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").strip().splitlines()
        return _shorten(lines[-1]) if lines else "no message"


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LAST_WORDS else f"{text[:LAST_WORDS]} ..."


def _environment() -> dict[str, str]:
    """Let a checkout's packages be imported in any environment; an installed ferdata is found by itself."""
    if "site-packages" in PACKAGE_ROOT.parts:
        return dict(os.environ)
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{PACKAGE_ROOT}{os.pathsep}{path}" if path else str(PACKAGE_ROOT)}
