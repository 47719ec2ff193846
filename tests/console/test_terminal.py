"""What surrounds a verb: encodings, streams that cannot be written, signals, options given twice, how it was called."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from make_dataset import make_dataset
from PIL import Image
from train_helpers import small_dataset
from typer.testing import CliRunner
from verbs import run_verb

from ferdata import program
from ferdata.console.app import app
from ferdata.errors import OptionError
from ferdata.parallel import check_workers, crowding, usable_cores
from ferdata.program import as_typed, command_line, go_on, in_verb, note_program

ROOT = Path(__file__).parents[2]
CLI = [sys.executable, str(ROOT / "cli.py")]
ODD = ["开心", "calm_$5-$9", "a\x1b[31m\u202e", "x" * 200]


def ferdata(*arguments: object, python: tuple[str, ...] = (), **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the program as a user does; whatever it says, it is no traceback."""
    environment = {**os.environ, **options.pop("env", {})}
    command = [sys.executable, *python, CLI[1], *map(str, arguments)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    done = subprocess.run(command, text=True, timeout=110, env=environment, **pipes)
    assert "Traceback" not in (done.stderr or "") and "Exception ignored" not in (done.stderr or ""), done.stderr
    return done


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with names from all over the world."""
    root = tmp_path_factory.mktemp("source")
    for split in ("train", "val"):
        for number, name in enumerate(ODD):
            (root / split / name).mkdir(parents=True)
            for image in range(3):
                Image.effect_noise((32, 32), 90 + image + number).save(root / split / name / f"{split}{image}.png")
    return root


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set with the same names, as an index from elsewhere may have them."""
    out = tmp_path_factory.mktemp("shards") / "set"
    make_dataset(out, size=32, classes=tuple(ODD), samples={"train": 24, "val": 12})
    return out


@pytest.mark.parametrize(
    ("verb", "encoding"),
    [
        ("shard", "ascii:strict"),
        ("info", "ascii:strict"),
        ("info", "cp1252"),
        ("verify", "latin-1"),
        ("preview", "ascii:strict"),
        ("--help", "ascii:strict"),
        ("--help", "latin-1"),
    ],
)
def test_what_an_encoding_cannot_hold_is_escaped(
    source: Path, shards: Path, tmp_path: Path, encoding: str, verb: str
) -> None:
    """The work is done by then; a name that cannot be printed is no reason to lose the figures."""
    arguments = {
        "shard": ["folder", "--src", source, "--out", tmp_path / "set", "--size", 32, "--workers", 1],
        "preview": [shards, "--out", tmp_path / "sheet.png"],
        "--help": [],
    }.get(verb, [shards])
    done = ferdata(verb, *arguments, env={"PYTHONIOENCODING": encoding}, encoding=encoding.partition(":")[0])

    assert done.returncode == 0
    assert "\\u2500" not in done.stdout and "\\u256d" not in done.stdout  # frames are drawn with what there is
    if verb in ("shard", "info"):
        assert "\\u5f00\\u5fc3" in done.stdout


def test_names_cannot_steer_the_terminal(shards: Path) -> None:
    """An escape sequence in a folder's name would colour or clear the screen, and a line break forge a line of ours."""
    done = ferdata("info", shards, env={"COLUMNS": "300"})

    assert "\x1b" not in done.stdout and "\u202e" not in done.stdout
    assert "a\\x1b[31m\\u202e" in done.stdout and "开心" in done.stdout


def in_one_process(verbs: list[list[object]], *python: str, env: dict[str, str] | None = None) -> str:
    """Run verbs one after another in a process of their own, and return what they print; each must end well."""
    code = f"""
import ferdata.console.app, ferdata.console.terminal, sys
for verb in {[[*map(str, verb)] for verb in verbs]}:
    sys.argv[1:] = verb
    if code := ferdata.console.terminal._outcome(ferdata.console.app.app):
        sys.exit(code)
"""
    command = [sys.executable, *python, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, env={**os.environ, **(env or {})})
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("environment", [{"COLUMNS": "40"}, {"TERM": "dumb"}, {"NO_COLOR": "1", "COLUMNS": "20"}])
def test_every_verb_speaks_on_a_terminal_of_any_kind(shards: Path, environment: dict[str, str]) -> None:
    """Narrow windows and screens without colours are somebody's everyday."""
    assert in_one_process([["info", shards], ["verify", shards], ["--help"], ["train", "--help"]], env=environment)


def test_the_program_runs_without_asserts_and_docstrings(tmp_path: Path) -> None:
    """Help is no docstring, and what an assert would hold is held otherwise; ``-OO`` drops all that ``-O`` does."""
    make_dataset(tmp_path / "set", size=32, samples={"train": 24})  # its names need no other font than matplotlib's own
    verbs = [
        ["verify", "--help"],
        ["verify", tmp_path / "set", "--deep"],
        ["preview", tmp_path / "set", "--out", tmp_path / "a.png"],
    ]
    said = in_one_process([["--help"], *verbs], "-OO", env={"COLUMNS": "200"})
    assert "Convert a folder of images to shards." in said and "Check every checksum" in said
    for folder in ("ferdata", "ferdata_bench", "model"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not re.search(r"__doc__(?! or)", path.read_text()), path


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    "arguments", [["--help"], ["info", "{set}", "--json", "{out}"], ["verify", "{set}", "--json", "{out}"]]
)
def test_a_full_standard_output_is_one_line_and_the_figures_are_kept(
    shards: Path, tmp_path: Path, arguments: list[str]
) -> None:
    """A log on a full disk must not take the result with it."""
    given = [argument.format(set=shards, out=tmp_path / "out.json") for argument in arguments]
    with open("/dev/full", "w") as full:
        done = ferdata(*given, stdout=full)
        silent = ferdata(*given, stdout=full, stderr=full)

    assert (done.returncode, done.stderr) == (1, "error: standard output: No space left on device\n")
    assert silent.returncode == 1
    assert "--json" not in given or (tmp_path / "out.json").exists()


def test_a_reader_that_leaves_ends_the_program_quietly(shards: Path) -> None:
    """As in ``ferdata info | head -1``."""
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "w") as broken:
        done = ferdata("info", shards, stdout=broken)

    assert (done.returncode, done.stderr) == (1, "")


