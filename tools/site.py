"""Builds the documents as a site: stages what it shows, and has MkDocs build that strictly.

In: the Markdown of the repository, which reads as well without it. Out: ``build/site``, or an error for every link,
anchor and page that is not there. Asks nothing of any other host.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
STAGE = ROOT / "build" / "pages"
SHOWN = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "ferdata/format/FORMAT.md", "docs/**/*")
"""Where they stand in the repository is where they stand in the site, so that links are the same in both."""


def stage() -> None:
    """Copy what the site shows to where MkDocs looks for it."""
    shutil.rmtree(STAGE, ignore_errors=True)
    for pattern in SHOWN:
        for path in ROOT.glob(pattern):
            if path.is_file():
                copy = STAGE / path.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
    (STAGE / "README.md").rename(STAGE / "index.md")
    for path in STAGE.rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        path.write_text(
            text.replace("(../README.md", "(../index.md").replace("(README.md", "(index.md"), encoding="utf-8"
        )


def build() -> int:
    """Build the site; return MkDocs's exit code, and show what it says if that is not 0."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(ROOT / "mkdocs.yml")]
    options = {"cwd": ROOT, "env": {**os.environ, "NO_MKDOCS_2_WARNING": "1"}, "capture_output": True, "text": True}
    done = subprocess.run(command, check=False, **options)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    stage()
    code = build()
    if code == 0:
        print(ROOT / "build" / "site" / "index.html")
    sys.exit(code)
