"""Networks, each with the transform of the shards it was trained on, asked about pictures of any kind.

In: bytes of image files, or pictures of Pillow's. Out: a :class:`Prediction` each. A picture goes through a transform
once, however many networks share it.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from ferdata.errors import OptionError
from ferdata.images.transform import Transform, Transformed
from ferdata.labels import union_classes
from ferdata.sample import SourceItem
from ferdata.sources.files.image_bytes import read_image
from ferdata.store import folder_and_name
from ferdata.training.cover import cover
from ferdata.training.evaluation.ensemble import ClassMatch, Ensemble
from ferdata.training.load import Picture, TrainedNetwork
from ferdata.training.prediction.prediction import Prediction
from ferdata.training.regions import Region, region_boxes

__all__ = ["Pixels", "Predictor"]

Pixels = tuple[np.ndarray, ...]
"""One picture as uint8 ``[C, H, W]``, once for each way that the networks have between them."""

Points = Sequence[tuple[float, float]]
"""Landmarks of a face, x and y in pixels of its picture."""


class Predictor:
    """One network or an ensemble, with what its pictures go through.

    Args:
        networks: In evaluation mode, on one device.
        vote: Let them choose the class by vote, in place of the mean of their probabilities.

    Attributes:
        classes: Of all networks, in the order of the probabilities.

    Raises:
        OptionError: If a network does not say how its pictures were made.

    A network that sees only a region of a face is shown that; where it is, the landmarks of each picture must tell.
    """

    def __init__(self, networks: Sequence[TrainedNetwork], *, vote: bool = False) -> None:
        classes = [network.classes for network in networks]
        match = ClassMatch.of(union_classes(*classes), classes, all_classes=True)
        self.classes = match.classes
        self._ensemble, self._vote = Ensemble(networks, match, vote=vote), vote
        self._device = next(networks[0].parameters()).device
        ways = [_Way(network.shard_transform(), network.region, network.mean) for network in networks]
        self._ways = list({each.name: each for each in ways}.values())
        names = [each.name for each in self._ways]
        self._used = [names.index(each.name) for each in ways]

    def pixels(self, picture: Picture) -> Pixels:
        """Return the pixels of a picture of Pillow's, or of the image file at a path.

        Raises:
            ImageRejectedError: As :meth:`pixels_of_file`.
            StoreError: If the file cannot be read.
            OptionError: If it is neither.
        """
        if isinstance(picture, Image.Image):
            return self.pixels_of_image(picture, "image")
        if not isinstance(picture, (str, os.PathLike)):
            raise OptionError(
                f"images: a {type(picture).__name__} found, expected a path or a picture of Pillow's; "
                "make one of an array by PIL.Image.fromarray"
            )
        store, name = folder_and_name(os.fspath(picture))
        return self.pixels_of_file(read_image(store.root, name), os.fspath(picture))

    def pixels_of_file(self, data: bytes, where: str) -> Pixels:
        """Return the pixels of an image file, as a data set made of it has them.

        Raises:
            ImageRejectedError: If it is none, or damaged; ``error.reason`` says which in a word.
        """
        return self._through(lambda transform, item: transform.apply(data, item), where)

    def pixels_of_image(self, image: Image.Image, where: str, landmarks: Points | None = None) -> Pixels:
        """Return the pixels of a picture of Pillow's, turned as its EXIF data asks for.

        Args:
            image: The picture.
            where: What errors call it.
            landmarks: Of the face in it, for networks that see only a region.

        Raises:
            ImageRejectedError: As :meth:`pixels_of_file`.
            OptionError: If a network needs landmarks that are not there.
        """
        return self._through(lambda transform, item: transform.apply_to_image(image, item), where, landmarks)

    def upright(self, data: bytes, where: str) -> Image.Image:
        """Return the picture of an image file whole, in RGB and upright.

        Raises:
            ImageRejectedError: As :meth:`pixels_of_file`.
        """
        return self._ways[0].transform.upright(data, where)

    def __call__(self, pictures: Sequence[Pixels]) -> list[Prediction]:
        """Answer for some pictures at once."""
        if not pictures:
            return []
        batches = [torch.from_numpy(np.stack(column)).to(self._device) for column in zip(*pictures, strict=True)]
        return self.answer([batches[number] for number in self._used])

    def answer(self, batches: Sequence[torch.Tensor]) -> list[Prediction]:
        """Answer for pictures uint8 ``[N, C, H, W]`` on the networks' device, one batch for each network."""
        probabilities, chosen, choices, feelings = self._ensemble(batches)
        votes = torch.zeros_like(probabilities)
        if self._vote:
            votes.scatter_add_(1, choices, torch.ones_like(choices, dtype=votes.dtype))
        rows = [probabilities, votes, *([] if feelings is None else [feelings])]
        found = [Prediction.of_row(self.classes, row) for row in torch.cat(rows, 1).tolist()]
        # the ensemble's own choice, which is what evaluate counts: a tie is decided in its own precision
        return [replace(each, label=self.classes[place]) for each, place in zip(found, chosen.tolist(), strict=True)]

    def _through(
        self, made: Callable[[Transform, SourceItem], Transformed], where: str, landmarks: Points | None = None
    ) -> Pixels:
        flat = None if landmarks is None else [value for point in landmarks for value in point]
        item = SourceItem(key="picture", path=where, split="test", label=0, source_label="", landmarks=flat)
        return tuple(way.seen(made(way.transform, item), where) for way in self._ways)


@dataclass(frozen=True, slots=True)
class _Way:
    """What a picture goes through before a network: a transform, and covering all but a region."""

    transform: Transform
    region: str | None
    mean: tuple[float, ...]

    @property
    def name(self) -> tuple[object, ...]:
        return (self.transform.fingerprint(), self.region, self.mean if self.region else None)

    def seen(self, picture: Transformed, where: str) -> np.ndarray:
        if self.region is None:
            return picture.pixels
        points = np.zeros(0) if picture.landmarks is None else picture.landmarks
        region = Region.of(self.region)
        boxes = region_boxes([points.reshape(-1, 2)], region.names)
        if not np.isfinite(boxes).all():
            found = f"{len(points) // 2} landmarks" if len(points) else "no landmarks"
            needed = (
                "68, which no detector here finds; evaluate it on shards that have them"
                if "brows" in region.names
                else "those of a face that is found; pass faces=True"
            )
            raise OptionError(f"{where}: {found} found for a run that sees {region}, expected {needed}")
        images, boxes_of_image = torch.from_numpy(picture.pixels)[None], torch.from_numpy(boxes)
        return cover(images, boxes_of_image, region, self.mean)[0].numpy()
