"""Write a whole synthetic source tree, in a layout and with the class counts of a real release.

In: a source, a folder and a count. Out: the tree and a :class:`SyntheticSummary`. Costs about 3 ms of a core an image.
"""

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import IO

from ferdata.errors import OptionError
from ferdata.lock import check_vacant, hold_lock
from ferdata.parallel import Progress, check_workers, usable_cores
from ferdata.sources.affectnet.values import CROP_SIDE
from ferdata.store import Store
from ferdata.synth.face.face import LARGEST, SMALLEST
from ferdata.synth.trees.counts import SplitPlan, plan_splits, portrait_seed
from ferdata.synth.trees.draw import Batch, draw_batches
from ferdata.synth.trees.files import Beside, PlannedImage
from ferdata.synth.trees.recipe import Recipe
from ferdata.synth.trees.recipes import RECIPES

__all__ = ["SyntheticSummary", "write_synthetic"]

_BATCH_IMAGES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticSummary:
    """What was written.

    Attributes:
        source: ``affectnet``, ``fer2013`` ...
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
        source: Whose layout: ``affectnet``, ``fer2013`` ...
        root: Folder or fsspec URL; new or empty.
        count: Labelled images in all splits together; of whole clips, where the layout has clips, one at least.
        size: Side of the face in pixels; as in the data set where None, or 224. Photographs are larger.
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
    if plan.is_fixed and size != plan.layout.side:
        raise OptionError(f"size: {size} found, expected {plan.layout.side}: {plan.layout} has images of no other")
    clips = max(1, count // plan.frames) if count > 0 else count
    splits = plan_splits(plan.totals(), clips, seed=seed, gaps=plan.gaps, first_number=plan.first_number)
    store = Store(root)
    check_vacant(store)

    batches = list(_batches(name, plan, splits, size, seed))
    num_bytes = done = 0
    with ExitStack() as closing:
        closing.enter_context(hold_lock(store))
        check_vacant(store)  # a tree that stands there already is never mixed with a new one
        for folder in plan.folders:
            store.make_dir(folder)
        lists = _Lists(store, plan.headers, closing)
        for batch, drawn in zip(batches, draw_batches(store, plan.draw, batches, num_workers=num_workers), strict=True):
            num_bytes += drawn.image_bytes
            for path, row in drawn.rows:
                lists.write(path, row)
            done += plan.frames * sum(1 + len(image.beside) for image in batch.images)
            if progress is not None:
                progress(min(done, count), count)
    return SyntheticSummary(
        source=source,
        layout=name,
        root=root,
        images=done,
        bytes=num_bytes,
        seconds=time.perf_counter() - started,
        counts={split.name: _counts(plan, split) for split in splits},
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
    people = _people(plan, sum(len(split.numbers) for split in splits))
    of_class: Counter[int] = Counter()
    for split in splits:
        spoiled = 3 * len(split.numbers) // 4 if plan.has_bad_row and split is splits[0] else -1
        images: list[PlannedImage] = []
        for place, (number, label) in enumerate(zip(split.numbers.tolist(), split.labels.tolist(), strict=True)):
            image = PlannedImage(split=split.name, number=number, label=label, size=size, spoiled=place == spoiled)
            if people:
                take, who = divmod(of_class[label], len(people))
                image = replace(image, person=people[who], take=take)
            of_class[label] += 1
            images.append(image)
        if plan.faces_every:
            images = _together(images, plan.faces_every, Batch(tree=name, classes=plan.classes, images=(), seed=seed))
        for start in range(0, len(images), _BATCH_IMAGES):
            batch = tuple(images[start : start + _BATCH_IMAGES])
            yield Batch(tree=name, classes=plan.classes, images=batch, seed=seed)


def _together(images: Sequence[PlannedImage], every: int, batch: Batch) -> list[PlannedImage]:
    """Return images of which every so many-th shows the face of the next one too."""
    found: list[PlannedImage] = []
    for image in images:
        if found and not found[-1].beside and len(found) % every == 0:
            seed = portrait_seed(batch.tree, image.split, image.number, batch.seed)
            found[-1] = replace(found[-1], beside=(Beside(image.label, batch.classes[image.label], seed),))
        else:
            found.append(image)
    return found


def _people(plan: Recipe, count: int) -> Sequence[int]:
    """Return who is in a tree: as many of the release's people as leave each of them as many images, but two."""
    whole = sum(map(sum, plan.totals().values()))
    if plan.people and count > whole:
        raise OptionError(
            f"count: {plan.frames * count:,} found, expected at most {plan.frames * whole:,}: {plan.layout} names its "
            f"images by {len(plan.people)} people, of whom there are no more"
        )
    return plan.people[: max(2, math.ceil(len(plan.people) * count / whole))]


def _counts(plan: Recipe, split: SplitPlan) -> dict[str, int]:
    """Return the images of every class in a split."""
    clips = {name: int((split.labels == label).sum()) for label, name in enumerate(plan.classes)}
    counts = {name: (plan.frames - plan.resting) * number for name, number in clips.items()}
    return counts | {"Neutral": counts["Neutral"] + plan.resting * sum(clips.values())} if plan.resting else counts


class _Lists:
    """Lists that rows are added to; each appears under its name only when all is written."""

    def __init__(self, store: Store, headers: Mapping[str, str], closing: ExitStack) -> None:
        self._store, self._headers, self._closing = store, headers, closing
        self._files: dict[str, IO[bytes]] = {}

    def write(self, path: str, row: str) -> None:
        """Add a row to the list at ``path``, which begins with its header if it has one."""
        if path not in self._files:
            folder = path.rpartition("/")[0]
            self._store.make_dir(folder)
            self._files[path] = self._closing.enter_context(self._store.write_atomic(path))
            if header := self._headers.get(path) or self._headers.get(folder):
                self.write(path, header)
        self._files[path].write(f"{row}\n".encode())
