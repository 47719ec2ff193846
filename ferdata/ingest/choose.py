"""The items a run writes, as its options ask: holdout, limit, leaks; and the check that the ``jpeg`` codec can take them.

In: a scan and options. Out: a :class:`Selection` and what was skipped by which rule. Reads files only to find leaks or check JPEGs.
"""

from collections.abc import Callable

import numpy as np
import pyarrow.compute as pc

from ferdata.errors import IngestError, SourceError
from ferdata.ingest.jpegs import count_refused
from ferdata.ingest.leaks import find_train_copies
from ferdata.ingest.options import IngestOptions
from ferdata.ingest.select import LEFT_OUT, Selection, choose_limit, cut_holdout, holdout_split, leave_out
from ferdata.sources.scan import Scan
from ferdata.transform import Transform

__all__ = ["check_jpegs", "check_keys", "choose_items"]


def choose_items(scan: Scan, options: IngestOptions, *, on_tick: Callable[[int, int], None]) -> tuple[Selection, dict[str, int]]:
    """Return the split of every item, and rule -> items left out by it (``limit``, ``leak``).

    The holdout comes first, so that a limit keeps its share of it; leaks come last, so that no file is read that is not used.

    Args:
        scan: The scan.
        options: What to do.
        on_tick: Called with (files read, files to read) while leaks are looked for.
    """
    items = scan.items
    encoded = pc.dictionary_encode(items.table.column("split").cast("string")).combine_chunks()
    has_items = len(items) > 0
    splits = tuple(encoded.dictionary.to_pylist()) if has_items else ()
    codes = encoded.indices.to_numpy().astype(np.int8) if has_items else np.zeros(0, np.int8)
    selection = Selection(splits=splits, codes=codes, labels=items.labels())
    skipped = {}
    if options.holdout is not None:
        selection = cut_holdout(selection, options.holdout, options.seed, name=holdout_split(scan.source, splits))
    if options.limit is not None and options.limit < len(items):
        selection = choose_limit(selection, options.limit, options.seed)
        skipped["limit"] = int((selection.codes == LEFT_OUT).sum())
    if options.drop_leaks:
        copies = find_train_copies(items, selection, root=scan.root, num_workers=options.resolved_workers(), on_tick=on_tick)
        if len(copies):
            selection = leave_out(selection, copies)
            skipped["leak"] = len(copies)
    return selection, skipped


def check_keys(scan: Scan) -> None:
    """Check that no two items share a key.

    Raises:
        SourceError: If two do.
    """
    keys = scan.items.table.column("key")
    if pc.count_distinct(keys).as_py() != len(keys):
        raise SourceError(f"{scan.root}: two items with one key found, expected each key once; this is a bug of ferdata, please report it")


def check_jpegs(scan: Scan, transform: Transform, positions: np.ndarray, *, num_workers: int, on_tick: Callable[[int, int], None]) -> None:
    """Look at every item before a run that keeps the files' own bytes.

    Raises:
        IngestError: If the transform would change one of them, or one is no JPEG; with every reason and its count.
    """
    items = scan.items.take(np.sort(positions))
    if refused := count_refused(scan.root, items, transform, num_workers=num_workers, progress=on_tick):
        size = transform.options.size
        listed = ", ".join(f"{count:,} {reason}" for reason, count in refused.most_common())
        raise IngestError(
            f"{scan.root}: of {len(items):,} images looked at, {listed}, expected JPEGs of {size} x {size} pixels, "
            "whose own bytes the jpeg codec keeps; choose --codec zstd, or the --size that the images have"
        )
