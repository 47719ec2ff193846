"""Data sets of shards for Lightning: ``Trainer().fit(network, FerDataModule("shards/affectnet"))``.

In: the loader's options. Out: a loader for each stage, on each rank its part; images normalised on the device. A
checkpoint in the middle of an epoch holds the loader's state, and a fit from it goes on with the next batch.
"""

from collections.abc import Mapping
from typing import Any

import torch

from ferdata.optional import needs

with needs("lightning", "ferdata.lightning"):
    from lightning import LightningDataModule

from ferdata.errors import OptionError
from ferdata.mixing import Roots, split_weights
from ferdata.stream import Loader, Normalize
from ferdata.stream.sets import open_split

__all__ = ["FerDataModule"]

_OF_TRAIN = ("shuffle", "seed", "sampling", "draws", "mix", "drop_last", "transform", "indices", "where")
"""What is said of train alone: the other splits are read whole, once, in order."""


class FerDataModule(LightningDataModule):
    """The splits of a data set, or of several.

    Batches are the loader's: a named tuple of ``fields``, by default images and labels. Images that are still uint8
    after the transform are normalised once they are on their device, with the mean and deviation of train.

    Args:
        shards: What :class:`ferdata.Loader` takes: a folder or URL, several, or several with weights.
        normalize: Give float32 images of mean 0 and deviation 1; otherwise uint8 or what ``transform`` makes.
        **options: The loader's. ``shuffle``, ``seed``, ``sampling``, ``draws``, ``mix``, ``drop_last``, ``transform``,
            ``indices`` and ``where`` are those of train alone. Lightning moves batches, so ``device`` is refused.

    Raises:
        OptionError: If an option is none of the loader's, or is Lightning's affair.

    Example:
        >>> module = ferdata.lightning.FerDataModule("shards/affectnet", batch_size=32, num_workers=1)
        >>> module.classes[:2], len(module.train_dataloader())
        (('Neutral', 'Happy'), 6)
        >>> module.teardown("fit")
    """

    def __init__(self, shards: Roots | Mapping[str, float], *, normalize: bool = True, **options: Any) -> None:
        super().__init__()
        if refused := {"split", "device", "rank", "world_size"}.intersection(options):
            raise OptionError(f"FerDataModule: {min(refused)} found, expected none: the trainer decides it")
        self._shards, self._options = shards, options
        self._roots, _ = split_weights(shards)
        self._opened = open_split(
            self._roots, "train", resize=options.get("resize", "refuse"), classes=options.get("classes")
        )
        self._normalize = Normalize.of(self._opened.index) if normalize else None
        self._loaders: dict[str, Loader] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; labels are indices into them."""
        return self._opened.index.classes

    def train_dataloader(self) -> Loader:
        """Return the loader of train."""
        return self._loader("train", self._shards, **self._options)

    def val_dataloader(self) -> Loader | list[Loader]:
        """Return the loader of val; none if the data set has none."""
        return self._whole("val")

    def test_dataloader(self) -> Loader | list[Loader]:
        """Return the loader of test; that of val if the data set has no test split."""
        return self._whole("test") or self._whole("val")

    predict_dataloader = test_dataloader

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Normalise images that are on their device now."""
        name = "pixel_values" if isinstance(batch, dict) else "images"
        images = batch[name] if isinstance(batch, dict) else getattr(batch, name, None)
        if self._normalize is None or images is None or images.dtype != torch.uint8:
            return batch
        images = self._normalize(images)
        return {**batch, name: images} if isinstance(batch, dict) else batch._replace(images=images)

    def teardown(self, stage: str) -> None:
        """Stop the workers."""
        while self._loaders:
            self._loaders.popitem()[1].close()

    def _whole(self, split: str) -> Loader | list[Loader]:
        if any(split not in each.index.splits for each in self._opened.sets):
            return []
        options = {name: value for name, value in self._options.items() if name not in _OF_TRAIN}
        return self._loader(split, self._roots, split=split, shuffle="none", drop_last=False, **options)

    def _loader(self, name: str, root: Roots | Mapping[str, float], **options: Any) -> Loader:
        if name in self._loaders:
            self._loaders.pop(name).close()
        try:
            loader = Loader(root, **options)
        except TypeError as error:
            raise OptionError(f"FerDataModule: {error}, expected options of ferdata.Loader") from error
        self._loaders[name] = loader
        return loader
