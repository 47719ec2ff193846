"""The write half from end to end: scan, select, write shards in processes, finish. A killed run resumes.

In: :class:`IngestOptions`. Out: a data set folder and an :class:`IngestSummary`. Memory: some 70 bytes an item
and a few samples a worker.
"""

import time
import warnings
from dataclasses import replace

import numpy as np

from ferdata.errors import FerdataError, IngestError
from ferdata.format.index import INDEX_NAME
from ferdata.ingest.conversion import Conversion
from ferdata.ingest.finish.outcome import gather
from ferdata.ingest.finish.publish import publish
from ferdata.ingest.finish.summary import IngestSummary
from ferdata.ingest.finished import keep_finished
from ferdata.ingest.options import Clock, IngestOptions, IngestProgress, ProgressCallback
from ferdata.ingest.select.checks import check_decoders, check_jpegs, check_keys
from ferdata.ingest.select.choose import choose_items
from ferdata.ingest.select.exclude import read_exclusions
from ferdata.ingest.select.selection import ShardPlan, plan_shards
from ferdata.ingest.spool.write import spooled
from ferdata.ingest.target import check_apart, clear, find_unlisted, sweep
from ferdata.ingest.write.parts import PARTS_FOLDER, match_settings
from ferdata.ingest.write.shards import UnlistedError, named, unlisted_error, write_shards
from ferdata.lock import hold_lock
from ferdata.program import stopped
from ferdata.sources import scan_source
from ferdata.sources.scan import Scan

__all__ = ["ingest", "ingest_scan"]


def ingest(options: IngestOptions, *, progress: ProgressCallback | None = None) -> IngestSummary:
    """Convert a source tree to a data set, or go on with a run that was stopped.

    The files depend on the source and the settings alone, not on the number of workers nor on interruptions. Where the
    data set is there already, with the same settings, nothing is done.

    Args:
        options: What to do.
        progress: Called about ten times a second.

    Raises:
        OptionError: If the data set would go into the source tree.
        SourceError: If the source cannot be used, is gone before the end, or not one of its images can.
        IngestError: If what is in the folder belongs to other settings, or the run was stopped; then it can be
            continued.
        WorkerError: If a worker process was killed; the run can be continued.

    Example:
        >>> images = ferdata.TransformOptions(size=32)
        >>> places = {"src": "data/affectnet", "out": "shards/small"}
        >>> options = ferdata.IngestOptions(source="affectnet", **places, transform=images, limit=60)
        >>> ferdata.shard(options).samples
        {'train': 60, 'val': 32}
    """
    started = time.monotonic()
    if options.splits.exclude is not None:
        read_exclusions(options.splits.exclude)  # so that a wrong name is told before a scan that takes minutes
    if not options.is_of_files:
        tell = Clock(progress).phase("spool")
        tell()
        with spooled(options, on_tick=tell) as in_files:
            return ingest(in_files, progress=progress)
    src = options.place()
    check_apart(src, options.out)
    if progress:
        progress(IngestProgress(phase="scan"))
    try:
        scan = scan_source(options.source, src, options.scan)
    except KeyboardInterrupt as error:
        raise IngestError(
            f"{src}: {stopped()} while it was scanned; nothing was written: run the command again"
        ) from error
    return ingest_scan(scan, options, progress=progress, scan_seconds=time.monotonic() - started)


def ingest_scan(
    scan: Scan, options: IngestOptions, *, progress: ProgressCallback | None = None, scan_seconds: float = 0.0
) -> IngestSummary:
    """Convert the items of a scan; like :func:`ingest` without its first step."""
    try:
        started = time.monotonic()
        conversion = Conversion(scan=scan, options=options)
        with hold_lock(conversion.store):
            summary = _convert(conversion, Clock(progress))
        return replace(summary, scan_seconds=scan_seconds, seconds=time.monotonic() - started)
    except KeyboardInterrupt as error:
        raise IngestError(
            f"{options.out}: {stopped()}; finished shards are kept: run the same command again to go on"
        ) from error
    except FerdataError:
        raise
    except OSError as error:
        raise IngestError(
            f"{options.out}: {error.strerror or error}, expected room and permission to write; "
            "finished shards are kept: put it right and run the same command again to go on"
        ) from error


def _convert(conversion: Conversion, clock: Clock) -> IngestSummary:
    """Do what is left to do; the caller holds the lock."""
    store, scan, options = conversion.store, conversion.scan, conversion.options
    sweep(store)
    if not options.resume:
        clear(store)
    if store.exists(INDEX_NAME):
        return keep_finished(conversion)
    unlisted = _find_unlisted(conversion)
    check_keys(scan)
    selection, skipped, notes = choose_items(scan, options, excluded=conversion.excluded, on_tick=clock.phase("leaks"))
    plan = plan_shards(selection, seed=options.seed, sample_bytes=conversion.transform.spec.num_bytes)
    if plan:
        _check(conversion, plan, clock)
    match_settings(store, conversion.all_settings(), named(plan, conversion.options.codec).keys() - unlisted)
    try:
        written = write_shards(conversion, plan, unlisted=unlisted, clock=clock)
    except UnlistedError:
        store.remove(PARTS_FOLDER)
        raise
    is_cropped = options.transform.crop == "box"
    outcome = gather(scan.items, selection, plan, written.parts, len(scan.classes), is_cropped=is_cropped)
    clock.phase("finish")()
    return publish(conversion, plan, written, outcome, skipped=skipped, notes=notes)


def _find_unlisted(conversion: Conversion) -> frozenset[str]:
    """Return the shards of a data set whose index is lost, which must come out the same."""
    store = conversion.store
    unlisted = frozenset[str]() if store.exists(PARTS_FOLDER) else find_unlisted(store)
    if unlisted:
        if not store.is_local:  # an upload is its own commit: there, nothing can be compared before it is replaced
            raise unlisted_error(store, min(unlisted))
        warnings.warn(
            f"{store}: {INDEX_NAME} is lost; the shards are made again and must come out the same", stacklevel=5
        )
    return unlisted


def _check(conversion: Conversion, plan: list[ShardPlan], clock: Clock) -> None:
    """See that the images can be converted, before any is."""
    scan = conversion.scan
    positions = np.sort(np.concatenate([shard.positions for shard in plan]))
    if not conversion.store.exists(PARTS_FOLDER):
        check_decoders(scan, positions)
    if conversion.options.codec.needs_source:
        workers = conversion.options.resolved_workers()
        check_jpegs(scan, conversion.transform, positions, num_workers=workers, on_tick=clock.phase("check"))
