"""The study of predict --live: it runs the real thing, both ways, and its figures are those of the page."""

import json
from pathlib import Path

import pytest

from ferdata_bench.studies.realtime import main


def test_a_film_is_timed_stage_by_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At toy length: half a second of film at either rate."""
    main(["--seconds", "0.5", "--rounds", "1", "--size", "40", "--json", str(tmp_path / "t.json")])

    told = json.loads((tmp_path / "t.json").read_text())
    assert len(told["camera"]) == len(told["limit"]) == 1 and told["frames_per_second"] > 0
    for (figures,) in (told["camera"], told["limit"]):
        assert figures["num_taken"] == 16 and 0 < figures["num_shown"] <= 16
        assert all(took > 0 for took in figures["milliseconds"].values()) and len(figures["milliseconds"]) == 5
    assert told["found"] >= 0.9
    assert f"{told['frames_per_second']:.1f} frames/s at most" in capsys.readouterr().out
