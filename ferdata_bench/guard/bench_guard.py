"""Regression benchmarks for pytest-benchmark: every case of the guard, its yardstick timed beside it.

    make bench        (pytest ferdata_bench --benchmark-enable)

Each prints its own time; ``extra_info`` holds the ratio to the same run's yardstick, for ``make bench-check``.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from ferdata_bench.guard.cases import CASES, GuardData
from ferdata_bench.guard.check import measure


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> GuardData:
    """Photographs and their shards, made once."""
    return GuardData(Path(tmp_path_factory.mktemp("guard")))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Whatever a case opens is closed after it."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("name", CASES)
def test_case(name: str, data: GuardData, stack: ExitStack, benchmark: BenchmarkFixture) -> None:
    """Time one case; compare runs by the ratio, never by seconds."""
    pair = CASES[name](data, stack)
    benchmark.extra_info["time_over_yardstick"] = measure(name, data, pairs=5)
    benchmark.pedantic(pair.ours, rounds=5, warmup_rounds=1)
