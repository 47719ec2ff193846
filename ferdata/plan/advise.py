"""Measures this machine in under half a minute and says which codec and how many workers serve a data set best here.

In: a data set, or a source tree. Out: a :class:`MachinePlan`, with a sentence. Takes 10 to 30 s and a temporary folder.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ferdata.errors import SourceError
from ferdata.format import CODECS, INDEX_NAME, DatasetIndex, kernel_notice, read_index
from ferdata.images.transform import Transform
from ferdata.ingest import IngestOptions, ingest_scan
from ferdata.ingest.select.checks import count_refused
from ferdata.ingest.select.choose import choose_items
from ferdata.ingest.select.exclude import read_exclusions
from ferdata.ingest.select.selection import LEFT_OUT
from ferdata.ingest.split_options import SplitOptions
from ferdata.ingest.target import check_apart
from ferdata.parallel import available_memory, usable_cores
from ferdata.plan.conditions import describe_machine
from ferdata.plan.measure import (
    decode_rate,
    describe_gpu,
    disk_rate,
    loader_overhead,
    make_ring,
    nearest_folder,
    ring_bytes,
)
from ferdata.plan.predict import CodecFacts, MachineFacts, PlanRow, Recommendation, predict, recommend, worker_counts
from ferdata.plan.timing import now
from ferdata.plan.trial_sets import SAMPLE_BYTES, SampleSet, write_sample_sets
from ferdata.sources import scan_source
from ferdata.sources.items import ItemTable
from ferdata.sources.scan import Scan
from ferdata.store import Store, StrPath

__all__ = ["MachinePlan", "choose_codec", "plan"]

DECODE_SECONDS = 10.0
"""For all codecs and numbers of processes together."""
MOST_SECONDS_EACH = 1.0
LOADER_SECONDS = 1.2
DISK_PROBE_BYTES = 128 << 20

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePlan:
    """What was measured, what follows, and what to do.

    Attributes:
        root: The data set, or the source tree.
        num_samples: Its images.
        shape: Of an image.
        codec: The codec it has now; None for a source tree.
        conditions: Machine, versions, how busy it was.
        machine: What was measured of the machine.
        gpu: Name, memory and copy rate; None without one.
        codecs: What was measured of each codec.
        rows: The prediction, codec by codec.
        recommendation: What to use.
        notes: What the reader should know.
        seconds: How long all this took.
    """

    root: str
    num_samples: int
    shape: tuple[int, ...]
    codec: str | None
    conditions: dict[str, Any]
    machine: MachineFacts
    gpu: dict[str, Any] | None
    codecs: tuple[CodecFacts, ...]
    rows: tuple[PlanRow, ...]
    recommendation: Recommendation
    notes: tuple[str, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return every figure as JSON-ready values."""
        record = asdict(self)
        for facts in record["codecs"]:
            facts["rates"] = {str(workers): rate for workers, rate in facts["rates"].items()}
        for row, found in zip(
            [*record["rows"], record["recommendation"]["row"]], [*self.rows, self.recommendation.row], strict=True
        ):
            row["fits_memory"] = found.fits_memory
        return json.loads(json.dumps(record))  # type: ignore[no-any-return]


def plan(root: StrPath, *, work: Path | None = None, say: Say = lambda text: None) -> MachinePlan:
    """Measure this machine with a data set's own images.

    Args:
        root: Folder or URL of a finished data set.
        work: Folder for the sample; None takes the system's temporary one.
        say: Is told what goes on.

    Raises:
        ShardMissingError, ShardCorruptError: If the data set is not there or not sound.
        OptionError: If it holds no samples.
    """
    store = Store(root)
    index = read_index(store)
    names = [info.name for info in index.shards]
    free = shutil.disk_usage(store.root).free if store.is_local else None
    return _measure(
        store,
        index,
        num_samples=index.num_samples(),
        work=work,
        say=say,
        disk=lambda cores: (disk_rate(store, names, num_processes=cores), free),
    )


def choose_codec(asked: IngestOptions, *, level: int | None = None, say: Say = lambda text: None) -> str:
    """Return the codec that would serve the images of a source tree best on this machine.

    A run that is resumed keeps its codec. ``jpeg`` is chosen only after a look at every image.

    Args:
        asked: Everything that is asked of the ingest, whatever its codec; ``out`` is empty where there is no folder to
            write to yet.
        level: The zstd level that is asked for, which leaves only codecs that have one.
        say: Is told why.

    Raises:
        SourceError: If the source cannot be used, or has no image that can.
    """
    if asked.out:
        check_apart(asked.place(), asked.out)
    if asked.out and asked.resume and (kept := _kept_codec(Store(asked.out))):
        say(f"codec {kept}: as in {asked.out}, which is there already (resume=False chooses anew)")
        return kept
    scan = scan_source(asked.source, asked.place(), asked.scan)
    splits = replace(asked.splits, drop_leaks=False)  # which would read every file
    excluded = None if splits.exclude is None else read_exclusions(splits.exclude)
    selection, _, _ = choose_items(
        scan, replace(asked, splits=splits), excluded=excluded, on_tick=lambda done, total: None
    )
    scan = replace(scan, items=scan.items.take(np.flatnonzero(selection.codes != LEFT_OUT)))
    if not len(scan.items):
        raise SourceError(
            f"{asked.src}: not one image found that could be used, expected some; check the folder and src="
        )
    with tempfile.TemporaryDirectory(prefix="ferdata-plan-") as folder:
        found = _plan_source(scan, asked, level, Path(folder))
    if found.recommendation.codec == "jpeg":
        refused = count_refused(scan.root, scan.items, Transform(asked.transform))
        if refused:
            listed = ", ".join(f"{count:,} {reason}" for reason, count in refused.most_common())
            rows = tuple(row for row in found.rows if row.codec != "jpeg")
            say(f"codec jpeg would be best, but of the images {listed}")
            found = replace(found, rows=rows, recommendation=recommend(rows))
    say(f"codec {found.recommendation.codec}: {found.recommendation.sentence}")
    return found.recommendation.codec


