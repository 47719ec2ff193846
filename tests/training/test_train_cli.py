"""The train command: what a terminal, a pipe and a resumed run are shown, and that what is typed is never ignored."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from train_helpers import small_dataset, timeless_metrics
from typer.testing import CliRunner

from ferdata.console.app import app
from ferdata.errors import FerdataError, OptionError, TrainError
from ferdata.training import TrainOptions
from ferdata.training.run.checkpoint import Checkpoint

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_dataset(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def run(shards: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one epoch with settings that are not the defaults."""
    out = tmp_path_factory.mktemp("runs")
    train(
        "--shards",
        shards,
        "--out",
        str(out),
        "--name",
        "one",
        "--epochs",
        "1",
        "--lr",
        "1e-4",
        "--batch-size",
        "16",
        "--workers",
        "0",
    )
    return out / "one"


def train(*arguments: str) -> str:
    """Run the command in this process and return what it prints; errors of ours are raised."""
    done = CliRunner().invoke(app, ["train", *arguments])
    if isinstance(done.exception, FerdataError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def in_terminal(arguments: list[str], *, columns: int) -> str:
    """Return all that the command writes to a terminal of its own."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, columns))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm-256color"}
    command = [sys.executable, str(ROOT / "cli.py"), "train", *arguments]
    process = subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, env=environment, close_fds=True
    )
    os.close(follower)
    written = b""
    while True:
        try:
            data = os.read(leader, 1 << 16)
        except OSError:  # Linux says so when the last one that wrote is gone
            break
        if not data:
            break
        written += data
    os.close(leader)
    assert process.wait(timeout=60) == 0, written.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode())


def test_a_terminal_shows_a_live_line_and_what_the_run_came_to(shards: str, tmp_path: Path) -> None:
    """Rate, loss, time left and the wait for data while it runs, in 80 columns; accuracies, folder, page at the end."""
    settings = ["--epochs", "30", "--batch-size", "16", "--workers", "0", "--out", str(tmp_path), "--name", "r"]
    text = in_terminal(["--shards", shards, *settings], columns=80)

    live = re.findall(
        r"epoch \d+/30 \S+ +\d+/120 [\d,]+ images/s, loss \d+\.\d{3}, waits +\d+\.\d%, +[\d:-]+ left", text
    )
    assert live, text[:3000]
    assert max(map(len, live)) <= 80
    assert len(re.findall(r"epoch +\d+/30  loss", text)) == 30
    assert re.search(r"accuracy train [\d.]+%, val [\d.]+%; val balanced", text)
    assert f"report: {tmp_path}/r/report.html" in text.replace("\r\n", "")


@pytest.fixture(scope="module")
def piped(shards: str, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """A run whose output goes to pipes, in a folder with a model.py that PYTHONPATH puts in front."""
    folder = tmp_path_factory.mktemp("piped")
    (folder / "model.py").write_text("raise SystemExit('the user is right here')\n")
    code = "import sys; from ferdata.console import main; main()"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    settings = [
        "--epochs",
        "2",
        "--batch-size",
        "16",
        "--workers",
        "1",
        "--limit",
        "16",
        "--out",
        "runs",
        "--name",
        "r",
    ]
    command = [sys.executable, "-c", code, "train", "--shards", shards, *settings]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_a_pipe_gets_plain_lines(piped: subprocess.CompletedProcess[str]) -> None:
    """A row an epoch on standard error, the result on standard output; nothing that only a terminal understands."""
    assert len(re.findall(r"^epoch   \d/2  loss [\d.]+  accuracy train", piped.stderr, re.MULTILINE)) == 2
    assert re.search(r"^report: .*/report.html$", piped.stdout, re.MULTILINE)
    assert "\x1b" not in piped.stdout + piped.stderr
    assert "images/s, loss" not in piped.stderr


def test_a_model_of_the_user_s_is_not_taken_for_ours(piped: subprocess.CompletedProcess[str]) -> None:
    """Every course project has a model.py, and PYTHONPATH=. puts it in front."""
    assert piped.returncode == 0, piped.stderr


def test_resuming_a_finished_run_shows_its_figures(run: Path) -> None:
    """And says that there was nothing left to train."""
    assert f"report: {run}/report.html" in train("--resume", str(run))


def test_a_run_made_longer_stays_longer(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped on the way and resumed as it says: without the epochs in its settings it ended where it was stopped."""
    longer = shutil.copytree(run, tmp_path / "longer")
    asked = property(lambda self: True, lambda self, value: None)
    monkeypatch.setattr("ferdata.training.run.stopping.StopSignal.requested", asked, raising=False)
    with pytest.raises(TrainError, match=r"stopped on request after step 5 of 12"):
        train("--resume", str(longer), "--epochs", "3")
    monkeypatch.undo()

    train("--resume", str(longer))

    assert Checkpoint.read(longer / "last.pt").state.step == 12
    assert [line["epoch"] for line in timeless_metrics(longer) if line["kind"] == "epoch"] == [0, 1, 2]
    assert json.loads((longer / "config.json").read_text())["epochs"] == 3


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        (["--lr", "1e-3"], r"lr 0.001 found, expected --lr 0.0001; a resumed run keeps its settings"),
        (["--sampling", "uniform"], r"sampling 'uniform' found, expected --sampling 'balanced'"),
        (["--augment", "none"], r"augment \(\) found, expected --augment \('flip', 'crop'\)"),
        (["--name", "two"], r"name 'two' found, expected --name 'one'"),
        (["--out", "elsewhere"], r"out 'elsewhere' found, expected"),
        (["--valence-arousal"], r"--valence-arousal found, expected --no-valence-arousal"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_an_option_that_a_resumed_run_cannot_take_is_refused(typed: list[str], text: str, run: Path) -> None:
    """Also where it is the default, which cannot be told from nothing typed by its value."""
    with pytest.raises(OptionError, match=text):
        train("--resume", str(run), *typed)


def test_a_default_that_is_typed_is_applied_to_a_resumed_run(run: Path, tmp_path: Path) -> None:
    """Ten epochs are what is taken when nothing is said; saying so must make the run as long."""
    longer = shutil.copytree(run, tmp_path / "longer")

    train("--resume", str(longer), "--epochs", "10", "--lr", "1e-4", "--device", "auto")

    assert Checkpoint.read(longer / "last.pt").state.epoch == 10


def test_fewer_epochs_than_are_trained_are_refused(run: Path, tmp_path: Path) -> None:
    """There is nothing to go back to."""
    longer = shutil.copytree(run, tmp_path / "longer")
    train("--resume", str(longer), "--epochs", "2")

    with pytest.raises(OptionError, match=r"epochs: 1 found, but .*longer has trained 2 already, expected at least 2"):
        train("--resume", str(longer), "--epochs", "1")


def test_a_run_whose_shards_have_moved_is_told_where_to(
    run: Path, shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths are kept whole, so that a resume works from any folder; where they are wrong now, --shards says the new."""
    moved = tmp_path / "moved"
    shutil.copytree(shards, moved)
    monkeypatch.chdir(tmp_path)
    train("--shards", "moved", "--out", "runs", "--name", "r", "--epochs", "1", "--batch-size", "16", "--workers", "0")
    assert json.loads(Path("runs/r/config.json").read_text())["shards"] == str(moved)
    moved.rename(tmp_path / "again")

    with pytest.raises(
        FerdataError, match=r"if the shards of runs/r have moved, say where to: --resume runs/r --shards DIR"
    ):
        train("--resume", "runs/r")

    train("--resume", "runs/r", "--shards", "again")
    assert json.loads(Path("runs/r/config.json").read_text())["shards"] == str(tmp_path / "again")


def test_every_option_that_texts_name_exists(run: Path) -> None:
    """Advice that the command line does not know sends people to the source."""
    known = set(re.findall(r"--[a-z][a-z-]+", train("--help")))
    texts = "".join(
        path.read_text()
        for path in (ROOT / "model").glob("*.py")
        if path.name not in ("study.py", "throughput.py", "page.py")
    )
    others = {"--codec", "--nproc-per-node"}
    """Of the other commands, and torchrun's."""

    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", texts)) - others <= known


def test_augment_none_trains_on_images_as_they_are(shards: str, tmp_path: Path) -> None:
    """As the help says."""
    settings = [
        "--epochs",
        "1",
        "--limit",
        "16",
        "--batch-size",
        "16",
        "--workers",
        "0",
        "--out",
        str(tmp_path),
        "--name",
        "r",
    ]
    train("--shards", shards, "--augment", "none", "--assign", "windows", *settings)

    saved = TrainOptions.from_json(json.loads((tmp_path / "r" / "config.json").read_text()), "r")
    assert (saved.augment, saved.assign) == ((), "windows")


def test_a_run_made_longer_under_a_schedule_is_told_what_that_does(run: Path, tmp_path: Path) -> None:
    """The rate had come down to nothing and jumps up again: what follows is no curve of a run of so many epochs."""
    longer = shutil.copytree(run, tmp_path / "longer")

    train("--resume", str(longer), "--epochs", "3")

    notes = json.loads((longer / "result.json").read_text())["notes"]
    assert any(re.match(r"epochs 3, 1 before: .* learning rate of step 4 is \S+ instead of 0", note) for note in notes)
    train("--resume", str(longer))
    assert json.loads((longer / "result.json").read_text())["notes"] == notes
