"""Write a whole synthetic source tree, in a layout and with the class counts of a real release.

In: a source, a folder and a count. Out: the tree and a :class:`SyntheticSummary`. Costs about 3 ms of a core an image.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import IO

from ferdata.errors import OptionError
from ferdata.lock import check_vacant, hold_lock
from ferdata.parallel import Progress, check_workers, usable_cores
from ferdata.sources.affectnet.values import CROP_SIDE
from ferdata.sources.affectnet_csv.detector import AN_CSV
from ferdata.sources.affectnet_npy.detector import AN_NPY
from ferdata.sources.layout import Layout
from ferdata.sources.rafdb.detector import RAF_BASIC
from ferdata.store import Store
from ferdata.synth.face.face import LARGEST, SMALLEST
from ferdata.synth.face.people import Portrait
from ferdata.synth.trees.affectnet import CSV_HEADER, PHOTO_FOLDER, draw_an_csv, draw_an_npy
from ferdata.synth.trees.counts import SplitPlan, plan_splits
from ferdata.synth.trees.draw import Batch, draw_batches
from ferdata.synth.trees.files import Drawing, PlannedImage
from ferdata.synth.trees.rafdb import LABEL_LIST, draw_raf_aligned, draw_raf_original

__all__ = ["RECIPES", "SyntheticSummary", "write_synthetic"]

_BATCH_IMAGES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticSummary:
    """What was written.

    Attributes:
        source: ``affectnet`` or ``rafdb``.
        layout: Name of the layout, as in the layout specification.
        root: Where the tree is.
        images: Labelled images: usable rows of the tree. AN-csv has one more photograph, that of its bad row.
        bytes: Size of all image files together.
        seconds: Time it took.
        counts: Split -> class name -> images.
    """

    source: str
    layout: str
    root: str
    images: int
    bytes: int
    seconds: float
    counts: Mapping[str, Mapping[str, int]]

    @property
    def images_per_second(self) -> float:
        """Images drawn and written a second."""
        return self.images / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to write one layout.

    Attributes:
        layout: What the tree is read as; its classes and the counts of its first release are those of the tree.
        gaps: True if image numbers have gaps.
        first_number: Number of a split's first image.
        draw: Makes the files and rows of one image.
        folders: Folders that are there even where they stay empty.
        lists: Split -> path of the list its rows go to, and its header; none where every label has a file of its own.
        has_bad_row: The release has one unusable row in its first split.
    """

    layout: Layout
    draw: Callable[[Portrait, PlannedImage], Drawing]
    folders: tuple[str, ...]
    gaps: bool = False
    first_number: int = 0
    lists: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    has_bad_row: bool = False

    def totals(self) -> dict[str, list[int]]:
        """Return images per split and class of the release."""
        splits = self.layout.releases[0].splits
        return {
            split: [counts[name] for name in self.layout.classes]
            for split, counts in splits.items()
            if not isinstance(counts, int)
        }


_RAF = Recipe(
    layout=RAF_BASIC,
    first_number=1,
    draw=draw_raf_aligned,
    folders=("Image/aligned",),
    lists={"train": (LABEL_LIST, ""), "test": (LABEL_LIST, "")},
)
_RAF_PARTS = ("Image/aligned", "Image/original", "Annotation/manual", "Annotation/auto", "Annotation/boundingbox")
RECIPES: Mapping[str, Recipe] = {
    AN_NPY.name: Recipe(
        layout=AN_NPY,
        gaps=True,
        draw=draw_an_npy,
        folders=("train_set/images", "train_set/annotations", "val_set/images", "val_set/annotations"),
    ),
    AN_CSV.name: Recipe(
        layout=AN_CSV,
        draw=draw_an_csv,
        folders=(PHOTO_FOLDER,),
        lists={"train": ("training.csv", CSV_HEADER), "val": ("validation.csv", "")},
        has_bad_row=True,
    ),
    RAF_BASIC.name: _RAF,
    "RAF-original": replace(_RAF, draw=draw_raf_original, folders=_RAF_PARTS),
}
"""Name of a layout (RAF-original is RAF-basic with photographs and annotations) -> how to write it.
The first of a source is its default."""


