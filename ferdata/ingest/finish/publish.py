"""The last step: ``samples.parquet``, ``rejects.csv`` and, last of all, ``index.json``.

In: a conversion, its plan, its parts and what they amount to. Out: three files whose bytes depend on these alone, and
the summary.
"""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

import pyarrow as pa

from ferdata.errors import SourceError
from ferdata.format.index import REJECTS_NAME, DatasetIndex, FileInfo, ShardTable, write_file, write_index
from ferdata.format.samples import write_samples
from ferdata.images.colours import GREY_TO_RGB
from ferdata.ingest.conversion import Conversion
from ferdata.ingest.finish.outcome import Outcome
from ferdata.ingest.finish.summary import IngestSummary
from ferdata.ingest.identity import libraries
from ferdata.ingest.select.selection import ShardPlan
from ferdata.ingest.target import REJECTS_HEAD, without_root
from ferdata.ingest.write.parts import PARTS_FOLDER, PartRecord
from ferdata.ingest.write.shards import WrittenParts
from ferdata.sample import RARE_FIELDS
from ferdata.shown import counted
from ferdata.sources.files.listing import natural_key
from ferdata.sources.scan import Scan

__all__ = ["publish"]

_LABELS = pa.schema([("label", pa.int16()), ("source_label", pa.string())])
_MOST_WORDS = 20


def publish(
    conversion: Conversion,
    plan: Sequence[ShardPlan],
    written: WrittenParts,
    outcome: Outcome,
    *,
    skipped: Mapping[str, int],
    notes: Sequence[str],
) -> IngestSummary:
    """Make the shards a data set.

    Args:
        conversion: What is converted.
        plan: Every shard.
        written: What became of each.
        outcome: What they amount to.
        skipped: Rule of the selection -> items it left out.
        notes: On the selection.

    Raises:
        SourceError: If there is not one sample; then ``rejects.csv`` says why.
    """
    scan, store, transform = conversion.scan, conversion.store, conversion.transform
    skipped = dict(Counter(scan.skipped) + Counter(skipped))
    rejected = Counter(outcome.rejected) + Counter(reject.reason for reject in scan.rejects)
    if not outcome.shards:
        _give_up(conversion, plan, written, rejected, skipped)
    files = (write_samples(store, outcome.tables), _write_rejects(conversion, plan, written.parts))
    accepted = sum(info.samples for info in outcome.shards)
    summary = IngestSummary(
        out=str(store),
        source=scan.source,
        layout=scan.layout,
        codec=conversion.options.codec.name,
        rows=len(scan.items) + len(scan.rejects) + sum(scan.skipped.values()),
        accepted=accepted,
        skipped=skipped,
        rejected=rejected,
        repairs=Counter(outcome.repairs) + Counter(scan.repairs),
        label_map=_label_map(scan),
        class_counts={split: dict(zip(scan.classes, counts, strict=True)) for split, counts in outcome.counts.items()},
        bytes_in=outcome.bytes_in,
        bytes_out=sum(info.num_bytes for info in outcome.shards),
        num_shards=len(outcome.shards),
        leaked_images=outcome.leaks.images,
        leak_examples=outcome.leaks.examples,
        complete=scan.complete,
        notes=(*scan.notes, *notes, *_notes(conversion, outcome)),
        images_written=accepted - sum(part.shard.samples for part in written.resumed),
        resumed_shards=len(written.resumed),
    )
    # The same tree in another place gives the same files.
    lasting = replace(summary, notes=tuple(without_root(note, scan.root) for note in summary.notes))
    index = DatasetIndex(
        source=scan.source,
        source_layout=scan.layout,
        codec=conversion.options.codec,
        spec=transform.spec,
        json_bytes=conversion.json_bytes,
        transform={"fingerprint": transform.fingerprint(), "settings": transform.settings(), "libraries": libraries()},
        settings=conversion.settings,
        classes=scan.classes,
        counts=outcome.counts,
        mean=outcome.mean,
        std=outcome.std,
        files=files,
        shards=ShardTable.of(outcome.shards),
        summary=lasting.for_index(),
    )
    write_index(store, index)
    store.remove(PARTS_FOLDER)
    return summary


def _label_map(scan: Scan) -> dict[str, list[str]]:
    """Return class name -> what the source calls it, at most some words of each."""
    table = scan.items.table.select(["label", "source_label"]).cast(_LABELS)
    pairs = table.group_by(table.column_names, use_threads=False).aggregate([]).to_pylist()
    words: dict[str, list[str]] = {name: [] for name in scan.classes}
    for pair in pairs:
        words[scan.classes[pair["label"]]].append(pair["source_label"])
    return {name: sorted(found, key=natural_key)[:_MOST_WORDS] for name, found in words.items() if found}


