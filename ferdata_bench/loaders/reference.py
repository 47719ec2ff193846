"""The truth every contender is checked against before it is timed: what Pillow decodes from the source, and the labels.

In: a class-folder tree. Out: a small file with a digest and a coarse signature of every image; then a verdict on one
epoch of batches. Nobody wins by skipping work: each sample must come exactly once, with its label and its pixels.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ferdata.errors import FerdataError, SourceError
from ferdata_bench.contenders.common import list_source, read_planes

if TYPE_CHECKING:
    import torch

__all__ = ["ContentError", "Reference", "check_epoch", "make_reference"]

GRID = 8
MAX_SIGNATURE_ERROR = 8.0
"""By how many levels out of 255 a cell's mean may be off, for a decoder that is not Pillow's."""
MAX_MEAN_ERROR = 5.0
"""By how many levels out of 255 the pixels of one image may be off on average, likewise (FFmpeg repeats colour samples,
others interpolate)."""
SPOT_CHECKS = 64
CANDIDATES = 8
CLEARLY = 3.0
"""The nearest row is clearly the nearest if the second is this many times farther off."""
MAX_ORDER_LIKENESS = 0.9
"""Correlation between the order delivered and the source's order above which it cannot be called shuffled."""
MIN_ROWS_TO_JUDGE = 64


Finder: TypeAlias = "Callable[[torch.Tensor, np.ndarray], np.ndarray]"
"""Images and their labels in, rows of the reference out."""


class ContentError(FerdataError):
    """A contender delivered something other than the source's images and labels, each once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the source holds, in the order of sorted paths.

    Attributes:
        source: The class-folder tree.
        classes: Class names; a label is a place in this list.
        paths: Image files.
        labels: int64 ``[N]``.
        shape: ``(3, H, W)``, the same for every image.
        digests: uint64 ``[N]``, of the contiguous uint8 ``[3, H, W]``.
        signatures: float32 ``[N, 192]``, means over an 8 x 8 grid of cells per channel.
    """

    source: Path
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    labels: np.ndarray
    shape: tuple[int, int, int]
    digests: np.ndarray
    signatures: np.ndarray

    @property
    def bytes_per_image(self) -> int:
        """Bytes of one image's pixels."""
        return int(np.prod(self.shape))

    def save(self, path: Path) -> None:
        """Write the reference for runner processes to read."""
        np.savez(
            path,
            source=str(self.source),
            classes=np.array(self.classes),
            paths=np.array(self.paths),
            labels=self.labels,
            shape=np.array(self.shape),
            digests=self.digests,
            signatures=self.signatures,
        )

    @classmethod
    def load(cls, path: Path) -> "Reference":
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as held:
            channels, height, width = held["shape"].tolist()
            return cls(
                source=Path(str(held["source"])),
                classes=tuple(held["classes"].tolist()),
                paths=tuple(held["paths"].tolist()),
                labels=held["labels"],
                shape=(channels, height, width),
                digests=held["digests"],
                signatures=held["signatures"],
            )


def make_reference(source: Path) -> Reference:
    """Decode every image of a class-folder tree with Pillow, once, and keep its digest and signature.

    Raises:
        SourceError: If there is no image, or the images differ in size.
    """
    paths, labels = list_source(source)
    if not paths:
        raise SourceError(
            f"{source}: no <class>/<name>.jpg found, expected class folders of JPEG files; point to such a folder"
        )
    with ThreadPoolExecutor(2) as pool:
        facts = list(pool.map(_facts, paths, chunksize=64))
    shapes = {shape for shape, _, _ in facts}
    if len(shapes) > 1:
        raise SourceError(
            f"{source}: images of {len(shapes)} sizes found ({sorted(shapes)[:3]} ...), expected one size, "
            "because contenders store pixels as they are; resize them first"
        )
    return Reference(
        source=source,
        classes=tuple(sorted(folder.name for folder in source.iterdir() if folder.is_dir())),
        paths=tuple(str(path) for path in paths),
        labels=labels,
        shape=shapes.pop(),
        digests=np.array([digest for _, digest, _ in facts], np.uint64),
        signatures=np.stack([signature for _, _, signature in facts]),
    )


