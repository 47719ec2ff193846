"""A run's network in other programs' forms: the same answers where there is no ferdata."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from train_helpers import small_dataset, small_options
from verbs import refusal, run_verb

from ferdata.errors import OptionError, TrainError
from ferdata.training import convert, load_run, train

ELSEWHERE = {
    "onnx": """
import json, sys
import numpy as np
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
answers = session.run(None, {"images": np.load(sys.argv[2])})
record = session.get_modelmeta().custom_metadata_map
record = {name: json.loads(record[name]) for name in ("classes", "mean", "size")}
assert not {"torch", "ferdata"} & set(sys.modules)
""",
    "torch-export": """
import json, sys
import numpy as np
import torch
extra = {"ferdata.json": ""}
module = torch.export.load(sys.argv[1], extra_files=extra).module()
answers = [each.detach().numpy() for each in module(torch.from_numpy(np.load(sys.argv[2])))]
record = json.loads(extra["ferdata.json"])
assert "ferdata" not in sys.modules
""",
}
SAVE = "np.savez(sys.argv[3], *answers, record=json.dumps(record))"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    return Path(train(small_options(small_dataset(root / "s"), root, epochs=1, name="r", valence_arousal=True)).run)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (3, 3, 28, 28), np.uint8)


@pytest.mark.parametrize("form", ELSEWHERE)
def test_a_process_without_ferdata_gets_the_same_answers(
    form: str, run: Path, images: np.ndarray, tmp_path: Path
) -> None:
    """From uint8 images, in a batch of another size than the file was made with; the class names come along."""
    ending = {"onnx": "onnx", "torch-export": "pt2"}[form]
    said = convert(run, tmp_path / f"net.{ending}")
    np.save(tmp_path / "images.npy", images)

    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ELSEWHERE[form] + SAVE, said.path, "images.npy", "answers.npz"],
        cwd=tmp_path, check=True, timeout=120,
    )  # fmt: skip

    network = load_run(run)
    with torch.inference_mode():
        wanted = [each.numpy() for each in network.answers(torch.from_numpy(images))]
    found = np.load(tmp_path / "answers.npz")
    for number, each in enumerate(wanted):
        np.testing.assert_allclose(found[f"arr_{number}"], each, atol=1e-5)
    assert wanted[0].shape == (3, 8) and wanted[1].shape == (3, 2) and np.ptp(wanted[0], axis=0).max() > 1e-3
    record = json.loads(str(found["record"]))
    assert tuple(record["classes"]) == network.classes and tuple(record["mean"]) == network.mean
    assert said.form == form and said.outputs == ("probabilities", "valence_arousal") and said.difference <= 1e-5


def test_bare_weights_fit_a_network_of_the_same_layers(run: Path, tmp_path: Path) -> None:
    """They are a plain ``state_dict``, which torch reads without running code."""
    said = convert(run, tmp_path / "net.pt")

    weights = torch.load(tmp_path / "net.pt", weights_only=True)

    network = load_run(run).network
    assert said.outputs == () and all(torch.equal(weights[name], each) for name, each in network.state_dict().items())


def test_the_verb_says_what_the_file_takes_and_gives(run: Path, tmp_path: Path) -> None:
    """Enough to use it; and what it cannot make is said before anything is written."""
    done = run_verb("convert", run, "--out", tmp_path / "net.weights", "--to", "weights", "--json", tmp_path / "j.json")

    assert "classes: 0 Neutral, 1 Happy" in done
    assert json.loads((tmp_path / "j.json").read_text())["num_bytes"] == (tmp_path / "net.weights").stat().st_size
    assert "expected a name that ends in .onnx, .pt2 or .pt" in refusal(
        "convert", run, "--out", tmp_path / "net.tflite"
    )
    assert "expected onnx, torch-export or weights" in refusal(
        "convert", run, "--out", tmp_path / "n.onnx", "--to", "tf"
    )
    with pytest.raises(TrainError, match=r"no best.pt or last.pt found"):
        convert(tmp_path, tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


def test_a_file_that_answers_otherwise_is_not_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bar is the documented one; with one that no arithmetic can meet, the file that was there stays."""
    (tmp_path / "net.onnx").write_bytes(b"old")
    monkeypatch.setattr("ferdata.training.conversion.TOLERANCE", -1.0)

    with pytest.raises(TrainError, match=r"answers that differ by .* found, expected at most"):
        convert(run, tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").read_bytes() == b"old"
    with pytest.raises(OptionError, match="to: 'tf' found"):
        convert(run, tmp_path / "net.onnx", to="tf")
