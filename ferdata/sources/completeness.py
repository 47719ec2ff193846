"""The comparison of a scan with what its release is known to hold.

In: a scan. Out: sentences on what is missing, and whether it is complete. Costs one pass over two columns.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import pyarrow as pa

from ferdata.sources.layout import Release
from ferdata.sources.scan import Scan

__all__ = ["compare_totals", "count_items"]

SplitCounts = Mapping[tuple[str, str], int]
"""(split, class name) -> number of rows or images."""


def compare_totals(releases: Sequence[Release], counts: SplitCounts) -> tuple[list[str], bool | None]:
    """Compare counts with the known totals of a layout.

    Args:
        releases: The releases with this layout, the full one first.
        counts: Usable rows of every class, those a rule of the user left out included.

    Returns:
        Sentences for the user, and True if a known release matches exactly, False if it differs, None if none is known.
    """
    for release in releases:
        if not _differences(release, counts):
            return [f"Complete: every count equals {release.title}.", *_remark(release)], not release.is_reduced
    expected = next((release for release in releases if release.is_only), None)
    if expected is None:
        return [], None
    differences = _differences(expected, counts)
    equal = [f"{split}: complete, equals {expected.title}." for split in expected.splits if split not in differences]
    return [*equal, *(f"{split}: {text}." for split, text in differences.items()), *_remark(expected)], False


def count_items(scan: Scan) -> Counter[tuple[str, str]]:
    """Return the number of accepted items by split and class name."""
    columns = [scan.items.table.column("split").cast(pa.string()), scan.items.table.column("label")]
    table = pa.table(columns, names=["split", "label"])
    grouped = table.group_by(table.column_names, use_threads=False).aggregate([([], "count_all")])
    return Counter({(row["split"], scan.classes[row["label"]]): row["count_all"] for row in grouped.to_pylist()})


def _differences(release: Release, counts: SplitCounts) -> dict[str, str]:
    found: dict[str, str] = {}
    for split, known in release.splits.items():
        here = {name: number for (of_split, name), number in counts.items() if of_split == split}
        by_known: Mapping[str, int] = {"": known} if isinstance(known, int) else known
        total, known_total = sum(here.values()), sum(by_known.values())
        names = () if isinstance(known, int) else {**known, **here}
        by_class = {name: here.get(name, 0) - by_known.get(name, 0) for name in names}
        if not total:
            found[split] = f"missing, {known_total:,} in {release.title}"
        elif total != known_total or any(by_class.values()):
            shown = ", ".join(f"{name} {by:+,}" for name, by in by_class.items() if by)
            found[split] = f"{total:,} found, {known_total:,} in {release.title} ({total - known_total:+,})"
            found[split] += shown and f": {shown}"
    for split in sorted({of_split for of_split, _ in counts} - set(release.splits)):
        found[split] = f"not a split of {release.title}"
    return found


def _remark(release: Release) -> list[str]:
    return [f"Note: {release.remark}."] if release.remark else []
