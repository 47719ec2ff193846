"""The write half from end to end: scan, choose, write shards in processes, finish. A killed run goes on where it stopped.

In: :class:`IngestOptions`. Out: a data set folder and an :class:`IngestSummary`. Memory: the item table and a few samples a worker.
"""

import json
import os
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ferdata.errors import FerdataError, IngestError, SourceError
from ferdata.format.container import json_bytes_for
from ferdata.format.index import FORMAT_VERSION, INDEX_NAME, REJECTS_NAME, read_index, write_index
from ferdata.images.transform import Transform
from ferdata.ingest.finish.outcome import Outcome, gather, make_index, write_rejects, write_table
from ferdata.ingest.finish.summary import IngestSummary
from ferdata.ingest.finished import check_finished
from ferdata.ingest.identity import describe_changes, flat_settings, libraries, scan_hash
from ferdata.ingest.options import IngestOptions, IngestProgress, ProgressCallback
from ferdata.ingest.select.checks import check_decoders, check_jpegs, check_keys
from ferdata.ingest.select.choose import choose_items
from ferdata.ingest.select.selection import ShardPlan, plan_shards
from ferdata.ingest.target import check_apart, clear, find_unlisted, sweep, without_root
from ferdata.ingest.write.parts import PARTS_FOLDER, match_settings
from ferdata.ingest.write.record import longest_record
from ferdata.ingest.write.shards import UnlistedError, WrittenParts, named, unlisted_error, write_shards
from ferdata.ingest.write.task import TaskSettings
from ferdata.lock import hold_lock
from ferdata.parallel import run_tasks, run_tasks_on_ray
from ferdata.sample import ItemTable
from ferdata.sources import scan_source
from ferdata.sources.scan import Scan
from ferdata.store import Store

__all__ = ["ingest", "ingest_scan"]

_CROPPED_LAYOUTS = {"AN-npy": 224, "AN-plus": 224, "RAF-basic": 100, "RAF-compound": 100, "RAF-kaggle": 100}


def ingest(options: IngestOptions, *, progress: ProgressCallback | None = None) -> IngestSummary:
    """Convert a source tree to a data set, or go on with a run that was stopped.

    The files depend on the source and the settings alone, not on the number of workers nor on interruptions. Where the data set is there
    already, with the same settings, nothing is done.

    Args:
        options: What to do.
        progress: Called about ten times a second.

    Raises:
        OptionError: If the data set would go into the source tree.
        SourceError: If the source cannot be used, is gone before the end, or not one of its images can.
        IngestError: If what is in the folder belongs to other settings, or the run was stopped; then it can be continued.
        WorkerError: If a worker process was killed; the run can be continued.
    """
    started = time.monotonic()
    check_apart(options.src, options.out)
    if progress:
        progress(IngestProgress(phase="scan"))
    try:
        scan = scan_source(options.source, options.src, options.scan_options())
    except KeyboardInterrupt as error:
        raise IngestError(f"{options.src}: stopped by Ctrl-C while it was scanned; nothing was written: run the command again") from error
    return ingest_scan(scan, options, progress=progress, scan_seconds=time.monotonic() - started)


def ingest_scan(
    scan: Scan, options: IngestOptions, *, progress: ProgressCallback | None = None, scan_seconds: float = 0.0
) -> IngestSummary:
    """Convert the items of a scan; like :func:`ingest` without its first step."""
    scan = replace(scan, items=ItemTable(scan.items.table.combine_chunks()))
    try:
        run = _Run(scan, options, progress, scan_seconds)
        with hold_lock(run.store):
            return run.go()
    except KeyboardInterrupt as error:
        raise IngestError(f"{options.out}: stopped by Ctrl-C; finished shards are kept: run the same command again to go on") from error
    except FerdataError:
        raise
    except OSError as error:
        raise IngestError(
            f"{options.out}: {error.strerror or error}, expected room and permission to write; "
            "finished shards are kept: put it right and run the same command again to go on"
        ) from error


