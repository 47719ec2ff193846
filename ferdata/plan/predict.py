"""What a machine can do with a data set, by arithmetic: images/s for each codec and number of workers, and the best.

In: what was measured. Out: rows and one recommendation. Pure: no disk, clock or processes, so it plans for any machine.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ferdata.errors import OptionError

__all__ = ["CodecFacts", "MachineFacts", "PlanRow", "Recommendation", "predict", "recommend", "worker_counts"]

CLOSE = 0.95
"""Rates within 5 % are the same: the smaller codec, or the fewer workers, win."""
CACHE_SHARE = 0.9
"""Of the memory that is available, what the page cache can be expected to keep of one data set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """What a machine has.

    Attributes:
        cores: Cores this process may use.
        memory_bytes: Memory that is free or could be freed, the page cache included.
        disk_bytes_per_second: Of reading files that are not in memory, all cores together.
        disk_free_bytes: Room for another data set beside this one; None where it is not known.
        loader_seconds_per_image: Processor time of the consumer's process, to hand out one image.
        worker_seconds_per_image: Time a worker spends on one image's share of messages, beside decoding.
    """

    cores: int
    memory_bytes: int
    disk_bytes_per_second: float
    disk_free_bytes: int | None = None
    loader_seconds_per_image: float = 0.0
    worker_seconds_per_image: float = 0.0

    def __post_init__(self) -> None:
        if self.cores < 1 or self.memory_bytes < 0 or not self.disk_bytes_per_second > 0:
            raise OptionError(
                f"machine: {self.cores} cores, {self.memory_bytes:,} bytes of memory and "
                f"{self.disk_bytes_per_second} bytes/s found, "
                "expected at least one core and a disk that can be read; correct the figures"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecFacts:
    """What a codec costs with the images of one data set.

    Attributes:
        name: The codec.
        bytes_per_image: Stored bytes, heads and tables included.
        rates: Processes -> images per second that they decode side by side into shared memory.
        is_copy: Whether decoding is copying.
        is_stored: Whether the data set has this codec already, so that it needs no more room.
        note: What the reader should know of these figures.
    """

    name: str
    bytes_per_image: float
    rates: Mapping[int, float]
    is_copy: bool = False
    is_stored: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """One codec with one number of workers.

    Attributes:
        codec: The codec.
        workers: Worker processes.
        num_bytes: The data set's size on disk.
        cached_share: Share of it that memory has room for. Below 1 the page cache finds next to nothing again: an epoch
            is a long cycle.
        warm: Images per second when all of it is in memory.
        cold: Images per second of an epoch that finds nothing in memory.
        steady: Images per second of every epoch after the first on this machine.
        limit: What limits ``steady``: ``decode``, ``copy``, ``loader`` (the consumer's process) or ``memory`` (too
            small to keep the set, so the disk is read in every epoch).
        cold_limit: What limits ``cold``: ``disk``, or as above.
        fits_disk: Whether there is room to write it.
    """

    codec: str
    workers: int
    num_bytes: int
    cached_share: float
    warm: float
    cold: float
    steady: float
    limit: str
    cold_limit: str
    fits_disk: bool

    @property
    def fits_memory(self) -> bool:
        """Whether the page cache keeps all of it."""
        return self.cached_share >= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What to use here.

    Attributes:
        codec: The codec.
        workers: Worker processes of the loader.
        row: Its prediction.
        sentence: The same for a person, with the reason.
    """

    codec: str
    workers: int
    row: PlanRow
    sentence: str


def worker_counts(cores: int) -> list[int]:
    """Return 1, 2, 4 ... and ``cores`` itself."""
    return sorted({1 << power for power in range(cores.bit_length()) if 1 << power <= cores} | {cores})


def predict(machine: MachineFacts, codecs: Sequence[CodecFacts], *, num_samples: int) -> tuple[PlanRow, ...]:
    """Return a row for every codec and every number of workers that was measured.

    ``warm``: what the processes decode, less their messages, as far as the consumer's process keeps up and the cores
    are enough for both. ``cold``: no more than the disk reads, since reading and decoding overlap. ``steady``: as warm
    where the page cache keeps the set; otherwise the disk must read all of it in every epoch.

    Raises:
        OptionError: If there is nothing to predict.
    """
    if num_samples < 1 or not codecs or not all(facts.rates for facts in codecs):
        raise OptionError(
            f"plan: {num_samples} samples and {len(codecs)} codecs found, expected some of each; give a data set"
        )
    return tuple(
        _row(machine, facts, workers, rate, num_samples=num_samples)
        for facts in codecs
        for workers, rate in sorted(facts.rates.items())
    )


def recommend(rows: Sequence[PlanRow], *, notes: Mapping[str, str] | None = None) -> Recommendation:
    """Return the codec and the number of workers that give the most images per second in every epoch after the first.

    The first is left out: it is one of many, and a data set just written is in memory already. Among codecs within 5 %
    of the best it is the smallest on disk; then the fewest workers within 5 % of that codec's best. What the disk has
    no room for is not recommended, unless there is nothing else.

    Args:
        rows: From :func:`predict`.
        notes: Codec -> what to say if it is chosen.
    """
    possible = [row for row in rows if row.fits_disk] or list(rows)
    best_rate = max(row.steady for row in possible)
    smallest = min(
        (row for row in possible if row.steady >= CLOSE * best_rate), key=lambda row: (row.num_bytes, -row.steady)
    )
    same = [row for row in possible if row.codec == smallest.codec]
    most = max(row.steady for row in same)
    row = min((row for row in same if row.steady >= CLOSE * most), key=lambda row: row.workers)
    note = (notes or {}).get(row.codec, "")
    return Recommendation(
        codec=row.codec, workers=row.workers, row=row, sentence=_sentence(row, possible) + (f"; {note}" if note else "")
    )


def _row(machine: MachineFacts, facts: CodecFacts, workers: int, rate: float, *, num_samples: int) -> PlanRow:
    num_bytes = math.ceil(facts.bytes_per_image * num_samples)
    cached = min(1.0, CACHE_SHARE * machine.memory_bytes / max(1, num_bytes))
    worker_seconds = workers / rate + machine.worker_seconds_per_image
    loader_seconds = machine.loader_seconds_per_image
    handed = 1 / loader_seconds if loader_seconds else math.inf
    warm = min(workers / worker_seconds, handed, machine.cores / (worker_seconds + loader_seconds))
    warm_limit = "loader" if warm >= handed else "copy" if facts.is_copy else "decode"
    disk = machine.disk_bytes_per_second / facts.bytes_per_image
    # What is read once per epoch and does not fit pushes itself out of the cache before its turn comes again.
    read_again = disk if cached < 1 else math.inf
    return PlanRow(
        codec=facts.name,
        workers=workers,
        num_bytes=num_bytes,
        cached_share=cached,
        warm=warm,
        cold=min(warm, disk),
        steady=min(warm, read_again),
        limit="memory" if read_again < warm else warm_limit,
        cold_limit="disk" if disk < warm else warm_limit,
        fits_disk=facts.is_stored or machine.disk_free_bytes is None or num_bytes <= machine.disk_free_bytes,
    )


def _sentence(row: PlanRow, possible: Sequence[PlanRow]) -> str:
    workers = f"{row.workers} worker{'s' if row.workers > 1 else ''}"
    what = f"Use {row.codec} with {workers}: {row.steady:,.0f} images/s, {row.num_bytes / 1e9:,.1f} GB"
    cached = f"memory has room for {row.cached_share:.0%} of it"
    larger = [other for other in possible if other.warm > row.warm and other.steady < row.steady]
    if row.fits_memory:
        faster = max(larger, key=lambda other: other.warm, default=None)
        reason = "all of it stays in memory after the first epoch" + (
            f", which {faster.codec} ({faster.num_bytes / 1e9:,.1f} GB) would not"
            if faster is not None and not faster.fits_memory
            else ""
        )
        return f"{what}; {reason}, and {_LIMITS[row.limit]}"
    if row.limit == "memory":
        return f"{what}; {cached}, so the disk reads it in every epoch, and the fewest bytes per image win"
    return f"{what}; {cached}, but the disk keeps up, and {_LIMITS[row.limit]}"


_LIMITS = {
    "copy": "copying memory is the limit",
    "decode": "decoding is the limit",
    "loader": "the consumer's own process is the limit",
}
