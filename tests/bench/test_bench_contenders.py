"""Contenders and the processes they run in: each proves itself, and one that fails, hangs or is missing is named."""

import re
import stat
import subprocess
import time
import venv
from dataclasses import replace
from pathlib import Path

import pytest
from streams import is_running, wait_until

from ferdata.errors import OptionError
from ferdata_bench.contenders import CONTENDERS, EXTRAS, OURS, Entry, choose, find
from ferdata_bench.extras import Wanted, make_environment
from ferdata_bench.loaders.photos import write_photos
from ferdata_bench.loaders.process import PACKAGE_ROOT, ContenderError, RunnerProcess, find_interpreter
from ferdata_bench.loaders.reference import Reference, make_reference
from ferdata_bench.loaders.runner import Runner

SIZE = 96  # smaller images would lose too much when FFCV encodes them again
COUNT = 96


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class-folder tree of small photographs."""
    return write_photos(tmp_path_factory.mktemp("photos"), count=COUNT, size=SIZE).root / "train"


@pytest.fixture(scope="module")
def reference(source: Path) -> Reference:
    """What Pillow decodes from it."""
    return make_reference(source)


@pytest.mark.filterwarnings("ignore")  # other people's libraries
@pytest.mark.parametrize(
    "entry", [entry for entry in (*OURS, *CONTENDERS) if not entry.environment], ids=lambda entry: entry.name
)
def test_a_contender_delivers_the_source_epoch_after_epoch(
    entry: Entry, source: Path, reference: Reference, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every contender proves itself with worker processes, then gives the same sums in later epochs."""
    if reason := entry.available():
        pytest.skip(reason)
    reference.save(tmp_path / "reference.npz")
    runner = Runner(find(entry.shares) if entry.shares else entry)
    assert runner.hello()["unavailable"] is None
    runner.ingest(source=str(source), out=str(tmp_path / "out"))
    runner = Runner(entry)
    runner.hello()

    runner.open(out=str(tmp_path / "out"), batch_size=16, num_workers=2, seed=3)
    checked = runner.check(reference=str(tmp_path / "reference.npz"))
    warm, timed = runner.warm(), runner.epoch(min_seconds=0.0)

    assert checked["images"] == warm["images"] == timed["images"] == COUNT
    assert timed["sums"] == warm["sums"]
    assert checked["first_batch_seconds"] > 0 and timed["seconds"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("entry", EXTRAS, ids=lambda entry: entry.name)
def test_an_extra_contender_delivers_the_source(
    entry: Entry, source: Path, reference: Reference, tmp_path: Path
) -> None:
    """The same proof for the extras, in their own environments, where these are installed."""
    python, reason = find_interpreter(entry, [PACKAGE_ROOT])
    if reason:
        pytest.skip(reason)
    reference.save(tmp_path / "reference.npz")
    runner = RunnerProcess(entry.name, python=python, folder=tmp_path)
    try:
        facts = runner.ask("hello", timeout_seconds=120)
        if facts["unavailable"]:
            pytest.skip(facts["unavailable"])
        runner.ask("ingest", source=str(source), out=str(tmp_path / "out"), timeout_seconds=120)
        runner.ask("open", out=str(tmp_path / "out"), batch_size=16, num_workers=2, seed=3, timeout_seconds=120)
        assert runner.ask("check", reference=str(tmp_path / "reference.npz"), timeout_seconds=120)["images"] == COUNT
        warm = runner.ask("warm", timeout_seconds=120)
        assert runner.ask("epoch", min_seconds=0.0, timeout_seconds=120)["sums"] == warm["sums"]
    finally:
        runner.close()


def test_names_choose_contenders_in_table_order() -> None:
    """A family's name stands for its members; none stands for nobody."""
    assert [entry.name for entry in choose(["memmap", "imagefolder"])] == [
        "imagefolder-pillow",
        "imagefolder-torchvision",
        "memmap",
    ]
    assert choose(["all"]) == list(CONTENDERS) and choose(["none"]) == []
    assert {entry.environment for entry in choose(["usual"])} == {""}
    with pytest.raises(
        OptionError, match=r"against: 'tfdata' found, expected all, usual, none or names out of imagefolder-pillow"
    ):
        choose(["tfdata"])


@pytest.mark.parametrize("entry", CONTENDERS, ids=lambda entry: entry.name)
def test_every_contender_says_how_it_reads_and_shuffles(entry: Entry) -> None:
    """The page shows it beside the figures; the libraries themselves need not be there."""
    said = entry.usage()

    assert re.search(r" In: .*\. Out: .*(shuffle|[Mm]ix)", said) and "``" not in said


def test_a_missing_library_is_named_with_the_way_to_get_it(tmp_path: Path) -> None:
    """Nobody should have to guess why a row is missing."""
    entry = replace(find("ffcv-raw"), requires=("no_such_library",), environment=".venv-nowhere")

    assert find_interpreter(entry, [tmp_path])[1] == (
        "not installed: no_such_library; no environment .venv-nowhere: make it with `python -m ferdata_bench.extras`"
    )


def test_extras_are_reported_one_by_one(tmp_path: Path) -> None:
    """One library that can't be installed must not hide the others."""
    venv.create(tmp_path / "env", with_pip=False)

    ready, failed = make_environment(
        tmp_path / "env",
        (
            Wanted(requirements=(), module="json"),
            Wanted(requirements=("./no-such-folder",), module="no_such", system="a compiler"),
        ),
    )

    assert (ready.module, ready.reason) == ("json", None)
    assert failed.reason is not None and failed.reason.endswith("(it needs a compiler)")


def test_a_library_that_a_later_one_breaks_is_reported(tmp_path: Path) -> None:
    """They share an environment: what was ready when it was installed may no longer be once the next one was."""
    venv.create(tmp_path / "env", with_pip=False)
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    path = f"__import__('pathlib').Path({str(tmp_path / 'installed')!r})"
    (site / "first_one.py").write_text(f"assert not {path}.exists(), 'too new'")
    (site / "second_one.py").write_text(f"{path}.touch()")

    broken, ready = make_environment(
        tmp_path / "env", tuple(Wanted(requirements=(), module=name) for name in ("first_one", "second_one"))
    )

    assert (broken.module, broken.reason) == ("first_one", "AssertionError: too new")
    assert (ready.module, ready.reason) == ("second_one", None)


def fake_python(folder: Path, script: str) -> str:
    """Return an interpreter that runs a shell script instead."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return str(path)


@pytest.mark.parametrize(
    ("script", "timeout_seconds", "message"),
    [
        ("echo boom >&2; exit 3", 60, r"memmap: ended with code 3 during hello \(boom\)"),
        ("sleep 60", 1, r"memmap: no reply to hello in 1 s \(no message\)"),
        ("""read line; echo '{"ok": false, "error": "no luck"}'; read line""", 60, r"memmap: hello failed: no luck"),
    ],
    ids=["dies", "hangs", "says no"],
)
def test_a_runner_that_fails_is_an_error_with_its_last_words(
    tmp_path: Path, script: str, timeout_seconds: float, message: str
) -> None:
    """One bad contender must neither stop nor stall the others."""
    runner = RunnerProcess("memmap", python=fake_python(tmp_path, script), folder=tmp_path)
    try:
        with pytest.raises(ContenderError, match=message):
            runner.ask("hello", timeout_seconds=timeout_seconds)
    finally:
        runner.close()


def test_closing_a_runner_ends_the_processes_it_started(tmp_path: Path) -> None:
    """Workers left behind would slow down every later contender."""
    runner = RunnerProcess("memmap", python=fake_python(tmp_path, "sleep 60 & echo $! > child; wait"), folder=tmp_path)
    while not (child := tmp_path / "child").exists() or not child.read_text().strip():
        time.sleep(0.01)

    runner._process.kill()
    runner.close()

    sleeper = int(child.read_text())
    assert wait_until(lambda: not is_running(sleeper))


@pytest.mark.slow
def test_grain_reads_as_it_advises_for_data_in_memory(source: Path, tmp_path: Path) -> None:
    """Its default of 16 threads is for remote disks; a contender is measured at its best."""
    python, reason = find_interpreter(find("grain-raw"), [PACKAGE_ROOT])
    if reason:
        pytest.skip(reason)
    code = f"""
import threading
from pathlib import Path
from ferdata_bench.contenders import grain_raw
grain_raw.ingest(Path({str(source)!r}), Path({str(tmp_path)!r}) / "out")
batches = iter(grain_raw.batches(Path({str(tmp_path)!r}) / "out", batch_size=8, num_workers=0, seed=0))
next(batches)
print(sum("prefetch" in each.name for each in threading.enumerate()))
"""
    done = subprocess.run(
        [python, "-c", code], cwd=PACKAGE_ROOT, capture_output=True, text=True, timeout=300, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "0"
