"""What a bare checkout lacks: packages of ``setup.cfg``, and the compiled kernels. Nothing is ever downloaded.

In: the checkout. Out: lines for people. Imports the standard library alone, so that it runs where all else is missing.
"""

import configparser
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

__all__ = ["ROOT", "advice", "build_kernels", "missing_packages"]

ROOT = Path(__file__).resolve().parents[2]
BUILD_SECONDS = 60.0
_MODULES = {"pillow": "PIL"}
"""Where a package is not imported by its own name."""
_BROUGHT = ("torch", "torchvision")
"""They fit each other and the driver, and are far too large to be carried."""
_KERNELS = "from ferdata.format.kernels.native import why_missing; print(why_missing())"


def missing_packages(root: Path = ROOT) -> list[str]:
    """Return the requirements of ``setup.cfg`` that are not installed here, or too old."""
    config = configparser.ConfigParser()
    config.read(root / "setup.cfg", encoding="utf-8")
    requirements = config.get("options", "install_requires", fallback="").split()
    return [requirement for requirement in requirements if not _is_there(requirement)]


def advice(missing: list[str]) -> str:
    """Return what is missing, and how it gets here without a network."""
    brought = [each for each in missing if _name(each) in _BROUGHT]
    carried = " ".join(f"'{each}'" for each in missing if each not in brought)
    lines = [f"gpu: {', '.join(missing)} not found here, expected them installed"]
    if brought:
        lines.append(f"{' and '.join(map(_name, brought))}: install a pair that fits this machine's driver first")
    if carried:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        lines += [
            "the others can be carried as wheels. Where there is a network:",
            f"    python -m pip download --only-binary=:all: --python-version {python} -d wheels {carried}",
            "and here:",
            f"    {sys.executable} -m pip install --no-index --find-links wheels {carried}",
        ]
    return "\n".join(lines)


def build_kernels(root: Path = ROOT) -> str:
    """Build the kernels in place where they are missing, and return why they still are; empty where they are not."""
    if not (reason := _said(root, "-c", _KERNELS)):
        return ""
    print("gpu: building the kernels in place", flush=True)
    _said(root, "setup.py", "-q", "build_ext", "--inplace")
    return _said(root, "-c", _KERNELS) and f"{reason}, and could not be built in place"


def _said(root: Path, *arguments: str) -> str:
    command = [sys.executable, *arguments]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"not done after {BUILD_SECONDS:.0f} s"
    return (done.stdout.strip() or done.stderr.strip()[-300:]) if done.returncode or done.stdout.strip() else ""


def _is_there(requirement: str) -> bool:
    name = _name(requirement)
    if find_spec(_MODULES.get(name, name)) is None:
        return False
    try:
        found = version(name)
    except PackageNotFoundError:  # another of its names, as Pillow-SIMD
        return True
    return _numbers(found) >= _numbers(requirement.partition(">=")[2])


def _name(requirement: str) -> str:
    return re.split(r"[\[<>=!~;]", requirement)[0]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)[:3]]
