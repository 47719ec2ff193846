"""What the tests of the plan share."""

import pytest

from ferdata.plan import advise


def time_shortly(monkeypatch: pytest.MonkeyPatch, *, size: int) -> None:
    """Let a plan measure everything for a moment, with few images of this size."""
    monkeypatch.setattr(advise, "DECODE_SECONDS", 0.4)
    monkeypatch.setattr(advise, "LOADER_SECONDS", 0.2)
    monkeypatch.setattr(advise, "DISK_PROBE_BYTES", 1 << 20)
    monkeypatch.setattr("ferdata.plan.trial_sets.SAMPLE_BYTES", 64 * 3 * size * size)
    monkeypatch.setattr("ferdata.plan.trial_sets.REPEATED_SAMPLES", 4096)