def test_a_closed_standard_output_takes_no_other_files_place(shards: Path, tmp_path: Path) -> None:
    """The next file opened would be number 1, and what is printed would go into it."""
    script = f"{sys.executable} {CLI[1]} recode {shards} --codec raw --out {tmp_path / 'raw'} >&- 2>&- <&-"
    assert subprocess.run(["sh", "-c", script], timeout=100).returncode == 0
    assert ferdata("verify", tmp_path / "raw", "--deep").returncode == 0


OPTIONS = [
    ["bench-loader", "--shards", "a", "--shards", "b"],
    ["train", "--lr", "1", "--seed", "3", "--lr=2"],
    ["shard", "folder", "--size", "8", "--size", "8"],
    ["shard", "folder", "--resume", "--fresh"],
    ["verify", "a", "--deep", "--deep"],
    ["recode", "a", "--codec", "raw", "--out", "b", "--out", "c"],
    ["bench-loader", "--against", "none", "--against", "all"],
]


@pytest.mark.parametrize("arguments", OPTIONS, ids=lambda arguments: arguments[0])
def test_an_option_given_twice_is_wrong_usage(arguments: list[str]) -> None:
    """The last one would win without a word: of two data sets, one would not be measured."""
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})

    names = [part.partition("=")[0] for part in arguments]
    twice = next(name for name in names if names.count(name) > 1 or name == "--resume")
    assert done.exit_code == 2
    assert twice in done.output and "given 2 times, expected once" in done.output


