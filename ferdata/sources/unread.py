"""What a layout does not read: images and other files, counted, so that none is left out without a word.

In: a detected layout, or paths. Out: notes with the number of images in each folder, and of other files by their
ending. Costs one listing of each folder that is not read.
"""

import os
from collections.abc import Iterable

from ferdata.errors import StoreError
from ferdata.sources.files.listing import (
    Tree,
    below,
    folders_above,
    is_image_at,
    iter_names,
    leads_up,
    natural_key,
    says_no_image,
    shorten,
)
from ferdata.sources.layout import Detection
from ferdata.store import Store

__all__ = ["DERIVED_FOLDERS", "LOOPS", "ignored_files", "ignored_images", "note_unread"]

DERIVED_FOLDERS = frozenset(("images_cropped", "fan_landmarks"))
"""Folders that users' own tools leave in a release; they have a note of their own."""

LOOPS = "Ignored links that lead back to a folder above them"

_MAX_FOLDERS = 2048
_MAX_REMOTE_FOLDERS = 64
_MAX_PATH_SHOWN = 200


def note_unread(tree: Tree, found: Detection) -> list[str]:
    """Return notes on images in folders that this layout does not read, and on odd files beside those that are read.

    Args:
        tree: Listings of the source.
        found: What was found, with paths relative to the tree.
    """
    read = {*found.splits.values(), *found.folders.values()}
    tables = (path for paths in found.tables.values() for path in paths)
    paths = {*read, *found.files.values(), *tables, *found.same}
    above = {ancestor for path in paths for ancestor in folders_above(path, found.root)}
    known = {*found.layout.parts, *DERIVED_FOLDERS}
    folders: list[str] = []
    beside: list[str] = []
    odd: list[str] = []
    for place in sorted(above - read):
        here = tree.folder(place)
        # A layout without folders of its own for the splits has its parts, and perhaps its images, in the root.
        passed_over = DERIVED_FOLDERS if read else known
        inner = (below(place, name) for name in here.dirs if name.lower() not in passed_over)
        folders += [path for path in inner if path not in above | paths]
        if (read or not found.layout.parts) and (number := len(here.images)):
            beside.append(f"{place or '.'} itself ({_images(number)})")
        odd += here.others
    for place in sorted(read) if found.layout.parts else ():
        inner = (below(place, name) for name in tree.folder(place).dirs if name.lower() not in known)
        folders += [path for path in inner if path not in above | paths]
        odd += tree.folder(place).others
    return [
        *ignored_images(tree.store, folders, found.layout.name, also=beside),
        *ignored_files(tree.store, (path for path in odd if not says_no_image(path))),
    ]


def ignored_images(store: Store, folders: Iterable[str], layout: str, *, also: Iterable[str] = ()) -> list[str]:
    """Return notes on folders that hold images at any depth, that cannot be listed, or that are links to one above.

    Args:
        store: Where the source lives.
        folders: Folders that are not read, relative to the store's root.
        layout: Its name.
        also: Other places and what they hold.
    """
    shown = list(also)
    closed: list[str] = []
    budget = _MAX_FOLDERS if store.is_local else _MAX_REMOTE_FOLDERS
    folders = sorted(folders, key=natural_key)
    loops = [folder for folder in folders if leads_up(store, folder)]
    for folder in (folder for folder in folders if folder not in loops):
        number, listed, locked = _count(store, folder, budget)
        budget -= listed
        if number:
            shown.append(f"{folder}/ ({'at least ' if budget <= 0 else ''}{_images(number)})")
        closed += locked
    notes = [f"Ignored images that {layout} does not read: {shorten(shown)}."] if shown else []
    notes += [f"Ignored folders that cannot be listed: {shorten(closed)}."] if closed else []
    return notes + ([f"{LOOPS}: {shorten(loops)}."] if loops else [])


def ignored_files(store: Store, paths: Iterable[str]) -> list[str]:
    """Return one note on files that lie among images and are none, by their endings, or no note.

    Args:
        store: Where the source lives.
        paths: The files, relative to the store's root.
    """
    kinds: dict[str, list[str]] = {}
    for path in paths:
        kinds.setdefault(_kind(store, path), []).append(path)
    shown = [f"{len(found):,} {kind} ({found[0]}{', ...' if len(found) > 1 else ''})" for kind, found in kinds.items()]
    return [f"Ignored files that hold no image which can be read: {shorten(shown)}."] if shown else []


def _kind(store: Store, path: str) -> str:
    full = store.path(path)
    if store.is_local and os.path.islink(full) and not os.path.exists(full):
        return "link that cannot be followed"
    return os.path.splitext(path)[1].lower() or "without suffix"


def _count(store: Store, folder: str, budget: int) -> tuple[int, int, list[str]]:
    """Return the images at or below a folder, the folders listed (``budget`` at most), and those that cannot be.

    Links in the folder are not followed.
    """
    number = listed = 0
    locked: list[str] = []
    waiting = [folder]
    while waiting and listed < budget:
        path = waiting.pop()
        listed += 1
        try:
            for name, is_dir in iter_names(store, path):
                if not is_dir:
                    number += is_image_at(store, path, name)
                elif not (store.is_local and os.path.islink(store.path(below(path, name)))):
                    waiting.append(below(path, name))
        except StoreError:
            locked.append(f"{path[:_MAX_PATH_SHOWN]}{'...' if len(path) > _MAX_PATH_SHOWN else '/'}")
    return number, listed, locked


def _images(number: int) -> str:
    return f"{number:,} image{'s' if number != 1 else ''}"
