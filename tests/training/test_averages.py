"""Averaged weights, mixed images and focal loss in a run: what they are, and that a resumed run is the same."""

from pathlib import Path

import own_networks
import pytest
import torch
from torch.nn import functional
from train_helpers import (
    Recorder,
    interrupt_at,
    same_weights,
    small_dataset,
    small_options,
    step_losses,
    timeless_metrics,
    weights,
)

from ferdata.errors import OptionError, TrainError
from ferdata.stream import BatchContext, Loader, Normalize
from ferdata.training import TrainOptions, load_run, train
from ferdata.training.run.checkpoint import Checkpoint

SETTINGS = {"ema": 0.5, "mixup": 0.4, "focal": 1.5, "dropout": 0.3}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_dataset(tmp_path_factory.mktemp("shards"))


def test_a_stopped_run_goes_on_to_the_same_bits(shards: str, tmp_path: Path) -> None:
    """The average is in the checkpoint; pairs and shares are drawn by the step alone."""
    whole = train(small_options(shards, tmp_path, name="whole", **SETTINGS)).run
    with pytest.raises(TrainError, match="stopped on request"):
        train(small_options(shards, tmp_path, name="stopped", **SETTINGS), progress=interrupt_at(5))
    stopped = tmp_path / "stopped"

    with pytest.raises(OptionError, match=r"accumulate=2 found, expected accumulate=1"):
        train(TrainOptions(resume=str(stopped), accumulate=2))
    train(TrainOptions(resume=str(stopped)))

    assert same_weights(whole, stopped) and same_weights(whole, stopped, "best.pt")
    assert timeless_metrics(whole) == timeless_metrics(stopped)


def test_the_average_of_the_weights_is_what_is_measured_and_kept(shards: str, tmp_path: Path) -> None:
    """Computed again from the weights after each step; a run goes on from the weights themselves."""
    after: list[dict[str, torch.Tensor]] = []
    seen: list[dict[str, torch.Tensor]] = []
    run = tmp_path / "r"

    def collect(step: int) -> None:
        if step > 0:
            after.append(weights(run))

    result = train(
        small_options(shards, tmp_path, name="r", epochs=1, checkpoint_steps=1, ema=0.5),
        progress=Recorder(collect),
        callbacks=[lambda network, epoch, run: seen.append({k: v.clone() for k, v in network.state_dict().items()})],
    )

    after.append(weights(run))
    average = after[0]
    for step in after[1:]:
        average = {name: 0.5 * average[name] + 0.5 * step[name] for name in average}
    kept = weights(run, "best.pt")
    assert len(after) == 4
    assert all(torch.allclose(kept[name], average[name], atol=1e-6) for name in average)
    assert not torch.equal(kept["head.weight"], after[-1]["head.weight"])
    assert all(torch.equal(kept[name], seen[0][name]) for name in kept)
    assert Checkpoint.read(run / "best.pt").averaged is None
    with Loader(shards, split="val", batch_size=21, shuffle="none", num_workers=0) as loader:
        batch = next(iter(loader))
        right = (load_run(run)(batch.images).argmax(1) == batch.labels).sum()
    assert int(right) == sum(result.confusion[number][number] for number in range(8))


def test_images_are_mixed_in_pairs_and_their_labels_by_the_same_share(shards: str, tmp_path: Path) -> None:
    """Of the first step: what the network saw, and the loss that was minimised."""

    class Seeing(own_networks.Plain):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = super().forward(images)
            if self.training:
                steps.append((images.detach().clone(), logits.detach().clone()))
            return logits

    steps: list[tuple[torch.Tensor, torch.Tensor]] = []
    options = small_options(shards, tmp_path, name="r", model=None, epochs=1, augment=(), mixup=0.4)
    run = train(options, network=Seeing(8)).run
    with Loader(shards, split="train", batch_size=16, num_workers=0, seed=0, sampling="balanced") as loader:
        batch = next(iter(loader))
        context = BatchContext(seed=0, epoch=0, rank=0, positions=torch.arange(16).numpy())
        images, labels = Normalize.of(loader.index)(batch.images, context), batch.labels.clone()
    mixed, logits = steps[0]

    apart = images - images.roll(1, 0)

    share = float(((mixed - images.roll(1, 0)) * apart).sum() / apart.square().sum())

    assert 0 < share < 1
    assert torch.allclose(mixed, share * images + (1 - share) * images.roll(1, 0), atol=1e-4)
    losses = [functional.cross_entropy(logits, each) for each in (labels, labels.roll(1))]
    expected = share * losses[0] + (1 - share) * losses[1]
    assert step_losses(run)[0] == pytest.approx(float(expected), rel=1e-4)
