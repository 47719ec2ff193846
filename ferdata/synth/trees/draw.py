"""Draw batches of images in processes, and write their files.

In: batches in the order of the tree. Out: what each added, in the same order. At most a few batches are under way at a time.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait

from ferdata.errors import StoreError, WorkerError
from ferdata.labels import AFFECTNET_ALL
from ferdata.parallel import submit_quietly
from ferdata.store import Store
from ferdata.synth.face.people import Portrait, sample_portrait
from ferdata.synth.face.textures import load_bank
from ferdata.synth.trees.counts import portrait_seed
from ferdata.synth.trees.files import Drawing, File, PlannedImage

__all__ = ["Batch", "DrawnBatch", "draw_batches"]

_AT_ONCE = 3
"""Batches under way per process."""

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
    """What one batch added: bytes of its image files, rows for the list, and files the caller still has to write."""

    image_bytes: int
    rows: tuple[str, ...]
    unwritten: tuple[File, ...]


def draw_batches(store: Store, draw: DrawImage, batches: Sequence[Batch], *, num_workers: int) -> Iterator[DrawnBatch]:
    """Yield what each batch added, in order, once its files are written.

    Local files are written where they are drawn; those behind a URL by this process, since connections do not survive a fork.

    Raises:
        StoreError: If a file cannot be written.
        WorkerError: If a process dies.
    """
    folder = store.root if store.is_local else None
    try:
        for drawn in _results(folder, draw, batches, num_workers):
            for path, content in drawn.unwritten:
                with store.write_atomic(path) as file:
                    file.write(content)
            yield drawn
    except BrokenProcessPool as error:
        raise WorkerError(f"{store}: a process that draws died, expected it to finish; use fewer workers") from error
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(
            f"{error.filename or store}: {error.strerror}, expected room to write; free some or choose another folder"
        ) from error


def _results(folder: str | None, draw: DrawImage, batches: Sequence[Batch], num_workers: int) -> Iterator[DrawnBatch]:
    # The bank is made once here; forked processes share its memory.
    load_bank()
    num_workers = min(num_workers, len(batches))
    if num_workers <= 1:
        yield from (_draw_batch(folder, draw, batch) for batch in batches)
        return
    # Forked processes need no guarded main module, and touch no lock of this one: they only draw and write files.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    underway: deque[Future[DrawnBatch]] = deque()
    with ProcessPoolExecutor(num_workers, mp_context=context, initializer=_settle_in) as executor:
        try:
            for batch in batches:
                underway.append(submit_quietly(executor, _draw_batch, folder, draw, batch))
                if len(underway) > _AT_ONCE * num_workers:
                    yield underway.popleft().result()
            while underway:
                yield underway.popleft().result()
        except BaseException:
            executor.shutdown(wait=True, cancel_futures=True)
            raise


def _settle_in() -> None:
    """Leave Ctrl-C to the parent, and end when it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _draw_batch(folder: str | None, draw: DrawImage, batch: Batch) -> DrawnBatch:
    num_bytes = 0
    rows: list[str] = []
    files: list[File] = []
    for image in batch.images:
        official = AFFECTNET_ALL.index(batch.classes[image.label])
        drawing = draw(sample_portrait(official, portrait_seed(batch.tree, image.split, image.number, batch.seed)), image)
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
