"""Makes the virtual environments of the extra contenders, whose dependencies conflict with ours and with each other's.

In: a folder. Out: ``.venv-ffcv``, ``.venv-extras`` and ``.venv-datasets`` in it, and one line per library: installed,
or why not. They see the packages of the environment that this runs in (torch takes several gigabytes), but their own
come first. FFCV is built from source: it needs a compiler, pkg-config, and the headers of OpenCV and libjpeg-turbo from
the system.

    python -m ferdata_bench.extras [FOLDER] [NAME ...]
"""

import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ENVIRONMENTS", "Installed", "Wanted", "main", "make_environment"]

INSTALL_SECONDS = 3_600
REASON_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One library: what pip is asked for, and the module that must then be importable.

    Attributes:
        requirements: Given to pip together, so that they are compatible.
        module: Imported afterwards, as proof.
        system: What the system must have, to be named when it fails.
    """

    requirements: tuple[str, ...]
    module: str
    system: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """The outcome for one library; ``reason`` is None if it can be imported."""

    module: str
    reason: str | None


ENVIRONMENTS: dict[str, tuple[Wanted, ...]] = {
    ".venv-ffcv": (
        Wanted(
            requirements=("ffcv", "numba", "numpy<2.3"),
            module="ffcv",
            system="a C++ compiler, pkg-config and the headers of OpenCV and libjpeg-turbo "
            "(Debian: g++ pkg-config libopencv-dev libturbojpeg0-dev)",
        ),
    ),
    ".venv-extras": (
        Wanted(requirements=("litdata",), module="litdata"),
        Wanted(requirements=("mosaicml-streaming",), module="streaming"),
        Wanted(requirements=("grain", "array_record"), module="grain"),
        Wanted(
            requirements=("spdl",),
            module="spdl.io",
            system="FFmpeg's libraries to decode JPEG (Debian: libavdevice59 or newer)",
        ),
        Wanted(requirements=("nvidia-dali-cuda120",), module="nvidia.dali"),
        Wanted(requirements=("pylance",), module="lance.torch.data"),
        Wanted(requirements=("webshart",), module="webshart"),
        Wanted(requirements=("datago",), module="datago"),
    ),
    ".venv-datasets": (Wanted(requirements=("datasets",), module="datasets"),),
}
"""FFCV needs an older NumPy than the others, and datasets a newer huggingface-hub than streaming; each is installed
separately, so that one that fails spares the others."""


def make_environment(folder: Path, wanted: tuple[Wanted, ...]) -> list[Installed]:
    """Make one environment, or complete it, and return the outcome for each library."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    (site / "ferdata-shared.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return [_still_importable(python, each) for each in [_install(python, each) for each in wanted]]


def _install(python: Path, wanted: Wanted) -> Installed:
    if _try([str(python), "-c", f"import {wanted.module}"]) is None:
        return Installed(module=wanted.module, reason=None)
    # pip builds apart, with setuptools of its own: what this environment happens to hold must not matter
    failed = _try([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted.requirements])
    failed = failed or _try([str(python), "-c", f"import {wanted.module}"])
    needs = f" (it needs {wanted.system})" if failed and wanted.system else ""
    return Installed(module=wanted.module, reason=f"{failed}{needs}" if failed else None)


def _still_importable(python: Path, installed: Installed) -> Installed:
    """See that a library that was ready did not break when others were installed after it."""
    if installed.reason is not None:
        return installed
    return Installed(module=installed.module, reason=_try([str(python), "-c", f"import {installed.module}"]))


def _try(command: list[str]) -> str | None:
    """Run a command; return None, or the line of its output that best explains why it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"not done after {INSTALL_SECONDS} s"
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower()] or lines or [f"exit code {done.returncode}"]
    return telling[-1][:REASON_CHARACTERS]


def main(arguments: list[str]) -> int:
    """Make the environments named, or all, below the folder given first; return how many libraries failed."""
    folder = Path(arguments[0]) if arguments else Path.cwd()
    failures = 0
    for name in arguments[1:] or ENVIRONMENTS:
        print(f"{folder / name}: this takes minutes", flush=True)
        for installed in make_environment(folder / name, ENVIRONMENTS[name]):
            failures += installed.reason is not None
            print(
                f"  {installed.module}: {'ready' if installed.reason is None else f'failed: {installed.reason}'}",
                flush=True,
            )
    return failures


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1:])))
