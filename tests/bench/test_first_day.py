"""The study of the first day: it goes on where it stopped, and its page and picture say what its file says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from matplotlib.text import Text

from ferdata.plan.timing import now
from ferdata_bench.figures.first_day import first_day_section
from ferdata_bench.figures.first_day_picture import draw_first_day
from ferdata_bench.loaders.usage import PeakMemory
from ferdata_bench.studies import first_day

MACHINE = {"images": 1000, "source_bytes_per_image": 12_000, "workers": 2, "load_before": 0.1, "quick": False}


def _row(name: str, codec: str, converted: float | None, first: float, second: float) -> dict[str, Any]:
    memory = {"peak_bytes": 300_000_000, "peak_private_bytes": 200_000_000}
    steps = {"scan": {"seconds": 2.0, **memory}, "ingest": {"seconds": 8.0, "images_per_second": 125.0}}
    streamed = {"first_batch_seconds": 1.5, "first_epoch_seconds": first, **memory}
    return {
        **{"name": name, "codec": codec, "version": None, "shuffle": "whole set", "bytes": 12_000_000},
        "conversion": {"seconds": converted, **memory, **steps} if converted else None,
        "cold": streamed | {"second_epoch_seconds": second},
        "warm": streamed | {"first_epoch_seconds": first - 1},
    }


def _values(*rows: dict[str, Any], left: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"command": "c", "conditions": MACHINE, "rows": list(rows), "notes": ["x: left out"], "left": list(left)}


FOLDER = _row("imagefolder-torchvision", "jpeg", None, 50, 40)
QUICKER = _row("ferdata-compact", "compact", 100, 20, 10)
SLOWER = _row("webdataset-jpeg", "jpeg", 5, 60, 41)


def test_the_page_says_after_how_many_epochs_a_conversion_has_paid() -> None:
    """100 s of conversion and 30 s gained in each epoch; what gains nothing is told as well."""
    lines = first_day_section(_values(FOLDER, QUICKER, SLOWER))

    pays = "webdataset-jpeg never, ferdata-compact after 4 epochs"  # three: 140 s, and 130 s without conversion
    assert f"Conversion included, ahead of `imagefolder-torchvision`: {pays}." in lines
    assert "| imagefolder-torchvision | none | 1.5 | 50 | 1.5 | 49 | 40 | 1.5 | 200 | 0.0 |  |" in lines
    assert "| compact | 2.0 | 500 | 300 | 8 | 125 | 300 |" in lines
    assert lines[-1] == "- x: left out"


def test_the_picture_says_memory_and_disk_and_what_memory_cannot_hold() -> None:
    """Bars alone would hide that the fastest takes ten times the room."""
    raw = _row("ferdata-raw", "raw", 90, 20, 10) | {"bytes": 44_600_000_000, "warm": None}

    words = [text.get_text() for text in draw_first_day(_values(FOLDER, QUICKER, raw)).findobj(Text)]

    assert words.index("90.0   0.2 GB memory, 0.0 GB disk") < words.index("120.0   0.2 GB memory, 44.6 GB disk")
    assert words.count("more than memory") == 1 and words.count("warm") == 3
    assert "seconds from a folder of 1,000 JPEG files of 224 px, 2 workers" in words


def test_a_run_that_was_stopped_goes_on_and_one_that_is_finished_begins_anew(tmp_path: Path) -> None:
    """Half an hour is not measured again for the last contender, and no figure of another run stays in a new one."""

    def kept(values: dict[str, Any], *, only: tuple[str, ...] = (), **conditions: Any) -> list[str]:
        (tmp_path / "f.json").write_text(json.dumps(values))
        return [*first_day._kept(tmp_path / "f.json", MACHINE | conditions, only, lambda text: None)]

    both, unfinished = _values(FOLDER, QUICKER), _values(FOLDER, QUICKER, left=("webdataset-jpeg",))

    assert kept(unfinished, load_before=2.0) == [FOLDER["name"], QUICKER["name"]]
    assert kept(both) == [] and kept(unfinished, images=2000) == []
    assert kept(both, only=(FOLDER["name"],)) == [QUICKER["name"]]
    assert first_day._kept(None, MACHINE, (), lambda text: None) == {}


def test_what_is_not_installed_is_said_and_another_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rival that silently is not there looks like one that was beaten."""
    monkeypatch.setattr(first_day, "find_interpreter", lambda entry, folders: ("python", entry.environment or None))
    notes: list[str] = []

    found = first_day._installed(first_day.FirstDayOptions(), notes)

    assert [entry.name for entry, _ in found] == [name for name in first_day.CONTENDERS if name != "ffcv-jpg"]
    assert [note.partition(":")[0] for note in notes] == ["ffcv-jpg", "litdata-jpeg"]


def test_the_peak_of_a_part_is_that_of_its_looks() -> None:
    """A scan's memory must not be that of the ingest behind it."""
    script = "import time; time.sleep(0.3); held = bytearray(1 << 26); print(flush=True); time.sleep(9)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        with PeakMemory(process.pid) as memory:
            before = now() + 0.2
            assert process.stdout is not None and process.stdout.readline()
        process.kill()

    assert 0 < memory.peak_until(before).total_bytes < memory.peak.total_bytes - (1 << 25)


@pytest.mark.slow
def test_a_tiny_study_measures_writes_and_removes(tmp_path: Path) -> None:
    """Every image comes in every epoch, and of 48 GB nothing may stay behind."""
    path = tmp_path / "first-day.json"
    given = ["--quick", "--work", str(tmp_path / "work"), "--json", str(path)]

    assert first_day.main(given) == 0

    values = json.loads(path.read_text())
    assert [row["name"] for row in values["rows"]] == list(first_day.QUICK_CONTENDERS)
    ours, folder = values["rows"]
    assert folder["conversion"] is None and ours["conversion"]["seconds"] > ours["conversion"]["scan"]["seconds"] > 0
    for row in values["rows"]:
        cold = row["cold"]
        assert 0 < cold["first_batch_seconds"] < cold["first_epoch_seconds"]
        assert row["warm"]["first_epoch_seconds"] > 0 and row["cold"]["peak_private_bytes"] > 10_000_000
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["photos-224-64-0"]
    assert values["left"] == [] and values["command"].endswith("--quick --json first-day.json")
