"""Every measurement in order, then the page: what ``make bench-docs`` runs.

``python -m ferdata_bench.figures [--only bars,scale] [--work DIR] [--quick]``. On a quiet machine of two cores it takes
an hour and a half, most of it the contenders, the first day and the codec study. One that fails is named at the end;
the page is made of what there is.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ferdata.plan.conditions import describe_machine
from ferdata_bench.figures.catalog import CATALOG, FIGURES, Entry
from ferdata_bench.figures.common import WORK, is_quick
from ferdata_bench.figures.page import PAGE, write_page
from ferdata_bench.loaders.process import PACKAGE_ROOT

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, render, and tell what failed; exit code 1 if something did."""
    parser = argparse.ArgumentParser(
        prog="python -m ferdata_bench.figures", description="Measure everything and render the page."
    )
    parser.add_argument(
        "--only", default="", help=f"some of {', '.join(entry.name for entry in CATALOG if entry.arguments)}"
    )
    parser.add_argument(
        "--figures", type=Path, help=f"folder of the JSON files; {FIGURES}, or below the work folder for a quick run"
    )
    parser.add_argument("--work", type=Path, default=WORK, help="folder for photographs and shards, kept")
    parser.add_argument(
        "--quick", action="store_true", default=is_quick(), help="tens of images; the repository's page is left alone"
    )
    given = parser.parse_args(arguments)
    names = [name for name in given.only.split(",") if name]
    if unknown := [name for name in names if name not in {entry.name for entry in CATALOG if entry.arguments}]:
        parser.error(f"--only: {unknown} found, expected names as listed in --help")
    work = given.work.resolve()
    figures = (given.figures or (work / "quick" if given.quick else FIGURES)).resolve()
    page = figures.parent / PAGE.name
    work.mkdir(parents=True, exist_ok=True)
    figures.mkdir(parents=True, exist_ok=True)
    chosen = [entry for entry in CATALOG if entry.arguments and _is_wanted(entry, names, quick=given.quick)]
    failed = [entry.name for entry in chosen if not _run(entry, figures=figures, work=work, quick=given.quick)]
    for path in write_page(figures, page):
        print(f"wrote {path}")
    if failed:
        print(f"failed: {', '.join(failed)}; the page has their last figures, or says that there are none")
    return 1 if failed else 0


def _is_wanted(entry: Entry, names: Sequence[str], *, quick: bool) -> bool:
    return entry.name in names if names else entry.quick is not None or not quick


def _run(entry: Entry, *, figures: Path, work: Path, quick: bool) -> bool:
    """Run one measurement in its own process, where no shards of the user's are found; tell whether it went well."""
    command = entry.command(figures=figures, work=work, quick=quick)
    if command[0] == "cli.py":
        command[0] = str(PACKAGE_ROOT / "cli.py")
    print(f"== {entry.title}: python {' '.join(command)}", flush=True)
    machine = describe_machine()
    if subprocess.run([sys.executable, *command], cwd=work, env=_environment(), check=False).returncode:
        return False
    path = figures / f"{entry.name}.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    if "conditions" not in values:  # a use of the program, which says what came out of it alone
        path.write_text(json.dumps({"conditions": machine, **values}, indent=1) + "\n", encoding="utf-8")
    return True


def _environment() -> dict[str, str]:
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{PACKAGE_ROOT}{os.pathsep}{path}" if path else str(PACKAGE_ROOT)}


if __name__ == "__main__":
    raise SystemExit(main())
