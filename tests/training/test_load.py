"""A run's network out of its checkpoint alone, and files of other programs that are taken for one."""

import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from train_helpers import small_dataset, small_options

from ferdata.errors import FerdataError, OptionError, TrainError
from ferdata.stream import Loader
from ferdata.training import TrainOptions, load_run, train
from ferdata.training.run.checkpoint import Checkpoint, NetworkRecord, Normalisation


def test_a_checkpoint_is_used_where_its_shards_are_gone(tmp_path: Path) -> None:
    """With the raw images of val: every figure of the run comes out again, and all that made it is in the file."""
    shards = small_dataset(tmp_path / "s")
    result = train(small_options(shards, tmp_path, epochs=1, name="r", size=32, valence_arousal=True))
    with Loader(shards, split="val", batch_size=21, shuffle="none", num_workers=0) as loader:
        batch = next(iter(loader))
        images, labels, index = batch.images.clone(), batch.labels.numpy(), loader.index
    shutil.rmtree(shards)
    shutil.copy(tmp_path / "r" / "best.pt", tmp_path / "alone.pt")
    shutil.rmtree(tmp_path / "r")

    network = load_run(tmp_path / "alone.pt")

    with torch.inference_mode():
        found, values = network(images).numpy(), network.valence_arousal(images)
    confusion = np.zeros((8, 8), int)
    np.add.at(confusion, (labels, found.argmax(1)), 1)
    assert confusion.tolist() == result.scores["val"].confusion
    assert network.classes == index.classes and values.shape == (21, 2)
    record = Checkpoint.read(tmp_path / "alone.pt")
    assert record.normalisation == Normalisation(mean=index.mean, std=index.std, unit="pixel values from 0 to 255")
    assert record.transform == {name: index.transform[name] for name in ("fingerprint", "settings")}
    assert record.network == NetworkRecord(name="basic1", size=(32, 32), channels=3, dropout=0.0, valence_arousal=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    return Path(train(small_options(small_dataset(root / "s"), root, epochs=1, name="r")).run)


def test_images_that_were_normalised_before_are_refused(run: Path) -> None:
    """Normalised twice, every image looks grey to the network, and it answers all the same."""
    network = load_run(run)

    with pytest.raises(
        OptionError, match=r"images: torch.float32 \[2, 3, 28, 28\] found, expected torch.uint8 \[N, 3, H, W\]"
    ):
        network(torch.rand(2, 3, 28, 28))
    with pytest.raises(OptionError, match=r"a network without a head for them"):
        network.valence_arousal(torch.zeros(2, 3, 28, 28, dtype=torch.uint8))
    assert network(torch.zeros(2, 3, 50, 40, dtype=torch.uint8)).shape == (2, 8)


def safetensors(path: Path) -> None:
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))


def write_zip(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "x")


def old_ferdata(path: Path) -> None:
    record = {"version": 1, "model": {}, "network": {}, "classes": [], "dataset": "x", "standing": {}}
    torch.save(record, path)


FOREIGN: dict[str, tuple[Callable[[Path], object], str]] = {
    "torchvision": (
        lambda path: torch.save(nn.Linear(2, 2).state_dict(), path),
        r"bare weights of another program's network \(2 tensors",
    ),
    "lightning": (
        lambda path: torch.save({"pytorch-lightning_version": "2.5", "state_dict": {}, "epoch": 3}, path),
        r"a checkpoint of Lightning",
    ),
    "own loop": (
        lambda path: torch.save({"epoch": 3, "model_state": {}}, path),
        r"a checkpoint of another program \(with epoch, model_state\)",
    ),
    "whole module": (lambda path: torch.save(nn.Linear(2, 2), path), r"more than tensors and plain values"),
    "torchscript": (lambda path: write_zip(path, "m/data.pkl", "m/constants.pkl"), r"a TorchScript module"),
    "old torch": (lambda path: torch.save({}, path, _use_new_zipfile_serialization=False), r"a bare pickle"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"w": 1})), r"a bare pickle"),
    "safetensors": (safetensors, r"a safetensors file"),
    "zip": (lambda path: write_zip(path, "notes.txt"), r"a zip archive of something else \('notes.txt' in it\)"),
    "empty": (lambda path: path.write_bytes(b""), r"an empty file"),
    "npy": (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00" + bytes(120)), r"a NumPy array"),
    "lfs": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), r"a Git LFS pointer"),
    "text": (lambda path: path.write_text("<html>"), r"something else than a whole file of torch's"),
    "old ferdata": (old_ferdata, r"a checkpoint of an earlier ferdata \(version 1\) found, expected version 3"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_of_another_program_is_called_what_it_is(kind: str, run: Path, tmp_path: Path) -> None:
    """To go on from, and to start from: not an old checkpoint, not a damaged one, and with what to do instead."""
    make, text = FOREIGN[kind]
    path = tmp_path / "weights.pth"
    make(path)

    for options in (
        TrainOptions(
            shards=str(run.parent / "s"),
            out=str(tmp_path),
            model="basic1",
            batch_size=16,
            num_workers=0,
            init_from=str(path),
        ),
        TrainOptions(resume=str(path)),
    ):
        with pytest.raises(TrainError, match=rf"weights.pth: .*{text}.*; \w+"):
            train(options)
    with pytest.raises(TrainError, match=text):
        load_run(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["weights.pth"]


def test_the_checkpoint_of_a_run_is_no_run(run: Path, tmp_path: Path) -> None:
    """It is told which folder to name; the folder of another program's network is no run either."""
    with pytest.raises(
        FerdataError, match=r"r/best.pt: a checkpoint found, expected the folder of its run; .*resume=.*/r$"
    ):
        train(TrainOptions(resume=str(run / "best.pt")))

    (tmp_path / "config.json").write_text('{"architectures": ["ViT"], "model_type": "vit"}')
    safetensors(tmp_path / "model.safetensors")
    with pytest.raises(TrainError, match=r"config.json: .*settings of another program.*expected the folder of a run"):
        train(TrainOptions(resume=str(tmp_path)))
    with pytest.raises(TrainError, match=r"no best.pt or last.pt found"):
        load_run(tmp_path)
