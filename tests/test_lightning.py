"""Lightning gets the loader's own batches, each once, and goes on in the middle of an epoch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from make_dataset import make_dataset

from ferdata import Loader
from ferdata.errors import OptionError

lightning = pytest.importorskip("lightning")
pytestmark = pytest.mark.filterwarnings("ignore")

OPTIONS = {"batch_size": 8, "num_workers": 0, "seed": 3, "fields": ("images", "labels", "indices")}
BATCHES = 12


class Network(lightning.LightningModule):
    """Notes what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3 * 12 * 12, 8)
        self.seen: list[list[int]] = []
        self.looked_at: list[int] = []

    def training_step(self, batch: Any, number: int) -> torch.Tensor:
        self.seen.append(batch.indices.tolist())
        return torch.nn.functional.cross_entropy(self.layer(batch.images.flatten(1)), batch.labels)

    def validation_step(self, batch: Any, number: int) -> None:
        assert batch.images.dtype == torch.float32 and batch.images.abs().max() < 6  # normalised
        self.looked_at += batch.indices.tolist()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-4)


def trainer(**options: Any) -> Any:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    return lightning.Trainer(accelerator="cpu", **quiet, **options)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lightning") / "shards"
    make_dataset(folder, codec="compact", size=12, samples={"train": 8 * BATCHES, "val": 20}, samples_per_shard=40)
    return folder


def test_a_fit_sees_the_loaders_own_order_and_all_of_val(shards: Path) -> None:
    """Two epochs in two orders, as the loader alone gives them; val in full, whose last batch is short."""
    from ferdata.lightning import FerDataModule

    network = Network()
    trainer(max_epochs=2, enable_checkpointing=False).fit(network, FerDataModule(shards, **OPTIONS))

    with Loader(shards, **OPTIONS) as loader:
        expected = [batch.indices.tolist() for _ in range(2) for batch in loader]
    assert network.seen == expected
    assert network.looked_at == 2 * list(range(20))


def test_a_checkpoint_in_the_middle_of_an_epoch_goes_on_with_the_next_batch(shards: Path, tmp_path: Path) -> None:
    """Lightning keeps the loader's state; without that, a preempted run would see samples twice."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    from ferdata.lightning import FerDataModule

    whole, first, second = Network(), Network(), Network()
    trainer(max_epochs=2, enable_checkpointing=False).fit(whole, FerDataModule(shards, **OPTIONS))
    stop = BATCHES + 5
    keep = ModelCheckpoint(tmp_path, filename="middle", every_n_train_steps=stop)
    trainer(max_steps=stop, callbacks=[keep]).fit(first, FerDataModule(shards, **OPTIONS))
    again = trainer(max_epochs=2, enable_checkpointing=False)
    again.fit(second, FerDataModule(shards, **OPTIONS), ckpt_path=tmp_path / "middle.ckpt")

    assert first.seen == whole.seen[:stop]
    assert second.seen == whole.seen[stop:]


def test_options_that_the_trainer_decides_are_refused(shards: Path) -> None:
    from ferdata.lightning import FerDataModule

    with pytest.raises(OptionError, match="FerDataModule: device found, expected none: the trainer decides it"):
        FerDataModule(shards, device="cpu")
    with pytest.raises(OptionError, match=r"FerDataModule: .*'colour', expected options of ferdata.Loader"):
        FerDataModule(shards, colour=True).train_dataloader()
