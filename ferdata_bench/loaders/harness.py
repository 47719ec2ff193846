"""The harness: prepares images, lets every contender ingest and prove itself, then times all in turns, beside ceilings.

In: :class:`BenchOptions`. Out: :class:`BenchResult`. Contenders run in their own processes and rest while another is
timed; drift of the machine affects all alike because they take turns: A B C, A B C, A B C.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ferdata import fetch, read_index
from ferdata.cache import usual_cache
from ferdata.format import CODECS
from ferdata.ingest.options import DEFAULT_CODEC
from ferdata.optional import needs
from ferdata.parallel import available_memory
from ferdata.plan.conditions import describe_machine
from ferdata.plan.timing import Timing
from ferdata.store import Store
from ferdata_bench.contenders import OURS, Entry, choose
from ferdata_bench.contenders.ferdata_shards import first_split
from ferdata_bench.loaders.explain import explain_limit, general_notes
from ferdata_bench.loaders.meter import CeilingMeter
from ferdata_bench.loaders.options import BenchOptions, BenchResult, BenchRow
from ferdata_bench.loaders.process import PACKAGE_ROOT, ContenderError, find_interpreter
from ferdata_bench.loaders.reference import Reference, make_reference
from ferdata_bench.loaders.sources import choose_count, prepare_source
from ferdata_bench.loaders.subject import Subject, sizes_beside, split_to_fit, stored_bytes
from ferdata_bench.loaders.work import cold_copy, folder_bytes, read_through, require_room, work_folder

with needs("bench", "bench-loader", "matplotlib"):
    from ferdata_bench.loaders.usage import PeakMemory

__all__ = ["run_bench"]

INGEST_SECONDS = 1_800.0
WARM_SHARE = 0.5
"""Up to this share of free memory data stay in the page cache by themselves; who has more is timed in groups."""

SWEEP_BATCH_SIZES = (32, 64, 128, 256, 512)

Say = Callable[[str], None]


def run_bench(options: BenchOptions, *, say: Say = lambda text: None) -> BenchResult:
    """Measure what ``options`` ask for. ``say`` is called with progress, a short line at a time.

    Raises:
        OptionError: If a contender's name is unknown, or the disk has too little room.
        SourceError: If the source is no class-folder tree of images of one size.
    """
    chosen = choose(options.against)
    with work_folder(options.work) as work, ExitStack() as stack:
        local = _fetched(options, work, say)
        result = Bench(local, work, stack, say).run(chosen)
    copied = (
        [f"the shards measured are a copy of {options.shards} on this machine's disk"]
        if options.shards is not None and not Store(options.shards).is_local
        else []
    )
    return replace(result, notes=(*result.notes, *copied))


def _fetched(options: BenchOptions, work: Path, say: Say) -> BenchOptions:
    """Return the options with shards that are local: ceilings and the page cache are this machine's."""
    if options.shards is None:
        return options
    store = Store(options.shards)
    if not store.is_local:
        say(f"copying {store} here: what is measured is the copy")
        cache, most = usual_cache()
        return replace(options, shards=Path(fetch(store.root, cache or work / "given", cache_gb=most).folder))
    return replace(options, shards=Path(store.root).resolve())


