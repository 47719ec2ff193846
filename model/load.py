"""A trained network out of a checkpoint alone: no shards, no settings.

In: a run's folder, or a checkpoint of one. Out: a module that takes images as they come out of a decoder, and pictures
and files as well.
"""

import os
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import nn

from ferdata.errors import OptionError, TrainError
from ferdata.images.transform import Transform
from ferdata.stream import BatchContext, Normalize
from ferdata.training.nets.augment import Resize
from ferdata.training.nets.designs import is_own
from ferdata.training.nets.initial_weights import load_weights
from ferdata.training.nets.interface import ExpressionNetwork
from ferdata.training.nets.networks import build_network
from ferdata.training.run.checkpoint import Checkpoint, find_checkpoint

if TYPE_CHECKING:
    from ferdata.training.prediction.prediction import Prediction

__all__ = ["Picture", "TrainedNetwork", "load_run"]

Picture = Image.Image | str | os.PathLike[str]
"""A picture of Pillow's, or the path of an image file."""

_KINDS = (Image.Image, str, os.PathLike)
_BATCH_SIZE = 128

_NO_CONTEXT = BatchContext(seed=0, epoch=0, rank=0, positions=np.zeros(0, np.int64))


class TrainedNetwork(nn.Module):
    """A trained network with the way its images have to go before it.

    Attributes:
        network: The network, which takes normalised images.
        classes: Names; a class's number is its column in the logits.
        size: Height and width the network takes; other images are resized to them as in training.
        mean: Per channel, of pixel values in [0, 255].
        std: Likewise.
        transform: ``fingerprint`` and ``settings`` (size, crop ...) of what made the pixels it was trained on.
        region: What it was trained to see of a face, as ``train`` takes it; None for all. Images uint8 are taken as
            they are, so they must be covered as in training; of files and pictures see :meth:`predict`.
    """

    def __init__(
        self,
        network: ExpressionNetwork,
        *,
        classes: tuple[str, ...],
        size: tuple[int, int],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        transform: dict[str, object],
        region: str | None = None,
    ) -> None:
        super().__init__()
        self.network, self.classes, self.size = network, classes, size
        self.mean, self.std, self.transform, self.region = mean, std, transform, region
        self._normalise, self._resize = Normalize(mean=mean, std=std), Resize(size[0])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits, float ``[N, classes]``, of images uint8 ``[N, C, H, W]``."""
        return self._run(images)[0]

    def valence_arousal(self, images: torch.Tensor) -> torch.Tensor:
        """Return valence and arousal in [-1, 1], float ``[N, 2]``, of images uint8 ``[N, C, H, W]``.

        Raises:
            OptionError: If the network was trained without them.
        """
        values = self._run(images)[1]
        if values is None:
            raise OptionError(
                "valence_arousal: a network without a head for them found, "
                "expected one trained with valence_arousal=True"
            )
        return values

    @property
    def has_valence_arousal(self) -> bool:
        """Whether there is a head for them."""
        return self.network.has_valence_arousal

    def answers(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return probabilities ``[N, classes]`` and, with such a head, valence and arousal ``[N, 2]``."""
        logits, values = self._run(images)
        probabilities = logits.float().softmax(1)
        return (probabilities,) if values is None else (probabilities, values.float())

    def predict(self, images: Picture | Iterable[Picture] | torch.Tensor) -> "list[Prediction]":
        """Return what the network says of pictures of any size and mode, each by itself.

        A file, or a picture of Pillow's, goes through the very transform that made the shards the network was trained
        on, turned as its EXIF data asks for; a face is not looked for, nor cut out.

        Args:
            images: A picture, a path, or several; or uint8 ``[N, C, H, W]``, as a loader gives them.

        Returns:
            One prediction for each, in the same order.

        Raises:
            ImageRejectedError: If one cannot be decoded.
            StoreError: If a file cannot be read.
            OptionError: If something else was given; or a file or picture to a network that sees only a region, which
                ``ferdata.predict`` finds with ``faces``.

        Example:
            >>> found = ferdata.load_run("runs/first").predict("face.jpg")
            >>> found[0].label in found[0].probabilities
            True
        """
        from ferdata.training.prediction.predictor import Predictor

        predictor = Predictor([self])
        if isinstance(images, torch.Tensor):
            return predictor.answer([images.to(next(self.parameters()).device)])
        several = iter([images] if isinstance(images, _KINDS) else images)
        found: list[Prediction] = []
        while some := list(islice(several, _BATCH_SIZE)):
            found += predictor([predictor.pixels(image) for image in some])
        return found

    def shard_transform(self) -> Transform:
        """Return what made the pixels of the shards it was trained on.

        Raises:
            OptionError: If the checkpoint does not say, or it was another version's.
        """
        settings = self.transform.get("settings")
        return Transform.of(settings if isinstance(settings, dict) else {}, where="predict: the run's checkpoint")

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Return images uint8 ``[N, C, H, W]`` as ``network`` takes them: resized and normalised, float."""
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != len(self.mean):
            raise OptionError(
                f"images: {images.dtype} {list(images.shape)} found, expected torch.uint8 [N, {len(self.mean)}, H, W], "
                "as a loader gives them; leave out whatever scales or normalises them before"
            )
        if tuple(images.shape[2:]) != self.size:
            images = self._resize(images, _NO_CONTEXT)
        return self._normalise(images, _NO_CONTEXT)

    def _run(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        outputs: tuple[torch.Tensor, torch.Tensor | None] = self.network(self.prepare(images))
        return outputs


def load_run(run: str | os.PathLike[str], *, network: nn.Module | None = None) -> TrainedNetwork:
    """Return the best network of a run, ready for use on the CPU, from its checkpoint alone.

    Args:
        run: The run's folder (its best weights, else its last ones), or a checkpoint.
        network: The network, where it was given to ``train`` as an object; it takes over the weights. One that was
            trained as ``<module>:<name>`` is made by that code, which must be importable.

    Raises:
        TrainError: If there is no checkpoint, or it is damaged or another program's.
        OptionError: If the code of somebody's own network is not there, or gives another network.

    Example:
        >>> network = ferdata.load_run("runs/first")
        >>> images, labels = next(iter(ferdata.Loader("shards/affectnet", split="val", batch_size=8, num_workers=0)))
        >>> network(images).shape, network.classes[1]
        (torch.Size([8, 8]), 'Happy')
    """
    path = find_checkpoint(run)
    checkpoint = Checkpoint.read(path)
    kind, normalisation = checkpoint.network, checkpoint.normalisation
    if network is not None and not is_own(kind.name):
        raise OptionError(f"network: one given for {path}, which holds {kind.name}, expected none; leave it out")
    try:
        built = build_network(
            kind.name,
            size=kind.size,
            num_classes=len(checkpoint.classes),
            channels=kind.channels,
            dropout=kind.dropout,
            valence_arousal=kind.valence_arousal,
            given=network,
        )
    except OptionError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise TrainError(
            f"{path}: {error}, expected what ferdata writes of a network; take another checkpoint of the run"
        ) from error
    load_weights(built, checkpoint, str(path))
    trained = TrainedNetwork(
        built,
        classes=checkpoint.classes,
        size=kind.size,
        mean=normalisation.mean,
        std=normalisation.std,
        transform=checkpoint.transform,
        region=checkpoint.region,
    )
    return trained.eval()
