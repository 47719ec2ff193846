"""The conditions of a benchmark: all about machine, versions and settings that a stranger needs to judge or repeat it.

In: settings of the run. Out: a flat dictionary, ready for JSON. Costs a few milliseconds.
"""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from ferdata.parallel import physical_memory, usable_cores

__all__ = ["cpu_model", "describe_machine"]

LIBRARIES = ("torch", "torchvision", "numpy", "pillow", "pillow-simd", "zstandard", "webdataset")


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, memory, kernel, versions, commit and how busy the machine already was."""
    return {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "memory_bytes": physical_memory("MemTotal"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: version for name in LIBRARIES if (version := _version(name))},
        "commit": _commit(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def cpu_model() -> str:
    """Return the processor's name, as the kernel tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the checkout's commit, with a plus where its code differs from it; None outside a checkout.

    The figures and pages of ``docs``, which a measurement writes, are no code.
    """
    commit = _git("rev-parse", "--short=12", "HEAD")
    is_changed = commit and _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude,top)docs")
    return f"{commit}+" if is_changed else commit


def _git(*arguments: str) -> str | None:
    """Return what git says of the checkout that this file is in; None if nothing."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
