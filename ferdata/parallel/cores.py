"""How many cores may be used, and workers started. In: the system's files. Out: a number. Costs a few small reads."""

import os
import warnings
from pathlib import Path

from ferdata.errors import OptionError
from ferdata.program import is_command_line

__all__ = ["check_workers", "crowding", "usable_cores"]

_WORKERS_PER_CORE = 16
_WORKERS_ANYWHERE = 64
_WORKERS_UNSAID = 16
"""What nobody is warned of in Python, however few cores there are; the command line says it of every one too many."""


def usable_cores(system: Path = Path("/")) -> int:
    """Return how many cores this process may use: those it may run on, at most a container's quota of processor time.

    The one answer for every default and every figure: a pool with a process a core of the machine, in a container that
    gets two of 64, is 62 processes that wait for each other.

    Args:
        system: Where ``/proc`` and ``/sys`` are looked for.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *_quotas(system)]))


def check_workers(num_workers: int | None, *, least: int = 1) -> None:
    """See that a number of workers is one that a machine like this can start.

    Raises:
        OptionError: If there are fewer than ``least``, or so many more than cores that it must be a typing error.
    """
    most = max(_WORKERS_ANYWHERE, _WORKERS_PER_CORE * usable_cores())
    if num_workers is not None and not least <= num_workers <= most:
        expected = f"at most {most}, since {crowding(num_workers)}" if num_workers > most else f"at least {least}"
        raise OptionError(f"num_workers: {num_workers} found, expected {expected}; leave it out for one per core")
    if num_workers and num_workers > max(_WORKERS_UNSAID, 2 * usable_cores()) and not is_command_line():
        warnings.warn(f"num_workers: {crowding(num_workers)}", stacklevel=3)


def crowding(num_workers: int) -> str | None:
    """Return what it costs to have more workers than cores; None where there are not more."""
    cores = usable_cores()
    if num_workers <= cores:
        return None
    return (
        f"{num_workers} workers take turns on {cores} core{'s' * (cores != 1)}: no faster than {cores}, and each takes "
        "memory and open files of its own"
    )


def _quotas(system: Path) -> list[int]:
    """Return the whole cores that this process's control group and those above it are given, where they are bounded."""
    top = system / "sys/fs/cgroup"
    found = []
    for line in _text(system / "proc/self/cgroup").splitlines():
        _, controllers, own = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 2: one tree, one file; 1: a tree a controller, two files. A container may see its own as the top.
        root, names = (top / "cpu", ("cpu.cfs_quota_us", "cpu.cfs_period_us")) if controllers else (top, ("cpu.max",))
        group = root / own.strip("/")
        for folder in {root, group, *(above for above in group.parents if root in above.parents)}:
            values = " ".join(_text(folder / name) for name in names).split()
            if len(values) == 2 and all(value.isdecimal() for value in values) and int(values[1]):
                found.append(int(values[0]) // int(values[1]))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
