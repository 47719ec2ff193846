"""Starting from weights that another program left: what fits by name and shape is taken, and everything is told."""

import json
from pathlib import Path

import own_networks
import pytest
import torch
from torch import nn
from train_helpers import Recorder, small_checkpoint, small_dataset, small_options, weights

from ferdata.errors import TrainError
from ferdata.labels import AFFECTNET_7, AFFECTNET_8, RAFDB_BASIC
from ferdata.training import train
from ferdata.training.nets.foreign_weights import ForeignWeights, open_weights, take_by_name
from ferdata.training.nets.interface import ExpressionNetwork
from ferdata.training.nets.networks import build_network
from ferdata.training.nets.own import make_own


def plain(num_classes: int = 8) -> ExpressionNetwork:
    return make_own(
        "own_networks:Plain", None, size=(28, 28), num_classes=num_classes, channels=3, valence_arousal=False
    )


def save_safetensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    header, data = {}, b""
    for name, tensor in tensors.items():
        raw = tensor.numpy().tobytes()
        kind = {torch.float32: "F32", torch.int64: "I64"}[tensor.dtype]
        header[name] = {
            "dtype": kind,
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.mark.parametrize("form", ["bare", "wrapped", "nested", "safetensors", "grey"])
def test_weights_are_taken_by_name_whatever_wrapped_them(form: str, tmp_path: Path) -> None:
    """Data parallel and compiled modules put prefixes before names, training loops other things beside the weights."""
    torch.manual_seed(1)
    theirs = own_networks.Plain(8).state_dict()
    path = tmp_path / "weights.pth"
    if form == "safetensors":
        save_safetensors(path, theirs)
    elif form == "nested":
        torch.save({"epoch": 3, "optimizer": {"state": {}}, "best": theirs["fc.bias"], "state_dict": theirs}, path)
    elif form == "wrapped":
        torch.save({f"module._orig_mod.{name}": value for name, value in theirs.items()}, path)
    elif form == "grey":
        torch.save(theirs | {"body.0.weight": theirs["body.0.weight"].sum(1, keepdim=True)}, path)
    else:
        torch.save(theirs, path)
    network = plain()

    said = take_by_name(network, open_weights(path), AFFECTNET_8, str(path))

    mine = network.bare.state_dict()
    assert {name for name in mine if not torch.equal(mine[name], theirs[name])} == (
        {"body.0.weight"} if form == "grey" else set()
    )
    assert f"{len(mine)} of {len(mine)} tensors fitted by name and shape" in said
    assert "rows of the head taken in their order, since the file names no classes" in said
    assert ("body.0.weight spread over 3 channels" in said) == (form == "grey")


def test_what_does_not_fit_is_told_and_left_as_it_starts(shards: str, tmp_path: Path) -> None:
    """A head of other classes, a layer too many, one too few: in the run's notes, and so on its page."""
    theirs = own_networks.Plain(5).state_dict()
    del theirs["body.1.weight"]
    torch.save(theirs | {"neck.weight": torch.zeros(2)}, tmp_path / "weights.pth")
    progress = Recorder()

    run = train(
        small_options(
            shards,
            tmp_path,
            epochs=1,
            model="own_networks:Plain",
            init_from=tmp_path / "weights.pth",
            freeze="body.*",
        ),
        progress=progress,
    ).run

    note = next(note for note in progress.notes if note.startswith("started from "))
    assert "(9 tensors, such as body.0.weight): 6 of 9 tensors fitted by name and shape; " in note
    assert "of another shape: fc.weight, fc.bias; not in the file: body.1.weight; left in the file: neck.weight" in note
    assert torch.equal(weights(run)["body.0.weight"], theirs["body.0.weight"])


def test_a_backbone_saved_by_itself_fits_ours() -> None:
    """Names in a file of timm's or torchvision's have no body before them."""
    old, new = (build_network("basic1", size=(28, 28), num_classes=count) for count in (3, 8))
    saved = {name.removeprefix("body."): value for name, value in old.state_dict().items() if name.startswith("body.")}

    said = take_by_name(new, ForeignWeights(what="weights", choices=(saved,)), AFFECTNET_8, "x")

    assert torch.equal(new.body[0].weight, old.body[0].weight)
    assert said == "weights: 8 of 10 tensors fitted by name and shape; not in the file: head.weight, head.bias"


def test_rows_of_an_own_network_s_head_follow_their_class() -> None:
    """RAF-DB's seven in another order: an own checkpoint names its classes, so its rows can be told apart."""
    old, new = plain(7), plain(8)
    fresh = new.bare.fc.weight[7].detach().clone()
    checkpoint = small_checkpoint(old, RAFDB_BASIC, name="own_networks:Plain")

    said = take_by_name(new, checkpoint, AFFECTNET_8, "raf")

    for number, name in enumerate(AFFECTNET_7):
        row = RAFDB_BASIC.index(name)
        assert torch.equal(new.bare.fc.weight[number], old.bare.fc.weight[row])
        assert torch.equal(new.bare.fc.bias[number], old.bare.fc.bias[row])
    assert torch.equal(new.bare.fc.weight[7], fresh)
    assert said == (
        "a checkpoint of own_networks:Plain: 9 of 9 tensors fitted by name and shape; "
        "head: 7 rows permuted by name; renewed: Contempt"
    )


def test_weights_of_which_nothing_fits_are_refused(tmp_path: Path) -> None:
    """Or the run would start from nothing, and be told as one that started from these."""
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "weights.pth")
    (tmp_path / "cut.safetensors").write_bytes((40).to_bytes(8, "little") + b'{"a": ' + bytes(40))

    with pytest.raises(
        TrainError,
        match=r"bare weights of another program's network \(2 tensors, such as weight\) found, none of whose 2 tensors "
        r"fits .*\(there weight, bias; here body.0.weight, .* and 5 more\), expected some to; use",
    ):
        take_by_name(plain(), open_weights(tmp_path / "weights.pth"), AFFECTNET_8, "weights.pth")
    with pytest.raises(TrainError, match=r"cut.safetensors: a safetensors file that cannot be read found"):
        open_weights(tmp_path / "cut.safetensors")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_dataset(tmp_path_factory.mktemp("shards"))
