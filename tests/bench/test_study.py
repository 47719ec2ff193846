"""The codec study: the front and the defaults are right on known figures, and a tiny study runs from end to end."""

import json
from pathlib import Path
from typing import Any

import pytest

from ferdata.errors import OptionError
from ferdata_bench.studies.codecs import StudyOptions, main, run_study
from ferdata_bench.studies.front import MIN_SPEED, StudyRow, choose_defaults, mark_front

pytest.importorskip("skimage")


def row(name: str, codec: str, num_bytes: float, speed: float, *, size: int = 224, **fields: Any) -> StudyRow:
    known = {
        "level": None,
        "filter": None,
        "images_per_frame": 1,
        "ratio": 150528 / num_bytes,
        "images_per_second": speed * 4000,
        "spread": 0.1,
    }
    return StudyRow(
        size=size, name=name, codec=codec, bytes_per_image=num_bytes, times_decode_jpeg=speed, **(known | fields)
    )


def figures(size: int = 224, *, compact: float = 4.0) -> list[StudyRow]:
    return [
        row("raw", "raw", 150528, 15, size=size),
        row("plain fast", "zstd", 140000, 6, size=size),
        row("plain slow", "zstd", 120000, 2, size=size),
        row("plain frames", "zstd", 121000, 9, size=size, images_per_frame=4),
        row("filtered slow", "compact", 50000, 2.2, size=size),
        row("filtered fast", "compact", 57000, compact, size=size),
        row("filtered worse", "compact", 60000, 3.1, size=size),
        row("jpeg", "jpeg", 13000, 1.1, size=size),
    ]


def test_the_front_holds_what_nothing_smaller_outruns() -> None:
    """A row belongs to the front exactly when no row of its size or less is faster; a few percent are forgiven."""
    marked = {row.name: row for row in mark_front([*figures(), row("nearly", "compact", 58000, 3.9)])}

    assert next(iter(marked)) == "jpeg"
    assert {name for name, row in marked.items() if row.front_gap == 0} == {
        "jpeg",
        "filtered slow",
        "filtered fast",
        "plain fast",
        "plain frames",
        "raw",
    }
    assert marked["nearly"].on_front
    assert marked["plain slow"].front_gap == pytest.approx(4 / 2 - 1)
    assert not marked["filtered worse"].on_front


def test_defaults_follow_their_rules_at_every_size_together() -> None:
    """One setting serves all sizes, so the slowest of them decides."""
    chosen = choose_defaults(mark_front(figures()) + mark_front(figures(100)))

    assert {codec: choice["name"] for codec, choice in chosen.items()} == {
        "raw": "raw",
        "zstd": "plain fast",
        "compact": "filtered fast",
        "jpeg": "jpeg",
    }
    assert chosen["compact"]["on_front"] == [224, 100]
    assert f"the smallest of 3 that is as fast as {MIN_SPEED:g} times decode_jpeg" == chosen["compact"]["why"]

    slower = choose_defaults(mark_front(figures()) + mark_front(figures(100, compact=2.9)))
    assert slower["compact"]["name"] == "filtered worse"


def test_where_no_way_is_fast_enough_the_fastest_is_taken_and_said() -> None:
    """A machine may be odd; the study must still answer."""
    slow = [
        row("raw", "raw", 3, 1),
        row("z", "zstd", 2, 0.5),
        row("a", "compact", 1, 0.7),
        row("b", "compact", 1.5, 0.8),
        row("j", "jpeg", 1, 0.1),
    ]

    chosen = choose_defaults(mark_front(slow))

    assert (chosen["compact"]["name"], chosen["zstd"]["name"]) == ("b", "z")
    assert "the fastest; none of 2" in chosen["compact"]["why"]


def test_a_tiny_study_measures_checks_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command in docs/codecs.md, on a few small photographs."""
    arguments = ["--quick", "--sizes", "32", "--images", "2", "--runs", "1", "--cold-bytes", "65536"]
    files = ["--json", str(tmp_path / "study.json"), "--plot", str(tmp_path / "study.png")]

    assert main([*arguments, *files]) == 0

    found = json.loads((tmp_path / "study.json").read_text())
    assert {row["codec"] for row in found["rows"]} == {"raw", "zstd", "compact", "jpeg"} == set(found["defaults"])
    assert all(row["bytes_per_image"] > 0 and row["images_per_second"] > 0 for row in found["rows"])
    assert any(row["front_gap"] == 0 for row in found["rows"])
    assert found["conditions"]["cpu"] and found["yardstick"]["32"] > 0
    assert (tmp_path / "study.png").read_bytes().startswith(b"\x89PNG")
    assert "default of compact: compact" in capsys.readouterr().out


def test_a_study_of_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong options are told before anything is measured."""
    for options in ({"sizes": ()}, {"sizes": (4,)}, {"images": 0}, {"runs": 0}):
        with pytest.raises(OptionError, match="expected sizes from 8 and at least one of each"):
            run_study(StudyOptions(**options))
    assert main(["--sizes", "4"]) == 1
    assert "expected sizes from 8" in capsys.readouterr().out