def write_synthetic(
    source: str,
    root: str,
    *,
    count: int,
    size: int | None = None,
    seed: int = 0,
    num_workers: int | None = None,
    layout: str | None = None,
    progress: Progress | None = None,
) -> SyntheticSummary:
    """Draw faces into a source tree that readers of the real data set read unchanged.

    The tree depends on ``source``, ``count``, ``size``, ``seed`` and ``layout`` alone. Label lists are written last.

    Args:
        source: ``affectnet`` or ``rafdb``.
        root: Folder or fsspec URL; new or empty.
        count: Labelled images in all splits together.
        size: Side of the face in pixels; 224 for AffectNet and 100 for RAF-DB where None. Photographs are larger.
        seed: Another seed gives other faces.
        num_workers: Processes; one per core where None.
        layout: A key of ``RECIPES``; the source's first where None.
        progress: Called with (images done, images) from time to time.

    Raises:
        OptionError: If an option is outside what is allowed, or the folder is not empty.
        IngestError: If another run is writing there.
        StoreError: If the tree cannot be written.
        WorkerError: If a process dies.
    """
    started = time.perf_counter()
    name = _layout_name(source, layout)
    plan = RECIPES[name]
    size = (plan.layout.side or CROP_SIDE) if size is None else size
    num_workers = usable_cores() if num_workers is None else num_workers
    _check(size=size, seed=seed, num_workers=num_workers)
    splits = plan_splits(plan.totals(), count, seed=seed, gaps=plan.gaps, first_number=plan.first_number)
    store = Store(root)
    check_vacant(store)

    batches = list(_batches(name, plan, splits, size, seed))
    num_bytes = done = 0
    with ExitStack() as closing:
        closing.enter_context(hold_lock(store))
        check_vacant(store)  # a tree that stands there already is never mixed with a new one
        for folder in plan.folders:
            store.make_dir(folder)
        lists = _open_lists(store, plan, splits, closing)
        for batch, drawn in zip(batches, draw_batches(store, plan.draw, batches, num_workers=num_workers), strict=True):
            num_bytes += drawn.image_bytes
            if drawn.rows:
                lists[batch.images[0].split].write("".join(f"{row}\n" for row in drawn.rows).encode())
            done += len(batch.images)
            if progress is not None:
                progress(done, count)
    classes = plan.layout.classes
    counts = {
        split.name: {of_class: int((split.labels == label).sum()) for label, of_class in enumerate(classes)}
        for split in splits
    }
    return SyntheticSummary(
        source=source,
        layout=name,
        root=root,
        images=done,
        bytes=num_bytes,
        seconds=time.perf_counter() - started,
        counts=counts,
    )


def _layout_name(source: str, layout: str | None) -> str:
    names = [name for name, plan in RECIPES.items() if plan.layout.source == source]
    if not names:
        sources = sorted({plan.layout.source for plan in RECIPES.values()})
        raise OptionError(f"source: {source!r} found, expected one of {', '.join(sources)}")
    if layout is not None and layout not in names:
        raise OptionError(f"layout: {layout!r} found, expected one of {', '.join(names)} for {source}")
    return layout or names[0]


def _check(*, size: int, seed: int, num_workers: int) -> None:
    if not SMALLEST <= size <= LARGEST:
        raise OptionError(f"size: {size} found, expected {SMALLEST} to {LARGEST} pixels")
    if seed < 0:
        raise OptionError(f"seed: {seed} found, expected 0 or more")
    check_workers(num_workers)


def _batches(name: str, plan: Recipe, splits: list[SplitPlan], size: int, seed: int) -> Iterator[Batch]:
    for split in splits:
        spoiled = 3 * len(split.numbers) // 4 if plan.has_bad_row and split is splits[0] else -1
        pairs = enumerate(zip(split.numbers.tolist(), split.labels.tolist(), strict=True))
        images = tuple(
            PlannedImage(split=split.name, number=number, label=label, size=size, spoiled=place == spoiled)
            for place, (number, label) in pairs
        )
        for start in range(0, len(images), _BATCH_IMAGES):
            batch = images[start : start + _BATCH_IMAGES]
            yield Batch(tree=name, classes=plan.layout.classes, images=batch, seed=seed)


def _open_lists(store: Store, plan: Recipe, splits: list[SplitPlan], stack: ExitStack) -> dict[str, IO[bytes]]:
    """Open the list of every split that holds images; each appears under its name only when all is written."""
    by_path: dict[str, IO[bytes]] = {}
    opened: dict[str, IO[bytes]] = {}
    for split in splits:
        if split.name in plan.lists and len(split.numbers):
            path, header = plan.lists[split.name]
            if path not in by_path:
                store.make_dir(path.rpartition("/")[0])
                by_path[path] = stack.enter_context(store.write_atomic(path))
                by_path[path].write(f"{header}\n".encode() if header else b"")
            opened[split.name] = by_path[path]
    return opened