@pytest.mark.parametrize(
    ("verb", "number"),
    [
        ("synth", signal.SIGINT),
        ("synth", signal.SIGTERM),
        ("synth", signal.SIGHUP),
        ("shard", signal.SIGTERM),
        ("plan", signal.SIGINT),
        pytest.param("shard", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("shard", signal.SIGHUP, marks=pytest.mark.slow),
        pytest.param("plan", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("plan", signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_a_signal_stops_a_verb_with_one_line_and_leaves_nobody_behind(tmp_path: Path, verb: str, number: int) -> None:
    """A terminal sends Ctrl-C to a whole group: workers would print tracebacks, or work on without their parent."""
    make_dataset(tmp_path / "set", samples={"train": 400})
    arguments = {
        "plan": ["plan", tmp_path / "set"],
        "shard": ["shard", "affectnet", "--src", tmp_path / "faces", "--out", tmp_path / "out", "--codec", "auto"],
        "synth": ["synth", "affectnet", tmp_path / "drawn", "--count", 20_000],
    }[verb]
    if verb == "shard":
        assert ferdata("synth", "affectnet", tmp_path / "faces", "--count", 100, "--size", 64).returncode == 0
    child = subprocess.Popen(
        [*CLI, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None and len(_group(child.pid)) < 2:  # until it has workers
        time.sleep(0.05)
    os.killpg(child.pid, number)
    try:
        _, said = child.communicate(timeout=60)
    finally:  # whoever is left would be found by every later test that counts processes
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    assert child.returncode == 128 + number, said
    lines = [line for line in said.splitlines() if "kernels are missing" not in line]  # said where there is no compiler
    assert len(lines) == 1 and lines[0].startswith("error: ") and f"stopped by {program.STOPS[number.name]}" in said, (
        said
    )
    deadline = time.monotonic() + 20
    while _group(child.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _group(child.pid)


def _group(leader: int) -> list[int]:
    """Return the living processes of a group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                state, _, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(group) == leader and state != "Z":
                found.append(int(entry.name))
    return found


def test_a_stopped_training_says_how_it_was_called(tmp_path: Path) -> None:
    """Where ferdata was installed, there is no cli.py to call."""
    small_dataset(tmp_path / "set")
    code = "import sys; sys.argv[0] = '/usr/bin/ferdata'; from ferdata.console import main; main()"
    settings = ["--model", "basic1", "--epochs", "100000", "--batch-size", "16", "--workers", "0", "--name", "r"]
    command = [sys.executable, "-c", code, "train", "--shards", "set", *settings]
    child = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    while not (tmp_path / "runs/r/last.pt").exists() and child.poll() is None:
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    said = child.communicate(timeout=60)[1].splitlines()[-1]

    assert child.returncode == 130
    assert said.endswith("; go on with: ferdata train --resume runs/r")


def test_hints_are_in_the_callers_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag is no use in a notebook, nor an argument in a shell."""
    monkeypatch.setitem(program._state, "program", "ferdata")
    text = "a/lr=1: size=64 (or size=), lr=0.1; resume=False, group_by='(a b)': x=3, num_workers=2."
    assert (as_typed(text), go_on("runs/a")) == (text, "train(TrainOptions(resume='runs/a'))")
    names = ["size", "lr", "group_by"]
    flags = {name: ["--" + name.replace("_", "-")] for name in names} | {
        "num_workers": ["--workers"],
        "resume": ["--resume", "--fresh"],
    }
    with in_verb(lambda: flags):
        said = "a/lr=1: --size 64 (or --size), --lr 0.1; --fresh, --group-by '(a b)': x=3, --workers 2."
        assert as_typed(text) == as_typed(text, leading=True) == said
        assert as_typed("num_workers and lr: 0", leading=True) == "--workers and --lr: 0"
        assert as_typed("read a.csv with source 'table'") == "read a.csv with shard table"
        assert as_typed("lr=1: 0", leading=True) == "lr=1: 0"  # a folder may be called so
        note_program("/opt/x/cli.py")
        assert go_on("runs/a") == "python /opt/x/cli.py train --resume runs/a"
        assert command_line(num_processes=4) == "torchrun --nproc-per-node 4 /opt/x/cli.py"
        note_program("/usr/bin/ferdata")
        assert (
            command_line() == "ferdata"
            and command_line(num_processes=2) == "torchrun --nproc-per-node 2 --no-python ferdata"
        )


NUMBERS = {
    "shard": ["--size", "--level", "--limit", "--seed", "--classes", "--holdout", "--workers"],
    "synth": ["--count", "--size", "--seed", "--workers"],
    "preview": ["--per-class", "--seed"],
    "bench-loader": ["--workers", "--batch-size", "--size", "--count", "--epochs"],
    "train": [
        "--epochs", "--batch-size", "--accumulate", "--lr", "--momentum", "--weight-decay", "--warmup", "--dropout",
        "--label-smoothing", "--size", "--limit", "--seed", "--workers",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "option"), [(verb, option) for verb, options in NUMBERS.items() for option in options]
)
def test_a_number_out_of_range_is_refused_by_the_name_that_was_typed(
    source: Path, shards: Path, tmp_path: Path, verb: str, option: str
) -> None:
    """``batch_size`` is no option of the command line."""
    start = {
        "shard": ["folder", "--src", source, "--out", tmp_path / "o"],
        "synth": ["rafdb", tmp_path / "o"],
        "preview": [shards, "--out", tmp_path / "o.png"],
        "bench-loader": ["--shards", shards, "--against", "none"],
        "train": ["--shards", shards, "--model", "basic1", "--out", tmp_path / "o"],
    }[verb]
    done = CliRunner().invoke(app, [verb, *map(str, start), f"{option}=-77"], env={"COLUMNS": "200"})

    assert done.exit_code in (1, 2), done.output
    said = str(done.exception) if done.exit_code == 1 else done.output
    assert option in said and "\n" not in (said if done.exit_code == 1 else ""), said
    assert not (tmp_path / "o").exists()


def test_far_more_workers_than_cores_are_refused_and_some_more_are_explained(shards: Path) -> None:
    """Five hundred processes on two cores are a slip of the hand that takes a machine down."""
    many = usable_cores() * 16 + 64
    assert crowding(usable_cores()) is None
    with pytest.raises(
        OptionError, match=rf"num_workers: {many} found, expected at most \d+, since {many} workers take turns on"
    ):
        check_workers(many)
    with pytest.warns(UserWarning, match="take turns on"):
        check_workers(max(17, 2 * usable_cores() + 1))
    refused = CliRunner().invoke(app, ["verify", str(shards), "--workers", str(many)])
    told = CliRunner().invoke(app, ["verify", str(shards), "--workers", str(usable_cores() + 1)])
    assert str(refused.exception).startswith(f"--workers: {many} found")
    assert told.exit_code == 0 and "take turns on" in told.output


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/b", "a\\b", "", ".", "..", " ", "a\nb", "a\x1b", "a\u202eb", "x" * 201]
)
def test_a_runs_name_is_the_name_of_one_folder(shards: Path, tmp_path: Path, name: str) -> None:
    """It would leave --out, or be a folder that nobody can type."""
    done = CliRunner().invoke(app, ["train", "--shards", str(shards), "--out", str(tmp_path / "runs"), "--name", name])

    assert re.match(r"--name: .* found, expected 1 to 200, as the name of a folder in ", str(done.exception))
    assert list(tmp_path.iterdir()) == []


def test_a_report_shows_any_name(shards: Path, tmp_path: Path) -> None:
    """A formula in a class's name ended the run after its last epoch; a missing glyph warned, and drew a box."""
    settings = [
        "--model",
        "basic1",
        "--epochs",
        "1",
        "--batch-size",
        "8",
        "--workers",
        "0",
        "--device",
        "cpu",
        "--name",
        "r",
    ]
    run_verb("train", "--shards", shards, *settings, "--out", tmp_path)

    page = (tmp_path / "r/report.html").read_text()
    assert "calm_$5-$9" in page and "a\\x1b[31m\\u202e" in page and "\x1b" not in page and "\u202e" not in page
