"""``make gpu``: everything runs at toy size on a processor, and a machine that lacks something is told what."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ferdata_bench.figures.markdown import generic
from ferdata_bench.gpu import checks, packages
from ferdata_bench.gpu.__main__ import main
from ferdata_bench.gpu.job import Go, Job, time_in_turns
from ferdata_bench.gpu.run import SPEEDS, _ended


def test_all_of_it_runs_on_a_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first time that a GPU is at hand, minutes of it must not end in an error of the script."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("ferdata.stream.loader.decodes_itself", lambda device: True)  # as any other device would
    path = tmp_path / "gpu.json"

    code = main(["--device", "cpu", "--quick", "--json", str(path)])

    found = json.loads(path.read_text())
    assert [check for check in found["checks"] if check["passed"] is False] == []
    assert code == 0
    names = " ".join(check["name"] for check in found["checks"] if check["passed"])
    ways = ("compact resident", "raw streamed", "compact streamed, decoded there: goes on from a state")
    assert all(each in names for each in ("tensor operations", "ferdata.decode", *ways))
    for section in ("data", *SPEEDS):
        assert found[section] and not [row for row in found[section] if "failed" in row]
    fed = {(row["network"], row["way"]): row for row in found["steps"]}["mod4", "compact resident"]
    assert fed["images/s"] > 0 and fed["of the ceiling"] > 0 and 0 <= fed["data wait share"] < 1
    shown = "\n".join(generic(found))
    assert all(f"\n{section}:\n" in f"\n{shown}" for section in ("checks", "data", *SPEEDS))
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


def job(tmp_path: Path) -> Job:
    """A job whose results are nobody's."""
    return Job(device=torch.device("cpu"), quick=True, work=tmp_path, out=tmp_path / "out.json", deadline=0.0)


def test_a_decoder_that_is_wrong_fails_its_checks_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that cannot fail checks nothing."""
    right = checks.decode_torch.undo

    def wrong(payloads: Any, offsets: Any, shape: Any, out: Any) -> torch.Tensor:
        sound = right(payloads, offsets, shape, out)
        out[-1, 0, 0, 0] ^= 1
        return sound if len(out) == 18 else ~sound

    monkeypatch.setattr(checks.decode_torch, "undo", wrong)
    monkeypatch.setattr(checks.ferdata, "decode", lambda *given: 1 / 0)

    checks.check_operations(job(tmp_path))

    found = json.loads((tmp_path / "out.json").read_text())
    assert [row["passed"] for row in found] == [False] * 4
    assert "of 18 differ, the first is 17" in found[0]["reason"]
    assert "offsets [-1, " in found[2]["reason"] and found[2]["reason"].endswith("are accepted")
    assert found[3]["reason"] == "ZeroDivisionError: division by zero"


def test_a_way_that_fails_says_why_and_the_others_are_compared(tmp_path: Path) -> None:
    """A machine without nvJPEG still measures the rest."""
    ways = {
        "copy": lambda: Go(work=8, seconds=2),
        "broken": lambda: Go(work=1 / 0, seconds=1),
        "loader": lambda: Go(work=6, seconds=2, waited_seconds=0.5),
    }

    time_in_turns(job(tmp_path), [{"size": 1}], {"size": 2}, ways, "images/s", until=0, ceilings={"loader": "copy"})

    first, copy, broken, loader = json.loads((tmp_path / "out.json").read_text())
    assert first == {"size": 1}
    assert copy == {"size": 2, "way": "copy", "images/s": 4.0, "spread": 0.0, "runs": [4.0]}
    assert broken == {"size": 2, "way": "broken", "failed": "ZeroDivisionError: division by zero"}
    assert loader["of the ceiling"] == 0.75 and loader["data wait share"] == 0.25


def test_a_part_that_hangs_or_dies_is_ended_with_all_it_started() -> None:
    """A fault of the device leaves a process that never returns."""
    hangs = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"

    assert _ended([sys.executable, "-c", hangs], 0.5, {}) == "it took longer than 0 s"
    assert _ended([sys.executable, "-c", "import sys; sys.exit('an illegal access')"], 60, {}) == (
        "exit code 1: an illegal access"
    )
    assert _ended([sys.executable, "-c", "print()"], 60, {}) == ""
