"""Known totals of every release, and the comparison of a scan with them.

In: a filled :class:`ScanBuilder`. Out: the finished :class:`Scan`, with notes on counts and completeness. Costs one pass over two columns.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from ferdata.labels import AFFECTNET_8, AFFECTNET_ALL, RAFDB_BASIC
from ferdata.sources.detection import Detection
from ferdata.sources.scan import Scan, ScanBuilder

__all__ = ["AFFECTNET_TRAIN", "KNOWN_RELEASES", "RAFDB_TRAIN", "Release", "compare_totals", "count_items", "finish_scan"]

SplitCounts = Mapping[tuple[str, str], int]
"""(split, class name) -> number of rows or images."""

AFFECTNET_TRAIN: Mapping[str, int] = dict(
    zip(AFFECTNET_ALL, (74874, 134415, 25459, 14090, 6378, 3803, 24882, 3750, 33088, 11645, 82415), strict=True)
)
"""Usable rows of AffectNet's train split by class; the 2021 release holds the first eight."""

RAFDB_TRAIN: Mapping[str, int] = dict(zip(RAFDB_BASIC, (1290, 281, 717, 4772, 1982, 705, 2524), strict=True))
_RAFDB_TEST = dict(zip(RAFDB_BASIC, (329, 74, 160, 1185, 478, 162, 680), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What one release is known to hold.

    Attributes:
        title: How to name it to the user.
        splits: Split -> images by class, or one number where the classes are not known.
        is_only: No other release has this layout, so any difference is worth telling.
        is_reduced: A cut-down copy that circulates, never complete.
        remark: What the user should know of it.
    """

    title: str
    splits: Mapping[str, Mapping[str, int] | int]
    is_only: bool = True
    is_reduced: bool = False
    remark: str = ""


_AN_NPY = Release(
    title="the 8-label AffectNet release of 2021",
    splits={
        "train": {name: AFFECTNET_TRAIN[name] for name in AFFECTNET_8},
        "val": {name: 499 if name == "Contempt" else 500 for name in AFFECTNET_8},
    },
)
_AN_CSV = Release(
    title="the manually annotated part of the full AffectNet release of 2017",
    splits={"train": AFFECTNET_TRAIN, "val": dict.fromkeys(AFFECTNET_ALL, 500)},
)
_RAF_BASIC = Release(title="RAF-DB basic", splits={"train": RAFDB_TRAIN, "test": _RAFDB_TEST})
_RAF_REDUCED = Release(
    title="a reduced copy of RAF-DB basic",
    splits={"train": 12175, "test": 3031},
    is_only=False,
    is_reduced=True,
    remark="a reduced copy of RAF-DB basic: the real one has 12,271 train and 3,068 test images",
)
_TENTH = "a re-release of about a tenth of AffectNet: the real set has 287,651 train images"

KNOWN_RELEASES: Mapping[str, tuple[Release, ...]] = {
    "AN-npy": (_AN_NPY,),
    "AN-csv": (_AN_CSV,),
    "AN-csv automatic": (Release(title="the automatically annotated part of AffectNet", splits={"train": 539607}),),
    "AN-plus": (Release(title="the human-annotated part of AffectNet+", splits={"train": 414799, "val": 5500}),),
    "AN-plus automatic": (Release(title="AffectNet+ without human labels", splits={"train": 539607}),),
    "AN-kaggle-A": (Release(title="the Kaggle set affectnet-training-data", splits={"train": 29042}, remark=_TENTH),),
    "AN-parquet": (Release(title="Piro17/affectnethq", splits={"train": 27823}, is_only=False, remark=_TENTH),),
    "AN-folders": (replace(_AN_NPY, is_only=False),),
    "RAF-basic": (_RAF_BASIC, _RAF_REDUCED),
    "RAF-kaggle": (_RAF_BASIC, _RAF_REDUCED),
    "RAF-compound": (Release(title="RAF-DB compound", splits={"train": 3162, "test": 792}),),
    "RAF-folders": (replace(_RAF_BASIC, is_only=False), _RAF_REDUCED),
    "RAF-parquet": (
        Release(
            title="deanngkl/raf-db-7emotions",
            splits={"train": 20471},
            is_only=False,
            remark="deanngkl/raf-db-7emotions mixes in other data, so it is not RAF-DB proper",
        ),
    ),
}
"""Layout name (AffectNet's automatic parts under names of their own) -> releases of that layout, the full one first."""


def compare_totals(release_key: str, counts: SplitCounts) -> tuple[list[str], bool | None]:
    """Compare counts with the known totals of a layout.

    Args:
        release_key: A key of ``KNOWN_RELEASES``, else there is nothing to compare with.
        counts: Usable rows of every class, those a rule of the user left out included.

    Returns:
        Sentences for the user, and True if a known release matches exactly, False if the known one differs, None if there
        is none to compare with.
    """
    releases = KNOWN_RELEASES.get(release_key, ())
    for release in releases:
        if not _differences(release, counts):
            return [f"Complete: every count equals {release.title}.", *_remark(release)], not release.is_reduced
    expected = next((release for release in releases if release.is_only), None)
    if expected is None:
        return [], None
    differences = _differences(expected, counts)
    equal = [f"{split}: complete, equals {expected.title}." for split in expected.splits if split not in differences]
    return [*equal, *(f"{split}: {text}." for split, text in differences.items()), *_remark(expected)], False


def finish_scan(
    builder: ScanBuilder,
    detection: Detection,
    classes: Sequence[str],
    *,
    left_out: SplitCounts | None = None,
    apart: Mapping[str, SplitCounts] | None = None,
) -> Scan:
    """Build the scan and add what the user should know: where it is, its counts per split and class, and whether it is complete.

    Args:
        builder: Holds every item, reject and count.
        detection: The layout that was read; its notes come first.
        classes: Class names; the items' labels are indices into them.
        left_out: Usable rows that a rule skipped, by split and class name; they count when the totals are compared.
        apart: Release key -> accepted and skipped rows of a part with totals of its own (``AN-csv automatic``); these are
            taken out of the counts that are compared with the layout's own totals.
    """
    scan = builder.build(source=detection.source, layout=detection.layout, root=detection.root, classes=classes)
    accepted = count_items(scan)
    compared = Counter(accepted)
    compared.update(left_out or {})
    for part in (apart or {}).values():
        compared.subtract(part)
    notes, complete = compare_totals(detection.layout, +compared)
    for release_key, part in (apart or {}).items():
        part_notes, part_complete = compare_totals(release_key, part)
        notes += part_notes
        complete = None if complete is None else complete and part_complete
    counted = [
        f"{split}: {sum(accepted[split, name] for name in classes):,} items: "
        + ", ".join(f"{name} {accepted[split, name]:,}" for name in classes)
        + "."
        for split in scan.items.splits()
    ]
    return replace(scan, notes=[*detection.notes, *counted, *notes, *builder.notes], complete=complete)


def count_items(scan: Scan) -> Counter[tuple[str, str]]:
    """Return the number of accepted items by split and class name."""
    columns = [scan.items.table.column("split").cast(pa.string()), scan.items.table.column("label")]
    grouped = pa.table(columns, names=["split", "label"]).group_by(["split", "label"]).aggregate([([], "count_all")])
    return Counter({(row["split"], scan.classes[row["label"]]): row["count_all"] for row in grouped.to_pylist()})


def _differences(release: Release, counts: SplitCounts) -> dict[str, str]:
    found: dict[str, str] = {}
    for split, known in release.splits.items():
        here = {name: number for (of_split, name), number in counts.items() if of_split == split}
        total, known_total = sum(here.values()), known if isinstance(known, int) else sum(known.values())
        by_class = {} if isinstance(known, int) else {name: here.get(name, 0) - known.get(name, 0) for name in {**known, **here}}
        if not total:
            found[split] = f"missing, {known_total:,} in {release.title}"
        elif total != known_total or any(by_class.values()):
            shown = ", ".join(f"{name} {by:+,}" for name, by in by_class.items() if by)
            found[split] = f"{total:,} found, {known_total:,} in {release.title} ({total - known_total:+,})" + (shown and f": {shown}")
    for split in sorted({of_split for of_split, _ in counts} - set(release.splits)):
        found[split] = f"not a split of {release.title}"
    return found


def _remark(release: Release) -> list[str]:
    return [f"Note: {release.remark}."] if release.remark else []
