"""How many cores there are to use. In: the system's own files. Out: one number. Costs a few small reads."""

import os
from pathlib import Path

__all__ = ["usable_cores"]


def usable_cores(system: Path = Path("/")) -> int:
    """Return how many cores this process may use: those it may run on, and no more than a container's quota of processor time.

    The one answer for every default and every figure: a pool with a process a core of the machine, in a container that gets two of
    64, is 62 processes that wait for each other.

    Args:
        system: Where ``/proc`` and ``/sys`` are looked for.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *_quotas(system)]))


def _quotas(system: Path) -> list[int]:
    """Return the whole cores that this process's control group and those above it are given, where they are bounded."""
    top = system / "sys/fs/cgroup"
    found = []
    for line in _text(system / "proc/self/cgroup").splitlines():
        _, controllers, own = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 2 has one tree and one file; version 1 a tree for each controller and two files. A container may see its own as the top.
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