def check_epoch(
    batches: "Iterable[tuple[torch.Tensor, torch.Tensor]]",
    reference: Reference,
    *,
    exact: bool,
    classes: Sequence[str] = (),
) -> int:
    """Read one epoch and compare it with the reference; return the number of images.

    Identical images count together, so a source with duplicates is no obstacle.

    Args:
        batches: One epoch.
        reference: The truth.
        exact: Pixels must be Pillow's, byte for byte; otherwise near, as another JPEG decoder gives them.
        classes: The contender's class names if its labels follow another order than the reference's.

    Raises:
        ContentError: At the first thing that is wrong.
    """
    num_classes = len(reference.classes)
    to_reference = np.array([reference.classes.index(name) for name in classes] or range(num_classes), np.int64)
    _, first_rows, twins = np.unique(reference.digests, return_index=True, return_inverse=True)
    expected = np.bincount(twins * num_classes + reference.labels, minlength=len(first_rows) * num_classes)
    seen = np.zeros_like(expected)
    find = _exact_finder(reference) if exact else _near_finder(reference)
    order = []
    for each in batches:
        images, labels = each[0].cpu(), each[1].cpu()
        if (
            tuple(images.shape[1:]) != reference.shape
            or str(images.dtype) != "torch.uint8"
            or len(images) != len(labels)
        ):
            raise ContentError(
                f"batch: {images.dtype} {list(images.shape)} with {len(labels)} labels found, expected torch.uint8 "
                f"[N, {', '.join(map(str, reference.shape))}] with N labels; mend the contender"
            )
        named = to_reference[labels.numpy().astype(np.int64)]
        rows = find(images, named)
        codes = twins[rows] * num_classes + named
        if len(wrong := np.flatnonzero(expected[codes] == 0)):
            row = rows[wrong[0]]
            raise ContentError(
                f"{reference.paths[row]}: label {int(named[wrong[0]])} found, "
                f"expected {int(reference.labels[row])}; mend the contender"
            )
        np.add.at(seen, codes, 1)
        order.append(rows)
    _require_each_once(
        reference, first_rows, seen.reshape(-1, num_classes).sum(1), expected.reshape(-1, num_classes).sum(1)
    )
    _require_shuffled(np.concatenate(order))
    return int(seen.sum())


def _exact_finder(reference: Reference) -> "Finder":
    """Return a function that finds images' rows by the digests of their bytes."""
    rows = {digest: row for row, digest in enumerate(reference.digests.tolist())}

    def find(images: "torch.Tensor", named: np.ndarray) -> np.ndarray:
        found = [rows.get(_digest(np.ascontiguousarray(image.numpy())), -1) for image in images]
        if -1 in found:
            raise ContentError(
                "image: pixels found that no source image has, expected exactly what Pillow decodes; mend the contender"
            )
        return np.array(found, np.int64)

    return find


def _near_finder(reference: Reference) -> "Finder":
    """Return a function that finds images' rows by the nearest signature, and compares some pixels with Pillow's.

    Crops of a clear sky look alike: if the nearest row is not clearly the nearest, details of the pixels decide, and if
    even these are the same, the label does.
    """
    import torch

    known = torch.from_numpy(reference.signatures)
    spots = set(np.linspace(0, len(reference.labels) - 1, SPOT_CHECKS).astype(int).tolist())
    taken: set[int] = set()

    def find(images: "torch.Tensor", named: np.ndarray) -> np.ndarray:
        signatures = torch.from_numpy(np.stack([_signature(image.numpy()) for image in images]))
        nearest = torch.cdist(signatures, known).topk(min(CANDIDATES, len(known)), largest=False)
        distances, candidates = nearest.values.numpy(), nearest.indices.numpy()
        rows = candidates[:, 0].copy()
        for position in np.flatnonzero(
            distances[:, 1:2].min(axis=1, initial=np.inf) < CLEARLY * distances[:, 0]
        ).tolist():
            rows[position] = _choose_by_details(
                images[position].numpy(), candidates[position], int(named[position]), reference, taken
            )
        error = float((signatures - known[rows]).abs().max())
        if error > MAX_SIGNATURE_ERROR:
            raise ContentError(
                f"image: {error:.1f} levels away from the nearest source image found, "
                f"expected at most {MAX_SIGNATURE_ERROR}; "
                "mend the contender"
            )
        for position, row in enumerate(rows.tolist()):
            if row in spots:
                _require_near(images[position].numpy(), Path(reference.paths[row]))
        taken.update(rows.tolist())
        return rows

    return find