def _give_up(
    conversion: Conversion,
    plan: Sequence[ShardPlan],
    written: WrittenParts,
    rejected: Counter[str],
    skipped: Mapping[str, int],
) -> NoReturn:
    scan, store = conversion.scan, conversion.store
    listed = (
        ", ".join(f"{reason} {count:,}" for reason, count in (rejected + Counter(skipped)).most_common(4))
        or "it holds none"
    )
    more = ""
    if rejected:
        _write_rejects(conversion, plan, written.parts)
        details = [f"{reject.path}: {reject.detail}" for reject in scan.rejects[:1]]
        details += [detail for part in written.parts for _, _, detail in part.rejects[:1]]
        more = f"; the first is {details[0]} ({store.path(REJECTS_NAME)} lists every one)"
    store.remove(PARTS_FOLDER)
    raise SourceError(
        f"{scan.root}: not one image could be used ({listed}), expected some; check the folder and src={more}"
    )


def _write_rejects(conversion: Conversion, plan: Sequence[ShardPlan], parts: Sequence[PartRecord]) -> FileInfo:
    """Write ``rejects.csv``: what the scan rejected, then what the shards did, in reading order."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(REJECTS_HEAD)
    for reject in conversion.scan.rejects:
        row = "" if reject.row is None else reject.row
        writer.writerow((reject.split, reject.key, reject.path, row, reject.reason, reject.detail))
    for shard, part in zip(plan, parts, strict=True):
        if not part.rejects:
            continue
        rejected = shard.positions[[number for number, _, _ in part.rejects]]
        found = conversion.scan.items.rows(rejected, ["key", "path"])
        for item, (_, reason, detail) in zip(found.to_pylist(), part.rejects, strict=True):
            writer.writerow((shard.split, item["key"], item["path"], "", reason, detail))
    return write_file(conversion.store, REJECTS_NAME, text.getvalue().encode("utf-8", "backslashreplace"))


def _notes(conversion: Conversion, outcome: Outcome) -> list[str]:
    notes = []
    side, size = conversion.scan.side, conversion.options.transform.size
    if unusual := outcome.repairs.get("unusual_size"):
        notes.append(
            f"{counted(unusual, 'image is', 'images are')} not of {side} x {side} pixels, the size of "
            f"{conversion.scan.layout}; {'it was' if unusual == 1 else 'they were'} accepted."
        )
    if side is not None and side < size:
        notes.append(
            f"The images of {conversion.scan.layout} have {side} x {side} pixels; size={size} makes them take "
            f"{(size / side) ** 2:,.0f} times the memory and shows nothing more: size={side} keeps them as they are."
        )
    num_samples = sum(info.samples for info in outcome.shards)
    if conversion.options.transform.channels != 1 and 0 < num_samples == outcome.repairs.get(GREY_TO_RGB):
        notes.append("All images are grey; with channels=1 a batch of them takes a third of the memory.")
    if undecoded := outcome.rejected.get("decoder_missing"):
        notes.append(
            f"Warning: {counted(undecoded, 'image needs', 'images need')} a decoder that is not "
            f"installed; {REJECTS_NAME} says which and how. "
            "Once it is there, write the data set again with resume=False."
        )
    people, sequences, soft = (outcome.named[name] for name in RARE_FIELDS)
    known = [
        f"{counted(number, f'{one} is', f'different {several} are')} named"
        for number, one, several in ((people, "person", "people"), (sequences, "sequence", "sequences"))
        if number
    ]
    if soft:
        known.append(f"{counted(soft, 'image has', 'images have')} soft labels")
    notes += [f"{'; '.join(known)}."] if known else []
    if outcome.leaks.images:
        first, second = outcome.leaks.examples[0]
        advice = "" if conversion.options.splits.drop_leaks else "; drop_leaks=True leaves out the copies in train"
        notes.append(
            f"{counted(outcome.leaks.images, 'image is', 'images are')}, byte for byte, in more than one split "
            f"(such as {first} = {second}){advice}."
        )
    if outcome.relabelled.images:
        first, second = outcome.relabelled.examples[0]
        notes.append(
            f"Warning: {counted(outcome.relabelled.images, 'image is', 'images are')}, byte for byte, in one split "
            f"under different labels (such as {first} = {second}); all are kept: correct their labels, or remove the "
            "copies."
        )
    return notes