def _plan_source(scan: Scan, asked: IngestOptions, level: int | None, folder: Path) -> MachinePlan:
    """Ingest a sample of a source's items and plan with it for all of them."""
    count = min(len(scan.items), max(256, SAMPLE_BYTES // Transform(asked.transform).spec.num_bytes))
    items = ItemTable(
        scan.items.take(np.linspace(0, len(scan.items) - 1, count).astype(np.int64)).table.combine_chunks()
    )
    sample = replace(scan, items=items, rejects=[], skipped={}, repairs={})
    keeps_source = level is None and not count_refused(scan.root, items, Transform(asked.transform))
    options = replace(
        asked,
        out=str(folder / "sample"),
        codec=CODECS["jpeg" if keeps_source else "raw"],
        splits=SplitOptions(),
    )
    ingest_scan(sample, options)
    store = Store(options.out)
    index = read_index(store)
    target = nearest_folder(Store(asked.out).root) if asked.out and Store(asked.out).is_local else folder

    def disk(cores: int) -> tuple[float, int | None]:
        with tempfile.TemporaryDirectory(prefix=".ferdata-plan-", dir=target, ignore_cleanup_errors=True) as probe:
            Path(probe, "probe").write_bytes(np.random.default_rng(0).bytes(DISK_PROBE_BYTES))
            return disk_rate(Store(probe), ["probe"], num_processes=cores), shutil.disk_usage(target).free

    codecs = [name for name, codec in CODECS.items() if level is None or codec.to_json()["level"] is not None]
    return _measure(
        store,
        index,
        num_samples=len(scan.items),
        work=folder,
        say=lambda text: None,
        disk=disk,
        codecs=codecs,
        root=scan.root,
    )


def _measure(
    store: Store,
    index: DatasetIndex,
    *,
    num_samples: int,
    work: Path | None,
    say: Say,
    disk: Callable[[int], tuple[float, int | None]],
    codecs: Sequence[str] | None = None,
    root: str | None = None,
) -> MachinePlan:
    start = now()
    conditions = describe_machine()
    cores = usable_cores()
    with tempfile.TemporaryDirectory(prefix="ferdata-plan-", dir=work, ignore_cleanup_errors=True) as folder:
        say("writing a sample of the images under every codec")
        sets = write_sample_sets(store, index, Path(folder))
        sets = {name: sample for name, sample in sets.items() if codecs is None or name in codecs}
        say("decoding it with every number of processes")
        memory = available_memory()
        facts = _codec_facts(sets, cores, memory_bytes=memory, from_source=root is not None)
        say("reading the disk")
        rate, free = disk(cores)
        say("the loader itself")
        quickest = max(facts, key=lambda each: each.rates[1]).name
        own, beside = loader_overhead(sets[quickest], seconds=LOADER_SECONDS)
    machine = MachineFacts(
        cores=cores,
        memory_bytes=max(0, memory - ring_bytes(index.spec.num_bytes)),
        disk_bytes_per_second=rate,
        disk_free_bytes=free,
        loader_seconds_per_image=own,
        worker_seconds_per_image=beside,
    )
    rows = predict(machine, facts, num_samples=num_samples)
    recommendation = recommend(rows, notes={each.name: each.note for each in facts})
    return MachinePlan(
        root=root or str(store),
        num_samples=num_samples,
        shape=index.spec.shape,
        codec=index.codec.name if root is None else None,
        conditions=conditions,
        machine=machine,
        gpu=describe_gpu(),
        codecs=facts,
        rows=rows,
        recommendation=recommendation,
        notes=_notes(facts, conditions, cores, workers=recommendation.workers),
        seconds=now() - start,
    )


def _codec_facts(
    sets: dict[str, SampleSet], cores: int, *, memory_bytes: int, from_source: bool
) -> tuple[CodecFacts, ...]:
    counts = worker_counts(cores)
    seconds = min(MOST_SECONDS_EACH, DECODE_SECONDS / (len(sets) * len(counts)))
    ring = make_ring(next(iter(sets.values())).index.spec.num_bytes, memory_bytes=memory_bytes)
    return tuple(
        CodecFacts(
            name=name,
            bytes_per_image=sample.bytes_per_image,
            rates={count: decode_rate(sample, ring, num_processes=count, seconds=seconds) for count in counts},
            is_copy=sample.index.codec.is_copy,
            is_stored=sample.is_stored and not from_source,
            note=sample.note,
        )
        for name, sample in sets.items()
    )


def _notes(facts: Sequence[CodecFacts], conditions: dict[str, Any], cores: int, *, workers: int) -> tuple[str, ...]:
    notes = [f"{each.name}: {each.note}" for each in facts if each.note]
    if conditions["load_before"] > cores / 2:
        notes.append(
            f"the machine was busy (load {conditions['load_before']} on {cores} cores), so rates may be too low"
        )
    notes.append(
        f"the rates are ferdata.Loader's; a DataLoader over ferdata.ShardBatches (batch_size None, {workers} workers) "
        "gives the same batches, and bench-loader measures both"
    )
    return tuple(notes + ([kernel_notice()] if kernel_notice() else []))


def _kept_codec(store: Store) -> str | None:
    """Return the codec of what is in a folder already."""
    if store.exists(INDEX_NAME):
        return read_index(store).codec.name
    settings = ".parts/settings.json"
    try:
        return str(json.loads(store.read(settings))["codec"]) if store.exists(settings) else None
    except (ValueError, KeyError):
        return None
