"""One run of a sweep in a process of its own: started, watched, and stopped with the sweep, however that ends.

In: a trial. Out: the run's folder and a log. The process holds one end of a pipe: when the other is closed, or gone
with the sweep, the run saves and stops. Processes are forked from a server that has imported torch once.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from ferdata.cache import use_cache, usual_cache
from ferdata.errors import FerdataError, IngestError
from ferdata.lock import hold_lock
from ferdata.parallel import usable_cores
from ferdata.remote import be_patient, usual_patience
from ferdata.store import Store
from ferdata.training.options import TrainOptions
from ferdata.training.sweep.trials import Trial

__all__ = ["Run", "RunProcess", "Start", "least_used", "start_here"]

LOGS_NAME = "logs"
STOP_SECONDS = 120.0
TICK_SECONDS = 0.1
_TRAINER = "ferdata.training.trainer"


class Run(Protocol):
    """A run that goes on, wherever it does."""

    @property
    def trial(self) -> Trial:
        """Which run it is."""

    @property
    def device(self) -> str | None:
        """Where it was told to compute; None for its own setting."""

    def is_done(self) -> bool:
        """Tell whether it has ended."""

    def problem(self) -> str | None:
        """Return why a run that has ended failed, None if it did not."""

    def ask_to_stop(self) -> None:
        """Have it save and stop."""

    def wait(self) -> None:
        """Wait until a run that was asked to stop has; one that does not goes on from its checkpoint another time."""


Start = Callable[[Trial, Sequence[Run], int], Run]
"""Starts a run; called with the trial, the runs that go on, and how many share the machine."""


def start_here(out: Path, devices: Sequence[str | None]) -> Start:
    """Return what starts runs in processes of this machine, on its devices in turns.

    Args:
        out: The sweep's folder.
        devices: Where to compute; None for the runs' own setting.
    """

    def start(trial: Trial, running: Sequence[Run], share: int) -> Run:
        device = least_used(devices, [run.device for run in running])
        return RunProcess(trial, out, device=device, share=share)

    return start


def least_used(devices: Sequence[str | None], used: Sequence[str | None]) -> str | None:
    """Return the device with the fewest runs on it, the first of several.

    Example:
        >>> least_used(["cuda:0", "cuda:1", "cuda:2"], ["cuda:0", "cuda:2", "cuda:0"])
        'cuda:1'
    """
    return min(devices, key=used.count)


class RunProcess:
    """A run that goes on, in a process of its own.

    Args:
        trial: The run.
        out: The sweep's folder.
        device: Where to compute; None for the run's own setting.
        share: How many runs share this machine's cores.
    """

    def __init__(self, trial: Trial, out: Path, *, device: str | None, share: int) -> None:
        self.trial, self.device = trial, device
        self._log = out / LOGS_NAME / trial.name / "log.txt"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        options = trial.options if device is None else replace(trial.options, device=device)
        threads = max(1, usable_cores() // share)
        context = _context()
        end, self._asked = context.Pipe(duplex=False)
        arguments = (options.to_json(), str(self._log), threads, usual_patience().seconds, usual_cache(), end)
        self._process = context.Process(target=_train, args=arguments, name=trial.name)
        self._process.start()
        end.close()

    def is_done(self) -> bool:
        """Tell whether the process has ended."""
        return not self._process.is_alive()

    def problem(self) -> str | None:
        """Return why a run that has ended failed, None if it did not."""
        self._asked.close()
        self._process.join()
        if self._process.exitcode == 0:
            return None
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        told = next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1] if lines else "")
        return told.removeprefix("error: ") or f"its process ended with code {self._process.exitcode}"

    def ask_to_stop(self) -> None:
        """Have the run save and stop."""
        self._asked.close()

    def wait(self) -> None:
        """Wait until a run that was asked to stop has; one that does not is killed, and goes on from its checkpoint."""
        self._process.join(STOP_SECONDS)
        self._process.kill()
        self._process.join()


def _context() -> Any:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_TRAINER])
    return context


def _train(
    settings: dict[str, Any], log: str, threads: int, patience: float, cache: tuple[Any, float | None], end: Connection
) -> None:
    """Train, and say into the log how it went; the end of the pipe asks the run to stop."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C reaches the sweep alone, which stops its runs in order
    with open(log, "ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    import torch

    from ferdata.training.trainer import train

    torch.set_num_threads(threads)
    be_patient(patience)
    use_cache(*cache)
    threading.Thread(target=_stop_at_end, args=(end,), daemon=True).start()
    try:
        with _alone(Path(log).parent):
            print(train(TrainOptions.from_json(settings, "settings of a sweep's run")).describe(), flush=True)
    except FerdataError as error:
        print(f"error: {error}", flush=True)
        sys.exit(1)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for the same run of a sweep that was killed: it notices, but needs a moment to save and stop."""
    with contextlib.ExitStack() as stack:
        deadline = time.monotonic() + STOP_SECONDS
        while True:
            try:
                stack.enter_context(hold_lock(Store(folder)))
                break
            except IngestError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(TICK_SECONDS)
        yield


def _stop_at_end(end: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        end.recv_bytes()
    os.kill(os.getpid(), signal.SIGTERM)
