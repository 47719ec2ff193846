"""``shard``: convert a source tree to a data set."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

import ferdata
from ferdata.console.options import Given, Json, Level, OutOrUsual, check_codec, one_of, write_json
from ferdata.console.screen import class_table, console, ingest_bar, pairs, show_note, size
from ferdata.errors import OptionError
from ferdata.format import CODECS, kernel_notice, make_codec
from ferdata.ingest.options import DEFAULT_CODEC, IngestOptions
from ferdata.program import as_typed, command_line
from ferdata.shown import counted
from ferdata.sources.layout import DATA_SETS, DRAWN, SOURCES
from ferdata.store import Store

if TYPE_CHECKING:
    from ferdata.ingest import IngestSummary

__all__ = ["shard", "show_ingest"]

_WORDS_SHOWN = 4


def shard(
    source: Annotated[str, one_of(SOURCES, metavar="SOURCE", help="What the images are")],
    asked: Given[IngestOptions],
    src: Annotated[
        str | None, typer.Option(metavar="DIR", help="Read this folder or URL.", show_default="data/<source>")
    ] = None,
    out: OutOrUsual = None,
    codec: Annotated[
        str, typer.Option(help="Store pixels by this codec: raw, zstd, compact, jpeg; auto lets plan choose.")
    ] = DEFAULT_CODEC,
    level: Level = None,
    json_file: Json = None,
) -> None:
    """Convert, write and print."""
    check_codec(codec, [*CODECS, "auto"])
    beside = os.path.dirname(asked.values["table"].split(",")[0]) or "." if asked.values["table"] else None
    folder = src or (source == "table" and beside) or f"data/{source}"
    _check_there(folder, source)
    options = asked.build(
        source=source,
        src=folder,
        out=out or f"shards/{source}",
        codec=make_codec(DEFAULT_CODEC if codec == "auto" else codec, level),
    )
    if codec == "auto":
        from ferdata.plan.advise import choose_codec  # torch comes with it

        chosen = choose_codec(options, level=level, say=lambda text: console.print(as_typed(text), highlight=False))
        options = replace(options, codec=make_codec(chosen, level))
    if options.codec.name == "compact" and kernel_notice():
        show_note(kernel_notice())
    with ingest_bar() as progress:
        summary = ferdata.shard(options, progress=progress)
    write_json(json_file, summary.to_json())
    show_ingest(summary)


def _check_there(folder: str, source: str) -> None:
    """See that there is a source, or say how to get one and how to do without."""
    if Store(folder).exists():
        return
    drawn, there = (source, folder) if source in DRAWN else ("rafdb", "data/rafdb")
    obtain = "put <split>/<class>/<image> folders there"
    if source == "table":
        obtain = "put images there, and a csv with a path and a label for each"
    if source in DATA_SETS:
        obtain = f"ask its authors for {DATA_SETS[source]} (academic use only) and unpack it there"
    program = command_line()
    raise OptionError(
        f"{folder}: no such folder, expected the images of {source}; {obtain}, "
        "or name the folder with --src. "
        f"To try ferdata without it: {program} synth {drawn} {there} --count {_drawn_count(drawn)}, "
        f"then {program} shard {drawn} --src {there}"
    )


def _drawn_count(source: str) -> int:
    """Return how many images to draw of a data set: enough to try with, and no more than it has."""
    from ferdata.synth.trees.recipes import RECIPES

    totals = next(recipe for recipe in RECIPES.values() if recipe.layout.source == source).totals()
    return min(2000, sum(map(sum, totals.values())))


def show_ingest(summary: "IngestSummary") -> None:
    """Print what an ingest amounts to."""
    for note in summary.notes:
        show_note(note)
    if not summary.is_new:
        console.print(f"{summary.out}: finished already with these settings, nothing to do (--fresh writes it again)")
    rows = {
        "accepted": f"{summary.accepted:,} of {summary.rows:,} rows",
        "skipped by rule": _reasons(summary.skipped),
        "rejected": _reasons(summary.rejected)
        + (f"  (listed in {summary.out}/rejects.csv)" if summary.rejected else ""),
        "labels": _label_map(summary),
        "repaired": _reasons({**summary.repairs, "unusual_size": 0}),  # which has a note
        "leaks between splits": _leaks(summary),
        "bytes in, out": f"{size(summary.bytes_in)} of images, "
        f"{size(summary.bytes_out)} in {summary.num_shards} shards ({summary.codec})",
    }
    if summary.is_new:
        resumed = f", {summary.resumed_shards} shards were there already" if summary.resumed_shards else ""
        rows["speed"] = (
            f"{summary.images_per_second:,.0f} images/s "
            f"({summary.seconds:.1f} s after a scan of {summary.scan_seconds:.1f} s{resumed})"
        )
    pairs(f"{summary.source} ({summary.layout}) -> {summary.out}", rows)
    class_table(summary.class_counts)


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()) if count) or "none"


def _label_map(summary: "IngestSummary") -> str:
    """Return what the source calls each class, short: ``0 = Neutral, happy/joy = Happy``."""
    shown = [
        f"{'/'.join(words[:_WORDS_SHOWN])}{'/...' * (len(words) > _WORDS_SHOWN)} = {name}"
        for name, words in summary.label_map.items()
    ]
    return ", ".join(shown)


def _leaks(summary: "IngestSummary") -> str:
    if not summary.leaked_images:
        return "none"
    examples = "; ".join(" = ".join(pair) for pair in summary.leak_examples[:2])
    return (
        f"{counted(summary.leaked_images, 'image is', 'images are')} in more than one split, byte for byte "
        f"({examples}); "
        "--drop-leaks takes them out of train"
    )
