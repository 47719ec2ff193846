"""What an explanation comes to: layers, maps, heat maps, and what covering parts of the face costs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

__all__ = ["Covering", "Example", "Explanation", "FeatureMaps", "Layer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer of a network.

    Attributes:
        name: As in ``named_modules()``.
        kind: Its class.
        shape: Of what it gives for one image.
        parameters: How many it has.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureMaps:
    """What a convolution makes of a few faces.

    Attributes:
        layer: Its name.
        channels: Those that vary most over the faces, of all.
        maps: float ``[faces, channels, h, w]``.
        of: How many channels the layer has.
    """

    layer: str
    channels: tuple[int, ...]
    maps: np.ndarray
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A sample, and what spoke for the class that was said.

    Attributes:
        key: Of the sample.
        actual: Its class.
        predicted: The class the network chose.
        confidence: The probability it gave that class.
        image: uint8 ``[C, H, W]``, as stored.
        cam: Grad-CAM of the last convolution, at least 0, float ``[H, W]`` of the network's size; None without one.
        gradients: Integrated gradients summed over channels, float ``[H, W]``.
    """

    key: str
    actual: int
    predicted: int
    confidence: float
    image: np.ndarray
    cam: np.ndarray | None
    gradients: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Covering:
    """What is left when parts of the face are covered with the data set's mean colour.

    Attributes:
        names: Of the parts.
        areas: Mean share of the image that each covers.
        samples: int64 ``[classes]``.
        accuracy: float ``[classes + 1, parts + 1]``: share that is right, by actual class, all of them in the last row;
            the first column with nothing covered. NaN where a class has no samples.
        probability: Mean probability of the right class, likewise.
    """

    names: tuple[str, ...]
    areas: tuple[float, ...]
    samples: np.ndarray
    accuracy: np.ndarray
    probability: np.ndarray

    @classmethod
    def of(
        cls, names: Sequence[str], areas: Sequence[float], labels: np.ndarray, found: np.ndarray, num_classes: int
    ) -> Self:
        """Sum up labels, int64 ``[N]``, and whether each is right and how probable its class, ``[2, N, parts + 1]``."""
        members = [labels == number for number in range(num_classes)] + [np.ones(len(labels), bool)]

        def means(values: np.ndarray) -> np.ndarray:
            return np.stack([values[each].mean(0) if each.any() else values[:0].sum(0) + np.nan for each in members])

        return cls(
            names=tuple(names),
            areas=tuple(areas),
            samples=np.bincount(labels, minlength=num_classes),
            accuracy=means(found[0].astype(np.float64)),
            probability=means(found[1].astype(np.float64)),
        )

    @property
    def lost_probability(self) -> np.ndarray:
        """By how much the probability of the right class falls, float ``[classes + 1, parts]``."""
        fall: np.ndarray = self.probability[:, :1] - self.probability[:, 1:]
        return fall

    @property
    def lost_accuracy(self) -> np.ndarray:
        """By how much accuracy falls, float ``[classes + 1, parts]``."""
        fall: np.ndarray = self.accuracy[:, :1] - self.accuracy[:, 1:]
        return fall

    def to_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return the figures as plain values, by class and part; None where a class has no samples."""
        return {
            "areas": dict(zip(self.names, self.areas, strict=True)),
            "classes": {
                name: {
                    "samples": int(samples),
                    "accuracy": self._row(self.accuracy[row]),
                    "probability": self._row(self.probability[row]),
                }
                for row, (name, samples) in enumerate(
                    zip((*classes, "all"), (*self.samples, self.samples.sum()), strict=True)
                )
            },
        }

    def _row(self, values: np.ndarray) -> dict[str, float | None]:
        plain = (None if np.isnan(value) else float(value) for value in values)
        return dict(zip(("nothing covered", *self.names), plain, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a network looks at, on a split.

    Attributes:
        run: The run.
        shards: The data set.
        source: Its name.
        split: The split.
        classes: The network's, by their numbers.
        keys: Of the samples that were looked at.
        labels: Their classes, int64 ``[N]``.
        probabilities: float32 ``[N, classes]``.
        layers: Every layer.
        cam_layer: The layer that Grad-CAM is of; None if there is no convolution.
        filters: The first convolution's weights, float ``[filters, C, h, w]``; None without one.
        faces: uint8 ``[faces, C, H, W]``, those that feature maps are of.
        maps: Of some convolutions, first to last.
        examples: The surest hits and mistakes, by class, hits first, surest first.
        regions: By landmarks; None if no sample has them.
        grid: By the cells of a grid, row by row.
        mean_faces: float ``[classes, C, H, W]``, values 0 to 255; zeros where a class has no samples.
        embedded: Numbers of the samples on the map, int64 ``[M]``.
        embedding: float32 ``[M, 2]``.
        notes: Sentences for the user.
        page: The page.
    """

    run: str
    shards: str
    source: str
    split: str
    classes: tuple[str, ...]
    keys: tuple[str, ...] = field(repr=False)
    labels: np.ndarray = field(repr=False)
    probabilities: np.ndarray = field(repr=False)
    layers: tuple[Layer, ...] = field(repr=False)
    cam_layer: str | None
    filters: np.ndarray | None = field(repr=False)
    faces: np.ndarray = field(repr=False)
    maps: tuple[FeatureMaps, ...] = field(repr=False)
    examples: tuple[Example, ...] = field(repr=False)
    regions: Covering | None = field(repr=False)
    grid: Covering = field(repr=False)
    mean_faces: np.ndarray = field(repr=False)
    embedded: np.ndarray = field(repr=False)
    embedding: np.ndarray = field(repr=False)
    notes: tuple[str, ...] = ()
    page: str | None = None

    @property
    def accuracy(self) -> float:
        """Share of the samples that is right."""
        return float(self.grid.accuracy[-1, 0])

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain values, and which samples are shown, without pixels."""
        return {
            "run": self.run,
            "shards": self.shards,
            "source": self.source,
            "split": self.split,
            "classes": list(self.classes),
            "samples": len(self.keys),
            "accuracy": self.accuracy,
            "layers": [asdict(layer) | {"shape": list(layer.shape)} for layer in self.layers],
            "grad_cam_layer": self.cam_layer,
            "feature_maps": [{"layer": each.layer, "channels": list(each.channels)} for each in self.maps],
            "examples": [
                {
                    "key": each.key,
                    "actual": self.classes[each.actual],
                    "predicted": self.classes[each.predicted],
                    "confidence": each.confidence,
                }
                for each in self.examples
            ],
            "regions": None if self.regions is None else self.regions.to_json(self.classes),
            "grid": self.grid.to_json(self.classes),
            "notes": list(self.notes),
        }

    def describe(self) -> str:
        """Return what covering costs, and where the page is."""
        lines = [f"{self.split}, {len(self.keys):,} samples: accuracy {self.accuracy:.1%}"]
        shown = self.regions or self.grid
        falls = shown.lost_accuracy[-1]
        order = np.argsort(-falls, kind="stable")[:4]
        left = (f"{shown.names[part]} {shown.accuracy[-1, part + 1]:.1%}" for part in order)
        lines.append(f"with a part covered, those that cost most first: {', '.join(left)}")
        return "\n".join([*lines, *([f"report: {self.page}"] if self.page else [])])
