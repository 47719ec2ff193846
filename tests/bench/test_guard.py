"""The guard: a slowdown is caught, and noise is not."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from ferdata.format.reader import ShardReader
from ferdata_bench.guard import check as guard
from ferdata_bench.guard.cases import CASES
from ferdata_bench.guard.check import Verdict, check


def test_a_loss_of_a_fifth_fails_and_less_passes() -> None:
    """The bar is the one that is promised: 20 % of the recorded speed."""
    assert Verdict(name="a", ratio=1.24, recorded=1.0).ok
    assert not Verdict(name="a", ratio=1.25, recorded=1.0).ok


def test_every_case_is_recorded() -> None:
    """A case without a record would never fail."""
    assert set(json.loads(guard.RECORD.read_text())["ratios"]) == set(CASES)


@pytest.mark.slow
def test_a_planted_slowdown_in_the_loader_fails_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard exists for this: workers that lose time on every read are noticed, in the shipped record's units."""
    read_rows = ShardReader.read_rows

    def slower(
        self: ShardReader, positions: np.ndarray, out: np.ndarray, rows: np.ndarray, *, verify: bool = True
    ) -> int:
        start = time.perf_counter()
        num_bytes = read_rows(self, positions, out, rows, verify=verify)
        time.sleep(0.5 * (time.perf_counter() - start))
        return num_bytes

    sound = check(["loader-zstd"], folder=tmp_path)
    monkeypatch.setattr(ShardReader, "read_rows", slower)
    planted = check(["loader-zstd"], folder=tmp_path)

    assert sound[0].ok
    assert not planted[0].ok
