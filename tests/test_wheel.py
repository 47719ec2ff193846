"""The wheel, installed in an environment of its own: all that runs is in it, whatever lies in the current folder."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: object, cwd: Path, home: Path) -> str:
    """Run a program with next to nothing in its environment; a failure shows all it said."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def ferdata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the installed command; torch and the rest, gigabytes that are not tested here, are this environment's."""
    top = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", top, ROOT, cwd=top, home=top)
    venv.create(top / "venv", with_pip=False, symlinks=True)
    python = top / "venv" / "bin" / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=top, home=top).strip()
    (wheel,) = top.glob("ferdata-*.whl")
    run(*pip, "--python", python, "install", "-q", "--no-deps", "--no-index", wheel, cwd=top, home=top)
    (Path(site) / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return top / "venv" / "bin" / "ferdata"


def test_the_demo_runs_from_the_wheel_beside_files_of_our_names(ferdata: Path, tmp_path: Path) -> None:
    """Every course project has a model.py: neither may break the other, and no file may be missing from the wheel."""
    for name in ("model.py", "cli.py", "training.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong file was imported')\n")

    run(ferdata, "demo", "--quick", "--out", "demo", cwd=tmp_path, home=tmp_path)

    assert (tmp_path / "demo" / "report.html").stat().st_size > 10_000
    (model,) = (tmp_path / "demo" / "runs").iterdir()
    face = next((tmp_path / "demo" / "source").rglob("*.jpg"))
    answer = run(ferdata, "predict", model, face, "--json", "-", cwd=tmp_path, home=tmp_path)
    assert abs(sum(json.loads(answer)["images"][0]["probabilities"].values()) - 1) < 1e-4
    origin = run(
        ferdata.with_name("python"),
        "-c",
        "import ferdata.training as t; print(t.__file__)",
        cwd=tmp_path,
        home=tmp_path,
    )
    assert str(ferdata.parents[1]) in origin
    assert run(ferdata, "--version", cwd=tmp_path, home=tmp_path).split()[-1].count(".") == 2
