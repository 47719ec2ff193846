"""One pass over a split: what a network says of every sample, whole and with parts covered, and what its head reads.

In: a trained network and a data set. Out: a :class:`Survey`. Costs a pass for every part that is covered.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ferdata.errors import OptionError
from ferdata.format import DatasetIndex
from ferdata.parallel import Progress
from ferdata.shown import counted
from ferdata.stream import Loader
from ferdata.training.cover import Cover, inside
from ferdata.training.evaluation.ensemble import NO_CLASS, ClassMatch
from ferdata.training.explanation.embedding import MOST_EMBEDDED, Projector
from ferdata.training.explanation.layers import answer
from ferdata.training.explanation.options import ExplainOptions
from ferdata.training.explanation.result import Covering
from ferdata.training.load import TrainedNetwork
from ferdata.training.regions import REGIONS, find_scheme, region_boxes

__all__ = ["Survey", "grid_masks", "survey"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a pass over a split found, of the samples whose class the network knows.

    Attributes:
        indices: Of the samples in the split, int64 ``[N]``.
        keys: Of the samples.
        labels: Numbers of the network's classes, int64 ``[N]``.
        probabilities: float32 ``[N, classes]``.
        regions: By landmarks; None if no sample has them.
        grid: By cells.
        mean_faces: float ``[classes, C, H, W]``.
        embedded: Places in the above of the samples whose features were kept, int64 ``[M]``.
        features: float ``[M, F]``.
        notes: Sentences for the user.
    """

    indices: np.ndarray
    keys: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    regions: Covering | None
    grid: Covering
    mean_faces: np.ndarray
    embedded: np.ndarray
    features: torch.Tensor
    notes: tuple[str, ...]


