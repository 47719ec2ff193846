"""Follows the README on a machine that has next to nothing, once for each way machines differ; exit code 1 on failure.

In: the committed state of this repository. Out: a line per step, and the whole output of a failed one. Each way is a
clone in a new folder, with a new environment, an empty HOME, no locale and a PATH of a dozen programs; ``make demo``
and ``make test`` must pass. Costs 10 to 15 minutes a way on two cores, and 8 GB of disk while one runs.

    python tools/fresh.py [WAY ...]      all of them when none is named
"""

import configparser
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
SYSTEM = [
    "sh",
    "bash",
    "env",
    "make",
    "git",
    "rm",
    "mkdir",
    "mktemp",
    "cat",
    "cp",
    "mv",
    "ls",
    "touch",
    "tr",
    "uname",
    "grep",
    "dirname",
    "sleep",
]
COMPILER = ["cc", "gcc", "as", "ld"]
KEPT = re.compile(r"PIP_|SSL_|REQUESTS_CA|(https?|no)_proxy$", re.IGNORECASE)
"""How this machine reaches its packages is its own; nothing else of its environment comes along."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One kind of machine: which programs it has, and what else is set there."""

    programs: list[str] = field(default_factory=lambda: SYSTEM + COMPILER)
    pillow: str = "pillow"
    oldest: bool = False


WAYS = {
    "newest": Way(),
    "oldest": Way(oldest=True),
    "no-compiler": Way(programs=SYSTEM),
    "simd": Way(pillow="simd"),
}


def oldest_versions(config: Path) -> str:
    """Return the lower bounds of what ``setup.cfg`` asks for, and of its tests, as lines of a constraints file."""
    parser = configparser.ConfigParser()
    parser.read(config)
    extras = parser["options.extras_require"]

    def lines(text: str) -> list[str]:
        """Return requirements, with those of the extras of our own that are among them."""
        own = re.findall(r"^ferdata\[(.+)\]$", text, re.MULTILINE)
        inner = [line for names in own for name in names.split(",") for line in lines(extras[name])]
        return inner + [line for line in text.split() if not line.startswith("ferdata[")]

    wanted = dict(line.split(">=") for line in lines(parser["options"]["install_requires"]) + lines(extras["test"]))
    return "".join(f"{name.split('[')[0]}=={bound}\n" for name, bound in wanted.items())


def toolbox(folder: Path, programs: list[str]) -> Path:
    """Make a folder with these programs of this machine, and the Python that runs this, and return it."""
    folder.mkdir()
    for name in programs:
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    # a link would leave Python looking for its library beside the link
    (folder / "python3").write_text(f'#!/bin/sh\nexec {getattr(sys, "_base_executable", sys.executable)} "$@"\n')
    (folder / "python3").chmod(0o755)
    return folder


def follow(name: str, way: Way) -> bool:
    """Clone, set up, run the demo and the tests; return whether all of it passed."""
    with tempfile.TemporaryDirectory(prefix=f"ferdata-{name}-") as top:
        Path(top).chmod(0o755)  # as a folder for clones is
        home = Path(top, "home")
        home.mkdir()
        environment = {key: value for key, value in os.environ.items() if KEPT.match(key)}
        environment |= {
            "PATH": str(toolbox(Path(top, "bin"), way.programs)),
            "HOME": str(home),
            "FERDATA_PILLOW": way.pillow,
        }
        if way.oldest:
            Path(top, "oldest.txt").write_text(oldest_versions(ROOT / "setup.cfg"))
            # what old versions say of the newest ones of their own dependencies is not ours to mend
            environment |= {"PIP_CONSTRAINT": f"{top}/oldest.txt", "PYTEST_ADDOPTS": "-W ignore::DeprecationWarning"}
        steps = {
            "clone": ["git", "clone", "-q", str(ROOT), f"{top}/ferdata"],
            "set-up": ["make", "-C", f"{top}/ferdata", "setup"],
            "demo": ["make", "-C", f"{top}/ferdata", "demo"],
            "test": ["make", "-C", f"{top}/ferdata", "test"],
        }
        for step, command in steps.items():
            start = time.monotonic()
            done = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
            )
            said = (done.stdout + done.stderr).strip().splitlines()
            print(
                f"{name}: {step}: exit {done.returncode} after {time.monotonic() - start:.0f} s; "
                f"{said[-1] if said else ''}",
                flush=True,
            )
            for line in said if done.returncode or step == "set-up" else ():
                print(f"    {line}", flush=True)
            if done.returncode:
                return False
    return True


def main() -> int:
    """Follow the ways named, or all, and return how many failed."""
    names = sys.argv[1:] or list(WAYS)
    if unknown := [name for name in names if name not in WAYS]:
        print(f"error: {', '.join(unknown)}: expected some of {', '.join(WAYS)}", file=sys.stderr)
        return 2
    passed = {name: follow(name, WAYS[name]) for name in names}
    print("; ".join(f"{name}: {'passed' if passed[name] else 'FAILED'}" for name in names))
    return int(not all(passed.values()))


if __name__ == "__main__":
    sys.exit(main())
