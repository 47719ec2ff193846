"""The codec study: the front is right on known figures, computed sizes are real ones, a tiny study runs to its end."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from ferdata.errors import OptionError
from ferdata.format import make_codec
from ferdata.sample import TensorSpec
from ferdata_bench.figures.sections import study_section
from ferdata_bench.studies.codecs import StudyOptions, main, run_study
from ferdata_bench.studies.filters import study_filters
from ferdata_bench.studies.front import StudyRow, mark_front
from ferdata_bench.studies.ways import PUBLISHED


def row(name: str, num_bytes: float, speed: float) -> StudyRow:
    return StudyRow(
        size=224,
        kind="JPEG",
        name=name,
        library="ferdata",
        bytes_per_image=num_bytes,
        ratio=150528 / num_bytes,
        images_per_second=speed * 7,
        mb_per_second=speed,
        spread=0.1,
    )


def test_the_front_holds_what_nothing_smaller_outruns() -> None:
    """A row belongs to the front exactly when no row of its size or less is faster; a few percent are forgiven."""
    given = {
        "raw": (150528, 15),
        "fast": (140000, 6),
        "slow": (120000, 2),
        "small": (57000, 4),
        "nearly": (58000, 3.9),
        "jpeg": (57500, 9),
    }

    marked = {row.name: row for row in mark_front([row(name, *figures) for name, figures in given.items()])}

    assert list(marked) == ["small", "jpeg", "nearly", "slow", "fast", "raw"]
    assert {name for name, row in marked.items() if row.front_gap == 0} == {"small", "jpeg", "fast", "raw"}
    assert marked["nearly"].on_front
    assert marked["slow"].front_gap == pytest.approx(4 / 2 - 1)
    assert not marked["slow"].on_front


def test_the_computed_size_of_compact_is_its_real_one() -> None:
    """The filters that were tried are compared with ``compact`` by computed sizes, which must therefore be right."""
    y, x = np.mgrid[:48, :40]
    noise = np.random.default_rng(0).integers(0, 9, (2, 3, 48, 40))
    pixels = (2 * y + 3 * x + noise).astype(np.uint8)
    encode = make_codec("compact").encoder(TensorSpec(dtype="uint8", shape=(3, 48, 40)))

    found = study_filters(pixels)

    real = sum(memoryview(encode(image, None)).nbytes for image in pixels)
    assert found[0][0].name.startswith("compact")
    assert found[0][1] == pytest.approx(pixels.size / real, rel=0.01)
    assert min(ratio for _, ratio in found) > 0.5


@pytest.mark.parametrize("has_published", [False, True])
def test_a_tiny_study_measures_checks_and_draws(
    has_published: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command in docs/codecs.md, on a few small photographs; published codecs are skipped with a word."""
    pytest.importorskip("skimage")
    for library in PUBLISHED:
        if has_published:
            pytest.importorskip(library)
        else:
            monkeypatch.setitem(sys.modules, library, None)
    arguments = ["--sizes", "32", "--images", "2", "--runs", "1", "--cold-bytes", "65536"]
    files = ["--json", str(tmp_path / "study.json"), "--plot", str(tmp_path / "study.png")]

    assert main([*arguments, *files]) == 0

    found = json.loads((tmp_path / "study.json").read_text())
    names = {row["name"] for row in found["rows"]}
    assert {"raw", "zstd -10", "compact", "jpeg"} <= names
    assert ("JPEG XL, effort 1" in names) == has_published == (not found["missing"])
    assert all(row["bytes_per_image"] > 0 and row["images_per_second"] > 0 for row in found["rows"])
    assert found["conditions"]["cpu"]
    assert (tmp_path / "study.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "32 px, pristine: 2 photographs" in printed
    assert ("openzl was not measured" in printed) != has_published
    page = "\n".join(study_section(found))
    assert "| compact | ferdata |" in page
    assert all(sentence in page for sentence in found["missing"])


def test_a_study_of_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong options are told before anything is measured."""
    for options in ({"sizes": ()}, {"sizes": (4,)}, {"images": 0}, {"runs": 0}):
        with pytest.raises(OptionError, match="expected sizes from 8 and at least one of each"):
            run_study(StudyOptions(**options))
    assert main(["--sizes", "4"]) == 1
    assert "expected sizes from 8" in capsys.readouterr().out