def survey(
    network: TrainedNetwork,
    options: ExplainOptions,
    shards: str,
    index: DatasetIndex,
    device: torch.device,
    cover: Cover | None,
    progress: Progress | None,
) -> Survey:
    """Look at each sample once, covered if the network was trained so.

    Raises:
        OptionError: If the network knows none of its classes.
    """
    to_class = _to_network(index.classes, network.classes)
    usable = np.arange(index.num_samples(options.split)) if cover is None else cover.indices
    stored = len(usable)
    taken = usable[np.unique(np.linspace(0, stored - 1, min(stored, options.limit or stored)).round().astype(np.int64))]
    found = _Pass(network, options, device, stride=-(-len(taken) // MOST_EMBEDDED))
    with Loader(
        shards,
        split=options.split,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
        shuffle="none",
        fields=("images", "labels", "keys", "landmarks", "indices"),
        indices=taken,
        device=device,
        rank=0,
        world_size=1,
    ) as loader:
        done = 0
        for batch in loader:
            images = batch.images if cover is None else cover(batch.images, batch.indices)
            labels = to_class[batch.labels.cpu().numpy()]
            known = np.flatnonzero(labels != NO_CLASS)
            done += len(labels)
            if len(known):
                found.add(
                    images[torch.from_numpy(known).to(device)],
                    labels[known],
                    [batch.keys[number] for number in known],
                    [batch.landmarks[number].cpu().numpy() for number in known],
                    batch.indices.cpu().numpy()[known],
                )
            if progress is not None:
                progress(done, len(taken))
    if not found.keys:
        raise OptionError(
            f"{shards}: {options.split} has no sample of {', '.join(network.classes)}, which the run knows, "
            "expected some; name another split"
        )
    left_out = cover.describe(options.split) if cover is not None else None
    return found.conclude(len(taken) - len(found.keys), left_out)


def _to_network(data: Sequence[str], network: Sequence[str]) -> np.ndarray:
    """Return for each class of a data set its number in the network, matched by name; -1 where it knows none."""
    match = ClassMatch.of(data, [network], all_classes=True)
    number = {column: place for place, column in enumerate(match.columns[0])}
    return np.array([number.get(column, NO_CLASS) for column in match.labels])


def grid_masks(cells: int, size: tuple[int, int]) -> np.ndarray:
    """Return what each cell of a grid covers, bool ``[cells * cells, H, W]``, row by row.

    Example:
        >>> grid_masks(2, (4, 6))[1].sum(0).tolist()
        [0, 0, 0, 2, 2, 2]
    """
    rows, columns = (np.arange(side) * cells // side for side in size)
    masks: np.ndarray = (rows[:, None] * cells + columns[None]) == np.arange(cells * cells)[:, None, None]
    return masks


class _Pass:
    """What is gathered, a batch at a time."""

    def __init__(self, network: TrainedNetwork, options: ExplainOptions, device: torch.device, *, stride: int) -> None:
        self._network, self._device = network, device
        self._cells, self._stride = options.grid, stride
        self._grid = torch.from_numpy(grid_masks(options.grid, network.size)).to(device)
        self._scheme: int | None = None
        self._project = Projector()
        self.keys: list[str] = []
        self._indices: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []
        self._answers: list[np.ndarray] = []
        self._features: list[torch.Tensor] = []
        self._embedded: list[int] = []
        self._by_cell: list[np.ndarray] = []
        self._by_region: list[np.ndarray] = []
        self._has_regions: list[np.ndarray] = []
        self._areas: list[np.ndarray] = []
        self._sums: torch.Tensor | None = None

    def add(
        self,
        images: torch.Tensor,
        labels: np.ndarray,
        keys: Sequence[str],
        landmarks: Sequence[np.ndarray],
        indices: np.ndarray,
    ) -> None:
        """Take a batch: uint8 ``[N, C, H, W]`` and what goes with it."""
        with torch.inference_mode():
            self._sum_up(images, labels)
            prepared = self._network.prepare(images)
            logits, features = answer(self._network.network, prepared)
            plain = logits.float().softmax(1).cpu().numpy()
            self._by_cell.append(self._covered(prepared, labels, plain, self._grid.__getitem__, len(self._grid)))
            has_regions, covers = self._masks(landmarks, (images.shape[2], images.shape[3]))
            if covers is not None:
                rows = torch.from_numpy(has_regions).to(self._device)
                self._by_region.append(
                    self._covered(
                        prepared[rows], labels[has_regions], plain[has_regions], lambda part: covers[part][:, None],
                        len(covers),
                    )
                )  # fmt: skip
                self._areas.append(covers.float().mean((2, 3)).cpu().numpy().T)
        self._has_regions.append(has_regions)
        kept = range(-len(self.keys) % self._stride, len(labels), self._stride)
        self._features.append(self._project(features[list(kept)]))
        self._embedded += [len(self.keys) + place for place in kept]
        self._answers.append(plain)
        self._labels.append(labels)
        self._indices.append(indices)
        self.keys += keys

    def _sum_up(self, images: torch.Tensor, labels: np.ndarray) -> None:
        if self._sums is None:
            shape = (len(self._network.classes), *images.shape[1:])
            self._sums = torch.zeros(shape, dtype=torch.float64)
        self._sums.index_add_(0, torch.from_numpy(labels), images.cpu().double())

    def _masks(
        self, landmarks: Sequence[np.ndarray], stored: tuple[int, int]
    ) -> tuple[np.ndarray, torch.Tensor | None]:
        """Return which samples have regions, bool ``[N]``, and these as masks, bool ``[regions, n, H, W]``.

        They are of the network's size, and all of one scheme, that of the first batch with any.
        """
        self._scheme = self._scheme or find_scheme(landmarks)
        if self._scheme is None:
            return np.zeros(len(landmarks), bool), None
        height, width = self._network.size
        scale = np.array([width / stored[1], height / stored[0]])
        points = [(each + 0.5) * scale - 0.5 if len(each) == self._scheme else each[:0] for each in landmarks]
        boxes = [region_boxes(points, [name]) for name in REGIONS[self._scheme]]
        known = np.isfinite(np.concatenate(boxes, 1)).all((1, 2))
        if not known.any():
            return known, None
        masks = [inside(torch.from_numpy(each[known]).to(self._device), (height, width)) for each in boxes]
        return known, torch.stack(masks)

    def _covered(
        self,
        prepared: torch.Tensor,
        labels: np.ndarray,
        plain: np.ndarray,
        mask: Callable[[int], torch.Tensor],
        parts: int,
    ) -> np.ndarray:
        """Return whether each sample is right, and the probability of its class, float32 ``[2, N, parts + 1]``."""
        rows = np.arange(len(labels))
        found = np.zeros((2, len(labels), parts + 1), np.float32)
        for column in range(parts + 1):
            answers = plain
            if column:  # zeros are the mean colour
                answers = self._network.network(prepared.masked_fill(mask(column - 1), 0))[0].float().softmax(1)
                answers = answers.cpu().numpy()
            found[0, :, column], found[1, :, column] = answers.argmax(1) == labels, answers[rows, labels]
        return found

    def conclude(self, unknown: int, left_out: str | None) -> Survey:
        """Return what all batches come to."""
        labels, has_regions = np.concatenate(self._labels), np.concatenate(self._has_regions)
        classes = len(self._network.classes)
        names = [f"row {row + 1}, column {column + 1}" for row in range(self._cells) for column in range(self._cells)]
        areas = self._grid.float().mean((1, 2)).tolist()
        grid = Covering.of(names, areas, labels, np.concatenate(self._by_cell, 1), classes)
        regions = None
        if self._scheme is not None and self._by_region:
            areas = np.concatenate(self._areas).mean(0).tolist()
            by_region = np.concatenate(self._by_region, 1)
            regions = Covering.of([*REGIONS[self._scheme]], areas, labels[has_regions], by_region, classes)
        assert self._sums is not None
        counts = np.bincount(labels, minlength=classes)
        return Survey(
            indices=np.concatenate(self._indices),
            keys=tuple(self.keys),
            labels=labels,
            probabilities=np.concatenate(self._answers),
            regions=regions,
            grid=grid,
            mean_faces=self._sums.numpy() / np.maximum(1, counts)[:, None, None, None],
            embedded=np.array(self._embedded),
            features=torch.cat(self._features),
            notes=(*_notes(unknown, has_regions), *([f"{left_out}."] if left_out else ())),
        )


def _notes(unknown: int, has_regions: np.ndarray) -> list[str]:
    notes = []
    if unknown:
        samples = counted(unknown, "sample is", "samples are")
        notes.append(f"{samples} of classes that the run does not know, and left out.")
    missing = int((~has_regions).sum())
    if missing == len(has_regions):
        notes.append("No sample has landmarks (68 or 5 points), so parts of the face are covered by a grid alone.")
    elif missing:
        samples = counted(missing, "sample without landmarks is", "samples without landmarks are")
        notes.append(f"{samples} left out where regions are covered.")
    return notes
