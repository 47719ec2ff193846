"""Workers that are processes: how they start under every start method, die, and stop.

In: jobs. Out: acknowledgements, or the error of a worker that died. Costs some ten milliseconds a start with fork, and
the imports of a new Python with spawn and forkserver.
"""

import multiprocessing
import multiprocessing.resource_tracker
import multiprocessing.util
import os
import signal
import threading
import time
import weakref
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from typing import Any

from ferdata.errors import WorkerError
from ferdata.stream.workers.channel import Channel
from ferdata.stream.workers.interrupts import interrupts_held
from ferdata.stream.workers.job import Ack, JobRecord, SharedPlan
from ferdata.stream.workers.worker import Work, serve
from ferdata.stream.workers.workers import Workers

__all__ = ["ProcessWorkers"]

_CHECK_SECONDS = 0.5
"""How long to wait for an acknowledgement before asking whether all workers live."""
_STOP_SECONDS = 2.0
"""How long a worker may take to end by itself."""
_CAUSES = {
    -signal.SIGKILL: "the kernel's out-of-memory killer",
    -signal.SIGBUS: "full shared memory (df /dev/shm) and errors of the disk in the kernel's log (dmesg)",
}
_OTHER_CAUSES = "what it printed, and under spawn or forkserver for a script without `if __name__ == '__main__':`"


class ProcessWorkers(Workers):
    """The worker processes of one loader.

    Args:
        work: What they are given.
        num_workers: Their number.
        start_method: How they start; None for Python's default.
        persistent: Keep them from epoch to epoch.
    """

    _team: "_Processes | None" = None

    def __init__(self, work: Work, *, num_workers: int, start_method: str | None, persistent: bool) -> None:
        super().__init__(work, num_workers=num_workers, persistent=persistent)
        self._start_method = start_method
        self._opened = work.opened
        self._next_check, self._is_woken = 0.0, False
        _instances.add(self)

    def check_alive(self) -> None:
        """Check that no worker died while nobody waited for it; see :meth:`Workers.check_alive`."""
        self._next_check = time.monotonic() + _CHECK_SECONDS
        for process in self._team.processes if self._team is not None else ():
            if process.exitcode is not None:
                raise self._death_of(process)

    def forget(self) -> None:
        """Release everything in a forked process, which does not own it: it must not stop the workers."""
        if self._team is not None:
            self._team.forget()
            self._team = None

    def _start(self) -> None:
        if self._team is not None:
            return
        if multiprocessing.current_process().daemon:
            raise WorkerError(
                "loader: this process is a daemon, which may not start others, expected one that may; "
                "use workers='thread'"
            )
        context: Any = multiprocessing.get_context(self._start_method)
        if context.get_start_method() != "fork":
            multiprocessing.resource_tracker.ensure_running()  # if its start came later, it would unblock Ctrl-C
        try:
            with interrupts_held():
                team = _Processes(self.plan)
                self._end = multiprocessing.util.Finalize(self, team.end, exitpriority=1)
                self._team = team
                for number in range(self._num_workers):
                    args = (self._work, number, team.channel)
                    process = context.Process(target=serve, args=args, daemon=False)
                    process.start()
                    team.processes.append(process)
                team.channel.close("jobs_out", "acks_in")
        except RuntimeError as error:
            self._abandon()
            raise WorkerError(
                f"loader: a worker process could not be started ({str(error).strip().splitlines()[0]}), "
                "expected the script's own code under `if __name__ == '__main__':`; guard it so, as start methods "
                "spawn and forkserver need"
            ) from error
        except (EOFError, ConnectionError) as error:
            raise self._death(str(error)) from error
        except OSError as error:
            self._abandon()
            raise WorkerError(
                f"loader: {self._num_workers} workers could not be started ({error.strerror or error}), expected room "
                "for their processes and pipes; raise the limits (ulimit -n, ulimit -u) or use fewer num_workers"
            ) from error

    def _send(self, jobs: Sequence[JobRecord]) -> None:
        assert self._team is not None
        self._team.channel.send(jobs)

    def _receive(self) -> list[Ack]:
        assert self._team is not None
        while True:
            try:
                acks = self._team.channel.receive(_CHECK_SECONDS)
            except EOFError as error:
                for process in self._team.processes:
                    process.join(1)
                self.check_alive()
                raise self._death(str(error)) from error
            if time.monotonic() >= self._next_check:  # others may be busy while one is dead
                self.check_alive()
            if acks or self._is_woken:
                self._is_woken = False
                return acks

    def wake(self) -> None:
        """End a wait; see the base."""
        self._is_woken, team = True, self._team
        if team is not None:
            team.channel.wake()

    def _stop(self) -> None:
        if self._team is not None:
            self._end()
            self._team = None

    def _abandon(self) -> None:
        """Kill the workers: which jobs they are at is no longer known, and nothing of theirs is worth keeping."""
        team = self._team
        if team is not None:
            team.end(kill=True)
        self._stop()

    def _death_of(self, process: BaseProcess) -> WorkerError:
        """Return the error for a worker's death: how it ended and what it was reading."""
        shard = self.plan.reading(process.pid or 0)
        while_reading = f" while it read {self._opened.shard_name(shard)}" if shard >= 0 else ""
        return self._death(
            f"pid {process.pid} exited unexpectedly, exit code {process.exitcode}{while_reading}",
            exit_code=process.exitcode,
        )

    def _death(self, found: str, *, exit_code: int | None = None) -> WorkerError:
        """Return the error for a death; nothing is left running."""
        self._abandon()
        self.close()
        return WorkerError(
            f"loader: a worker process died ({found}), expected it to live until the loader is closed; "
            f"look for {_CAUSES.get(exit_code or 0, _OTHER_CAUSES)}; then make a new loader and load the last state"
        )


class _Processes:
    """Processes that serve one channel."""

    def __init__(self, plan: SharedPlan) -> None:
        self._plan = plan
        self._ending = threading.RLock()
        self.channel = Channel()
        self.processes: list[BaseProcess] = []

    def end(self, *, kill: bool = False) -> None:
        """Have the processes end, and wait until they have."""
        with interrupts_held(), self._ending:
            self._plan.abandon()
            self.channel.close()
            until = time.monotonic() + _STOP_SECONDS
            while self.processes:
                process = self.processes[-1]
                if not kill:
                    process.join(max(0.0, until - time.monotonic()))
                process.kill()
                process.join()
                process.close()
                self.processes.pop()

    def forget(self) -> None:
        """Close what a forked process inherited, and keep its end from waiting for what are not its children."""
        self.channel.close("jobs_in", "acks_out", "wakes_out")
        for process in self.processes:
            process.join = _no_wait  # type: ignore[method-assign]


def _no_wait(timeout: float | None = None) -> None:
    """Return at once."""


_instances: "weakref.WeakSet[ProcessWorkers]" = weakref.WeakSet()


def _forget_all() -> None:
    for workers in list(_instances):
        workers.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
