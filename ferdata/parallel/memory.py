"""How much memory this machine has, and how much of it may be taken."""

import os
from pathlib import Path

__all__ = ["available_memory", "physical_memory"]


def available_memory() -> int:
    """Return bytes that are free or hold cached files, no more than a container may still take."""
    available = physical_memory("MemAvailable")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        stat = dict(line.split() for line in Path("/sys/fs/cgroup/memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return available
    return available if limit == "max" else max(0, min(available, int(limit) - used + int(stat.get("file", 0))))


def physical_memory(figure: str) -> int:
    """Return ``MemTotal`` or ``MemAvailable`` of ``/proc/meminfo``, in bytes; without that file, all of its pages."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{figure}:"))
