"""The plan's arithmetic, for any machine without one: it recommends what a person who knows the figures would take."""

import math

import pytest

from ferdata.errors import OptionError
from ferdata.plan.predict import CodecFacts, MachineFacts, PlanRow, predict, recommend, worker_counts

GB = 10**9
CODECS = {
    "raw": (153_000, 40_000),
    "zstd": (120_000, 12_000),
    "compact": (57_000, 9_000),
    "jpeg": (15_000, 4_000),
}
"""Bytes and images per second and core, about as measured at 224 px."""


def facts(*names: str, cores: int = 4, **settings: object) -> list[CodecFacts]:
    """Return codecs that scale with the cores; copying does so up to two."""
    return [
        CodecFacts(
            name=name,
            bytes_per_image=CODECS[name][0],
            rates={n: CODECS[name][1] * float(min(n, 2) if name == "raw" else n) for n in worker_counts(cores)},
            is_copy=name == "raw",
            **settings,  # type: ignore[arg-type]
        )
        for name in names or CODECS
    ]


def machine(memory: float, disk: float, *, cores: int = 4, **settings: float) -> MachineFacts:
    """Return a machine with so many GB of memory, and a disk of so many GB a second."""
    return MachineFacts(cores=cores, memory_bytes=int(memory * GB), disk_bytes_per_second=disk * GB, **settings)  # type: ignore[arg-type]


def advise(memory: float, disk: float, *names: str, num_samples: int = 287_651, **settings: float) -> str:
    return recommend(predict(machine(memory, disk, **settings), facts(*names), num_samples=num_samples)).codec


def test_a_set_that_fits_memory_gets_the_fastest_warm_codec() -> None:
    """15,339 images of 224 px are 2.3 GB: whatever the disk does, only the first epoch sees it."""
    for disk in (0.1, 0.5, 5.0):
        assert advise(16, disk, num_samples=15_339) == "raw"


def test_a_set_far_larger_than_memory_on_a_slow_disk_gets_the_smallest_codec() -> None:
    """The disk reads the same bytes a second whatever they hold, so the most images a byte win."""
    assert advise(4, 0.1, num_samples=5_000_000) == "jpeg"
    assert advise(4, 0.1, "raw", "zstd", "compact", num_samples=5_000_000) == "compact"
    assert advise(0, 0.05) == "jpeg"


def test_in_between_the_codec_that_still_fits_memory_wins() -> None:
    """AffectNet's 287,651 images: 44 GB raw, 16 GB compact, 4 GB jpeg."""
    assert advise(64, 0.2) == "raw"
    assert advise(24, 0.2) == "compact"
    assert advise(6, 0.2) == "jpeg"


def test_a_disk_as_fast_as_memory_makes_size_no_matter() -> None:
    """NVMe at 20 GB/s: raw pixels are read as fast as they are copied."""
    assert advise(4, 20, num_samples=5_000_000) == "raw"


def test_what_the_disk_has_no_room_for_is_not_recommended() -> None:
    """Advice that fails at the last shard is none."""
    assert advise(64, 0.2, disk_free_bytes=20 * GB) == "compact"
    stored = [*facts("raw", is_stored=True), *facts("compact")]
    rows = predict(machine(64, 0.2, disk_free_bytes=0), stored, num_samples=287_651)
    assert [row.fits_disk for row in rows] == [True] * 3 + [False] * 3
    assert recommend(rows).codec == "raw"
    assert recommend(rows[3:]).codec == "compact"


def test_equal_speed_goes_to_the_smaller_codec_and_the_fewer_workers() -> None:
    """Five percent is within any machine's noise; gigabytes and processes are not."""
    names = [
        CodecFacts(name="large", bytes_per_image=100, rates={1: 1000, 2: 2000, 4: 2040}),
        CodecFacts(name="small", bytes_per_image=50, rates={1: 990, 2: 1980, 4: 1990}),
    ]
    advice = recommend(predict(machine(1, 1), names, num_samples=1000))
    assert (advice.codec, advice.workers) == ("small", 2)


