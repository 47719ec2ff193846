"""Builds what is published, into ``dist``: an sdist, and a wheel with the kernels inside for each kind of machine.

Zig's C compiler, which comes as a Python package, compiles for an old glibc and for other processors. The kernels know
no Python, so that one wheel serves every version. Metadata and symbols are then checked; ``tests/test_wheel.py``
installs and runs a wheel, and ``tools/arm.sh`` runs the kernels' tests on ARM, under QEMU.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
GLIBC = (2, 17)
MACHINES = ("x86_64", "aarch64")


def main() -> None:
    """Build and check everything."""
    shutil.rmtree(DIST, ignore_errors=True)
    _run("-m", "build", "--sdist", "--outdir", str(DIST), str(ROOT))
    for machine in MACHINES:
        _build(machine)
    made = sorted(map(str, DIST.iterdir()))
    for path in made:
        if path.endswith(".whl"):
            _check_symbols(path)
    _run("-m", "twine", "check", "--strict", *made)
    for path in made:
        print(f"{Path(path).stat().st_size / 1e6:6.2f} MB  {path}")


def _build(machine: str) -> None:
    """Build the wheel for one kind of machine."""
    shutil.rmtree(ROOT / "build" / "wheels", ignore_errors=True)
    compiler = f"{sys.executable} -m ziglang cc -target {machine}-linux-gnu.{GLIBC[0]}.{GLIBC[1]} -g0"
    tools = {"CC": compiler, "LDSHARED": f"{compiler} -shared -Wl,-s"}
    platform = f"manylinux_{GLIBC[0]}_{GLIBC[1]}_{machine}"
    _run(
        "setup.py", "-q", "build", "--build-base", "build/wheels",
        "bdist_wheel", "--plat-name", platform, "--dist-dir", str(DIST),
        **tools,
    )  # fmt: skip


def _check_symbols(wheel: str) -> None:
    """Raise unless a wheel runs wherever its name says; and unless the kernels are in it at all."""
    command = [sys.executable, "-m", "auditwheel", "show", wheel]
    said = " ".join(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    found = re.search(r"platform tag: \"manylinux_(\d+)_(\d+)_", said)
    if not found or (int(found[1]), int(found[2])) > GLIBC:
        raise SystemExit(f"{wheel}: {said}, expected a library for glibc {GLIBC[0]}.{GLIBC[1]}")


def _run(*command: str, **environment: str) -> None:
    subprocess.run([sys.executable, *command], check=True, cwd=ROOT, env={**os.environ, **environment})


if __name__ == "__main__":
    main()
