"""The page's section on the first day: every contender from a folder of JPEG files to the end of its second epoch.

In: the values of ``first-day.json``. Out: Markdown lines, and the sums that the picture shows as well.
"""

import math
from collections.abc import Mapping
from typing import Any

from ferdata_bench.figures.markdown import megabytes, rate, table

__all__ = ["PLAIN", "TOO_LARGE", "first_day_section", "in_order", "memory", "phases"]

Values = Mapping[str, Any]
PLAIN = "imagefolder-torchvision"
"""What needs no conversion, and the others are compared with."""
TOO_LARGE = "more than memory"


def in_order(values: Values) -> list[Values]:
    """Return the contenders as they end their second epoch, cold."""
    return sorted(values["rows"], key=lambda row: sum(phases(row, "cold")))


def phases(row: Values, cache: str) -> tuple[float, float, float]:
    """Return the seconds of conversion, first and second epoch; the last is read from memory in both cases."""
    converted = row["conversion"]["seconds"] if row["conversion"] else 0.0
    return converted, row[cache]["first_epoch_seconds"], row["cold"]["second_epoch_seconds"]


def memory(row: Values) -> int:
    """Return the most memory that any part had for itself."""
    return max(int(row[part]["peak_private_bytes"]) for part in ("conversion", "cold", "warm") if row[part])


def first_day_section(values: Values) -> list[str]:
    """Show seconds, memory and disk, the steps of ``shard``, and after how many epochs a conversion has paid."""
    images, rows = values["conditions"]["images"], in_order(values)
    lines = [
        *table(
            "contender | conversion, s | cold: first batch, s | first epoch, s | warm: first batch, s | first epoch, s "
            "| second epoch, s | all three, cold, min | own memory, MB | GB on disk | version",
            [_cells(row) for row in rows],
        ),
        "",
        "Every part is a process of its own, and its seconds count from its start, imports included. Conversion "
        "begins with a cold cache; the second epoch comes after the cold first one. *Own memory*: peak of all "
        "processes together without mapped files. *GB on disk*: of what is streamed; the JPEG files of "
        f"{images:,} images have {images * values['conditions']['source_bytes_per_image'] / 1e9:.1f} GB.",
        "",
    ]
    converted = [row for row in rows if row["conversion"] and "scan" in row["conversion"]]
    if converted:
        head = "`shard --codec` | scan, s | images/s | peak MB | ingest, s | images/s | peak MB"
        lines += [*table(head, [_steps(row, images) for row in converted]), ""]
    lines += _when_it_pays(rows)
    return [
        *lines,
        *(f"- {note}" for note in [*values["notes"], *(f"{name}: not measured" for name in values["left"])]),
    ]


def _cells(row: Values) -> list[str]:
    converted, first, second = phases(row, "cold")
    warm = row["warm"]
    return [
        *(row["name"], f"{converted:,.0f}" if row["conversion"] else "none"),
        *(f"{row['cold']['first_batch_seconds']:.1f}", f"{first:,.0f}"),
        *((f"{warm['first_batch_seconds']:.1f}", f"{warm['first_epoch_seconds']:,.0f}") if warm else (TOO_LARGE, "")),
        *(f"{second:,.0f}", f"{(converted + first + second) / 60:.1f}"),
        *(megabytes(memory(row)), f"{row['bytes'] / 1e9:.1f}", row["version"] or ""),
    ]


def _steps(row: Values, images: int) -> list[str]:
    scan, ingest = row["conversion"]["scan"], row["conversion"]["ingest"]
    return [
        *(row["codec"], f"{scan['seconds']:.1f}", rate(images / scan["seconds"]), megabytes(scan["peak_bytes"])),
        *(f"{ingest['seconds']:.0f}", rate(ingest["images_per_second"]), megabytes(row["conversion"]["peak_bytes"])),
    ]


def _when_it_pays(rows: list[Values]) -> list[str]:
    """Return a sentence on the epochs, of which the first is cold, after which each has overtaken the plain folder."""
    plain = next((row for row in rows if row["name"] == PLAIN), None)
    if plain is None:
        return []
    _, plain_first, plain_second = phases(plain, "cold")
    words = []
    for row in (row for row in rows if row["conversion"]):
        converted, first, second = phases(row, "cold")
        behind, gained = converted + first - plain_first, plain_second - second
        after = 1 if behind <= 0 else 1 + math.ceil(behind / gained) if gained > 0 else None
        words.append(f"{row['name']} {'never' if after is None else f'after {after} epochs'}")
    return [f"Conversion included, ahead of `{PLAIN}`: {', '.join(words)}.", ""] if words else []
