"""The items a run writes, as its options ask: limit, splits, leaks.

In: a scan and options. Out: a :class:`Selection` and what was skipped by which rule. Reads files only to find leaks.
"""

import json
import re
from collections.abc import Callable, Hashable

import numpy as np
import pyarrow.compute as pc

from ferdata.errors import OptionError
from ferdata.ingest.options import IngestOptions
from ferdata.ingest.select.leaks import find_train_copies
from ferdata.ingest.select.selection import LEFT_OUT, Selection, choose_limit, cut_split, leave_out
from ferdata.sources.scan import Scan

__all__ = ["choose_items"]


def choose_items(
    scan: Scan, options: IngestOptions, *, on_tick: Callable[[int, int], None]
) -> tuple[Selection, dict[str, int], list[str]]:
    """Return the split of every item, rule -> items left out by it (``limit``, ``leak``), and notes on the splits cut.

    The limit comes first, so that a split has as many images of each class as were asked for; leaks come last, so that
    no file is read that is not used.

    Args:
        scan: The scan.
        options: What to do.
        on_tick: Called with (files read, files to read) while leaks are looked for.

    Raises:
        OptionError: If a split that was asked for is there already, or cannot be cut.
    """
    items = scan.items
    encoded = pc.dictionary_encode(items.table.column("split").cast("string")).combine_chunks()
    has_items = len(items) > 0
    splits = tuple(encoded.dictionary.to_pylist()) if has_items else ()
    codes = encoded.indices.to_numpy().astype(np.int8) if has_items else np.zeros(0, np.int8)
    selection = Selection(splits=splits, codes=codes, labels=items.labels())
    skipped = {}
    if options.limit is not None and options.limit < len(items):
        selection = choose_limit(selection, options.limit, options.seed)
        skipped["limit"] = int((selection.codes == LEFT_OUT).sum())
    selection, notes = _cut_splits(scan, options, selection)
    if options.drop_leaks:
        copies = find_train_copies(
            items, selection, root=scan.root, num_workers=options.resolved_workers(), on_tick=on_tick
        )
        if len(copies):
            selection = leave_out(selection, copies)
            skipped["leak"] = len(copies)
    return selection, skipped, notes


def _cut_splits(scan: Scan, options: IngestOptions, selection: Selection) -> tuple[Selection, list[str]]:
    wanted = {name: amount for name, amount in (("test", options.test), ("val", options.val)) if amount is not None}
    present = selection.ordered_splits()
    for name in wanted:
        if name in present:
            free = "".join(f", or cut {other}= instead" for other in ("val", "test") if other not in present)
            raise OptionError(
                f"{name}: a {name} split found in {scan.root} already, expected none, since it is not broken up; "
                f"leave {name}= out{free}, "
                "or put the images of all splits into class folders of one folder, to split them anew"
            )
    if not wanted:
        return selection, []
    if "train" not in present:
        raise OptionError(
            f"{', '.join(wanted)}: {scan.root} holds {present}, expected a train split to cut from; leave it out"
        )
    train = selection.positions("train")
    groups = None if options.group_by is None else _find_groups(scan, options.group_by)
    notes = []
    for name, amount in wanted.items():
        counts = np.bincount(selection.labels[selection.positions("train")], minlength=len(scan.classes))
        if amount >= 1 and (
            short := [
                f"{found:,} of {label}"
                for label, found in zip(scan.classes, counts, strict=True)
                if 0 < found <= amount
            ]
        ):
            raise OptionError(
                f"{name}: {', '.join(short)} left in train, "
                f"expected more than the {amount:,.0f} of each class to cut off; "
                "use a smaller number, or a share such as 0.1"
            )
        selection = cut_split(selection, name, amount, options.seed, train_size=len(train), groups=groups)
        cut = selection.positions(name)
        if not len(cut):
            whole = "no group is small enough" if groups is not None else "every class keeps one in train"
            raise OptionError(
                f"{name}: {amount:g} of {len(train):,} train images gives none ({whole}), expected some; "
                "use a larger share"
            )
        if groups is not None:
            numbers = np.bincount(selection.labels[cut], minlength=len(scan.classes))[counts > 0]
            notes.append(
                f"{name}: {len(cut):,} of {len(train):,} train images, "
                f"{numbers.min():,} to {numbers.max():,} of each class, "
                f"in {len(np.unique(groups[cut])):,} of {len(np.unique(groups[train])):,} groups by {options.group_by}."
            )
    if groups is not None:
        for name in present:
            shared = np.intersect1d(
                groups[selection.positions(name)], groups[selection.codes != selection.splits.index(name)]
            )
            if name != "train" and len(shared):
                notes.append(
                    f"Warning: {len(shared):,} groups of {name}, which came with the source, are in other splits too."
                )
    return selection, notes


def _find_groups(scan: Scan, by: str) -> np.ndarray:
    """Return int64 ``[items]``, equal where items belong together.

    Args:
        scan: The scan.
        by: ``person``, ``sequence`` or the name of another field that the source gives with its images; or a regular
            expression with parentheses, which is searched in the path below the source folder; what the parentheses
            catch is the group.

    Raises:
        OptionError: If an item has no such field, or the expression is not found in its path.
    """
    paths = scan.items.table.column("path").to_pylist()
    found: list[Hashable | None]
    if "(" in by:
        pattern = re.compile(by)
        found = [match.groups() if (match := pattern.search(path)) else None for path in paths]
        what = f"a path in which {by!r} is found"
    elif by in ("person", "sequence") and (column := scan.items.table.column(by)).null_count < len(column):
        found = column.cast("string").to_pylist()
        what = f"a {by}"
    else:
        extras = [json.loads(text) if text else {} for text in scan.items.table.column("extra").to_pylist()]
        found = [None if (value := extra.get(by)) is None else json.dumps(value) for extra in extras]
        fields = sorted({name for extra in extras for name in extra})
        what = f"a field {by!r}; fields are {', '.join(fields) or 'none in this source'}"
    if missing := [path for path, group in zip(paths, found, strict=True) if group is None]:
        raise OptionError(
            f"group_by: {len(missing):,} of {len(paths):,} images do not have {what}, such as {missing[0]}; "
            "name a field that all have, or the part of every path that names its group, "
            "as in group_by='(person[0-9]+)'"
        )
    numbers: dict[Hashable | None, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in found], np.int64)
