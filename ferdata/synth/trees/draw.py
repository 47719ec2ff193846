"""Draw batches of images in processes, and write their files.

In: batches in the order of the tree. Out: what each added, in the same order. Only a few are under way at a time.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ferdata.errors import StoreError
from ferdata.labels import AFFECTNET_ALL
from ferdata.parallel import map_in_processes
from ferdata.store import Store
from ferdata.synth.face.people import Portrait, sample_person, sample_portrait
from ferdata.synth.face.textures import load_bank
from ferdata.synth.trees.counts import portrait_seed
from ferdata.synth.trees.files import Drawing, File, PlannedImage, Row

__all__ = ["Batch", "DrawnBatch", "draw_batches"]

_LIKE = {"Unknown": "Uncertain", "NF": "No-Face", "Other": "None"}
"""Classes that AffectNet has under another name."""

DrawImage = Callable[[Portrait, PlannedImage], Drawing]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Images of one split that one process draws in one go.

    Attributes:
        tree: Name of the layout; part of every portrait's seed.
        classes: Class names that the images' labels are positions in.
        images: In the order of the tree.
        seed: Seed of the whole tree.
    """

    tree: str
    classes: tuple[str, ...]
    images: tuple[PlannedImage, ...]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnBatch:
    """What one batch added: bytes of its image files, rows for lists, and files the caller still has to write."""

    image_bytes: int
    rows: tuple[Row, ...]
    unwritten: tuple[File, ...]


def draw_batches(store: Store, draw: DrawImage, batches: Sequence[Batch], *, num_workers: int) -> Iterator[DrawnBatch]:
    """Yield what each batch added, in order, once its files are written.

    Local files are written where they are drawn; those behind a URL here, since connections do not survive a fork.

    Raises:
        StoreError: If a file cannot be written.
        WorkerError: If a process dies.
    """
    work = partial(_draw_batch, store.root if store.is_local else None, draw)
    num_workers = min(num_workers, len(batches))
    load_bank()  # once: forked processes share its memory
    results: Iterator[DrawnBatch] = map(work, batches)
    if num_workers > 1:
        results = map_in_processes(work, batches, num_workers=num_workers, where=str(store))
    try:
        for drawn in results:
            for path, content in drawn.unwritten:
                with store.write_atomic(path) as file:
                    file.write(content)
            yield drawn
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(
            f"{error.filename or store}: {error.strerror}, expected room to write; free some or choose another folder"
        ) from error


def _draw_batch(folder: str | None, draw: DrawImage, batch: Batch) -> DrawnBatch:
    num_bytes = 0
    rows: list[Row] = []
    files: list[File] = []
    for image in batch.images:
        name = batch.classes[image.label]
        official = AFFECTNET_ALL.index(_LIKE.get(name, name))
        seed = portrait_seed(batch.tree, image.split, image.number, batch.seed)
        portrait = sample_portrait(official, seed)
        if image.person is not None:
            who = portrait_seed(batch.tree, "person", image.person, batch.seed)
            portrait = replace(portrait, person=sample_person(who, feminine=image.person % 2 == 0))
        drawing = draw(portrait, image)
        num_bytes += sum(len(content) for _, content in drawing.images)
        rows += drawing.rows
        added = (*drawing.images, *drawing.notes)
        if folder is None:
            files += added
        else:
            for path, content in added:
                _write(f"{folder}/{path}", content)
    return DrawnBatch(image_bytes=num_bytes, rows=tuple(rows), unwritten=tuple(files))


def _write(path: str, content: bytes) -> None:
    # The bare system calls: Python's file objects take three times as long for files this small.
    try:
        file = os.open(path, _CREATE, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        file = os.open(path, _CREATE, 0o666)
    try:
        written = os.write(file, content)
        while written < len(content):
            written += os.write(file, content[written:])
    finally:
        os.close(file)


_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
