"""``train --watch``: a frame after every epoch, whoever trained it, and the page shows them."""

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from train_helpers import same_weights, small_dataset, small_options

from ferdata.training import load_run, train
from ferdata.training.explanation.layers import activations
from ferdata.training.run.film import read_film


def test_a_watched_run_is_the_same_run_with_a_film(tmp_path: Path) -> None:
    """Frames change as the network does."""
    shards = small_dataset(tmp_path / "s")
    plain = train(small_options(shards, tmp_path, name="plain"))
    watched = train(small_options(shards, tmp_path, name="watched", watch=True))

    run = Path(watched.run)
    assert same_weights(plain.run, run)
    assert sorted(path.name for path in (run / "watch").iterdir()) == ["epoch-0001.png", "epoch-0002.png"]
    film = read_film(run, 2)
    frames = [np.asarray(Image.open(BytesIO(frame))) for _, frame in film]
    assert [epoch for epoch, _ in film] == [1, 2] and read_film(run, 1) == film[:1]
    assert frames[0].shape == (7 * 68 - 4, 2 * 68 - 4, 3)  # the faces, and three channels of two layers
    assert (frames[0][:64] == frames[1][:64]).all() and (frames[0][64:] != frames[1][64:]).any()
    network = load_run(run)
    image = network.prepare(torch.from_numpy(frames[0][:28, :28].transpose(2, 0, 1).copy())[None])
    before = activations(network.network, image, ["body.0"])["body.0"]
    assert torch.equal(before, network.network.body[0](image))  # not what ReLU made of it in place
    assert before.min() < 0
    assert "Features on the way" in (run / "report.html").read_text()
    assert "Features on the way" not in (Path(plain.run) / "report.html").read_text()