class Bench:
    """One benchmark, from preparing images to the result."""

    def __init__(self, options: BenchOptions, work: Path, stack: ExitStack, say: Say) -> None:
        self._options = options
        self._work = work
        self._stack = stack
        self._say = say
        self._notes: list[str] = []
        self._source_words = ""
        self._reference_file = work / "reference.npz"

    def run(self, chosen: list[Entry]) -> BenchResult:
        """Measure ferdata and these contenders."""
        machine = describe_machine()
        ours = self._our_entries()
        started = [
            subject
            for entry in [*ours, *chosen]
            if (subject := self._start(entry, given=self._options.shards is not None and entry in ours))
        ]
        reference = self._prepare(chosen, ours)  # while runners import their libraries
        subjects = [subject for subject in started if self._try(subject, partial(self._ingest, reference.source))]
        meter = self._meter(subjects, reference)
        self._measure(subjects, meter)
        for varied in list(self._sweeps(subjects)):
            self._say(f"sweep: {varied[0].workers} workers, batches of {varied[0].batch_size}")
            self._measure(varied, meter)
            subjects = [*subjects, *varied]
        self._say("disk ceiling")
        meter.measure_disk(workers=self._options.num_workers)
        rows = [self._row(subject, meter) for subject in subjects if subject.runs]
        rows.sort(key=lambda row: (row.sweep is not None, row.sweep or "", -row.images_per_second))
        shown = sorted(
            (row for row in rows if row.name.startswith("ferdata")), key=lambda row: row.codec != DEFAULT_CODEC
        )
        stored = next((row.bytes_per_image for row in shown), float(reference.bytes_per_image))
        ceilings = meter.to_json(self._options.num_workers, stored_bytes=stored)
        return BenchResult(
            conditions=machine | self._describe_run(reference),
            ceilings=ceilings,
            rows=tuple(rows),
            notes=tuple(
                self._notes + general_notes(self._options, cores=machine["cores"], load=machine["load_before"])
            ),
            limit=explain_limit(ceilings, rows, cores=machine["cores"], workers=self._options.num_workers),
        )

    def _our_entries(self) -> list[Entry]:
        """Return ferdata's rows: every codec, or the codec of the shards that were given."""
        if self._options.shards is None:
            return [entry for entry in OURS if entry.codec in CODECS]
        codec = read_index(Store(self._options.shards)).codec.name
        self._notes.append(
            f"ferdata reads the shards given ({codec}); the others read their first images, encoded again as JPEG"
        )
        if "codec" in self._options.sweep:
            self._notes.append(
                f"sweep: the shards given have one codec, {codec}, so there is no other to compare; recode makes one"
            )
        return [entry for entry in OURS if entry.codec == codec]

    def _prepare(self, chosen: list[Entry], ours: list[Entry]) -> Reference:
        count = choose_count(self._options, chosen)
        if self._options.shards is not None:
            count = min(
                count, read_index(Store(self._options.shards)).num_samples(first_split(Path(self._options.shards)))
            )
        pixel_bytes = count * 3 * self._options.size**2
        require_room(self._work, pixel_bytes, [*ours, *chosen])
        self._say(f"preparing {count:,} images" if self._options.source is None else f"reading {self._options.source}")
        source, self._source_words = prepare_source(self._options, self._work / "source", count=count)
        self._say("decoding them once with Pillow, as the truth to check against")
        reference = make_reference(source)
        require_room(self._work, len(reference.labels) * reference.bytes_per_image, [*ours, *chosen])
        reference.save(self._reference_file)
        return reference

    def _meter(self, subjects: Sequence[Subject], reference: Reference) -> CeilingMeter:
        decoded = [(each.entry, str(each.facts["codec"]), each.out) for each in subjects if each.entry.decoder]
        return CeilingMeter(
            self._work,
            self._stack,
            bytes_per_image=reference.bytes_per_image,
            images=len(reference.labels),
            decoded=decoded,
        )

    def _start(self, entry: Entry, *, given: bool) -> Subject | None:
        """Start a contender's runner, and let it import its library; None, with a note, if that fails."""
        python, reason = find_interpreter(entry, [*self._options.environments, Path.cwd(), PACKAGE_ROOT])
        if reason is not None:
            self._notes.append(f"{entry.name}: left out, {reason}")
            return None
        subject = Subject(
            entry=entry,
            python=python,
            out=Path(self._options.shards)
            if given and self._options.shards
            else self._work / (entry.shares or entry.name),
            given=given,
            workers=self._options.num_workers,
            batch_size=self._options.batch_size,
        )
        subject.launch(self._work, self._stack)
        return subject

    def _ingest(self, source: Path, subject: Subject) -> None:
        subject.greet()
        if subject.given or subject.entry.shares:
            return
        self._say(f"{subject.entry.name}: ingest")
        subject.facts["ingest"] = subject.ask(
            "ingest", timeout_seconds=INGEST_SECONDS, source=str(source), out=str(subject.out)
        )
        if subject.entry.environment:
            # some libraries' writers leave settings and threads behind; importing again goes on meanwhile
            subject.end()
            subject.launch(self._work, self._stack)

    def _measure(self, subjects: list[Subject], meter: CeilingMeter) -> None:
        """Check, warm up and time these subjects: in turns if their data fit in memory together, or group by group."""
        groups = [subjects]
        own = sizes_beside(subjects, meter.files)
        if not self._options.cold and sum(own) + meter.num_bytes > WARM_SHARE * available_memory():
            for subject in subjects:
                subject.end()  # who waits for another group needs no memory
            groups = split_to_fit(subjects, own, WARM_SHARE * available_memory() - meter.num_bytes)
            self._notes.append(
                f"{(sum(own) + meter.num_bytes) / 1e9:.1f} GB of data do not fit in this machine's memory together: "
                f"contenders were timed in {len(groups)} groups, in turns within a group, and the ceilings with each"
            )
            self._say(self._notes[-1])
        for group in groups:
            self._measure_group(group, meter, crowded=len(groups) > 1)

    def _measure_group(self, subjects: list[Subject], meter: CeilingMeter, *, crowded: bool) -> None:
        alive = [subject for subject in subjects if self._try(subject, self._check_and_warm)]
        for turn in range(self._options.epochs):
            self._say(f"timing, turn {turn + 1} of {self._options.epochs}")
            for subject in list(alive):
                if crowded:
                    read_through(subject.out)
                if not self._try(subject, self._time_cold if self._options.cold else self._time_warm):
                    alive.remove(subject)
            if subjects:
                if crowded:
                    meter.warm()
                meter.measure(workers=subjects[0].workers, batch_size=subjects[0].batch_size)
        for subject in subjects:
            subject.end()

    def _try(self, subject: Subject, action: Callable[[Subject], None]) -> bool:
        try:
            action(subject)
        except ContenderError as error:
            self._drop(subject, error)
            return False
        return True

    def _drop(self, subject: Subject, error: ContenderError) -> None:
        self._notes.append(f"left out: {error}")
        self._say(f"left out: {error}")
        subject.runs.clear()
        subject.end()

    def _check_and_warm(self, subject: Subject) -> None:
        if subject.runner is None:
            subject.launch(self._work, self._stack)
        if not subject.greeted:
            subject.greet()
        self._say(f"{subject.entry.name}: check and warm up")
        subject.open(subject.out, seed=self._options.seed)
        if not subject.given:
            subject.facts |= subject.ask("check", reference=str(self._reference_file))
        assert subject.runner is not None
        with PeakMemory(subject.runner.pid) as memory:
            warm = subject.ask("warm")
        subject.facts |= {"memory": memory.peak, "warm": warm, "first_batch_seconds": warm["first_batch_seconds"]}

    def _time_warm(self, subject: Subject) -> None:
        subject.record(subject.ask("epoch", min_seconds=self._options.min_seconds))

    def _time_cold(self, subject: Subject) -> None:
        """Time one epoch of a fresh copy, in a fresh runner, because a file that is mapped somewhere stays cached."""
        subject.end()
        with cold_copy(subject.out, self._work / "cold") as copy:
            subject.launch(self._work, self._stack)
            subject.greet()
            subject.open(copy, seed=self._options.seed)
            subject.record(subject.ask("epoch", min_seconds=0.0))
            subject.end()

    def _sweeps(self, subjects: Sequence[Subject]) -> Iterator[list[Subject]]:
        """Yield each further setting of the axes asked for; the main table's own setting is not measured twice."""
        options = self._options
        settings: list[tuple[str, int, int]] = []
        if "workers" in options.sweep:
            settings += [
                ("workers", n, options.batch_size)
                for n in sweep_workers(options.num_workers)
                if n != options.num_workers
            ]
        if "batch-size" in options.sweep:
            settings += [("batch-size", options.num_workers, n) for n in SWEEP_BATCH_SIZES if n != options.batch_size]
        for axis, workers, batch_size in settings:
            yield [
                replace(each, sweep=axis, runs=[], facts=dict(each.facts), workers=workers, batch_size=batch_size)
                for each in subjects
                if each.runs
            ]

    def _row(self, subject: Subject, meter: CeilingMeter) -> BenchRow:
        timing = Timing(
            seconds=tuple(run["seconds"] for run in subject.runs),
            work=tuple(run["images"] * run["epochs"] for run in subject.runs),
        )
        facts, images = subject.facts, int(subject.runs[0]["images"])
        on_disk, in_epoch = stored_bytes(subject.out, is_ours=subject.entry in OURS)
        return BenchRow(
            name=subject.entry.name,
            codec=facts["codec"],
            workers=subject.workers,
            batch_size=subject.batch_size,
            images_per_second=timing.rate,
            spread=timing.spread,
            fraction_of_ceiling=meter.fraction(
                timing.rate, facts["codec"], subject.workers, ours=subject.entry in OURS
            ),
            bytes_per_image=in_epoch / images,
            peak_memory_bytes=facts["memory"].total_bytes,
            peak_private_bytes=facts["memory"].anonymous_bytes + facts["memory"].shared_bytes,
            first_batch_seconds=facts["first_batch_seconds"],
            cpu_seconds_per_image=sum(run["cpu_seconds"] for run in subject.runs) / sum(timing.work),
            bytes_on_disk=on_disk,
            ingest_seconds=facts["ingest"]["seconds"] if "ingest" in facts else None,
            images=images,
            runs=timing.rates,
            shuffle=facts["shuffle"],
            version=facts["version"],
            sweep=subject.sweep,
        )

    def _describe_run(self, reference: Reference) -> dict[str, Any]:
        options = self._options
        _, height, width = reference.shape
        return {
            "images": len(reference.labels),
            "image": f"uint8 [3, {height}, {width}]",
            "bytes_per_image": reference.bytes_per_image,
            "source": self._source_words,
            "source_bytes_per_image": round(folder_bytes(reference.source) / len(reference.labels)),
            "cache": "cold: fresh copies, page cache asked to forget them"
            if options.cold
            else "warm: page cache, second epoch on",
            "workers": options.num_workers,
            "batch_size": options.batch_size,
            "epochs": options.epochs,
            "min_seconds": options.min_seconds,
            "seed": options.seed,
            "sweep": list(options.sweep),
            "consumer": "reads one byte of every image",
        }


def sweep_workers(most: int) -> list[int]:
    """Return the worker counts of a sweep: 1, 2, 4 ... and ``most`` itself."""
    return sorted({most, *(1 << power for power in range(most.bit_length()) if 1 << power <= most)} - {0})