def _choose_by_details(
    pixels: np.ndarray, candidates: np.ndarray, label: int, reference: Reference, taken: set[int]
) -> int:
    """Return the candidate whose details are nearest; among equals one with this label that is not taken yet."""
    errors = np.array([_detail_error(pixels, read_planes(Path(reference.paths[row]))) for row in candidates])
    equals = candidates[errors <= errors.min() * 1.1 + 0.05]
    return int(min(equals, key=lambda row: (reference.labels[row] != label, int(row) in taken)))


def _detail_error(pixels: np.ndarray, other: np.ndarray) -> float:
    """Return the standard deviation of the difference, with each channel's offset removed (decoders differ in that)."""
    difference = pixels.astype(np.float32) - other
    return float(np.sqrt(difference.var(axis=(1, 2)).mean()))


def _require_near(pixels: np.ndarray, path: Path) -> None:
    error = float(np.abs(pixels.astype(np.int16) - read_planes(path)).mean())
    if error > MAX_MEAN_ERROR:
        raise ContentError(
            f"{path}: pixels {error:.2f} levels off found, expected at most {MAX_MEAN_ERROR}; mend the contender"
        )


def _require_each_once(reference: Reference, first_rows: np.ndarray, seen: np.ndarray, expected: np.ndarray) -> None:
    if len(wrong := np.flatnonzero(seen != expected)):
        raise ContentError(
            f"epoch: {int(np.count_nonzero(seen < expected)):,} of {len(seen):,} images too rarely and "
            f"{int(np.count_nonzero(seen > expected)):,} too often found "
            f"(first: {reference.paths[first_rows[wrong[0]]]}), "
            "expected each exactly once; mend the contender"
        )


def _require_shuffled(rows: np.ndarray) -> None:
    if (
        len(rows) >= MIN_ROWS_TO_JUDGE
        and (likeness := abs(float(np.corrcoef(rows, np.arange(len(rows)))[0, 1]))) > MAX_ORDER_LIKENESS
    ):
        raise ContentError(
            f"epoch: an order {likeness:.0%} like the source's found, expected a shuffled one; mend the contender"
        )


def _facts(path: Path) -> tuple[tuple[int, int, int], int, np.ndarray]:
    pixels = read_planes(path)
    channels, height, width = pixels.shape
    return (channels, height, width), _digest(pixels), _signature(pixels)


def _digest(pixels: np.ndarray) -> int:
    return int.from_bytes(hashlib.blake2b(pixels.data, digest_size=8).digest(), "little")


def _signature(pixels: np.ndarray) -> np.ndarray:
    """Return float32 ``[C * 64]``, the means of an 8 x 8 grid of cells."""
    _, height, width = pixels.shape
    rows, columns = np.arange(GRID) * height // GRID, np.arange(GRID) * width // GRID
    sums = np.add.reduceat(np.add.reduceat(pixels, rows, axis=1, dtype=np.uint32), columns, axis=2, dtype=np.uint32)
    cells = np.outer(np.diff([*rows, height]), np.diff([*columns, width]))
    means: np.ndarray = sums / cells
    return means.astype(np.float32).ravel()
