"""``make gpu``: everything runs at toy size on a processor, and a machine that lacks something is told what."""

import json
import sys
from pathlib import Path

import pytest
import torch

from ferdata_bench.gpu import packages
from ferdata_bench.gpu.__main__ import main
from ferdata_bench.gpu.run import SPEEDS, _ended


def test_all_of_it_runs_on_a_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first time that a GPU is at hand, minutes of it must not end in an error of the script."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "gpu.json"

    code = main(["--device", "cpu", "--quick", "--json", str(path)])

    found = json.loads(path.read_text())
    assert [check for check in found["checks"] if check["passed"] is False] == []
    assert code == 0
    names = " ".join(check["name"] for check in found["checks"] if check["passed"])
    assert all(each in names for each in ("tensor operations", "ferdata.decode", "compact resident", "raw streamed"))
    for section in ("data", *SPEEDS):
        assert found[section] and "ended early" not in found[section]
    assert "failed" not in str([found[section] for section in SPEEDS])
    fed = found["steps"]["mod4"]["compact resident"]
    assert fed["images/s"] > 0 and fed["ratio to the batch that stays"] > 0 and 0 <= fed["data wait share"] < 1
    assert not list((tmp_path / "cache" / "ferdata").iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures of a processor under a GPU's name would be believed."""
    assert main(["--json", str(tmp_path / "gpu.json")]) == 1

    said = capsys.readouterr()
    assert said.err.splitlines() == ["gpu: this torch sees no CUDA device, expected one; nothing was measured"]
    assert not said.out and not list(tmp_path.iterdir())


def test_what_is_missing_is_named_with_the_way_to_carry_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lent machine has no network, and its time is short: one look must say all that it lacks."""
    find, version = packages.find_spec, packages.version
    missing = ("zstandard", "PIL", "torchvision")
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name in missing else find(name))
    monkeypatch.setattr(packages, "version", lambda name: "0.1" if name == "rich" else version(name))

    assert main([]) == 1

    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("gpu: torchvision>=0.21, zstandard>=0.22, pillow>=11.3, rich>=13 not found here")
    assert said[1].startswith("torchvision: install a pair")
    carried = "'zstandard>=0.22' 'pillow>=11.3' 'rich>=13'"
    assert said[3].endswith(f"-d wheels {carried}") and " -m pip download --only-binary=:all: " in said[3]
    assert said[5].strip() == f"{sys.executable} -m pip install --no-index --find-links wheels {carried}"


def test_a_part_that_hangs_or_dies_is_ended_with_all_it_started() -> None:
    """A fault of the device leaves a process that never returns."""
    hangs = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"

    assert _ended([sys.executable, "-c", hangs], 0.5, {}) == "it took longer than 0 s"
    assert _ended([sys.executable, "-c", "import sys; sys.exit('an illegal access')"], 60, {}) == (
        "exit code 1: an illegal access"
    )
    assert _ended([sys.executable, "-c", "print()"], 60, {}) == ""
