"""``info``: say what a data set holds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import ferdata
from ferdata.console.options import Folder, Json, write_json
from ferdata.console.screen import class_table, pairs, show_note, size

if TYPE_CHECKING:
    from ferdata.dataset.info import DatasetDescription

__all__ = ["info", "show_description"]


def info(folder: Folder, json_file: Json = None) -> None:
    """Read, write and print."""
    description = ferdata.describe(folder)
    write_json(json_file, description.to_json())
    show_description(description)


def show_description(description: "DatasetDescription") -> None:
    """Print what ``info`` knows of a data set."""
    codec = description.codec + (f", level {description.level}" if description.level is not None else "")
    pairs(
        f"{description.root}",
        {
            "source": f"{description.source} ({description.source_layout})",
            "tensors": f"{description.dtype} {description.shape}, "
            f"mean {_rounded(description.mean)}, std {_rounded(description.std)}",
            "codec": f"{codec}: {description.bytes_per_image:,.0f} bytes an image{_beside_pixels(description.ratio)}",
            "size": f"{size(description.num_bytes)} in {sum(description.shards.values())} shards",
            "fingerprint": description.fingerprint,
            "transform": ", ".join(
                f"{name} {value}" for name, value in description.transform.get("settings", {}).items()
            ),
            "settings": ", ".join(
                f"{name} {value}" for name, value in description.settings.items() if value not in (None, False)
            ),
        },
    )
    class_table(
        {split: dict(zip(description.classes, counts, strict=True)) for split, counts in description.counts.items()}
    )
    for note in description.notes:
        show_note(note)


def _beside_pixels(ratio: float) -> str:
    if not ratio:
        return ""
    return (
        f", {ratio:.2f} times smaller than bare pixels"
        if ratio >= 1
        else f", {1 / ratio:.2f} times as large as bare pixels"
    )


def _rounded(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.1f}" for value in values) + "]"