class _Run:
    """One ingest: what its steps share."""

    def __init__(self, scan: Scan, options: IngestOptions, progress: ProgressCallback | None, scan_seconds: float) -> None:
        self.scan, self.options = scan, options
        self.store = Store(options.out)
        self._progress, self._scan_seconds = progress, scan_seconds
        self._started = time.monotonic()
        self._transform = Transform(options.transform_options())
        self._codec = options.codec_options()
        self._json_bytes = json_bytes_for(longest_record(scan.items))
        self._settings = options.selection_settings() | {"scan": scan_hash(scan)}

    def go(self) -> IngestSummary:
        """Do what is left to do."""
        sweep(self.store)
        if not self.options.resume:
            clear(self.store)
        if self.store.exists(INDEX_NAME):
            return self._finished()
        unlisted = frozenset[str]() if self.store.exists(PARTS_FOLDER) else find_unlisted(self.store)
        if unlisted:
            if not self.store.is_local:  # an upload is its own commit: there, nothing can be compared before it is replaced
                raise unlisted_error(self.store, min(unlisted))
            warnings.warn(f"{self.store}: {INDEX_NAME} is lost; the shards are made again and must come out the same", stacklevel=4)
        check_keys(self.scan)
        started = time.monotonic()
        selection, skipped, notes = choose_items(
            self.scan, self.options, on_tick=lambda done, total: self._report("leaks", started, done=done, total=total)
        )
        plan = plan_shards(selection, seed=self.options.seed, sample_bytes=self._transform.spec.num_bytes)
        if plan and not self.store.exists(PARTS_FOLDER):
            check_decoders(self.scan.root, self.scan.items, np.concatenate([shard.positions for shard in plan]))
        if self._codec.needs_source and plan:
            self._check_jpegs(plan)
        match_settings(self.store, self._all_settings(), named(plan, self._codec).keys() - unlisted)
        try:
            written = self._write(plan, unlisted)
        except UnlistedError:
            self.store.remove(PARTS_FOLDER)
            raise
        outcome = gather(self.scan.items, selection, plan, written.parts, len(self.scan.classes))
        skipped = dict(Counter(self.scan.skipped) + Counter(skipped))
        if not outcome.shards:
            self._give_up(plan, written, outcome, skipped)
        return self._finish(plan, written, outcome, skipped, notes)

    def _check_jpegs(self, plan: list[ShardPlan]) -> None:
        started = time.monotonic()
        check_jpegs(
            self.scan,
            self._transform,
            np.concatenate([shard.positions for shard in plan]),
            num_workers=self.options.resolved_workers(),
            on_tick=lambda done, total: self._report("check", started, done=done, total=total),
        )

    def _own_settings(self) -> dict[str, Any]:
        """Return what makes a data set what it is, whatever wrote it."""
        return flat_settings(self.scan.source, self._codec, self._transform.settings(), self._settings)

    def _all_settings(self) -> dict[str, Any]:
        return self._own_settings() | {"libraries": libraries(), "format_version": FORMAT_VERSION}

    def _finished(self) -> IngestSummary:
        index = read_index(self.store)
        found = flat_settings(index.source, index.codec, index.transform.get("settings", {}), index.settings)
        if changes := describe_changes(found, json.loads(json.dumps(self._own_settings()))):
            raise IngestError(
                f"{self.store}: a finished data set with other settings found: {changes}; expected the same; "
                "choose another --out, or replace it with --fresh"
            )
        check_finished(self.store, index, self.scan, num_workers=self.options.resolved_workers())
        self.store.remove(PARTS_FOLDER)
        return replace(
            IngestSummary.from_index(index, out=str(self.store)),
            scan_seconds=self._scan_seconds,
            seconds=time.monotonic() - self._started,
        )

    def _write(self, plan: Sequence[ShardPlan], unlisted: frozenset[str]) -> WrittenParts:
        begun = time.monotonic()
        started, total = begun, sum(len(shard.positions) for shard in plan)

        def tell_check(done: int, shards: int) -> None:
            nonlocal started
            started = time.monotonic()
            self._report("resume", begun, done=done, total=shards)

        def tick(found_done: int, accepted: int, rejected: int, bytes_in: int) -> None:
            done = min(found_done + accepted + rejected, total)  # images that are tried again were counted before
            self._report("write", started, done=done, total=total, accepted=accepted, rejected=rejected, bytes_in=bytes_in)

        on_ray = self.options.engine == "ray"
        settings = TaskSettings(
            root=_absolute(self.scan.root) if on_ray else self.scan.root,
            out=_absolute(str(self.store)) if on_ray else str(self.store),
            transform=self._transform.options,
            codec=self._codec,
            num_classes=len(self.scan.classes),
            json_bytes=self._json_bytes,
            usual_size=self._usual_size(),
        )
        run = run_tasks_on_ray if on_ray else run_tasks
        return write_shards(
            self.store,
            self.scan.items,
            plan,
            settings,
            unlisted=unlisted,
            run=run,
            num_workers=self.options.resolved_workers(),
            on_check=tell_check,
            on_tick=tick,
        )

    def _usual_size(self) -> int | None:
        return None if self.scan.has_originals else _CROPPED_LAYOUTS.get(self.scan.layout)

    def _give_up(self, plan: Sequence[ShardPlan], written: WrittenParts, outcome: Outcome, skipped: Mapping[str, int]) -> None:
        reasons = self._rejected(outcome)
        listed = ", ".join(f"{reason} {count:,}" for reason, count in (reasons + Counter(skipped)).most_common(4)) or "it holds none"
        more = ""
        if reasons:
            write_rejects(self.store, self.scan, plan, written.parts)
            more = f"; the first is {self._first_reject(written)} ({self.store.path(REJECTS_NAME)} lists every one)"
        self.store.remove(PARTS_FOLDER)
        raise SourceError(f"{self.scan.root}: not one image could be used ({listed}), expected some; check the folder and --src{more}")

    def _first_reject(self, written: WrittenParts) -> str:
        if self.scan.rejects:
            return f"{self.scan.rejects[0].path}: {self.scan.rejects[0].detail}"
        return next(detail for part in written.parts for _, _, detail in part.rejects)

    def _finish(
        self, plan: Sequence[ShardPlan], written: WrittenParts, outcome: Outcome, skipped: Mapping[str, int], notes: Sequence[str]
    ) -> IngestSummary:
        self._report("finish", time.monotonic())
        files = [write_table(self.store, outcome), write_rejects(self.store, self.scan, plan, written.parts)]
        accepted = sum(info.samples for info in outcome.shards)
        summary = IngestSummary(
            out=str(self.store),
            source=self.scan.source,
            layout=self.scan.layout,
            codec=self._codec.name,
            rows=len(self.scan.items) + len(self.scan.rejects) + sum(self.scan.skipped.values()),
            accepted=accepted,
            skipped=skipped,
            rejected=self._rejected(outcome),
            repairs=Counter(outcome.repairs) + Counter(self.scan.repairs),
            class_counts={split: dict(zip(self.scan.classes, counts, strict=True)) for split, counts in outcome.counts.items()},
            bytes_in=outcome.bytes_in,
            bytes_out=sum(info.num_bytes for info in outcome.shards),
            num_shards=len(outcome.shards),
            leaked_images=outcome.leaks.images,
            leak_examples=outcome.leaks.examples,
            complete=self.scan.complete,
            notes=(*self.scan.notes, *notes, *self._notes(outcome)),
            scan_seconds=self._scan_seconds,
            images_written=accepted - sum(part.accepted for part in written.resumed),
            resumed_shards=len(written.resumed),
        )
        # The same tree in another place gives the same files.
        kept = tuple(without_root(note, self.scan.root) for note in summary.notes)
        index = make_index(
            self.scan,
            self._transform,
            self._codec,
            outcome,
            json_bytes=self._json_bytes,
            settings=self._settings,
            files=files,
            summary=replace(summary, notes=kept).for_index(),
        )
        write_index(self.store, index)
        self.store.remove(PARTS_FOLDER)
        return replace(summary, seconds=time.monotonic() - self._started)

    def _rejected(self, outcome: Outcome) -> Counter[str]:
        return Counter(outcome.rejected) + Counter(reject.reason for reject in self.scan.rejects)

    def _notes(self, outcome: Outcome) -> list[str]:
        notes = []
        if unusual := outcome.repairs.get("unusual_size"):
            side = self._usual_size()
            notes.append(f"{unusual:,} images are not of {side} x {side} pixels, the size of {self.scan.layout}; they were accepted.")
        if undecoded := outcome.rejected.get("decoder_missing"):
            notes.append(
                f"Warning: {undecoded:,} images need a decoder that is not installed; {REJECTS_NAME} says which and how. "
                "Once it is there, write the data set again with --fresh."
            )
        if outcome.leaks.images:
            first, second = outcome.leaks.examples[0]
            advice = "" if self.options.drop_leaks else "; --drop-leaks leaves out the copies in train"
            notes.append(
                f"{outcome.leaks.images:,} images are, byte for byte, in more than one split (such as {first} = {second}){advice}."
            )
        if outcome.relabelled.images:
            first, second = outcome.relabelled.examples[0]
            notes.append(
                f"Warning: {outcome.relabelled.images:,} images are, byte for byte, in one split under different labels (such as {first} = "
                f"{second}); all are kept: correct their labels, or remove the copies."
            )
        return notes

    def _report(self, phase: str, started: float, **counts: int) -> None:
        if self._progress:
            self._progress(IngestProgress(phase=phase, seconds=time.monotonic() - started, **counts))


def _absolute(place: str) -> str:
    """Return a folder's whole path, since a node of a cluster works in a folder of its own; URLs stay as they are."""
    return os.path.abspath(Store(place).root) if Store(place).is_local else place
