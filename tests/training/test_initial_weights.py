"""Going on from another run's weights, and the checkpoints they come from."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from train_helpers import small_checkpoint

from ferdata.errors import TrainError
from ferdata.labels import AFFECTNET_7, AFFECTNET_8, RAFDB_BASIC
from ferdata.training.nets.heads import map_head
from ferdata.training.nets.initial_weights import start_from
from ferdata.training.nets.networks import FerNetwork, build_network
from ferdata.training.run.checkpoint import Checkpoint, find_checkpoint


def _network(num_classes: int, *, size: int = 32, name: str = "basic1", valence_arousal: bool = False) -> FerNetwork:
    return build_network(name, size=(size, size), num_classes=num_classes, valence_arousal=valence_arousal)


def _record(network: FerNetwork, classes: tuple[str, ...], *, name: str = "basic1", size: int = 32) -> Checkpoint:
    """A checkpoint whose head rows are the numbers of their classes."""
    with torch.no_grad():
        for number in range(len(classes)):
            network.head.weight[number] = number + 1
            network.head.bias[number] = -(number + 1)
    return small_checkpoint(network, classes, name=name, size=size)


def test_rows_follow_their_class_from_raf_db_to_affectnet() -> None:
    """RAF-DB has seven classes in another order, no contempt: six rows and one more move, the eighth starts afresh."""
    old, new = _network(7), _network(8)
    fresh = new.head.weight[7].detach().clone()

    head = start_from(new, _record(old, RAFDB_BASIC), AFFECTNET_8, "raf")

    for number, name in enumerate(AFFECTNET_8[:7]):
        assert new.head.weight[number, 0].item() == RAFDB_BASIC.index(name) + 1
        assert new.head.bias[number].item() == -(RAFDB_BASIC.index(name) + 1)
    assert torch.equal(new.head.weight[7], fresh)
    assert head.describe() == "head: 7 rows permuted by name; renewed: Contempt"
    assert all(
        torch.equal(a, b) for a, b in zip(new.body.state_dict().values(), old.body.state_dict().values(), strict=True)
    )


def test_rows_of_classes_that_are_gone_are_dropped() -> None:
    """AffectNet with eight classes, going on with seven."""
    new = _network(7)

    head = start_from(new, _record(_network(8), AFFECTNET_8), AFFECTNET_7, "affectnet")

    assert new.head.weight[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert head.describe() == "head: 7 rows kept by name; dropped: Contempt"


def test_the_same_classes_keep_the_head() -> None:
    """Also under other spellings, as class folders have them."""
    assert map_head(AFFECTNET_8, AFFECTNET_8).describe() == "head kept: the same 8 classes in the same order"
    assert map_head(["anger", "Happiness"], ["Happy", "Angry"]).rows == (1, 0)


def test_classes_that_share_no_name_renew_the_head() -> None:
    """A head of other things is no start."""
    head = map_head(["cat", "dog"], ["Happy", "Sad"])

    assert head.rows == (None, None)
    assert head.describe() == "head renewed: none of Happy, Sad was known to the other run"


def test_the_second_head_is_taken_along_where_both_have_it() -> None:
    """And a run that newly trains valence and arousal starts that head afresh."""
    old, new = _network(8, valence_arousal=True), _network(8, valence_arousal=True)
    start_from(new, _record(old, AFFECTNET_8), AFFECTNET_8, "x")
    assert new.va_head is not None and old.va_head is not None
    assert torch.equal(new.va_head.weight, old.va_head.weight)

    start_from(_network(8, valence_arousal=True), _record(_network(8), AFFECTNET_8), AFFECTNET_8, "x")


def test_a_body_that_does_not_fit_is_refused_by_its_name() -> None:
    """Half-loaded weights would train, badly and silently; another size alone is adapted."""
    old = _record(_network(8, name="new1", size=41), AFFECTNET_8, name="new1", size=41)

    with pytest.raises(TrainError, match=r"runs/a/best.pt: a body of new1 at 41 x 41 found.*use the same model="):
        start_from(_network(8), old, AFFECTNET_8, "runs/a/best.pt")


@pytest.mark.parametrize(("name", "sizes"), [("basic1", (32, 50)), ("mod4", (48, 60)), ("mod4", (60, 48))])
def test_weights_of_another_size_give_the_same_of_an_even_image(name: str, sizes: tuple[int, int]) -> None:
    """FER2013 has 48 pixels: what its network has learned of larger faces is what it knows of them in its own size."""
    torch.manual_seed(0)
    old, new = (_network(8, name=name, size=size).eval() for size in sizes)
    checkpoint = small_checkpoint(old, AFFECTNET_8, name=name, size=sizes[0])
    even = torch.tensor([0.5, -1.0, 0.1]).reshape(1, 3, 1, 1)

    said = start_from(new, checkpoint, AFFECTNET_8, "x").describe()

    with torch.no_grad():
        expected, found = (
            network(even.expand(1, 3, size, size))[0] for network, size in zip((old, new), sizes, strict=True)
        )
    assert torch.allclose(found, expected, atol=1e-5)
    assert "head kept: the same 8 classes in the same order; " in said and "cells to " in said


def test_a_network_of_grey_images_goes_on_with_colour_and_back() -> None:
    """A grey image in three equal channels gives what it gave in one."""
    one = build_network("basic1", size=(32, 32), num_classes=8, channels=1).eval()
    three = _network(8).eval()
    grey = torch.randn(2, 1, 32, 32)
    record = replace(small_checkpoint(one, AFFECTNET_8).network, channels=1)

    said = start_from(three, replace(small_checkpoint(one, AFFECTNET_8), network=record), AFFECTNET_8, "x").describe()
    with torch.no_grad():
        expected = one(grey)[0]
        assert torch.allclose(three(grey.expand(2, 3, 32, 32))[0], expected, atol=1e-5)
        assert said.endswith("in the same order; body.0 spread over 3 channels")
        again = build_network("basic1", size=(32, 32), num_classes=8, channels=1).eval()
        start_from(again, small_checkpoint(three, AFFECTNET_8), AFFECTNET_8, "x")
        assert torch.allclose(again(grey)[0], expected, atol=1e-5)


def test_a_checkpoint_is_read_without_running_code(tmp_path: Path) -> None:
    """A pickle that would run something is refused, and so is a file that was cut off."""
    torch.save({"version": 1, "model": Path("x")}, tmp_path / "code.pt")
    network = _network(8)
    small_checkpoint(network, AFFECTNET_8).write(tmp_path / "good.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "good.pt").read_bytes()[:2000])
    torch.save({"ferdata": "2.0", "version": 9}, tmp_path / "other.pt")

    for name, text in (
        ("code.pt", "expected a checkpoint"),
        ("cut.pt", "expected a checkpoint"),
        ("other.pt", "a checkpoint of ferdata 2.0 \\(version 9\\) found"),
        ("no.pt", "no such"),
    ):
        with pytest.raises(TrainError, match=rf"{name}: .*{text}"):
            Checkpoint.read(tmp_path / name)
    assert torch.equal(Checkpoint.read(tmp_path / "good.pt").model["head.weight"], network.head.weight)


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    """A full disk or a kill in the middle of writing must not cost the run both."""
    path = tmp_path / "last.pt"
    good = small_checkpoint(_network(8), AFFECTNET_8, step=1)
    good.write(path)

    with pytest.raises((AttributeError, pickle.PicklingError)):
        replace(good, transform={"settings": lambda: 2}).write(path)

    assert Checkpoint.read(path).state.step == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


def test_the_best_weights_are_what_others_start_from(tmp_path: Path) -> None:
    """Else the last ones; a file can be named too."""
    with pytest.raises(TrainError, match=r"no best.pt or last.pt found"):
        find_checkpoint(tmp_path)
    (tmp_path / "last.pt").touch()
    assert find_checkpoint(tmp_path).name == "last.pt"
    (tmp_path / "best.pt").touch()
    assert find_checkpoint(tmp_path).name == "best.pt"
    assert find_checkpoint(tmp_path / "last.pt").name == "last.pt"
