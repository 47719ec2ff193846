"""The run: each part in a process of its own and in its own time, and the file after each of them.

In: a device, a file. Out: ``gpu.json`` with every check and every figure, whatever hangs or dies.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ferdata.format.kernels.native import load, why_missing
from ferdata.plan.conditions import describe_machine
from ferdata.plan.timing import now
from ferdata_bench.figures.common import Figure
from ferdata_bench.gpu.job import Job, Row
from ferdata_bench.gpu.packages import ROOT
from ferdata_bench.gpu.part import PARTS
from ferdata_bench.loaders.work import work_folder

__all__ = ["CHECKS", "SPEEDS", "Run", "run_all"]

DATA_SECONDS = 60.0
CHECKS = {"operations": 40.0, "kernel": 90.0, "loaders": 45.0}
SPEEDS = {"copies": 15.0, "decode": 45.0, "images": 90.0, "steps": 80.0, "jpeg": 15.0}
"""Part -> seconds in which it should be done; it is ended if it takes much longer."""
SANITIZER = ("compute-sanitizer", "--tool", "memcheck", "--error-exitcode", "99")
SANITIZER_SECONDS = 60.0
_GRACE_SECONDS = 15.0
"""Python and torch start, and the last round ends."""
_LAST_WORDS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is asked.

    Attributes:
        device: ``cuda`` or ``cpu``.
        quick: Toy sizes.
        work: Folder of the data sets.
        stop: When it all ends, by the clock of :func:`now`.
    """

    device: str
    quick: bool
    work: Path
    stop: float

    def part(
        self, name: str, seconds: float, *, before: Sequence[str] = (), quick: bool | None = None
    ) -> tuple[list[Row], str]:
        """Run a part and return its rows, and why it ended early; empty if it did not.

        Args:
            name: One of ``PARTS``.
            seconds: In which it should be done.
            before: What the command begins with.
            quick: Whether with toy sizes, if not as the whole.
        """
        seconds = min(seconds, self.stop - now() - _GRACE_SECONDS)
        if seconds <= 0:
            return [], "no time was left for it"
        out = self.work / f"{name}{'-checked' if before else ''}.json"
        if self.device == "cpu" and self.quick and name != "kernel":  # Triton has to be told before it is imported
            PARTS[name](Job(device=torch.device("cpu"), quick=True, work=self.work, out=out, deadline=now() + seconds))
            return json.loads(out.read_text(encoding="utf-8")), ""
        command = [*before, sys.executable, "-m", "ferdata_bench.gpu.part", name, "--device", self.device]
        command += ["--work", str(self.work), "--out", str(out), "--seconds", f"{seconds:.0f}"]
        command += ["--quick"] if (self.quick if quick is None else quick) else []
        print(f"gpu: {name}, at most {seconds + _GRACE_SECONDS:.0f} s", flush=True)
        reason = _ended(command, seconds + _GRACE_SECONDS, self._environment(checked=bool(before)))
        return json.loads(out.read_text(encoding="utf-8")) if out.exists() else [], reason

    def _environment(self, *, checked: bool) -> dict[str, str]:
        path = os.environ.get("PYTHONPATH")
        more = {"PYTHONPATH": f"{ROOT}{os.pathsep}{path}" if path else str(ROOT)}
        if checked:  # every tensor is an allocation of its own, whose ends are watched
            more["PYTORCH_NO_CUDA_MEMORY_CACHING"] = "1"
        if self.device == "cpu":
            more["TRITON_INTERPRET"] = "1"
        return os.environ | more


def run_all(device: str, *, quick: bool, path: Path, command: str, stop: float) -> dict[str, Any]:
    """Run every part, the file written after each, and return what is in it.

    Args:
        device: ``cuda`` or ``cpu``.
        quick: Toy sizes.
        path: The file.
        command: What repeats the run.
        stop: When it has to end, by the clock of :func:`now`.
    """
    began = now()
    figure = Figure(conditions=_conditions(device, quick=quick), results={"data": [], "checks": []})
    with work_folder(None) as work:
        run = Run(device=device, quick=quick, work=work, stop=stop)
        figure.results["data"] = _with_end(*run.part("data", DATA_SECONDS))
        for name, seconds in CHECKS.items():
            rows, reason = run.part(name, seconds)
            ended = [{"name": f"{name}: comes to its end", "passed": False, "reason": reason}] if reason else []
            figure.results["checks"] += [*rows, *ended, *([_sanitized(run)] if name == "kernel" else [])]
            figure.write(path, command=command)
        for name, seconds in SPEEDS.items():
            figure.results[name] = _with_end(*run.part(name, seconds))
            figure.write(path, command=command)
    figure.results["seconds"] = round(now() - began, 1)
    figure.write(path, command=command)
    return figure.results


def _conditions(device: str, *, quick: bool) -> dict[str, Any]:
    kernels = load()
    conditions = describe_machine() | {"kernels": kernels.instructions if kernels else why_missing()}
    if device == "cuda":
        found = torch.cuda.get_device_properties(0)
        conditions |= {"device_bytes": found.total_memory, "cuda": torch.version.cuda}
        device = found.name
    return conditions | {"device": device, "quick": quick}


def _with_end(rows: list[Row], reason: str) -> list[Row]:
    return [*rows, *([{"way": "ended early", "failed": reason}] if reason else [])]


def _sanitized(run: Run) -> Row:
    """Run the kernel's checks at toy size under compute-sanitizer, where there is one."""
    check: Row = {"name": "Triton kernel: compute-sanitizer finds nothing", "passed": None, "reason": ""}
    program = shutil.which(SANITIZER[0]) or shutil.which(SANITIZER[0], path="/usr/local/cuda/bin")
    if run.device != "cuda" or program is None:
        return check | {"reason": "no CUDA device" if run.device != "cuda" else f"{SANITIZER[0]} is not installed"}
    rows, reason = run.part("kernel", SANITIZER_SECONDS, before=(program, *SANITIZER[1:]), quick=True)
    if not rows or "Device not supported" in reason or "took longer" in reason:
        return check | {"reason": reason or "it left no results"}
    failed = [row["name"] for row in rows if row["passed"] is False]
    return check | {"passed": not reason and not failed, "reason": reason or ", ".join(failed)}


def _ended(command: Sequence[str], seconds: float, environment: dict[str, str]) -> str:
    """Run a command and end it and all it started when its time is over; return why it failed, empty if it did not."""
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=words, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            return f"it took longer than {seconds:.0f} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        words.seek(0)
        said = " ".join(words.read().decode(errors="replace").split())
    return f"exit code {code}: {said[-_LAST_WORDS:]}" if code else ""