def test_warm_cold_and_later_epochs_are_bounded_by_what_limits_them() -> None:
    """The figures of one row, by hand."""
    codec = CodecFacts(name="zstd", bytes_per_image=100_000, rates={2: 8000})
    (row,) = predict(machine(5, 0.1), [codec], num_samples=100_000)

    assert row.num_bytes == 10 * GB
    assert row.cached_share == pytest.approx(0.45)
    assert (row.warm, row.cold) == (8000, 1000)
    assert row.steady == pytest.approx(1000)
    assert (row.limit, row.cold_limit, row.fits_memory) == ("memory", "disk", False)

    (warm,) = predict(machine(50, 0.1), [codec], num_samples=100_000)
    assert (warm.steady, warm.limit, warm.cold_limit, warm.fits_memory) == (8000, "decode", "disk", True)


def test_the_consumer_s_own_process_takes_its_share_of_the_cores() -> None:
    """Two workers on two cores leave none for the process that hands out batches."""
    codec = CodecFacts(name="raw", bytes_per_image=1, rates={1: 10_000, 2: 20_000}, is_copy=True)
    shared = machine(1, 1, cores=2, loader_seconds_per_image=20e-6)
    one, two = predict(shared, [codec], num_samples=1000)
    assert one.warm == pytest.approx(10_000)
    assert two.warm == pytest.approx(2 / (100e-6 + 20e-6))

    messages = machine(1, 1, cores=4, worker_seconds_per_image=25e-6)
    assert [row.warm for row in predict(messages, [codec], num_samples=1000)] == pytest.approx([8000, 16_000])
    (slow,) = predict(
        machine(1, 1, cores=64, loader_seconds_per_image=100e-6),
        [CodecFacts(name="raw", bytes_per_image=1, rates={64: 1e6})],
        num_samples=9,
    )
    assert (slow.warm, slow.limit) == (pytest.approx(10_000), "loader")


@pytest.mark.parametrize("memory", [0, 1, 4, 16, 64, 1000])
@pytest.mark.parametrize("disk", [0.02, 0.2, 2, 20])
def test_more_memory_or_a_faster_disk_never_slows_a_prediction(memory: float, disk: float) -> None:
    """And no row is faster than its own warm rate, nor slower than its cold one."""
    better = [
        predict(machine(m, d), facts(), num_samples=287_651)
        for m, d in ((memory, disk), (memory * 2, disk), (memory, disk * 2))
    ]
    for base, more, faster in zip(*better, strict=True):
        assert base.cold <= base.steady <= base.warm
        assert more.steady >= base.steady and faster.steady >= base.steady and faster.cold >= base.cold


def test_the_sentence_names_codec_workers_rate_and_reason() -> None:
    """It may be all that is read."""
    rows = predict(machine(24, 0.2), facts(), num_samples=287_651)
    sentence = recommend(rows, notes={"compact": "a note"}).sentence
    assert sentence.startswith(
        "Use compact with 4 workers: 36,000 images/s, 16.4 GB; all of it stays in memory after the first epoch"
    )
    assert (
        "which raw (44.0 GB) would not" in sentence
        and "decoding is the limit" in sentence
        and sentence.endswith("; a note")
    )
    slow = recommend(predict(machine(1, 0.1), facts(), num_samples=5_000_000)).sentence
    assert "memory has room for 1% of it, so the disk reads it in every epoch" in slow


@pytest.mark.parametrize(
    ("cores", "counts"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (12, [1, 2, 4, 8, 12])]
)
def test_worker_counts_double_up_to_the_cores(cores: int, counts: list[int]) -> None:
    """Every one is measured, so there must be few."""
    assert worker_counts(cores) == counts


def test_nonsense_is_refused() -> None:
    """Rather than divided by."""
    with pytest.raises(
        OptionError, match=r"machine: 4 cores, .* expected at least one core and a disk that can be read"
    ):
        machine(1, 0)
    with pytest.raises(OptionError, match="plan: 0 samples and 4 codecs found"):
        predict(machine(1, 1), facts(), num_samples=0)
    with pytest.raises(OptionError, match="plan: 9 samples and 0 codecs found"):
        predict(machine(1, 1), [], num_samples=9)
    assert all(
        isinstance(row, PlanRow) and math.isfinite(row.steady) for row in predict(machine(0, 1), facts(), num_samples=1)
    )
