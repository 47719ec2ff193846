"""docs/benchmarks.md and the pictures of all documents, out of the JSON files in docs/figures and docs.

Run ``python -m ferdata_bench.figures.page``: nothing is measured. With ``--check`` nothing is written, and a page that
differs is an error. The page says what was not measured; nothing on it is typed by hand.
"""

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ferdata_bench.contenders import CONTENDERS
from ferdata_bench.figures.catalog import CATALOG, FIGURES, Entry
from ferdata_bench.figures.markdown import conditions_block
from ferdata_bench.figures.sections import SECTIONS, bench_command, guard_section

__all__ = ["GUARD", "PAGE", "main", "render", "write_page"]

PAGE = Path("docs/benchmarks.md")
GUARD = Path(__file__).resolve().parent.parent / "guard" / "recorded_ratios.json"
QUICK_WARNING = "**From a quick run of tens of images: these figures mean nothing.**"

HEAD = """# Benchmarks

This page is made by `make bench-docs` from the files in `docs/figures`; edit nothing here. Every table comes with
the command that made it and with the conditions that its file holds; if the machine or versions are missing, the page
says so. Rates are medians; *spread* is the best minus the worst run, as a fraction of the median. What is compared was
measured in one run, in turns, so that the machine's drift affects all alike. A *ceiling* is the best that the machine
can do on the same bytes, timed in the same run: *copy* moves ready pixels into memory like the loader's own, *decode*
runs a codec's bare decoder."""


def render(figures: Path, *, guard: Path = GUARD) -> str:
    """Return the page for the JSON files and pictures that lie in ``figures``."""
    lines = [HEAD, ""]
    for entry in CATALOG:
        lines += [f"## {entry.title}", "", entry.question, "", *_body(entry, figures), ""]
    lines += ["## How each contender is used", "", "How do the others read and shuffle?", ""]
    lines += [*(f"- **{contender.name}**: {contender.usage()}" for contender in CONTENDERS), ""]
    lines += ["## The guard against getting slower", "", "What does each part cost, as a multiple of bare work?", ""]
    if guard.exists():
        values = json.loads(guard.read_text(encoding="utf-8"))
        lines += [*guard_section(values), "", *conditions_block(values["machine"], "make bench-record")]
    else:
        lines += ["*Not measured on this machine yet: run `make bench-record`.*"]
    return "\n".join(lines).rstrip() + "\n"


def write_page(figures: Path, page: Path, *, guard: Path = GUARD) -> list[Path]:
    """Draw the pictures, then write the page; return every file written."""
    from ferdata_bench.figures.pictures import OTHERS, draw  # matplotlib is slow to import, and checking needs none

    written = []
    for folder, names in ((figures, [entry.name for entry in CATALOG]), (page.parent, OTHERS)):
        for path in (path for name in names if (path := folder / f"{name}.json").exists()):
            written += draw(path.stem, json.loads(path.read_text(encoding="utf-8")), folder)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render(figures, guard=guard), encoding="utf-8")
    return [*written, page]


def _body(entry: Entry, figures: Path) -> list[str]:
    path = figures / f"{entry.name}.json"
    if not path.exists():
        return [f"*Not measured on this machine yet: {'run ' if entry.arguments else 'it needs '}{entry.how}.*"]
    content = path.read_bytes()
    values = json.loads(content)
    conditions = values.get("conditions", {})
    lines = [QUICK_WARNING, ""] if conditions.get("quick") else []
    lines += _trimmed(SECTIONS[entry.name](values))
    for picture in sorted(figures.glob(f"{entry.name}*.png")):
        lines += ["", f"![{entry.title}](figures/{picture.name})"]
    digest = hashlib.sha256(content).hexdigest()[:16]
    lines += ["", *conditions_block(conditions, _command(entry, values))]
    return [*lines, "", f"<!-- {path.name} {digest} -->"]  # a picture of another file than this would show here


def _command(entry: Entry, values: Mapping[str, Any]) -> str:
    if entry.name.startswith("bench-"):
        return bench_command(values)
    return str(values.get("command") or entry.how.strip("`"))


def _trimmed(lines: list[str]) -> list[str]:
    while lines and not lines[-1]:
        lines = lines[:-1]
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or check it; exit code 1 if it is stale."""
    parser = argparse.ArgumentParser(
        prog="python -m ferdata_bench.figures.page", description="Render docs/benchmarks.md."
    )
    parser.add_argument("--figures", type=Path, default=FIGURES, help="folder of the JSON files")
    parser.add_argument("--page", type=Path, default=PAGE, help="Markdown file to write")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page does not match the files")
    given = parser.parse_args(arguments)
    if given.check:
        fresh = given.page.exists() and given.page.read_text(encoding="utf-8") == render(given.figures)
        print(f"{given.page}: {'is' if fresh else 'is NOT'} what the files in {given.figures} say")
        return 0 if fresh else 1
    for path in write_page(given.figures, given.page):
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
