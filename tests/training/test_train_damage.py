"""A run's files when they are damaged, foreign or gone, and disks that take no more: a sentence that names the file."""

import dataclasses
import io
import os
import random
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from train_helpers import Recorder, small_dataset, small_options, step_losses

from ferdata.errors import OptionError, StateError, TrainError
from ferdata.format.samples import SamplesFile
from ferdata.stream import Loader
from ferdata.training import TrainOptions, train
from ferdata.training.nets.networks import FerNetwork
from ferdata.training.report.plots import draw_confusion
from ferdata.training.report.scores import SplitScores, scores_from_confusion
from ferdata.training.run.checkpoint import Checkpoint
from ferdata.training.run.folder import read_metrics
from ferdata.training.run.memory import out_of_memory


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_dataset(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def run(shards: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(train(small_options(shards, tmp_path_factory.mktemp("runs"), name="whole", epochs=1)).run)


def test_a_flipped_bit_in_a_checkpoint_is_found_or_means_nothing(run: Path, tmp_path: Path) -> None:
    """torch reads weights with flipped bits without a word; what no checksum covers must not change what is read."""
    data, good = (run / "last.pt").read_bytes(), Checkpoint.read(run / "last.pt")
    rng, found = random.Random(0), 0
    for _ in range(150):
        place = rng.randrange(len(data))
        (tmp_path / "last.pt").write_bytes(
            data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]
        )
        try:
            record = Checkpoint.read(tmp_path / "last.pt")
        except TrainError as error:
            assert str(tmp_path / "last.pt") in str(error)
            found += 1
        else:
            assert all(torch.equal(value, record.model[name]) for name, value in good.model.items())
            assert record.state == good.state
    assert found > 120


SPOILS: dict[str, tuple[Callable[[Path], object], str]] = {
    "garbage": (
        lambda run: (run / "last.pt").write_bytes(bytes(range(256)) * 20),
        r"last.pt: something else than a whole file of torch's",
    ),
    "cut off": (lambda run: os.truncate(run / "last.pt", 20_000), r"last.pt: something else than a whole file"),
    "best as last": (
        lambda run: shutil.copy(run / "best.pt", run / "last.pt"),
        r"last.pt: weights alone, as in best.pt, without optimizer",
    ),
    "code": (
        lambda run: torch.save({"version": 2, "model": Path}, run / "last.pt"),
        r"last.pt: more than tensors and plain values found",
    ),
    "bare": (lambda run: torch.save({"version": 2}, run / "last.pt"), r"last.pt: a checkpoint of another program"),
    "tensor": (lambda run: torch.save(torch.zeros(3), run / "last.pt"), r"last.pt: a Tensor found"),
    "no best": (lambda run: (run / "best.pt").unlink(), r"best.pt: no such checkpoint"),
    "binary settings": (
        lambda run: (run / "config.json").write_bytes(b"\xff\xfe\x00"),
        r"config.json: .*expected the settings",
    ),
    "a list": (
        lambda run: (run / "config.json").write_text("[]"),
        r"config.json: a JSON list found, expected the settings",
    ),
    "unknown model": (
        lambda run: _replace(run / "config.json", '"basic1"', '"vgg"'),
        r"config.json: model: 'vgg' found",
    ),
    "binary metrics": (
        lambda run: (run / "metrics.jsonl").write_bytes(b"\xff\xfe\n" * 3),
        r"metrics.jsonl: line 1 is b'\\xff",
    ),
    "a number": (
        lambda run: (run / "metrics.jsonl").write_text("3\n"),
        r"metrics.jsonl: line 1 is b'3', expected figures",
    ),
}


def _replace(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize("name", SPOILS)
def test_a_spoiled_file_is_one_sentence_that_names_it(name: str, run: Path, tmp_path: Path) -> None:
    """A traceback, or torch's advice to load with weights_only=False, helps nobody."""
    spoil, text = SPOILS[name]
    spoiled = shutil.copytree(run, tmp_path / "run")
    spoil(spoiled)

    with pytest.raises(TrainError, match=text) as caught:
        train(TrainOptions(resume=str(spoiled)))

    assert "weights_only" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_run_can_do_without_is_made_again(run: Path, tmp_path: Path) -> None:
    """The machine is looked at again, a last line that was cut off is dropped, and the page is drawn."""
    spoiled = shutil.copytree(run, tmp_path / "run")
    (spoiled / "environment.json").unlink()
    with (spoiled / "metrics.jsonl").open("ab") as file:
        file.write(b'{"kind": "st\xff')

    train(TrainOptions(resume=str(spoiled)))

    assert torch.__version__ in (spoiled / "report.html").read_text()
    assert step_losses(spoiled) == step_losses(run)
    assert read_metrics(spoiled)[-1]["kind"] == "final"


def test_shards_of_other_classes_are_refused_as_another_data_set(run: Path, tmp_path: Path) -> None:
    """And not as weights that do not fit."""
    other = small_dataset(tmp_path / "other", train=64)

    with pytest.raises(StateError, match=r"last\.pt: .* another data set.*shards=, or .* init_from="):
        train(TrainOptions(resume=str(run), shards=other, epochs=2))


@contextmanager
def _full_disk(num_bytes: int) -> Iterator[Recorder]:
    """Let no file grow beyond a size from the first step on: the system then refuses as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield Recorder(lambda step: resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_named_with_the_file_and_leaves_the_last_checkpoint(run: Path, tmp_path: Path) -> None:
    """torch makes a RuntimeError about its own archive of it."""
    longer = shutil.copytree(run, tmp_path / "run")
    before = (longer / "last.pt").read_bytes()

    text = r"run/(best|last).pt: File too large while it was written.*bytes are free there.*resume=.*run"
    with _full_disk(len(before) // 4) as progress, pytest.raises(TrainError, match=text):
        train(TrainOptions(resume=str(longer), epochs=2), progress=progress)

    assert (longer / "last.pt").read_bytes() == before
    assert not list(longer.glob("*.partial*"))
    assert train(TrainOptions(resume=str(longer), epochs=2)).epochs == 2


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"seed": 10**30}, r"seed: 10+ found, expected 0 to 9,223,372"),
        ({"size": 10**6}, r"size: 1000000 found, expected 8 to 65,536"),
        ({"name": "x" * 300}, r"name: 'x+' of 300 bytes found, expected 1 to 200"),
        ({"name": ""}, r"name: '' of 0 bytes found"),
        ({"out": "memory://q"}, r"out: memory://q found, expected a local folder"),
        ({"init_from": "s3://a/b"}, r"init_from: s3://a/b found, expected a local folder"),
        ({"loss": "max"}, r"loss: 'max' found, expected mean or sum$"),
        (
            {"limit": 15},
            r"limit: 15 found, expected at least the 16 samples of a batch; use a larger limit=, or batch_size=15",
        ),
    ],
    ids=str,
)
def test_a_setting_nothing_can_be_made_of_is_refused(
    setting: dict[str, object], text: str, shards: str, tmp_path: Path
) -> None:
    """By its name, with what would do."""
    with pytest.raises(OptionError, match=text):
        train(dataclasses.replace(small_options(shards, tmp_path), **setting))  # type: ignore[arg-type]


def test_weights_larger_than_the_memory_are_said_to_be(
    shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What torch says at a side of 60,000 px, without asking this machine for 270 GB."""

    def refuse(*args: object, **settings: object) -> None:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: "
            "you tried to allocate 9 bytes"
        )

    monkeypatch.setattr("ferdata.training.nets.initial_weights.build_network", refuse)
    with pytest.raises(
        TrainError, match=r"model basic1 at 28 x 28: its weights do not fit the memory .*size= or another model="
    ):
        train(small_options(shards, tmp_path))


def test_batch_normalisation_over_one_value_is_explained(
    shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's own error names neither the batch nor what to change."""
    body = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.BatchNorm2d(3), torch.nn.Flatten())
    network = FerNetwork(body, num_features=3, num_classes=8, dropout=0.0, valence_arousal=False)
    monkeypatch.setattr("ferdata.training.nets.initial_weights.build_network", lambda *args, **settings: network)

    with pytest.raises(
        OptionError,
        match=r"batch_size: micro-batches of 1 on each rank found.*larger batch_size=, a smaller accumulate=",
    ):
        train(small_options(shards, tmp_path, accumulate=16))


def test_a_second_head_without_anything_to_learn_is_refused(
    shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RAF-DB has no valence and no arousal; the head would stay as it was drawn, and be saved as if it had learnt."""
    read = SamplesFile.read

    def read_nothing(self: SamplesFile, *args: Any) -> pa.Table:
        table = read(self, *args)
        for name in {"valence", "arousal"}.intersection(table.column_names):
            place = table.column_names.index(name)
            table = table.set_column(place, name, pa.nulls(table.num_rows, pa.float64()))
        return table

    monkeypatch.setattr(SamplesFile, "read", read_nothing)
    with pytest.raises(
        OptionError,
        match=r"valence_arousal: none of the 70 train samples .* has values, expected some; leave valence",
    ):
        train(small_options(shards, tmp_path, valence_arousal=True))


def test_advice_on_full_memory_counts_micro_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Micro-batches of 4 that fit are batches of 16 on each of two ranks with accumulate=4 as given, not of 8."""
    monkeypatch.setattr("ferdata.training.run.memory._largest_fitting", lambda *args: 4)

    stepper: Any = SimpleNamespace(options=SimpleNamespace(accumulate=4), ranks=SimpleNamespace(world_size=2))

    error = out_of_memory(stepper, "full", (8, 3, 8, 8))

    assert "use batch_size=32 with accumulate=4 as it is, or accumulate=8, which keeps batches of 64" in str(error)


@pytest.mark.parametrize("fails", ["after an epoch", "in the end"])
def test_every_loader_is_closed_however_a_run_ends(
    fails: str, shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers and shared memory of a run that failed must not stay with the program that called it."""
    opened: list[Loader] = []
    closed: list[Loader] = []
    begin, end = Loader.__init__, Loader.close

    def note_open(self: Loader, *args: object, **settings: object) -> None:
        begin(self, *args, **settings)  # type: ignore[arg-type]
        opened.append(self)

    def note_close(self: Loader) -> None:
        end(self)
        closed.append(self)

    monkeypatch.setattr(Loader, "__init__", note_open)
    monkeypatch.setattr(Loader, "close", note_close)
    calls = iter(range(3))

    def fail(*args: object, **settings: object) -> SplitScores:
        """Fail at the first evaluation (after an epoch), or at the second (of train, in the end)."""
        if next(calls) == (0 if fails == "after an epoch" else 1):
            raise TrainError("no figures")
        return scores_from_confusion(*args, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr("ferdata.training.evaluate.scores_from_confusion", fail)
    with pytest.raises(TrainError, match="no figures"):
        train(small_options(shards, tmp_path, num_workers=1, epochs=1))

    assert len(opened) >= 2
    assert {id(loader) for loader in opened} == {id(loader) for loader in closed}


def test_an_empty_cell_of_the_confusion_matrix_is_seen() -> None:
    """White on white without a line between them, it could not be told which row a figure stood in."""
    with Image.open(
        io.BytesIO(draw_confusion([[0, 0, 5], [0, 0, 5], [0, 0, 5]], ["a", "b", "c"], title=""))
    ) as picture:
        pixels = np.asarray(picture.convert("L"))
    columns = np.where((pixels < 252).mean(0) > 0.5)[0]
    rows = np.where((pixels < 252).mean(1) > 0.5)[0]

    # beside the filled column: the lines that part the three columns and the three rows
    assert len(np.split(columns, np.where(np.diff(columns) > 3)[0] + 1)) >= 3
    assert len(np.split(rows, np.where(np.diff(rows) > 3)[0] + 1)) >= 3
