"""What the trainer's tests share: tiny settings, a progress that records or stops, a run's figures without clocks."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from make_dataset import make_dataset
from PIL import Image
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

import ferdata
from ferdata.images.transform import Transform, TransformOptions
from ferdata.training import EpochStatus, StepStatus, TrainOptions
from ferdata.training.nets.interface import ExpressionNetwork
from ferdata.training.nets.networks import build_network
from ferdata.training.run.checkpoint import Checkpoint, NetworkRecord, Normalisation
from ferdata.training.run.folder import read_metrics
from ferdata.training.run.train_state import TrainState
from ferdata.training.step import Stepper

torch.set_num_threads(1)  # these networks are so small that threads cost more than they save

CUE = (slice(20, 30), slice(10, 20))
"""Rows and columns of the patch whose shade is the class: where the mouth is, and a cell of a grid of 4 by 4."""
SHADES = {1: 250, 2: 5}

CLOCKS = ("images_per_second", "data_wait_share", "seconds")


def small_dataset(root: Path, *, train: int = 70, val: int = 21, test: int = 0) -> str:
    """Write a data set of 28 px and return its folder; its labels can be learned from the pixels only by heart."""
    samples = {"train": train, "val": val, "test": test}
    make_dataset(root, size=28, samples={split: count for split, count in samples.items() if count})
    return str(root)


def small_options(shards: str | Mapping[str, float], out: Path, **settings: Any) -> TrainOptions:
    """Return settings of a run of a second: basic1, batches of 16."""
    plain: dict[str, Any] = {
        "model": "basic1",
        "epochs": 2,
        "batch_size": 16,
        "num_workers": 0,
        "memory_bytes": 1 << 24,
    }
    return TrainOptions(shards=shards, out=str(out), **(plain | settings))


def small_checkpoint(
    network: ExpressionNetwork, classes: tuple[str, ...], *, name: str = "basic1", size: int = 32, step: int = 0
) -> Checkpoint:
    """Return a checkpoint of a network that no run has trained."""
    return Checkpoint(
        model=network.bare.state_dict(),
        network=NetworkRecord(
            name=name, size=(size, size), channels=3, dropout=0.0, valence_arousal=network.has_valence_arousal
        ),
        classes=classes,
        normalisation=Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        transform={},
        dataset="x",
        state=TrainState(step=step),
    )


def untrained_run(folder: Path, *classes: str, seed: int = 0) -> Path:
    """Write a checkpoint of a small network that nobody has trained, which answers about pictures; return its path."""
    torch.manual_seed(seed)
    network = build_network(
        "basic1", size=(32, 32), num_classes=len(classes), channels=3, dropout=0.0, valence_arousal=True
    )
    transform = Transform(TransformOptions(size=40))
    record = {"settings": transform.settings(), "fingerprint": transform.fingerprint()}
    path = folder / f"run{seed}" / "best.pt"
    path.parent.mkdir(parents=True)
    replace(small_checkpoint(network, classes), transform=record).write(path)
    return path


def planted_landmarks() -> np.ndarray:
    """Return 68 points of a face of 40 px, each region well apart from the others."""
    points = np.zeros((68, 2))
    for numbers, (left, top, right, bottom) in {
        range(17): (1, 2, 38, 38), range(17, 22): (4, 2, 12, 3), range(22, 27): (20, 2, 28, 3),
        range(27, 36): (24, 18, 28, 22), range(36, 42): (5, 9, 11, 11), range(42, 48): (21, 9, 27, 11),
        range(48, 68): (12, 22, 18, 28),
    }.items():  # fmt: skip
        steps = np.linspace(0, 1, len(numbers))[:, None]
        points[list(numbers)] = (left, top) + steps * ((right - left), (bottom - top))
    return points - 0.5  # whole at the centres of pixels


def planted_dataset(root: Path, *, without: int = 0) -> Path:
    """Write noise of 40 px in which only a patch says which of two classes it is, and return the shards.

    Args:
        root: A folder for the source and the shards.
        without: So many samples of each split have no landmarks.
    """
    generator = np.random.default_rng(0)
    for split, count in {"train_set": 160, "val_set": 40}.items():
        for part in ("images", "annotations"):
            (root / "src" / split / part).mkdir(parents=True)
        for number in range(count):
            label = 1 + number % 2
            pixels = generator.integers(60, 196, (40, 40, 3), np.uint8)
            pixels[CUE] = SHADES[label]
            buffer = BytesIO()
            Image.fromarray(pixels).save(buffer, format="PNG")
            (root / "src" / split / "images" / f"{number}.png").write_bytes(buffer.getvalue())
            notes = root / "src" / split / "annotations"
            for name, value in {"exp": str(label), "val": "0.1", "aro": "0.1"}.items():
                np.save(notes / f"{number}_{name}.npy", value)
            if number >= without:
                np.save(notes / f"{number}_lnd.npy", planted_landmarks().reshape(-1))
    ferdata.shard(
        ferdata.IngestOptions(source="affectnet", src=root / "src", out=root / "shards", size=40, num_workers=1)
    )
    return root / "shards"


class Recorder:
    """A progress that keeps what it is told, and may do something after a step."""

    def __init__(self, after_step: Callable[[int], None] | None = None) -> None:
        self.steps: list[StepStatus] = []
        self.epochs: list[EpochStatus] = []
        self.notes: list[str] = []
        self._after_step = after_step

    def on_step(self, status: StepStatus) -> None:
        self.steps.append(status)
        if self._after_step is not None:
            self._after_step(status.step)

    def on_epoch(self, status: EpochStatus) -> None:
        self.epochs.append(status)

    def on_note(self, text: str) -> None:
        self.notes.append(text)


def interrupt_at(wanted: int) -> Recorder:
    """Return a progress that sends this process what Ctrl-C sends, during step ``wanted``."""

    def press(step: int) -> None:
        if step == wanted:
            os.kill(os.getpid(), signal.SIGINT)

    return Recorder(press)


def train_until_killed(options: TrainOptions, folder: Path, *, step: int) -> None:
    """Train in a process of its own, which is killed during this step as the kernel does it: no handler runs."""
    tests = Path(__file__).parent
    script = folder / "script.py"
    script.write_text(
        "import json, os, signal, sys\n"
        f"sys.path[:0] = {[str(tests), str(tests.parent)]!r}\n"
        "from train_helpers import Recorder\n"
        "from ferdata.training import TrainOptions, train\n"
        f"kill = lambda step: step == {step} and os.kill(os.getpid(), signal.SIGKILL)\n"
        "train(TrainOptions.from_json(json.loads(sys.argv[1]), 'argv'), progress=Recorder(kill))\n"
    )
    killed = subprocess.run([sys.executable, str(script), json.dumps(options.to_json())], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL


def kill_at(who: int | str, step: int) -> None:
    """Have this rank killed, as the kernel does it, before a step of the run, or while the checkpoint of it is written.

    Args:
        who: The rank, or ``write``.
        step: Counted from 0; of a checkpoint, how many steps it holds.
    """
    take, save = Stepper.step, torch.save

    def step_or_die(self: Stepper, batch: Any, number: int) -> Any:
        if str(who) == os.environ["RANK"] and number == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return take(self, batch, number)

    def half_of(record: dict[str, Any], file: Any) -> None:
        save(record, file)
        if who == "write" and "optimizer" in record and record["state"]["step"] == step:
            file.truncate(file.tell() // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    Stepper.step, torch.save = step_or_die, half_of  # type: ignore[method-assign]


def launch_two(work: Callable[..., None], *arguments: Any, run_id: str = "two", max_restarts: int = 0) -> None:
    """Call a function on two ranks as ``torchrun --standalone`` does, but forked from this process, which has torch.

    What torchrun starts imports torch anew on each rank and in each attempt, seconds every time.
    """
    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        run_id=run_id,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=max_restarts,
        start_method="fork",
    )
    elastic_launch(launch, work)(*arguments)


def weights(run: str | Path, name: str = "last.pt") -> dict[str, torch.Tensor]:
    """Return the weights of a run's checkpoint."""
    return dict(torch.load(Path(run) / name, weights_only=True)["model"])


def same_weights(first: str | Path, second: str | Path, name: str = "last.pt") -> bool:
    """Tell whether two runs' weights are equal to the last bit."""
    one, two = weights(first, name), weights(second, name)
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def timeless_metrics(run: str | Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics without what depends on the clock."""
    return [{name: value for name, value in line.items() if name not in CLOCKS} for line in read_metrics(Path(run))]


def step_losses(run: str | Path) -> list[float]:
    """Return the loss of every step."""
    return [line["loss"] for line in read_metrics(Path(run)) if line["kind"] == "step"]
