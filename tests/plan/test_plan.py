"""The plan measures and advises: on this machine, with a data set's own images, and without touching them."""

import json
from pathlib import Path

import numpy as np
import pytest
from make_dataset import make_dataset
from PIL import Image
from plans import time_shortly

from ferdata.console.plan import show_plan
from ferdata.console.screen import console
from ferdata.errors import OptionError, ShardMissingError
from ferdata.format import make_codec, read_index
from ferdata.ingest import IngestOptions, ingest
from ferdata.plan import advise as planning
from ferdata.plan.advise import MachinePlan, choose_codec, plan
from ferdata.plan.predict import worker_counts
from ferdata.plan.trial_sets import write_sample_sets
from ferdata.setting import build
from ferdata.store import Store
from ferdata_bench.studies.plan_check import check_plan

SIZE = 64


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested is that it is timed, not how well."""
    time_shortly(monkeypatch, size=SIZE)


def write_tree(root: Path, *, files: int = 40, others: int = 0) -> Path:
    """Write a class-folder tree of grainy JPEGs, and of PNGs beside them."""
    y, x = np.mgrid[:SIZE, :SIZE]
    for number in range(files + others):
        grain = np.random.default_rng(number).integers(0, 60, (SIZE, SIZE, 3))
        image = Image.fromarray((np.stack([x + number, y * 2, (x + y) % 100], axis=2) % 190 + grain).astype(np.uint8))
        path = root / "train" / ("Happy", "Sad")[number % 2] / f"{number:03d}.{'jpg' if number < files else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **({"quality": 70} if number < files else {}))
    return root


def asked(src: Path | str, out: str = "", **settings: object) -> IngestOptions:
    return build(
        IngestOptions, {"source": "folder", "src": str(src), "out": out, "size": SIZE, "num_workers": 1} | settings
    )


def shard(tmp_path: Path, codec: str, **settings: object) -> str:
    root = str(tmp_path / codec)
    ingest(asked(write_tree(tmp_path / "src"), root, codec=make_codec(codec), **settings))
    return root


def assert_whole(found: MachinePlan, codecs: list[str]) -> None:
    """Check that every codec has a row for every number of workers, with figures that can be used."""
    counts = worker_counts(found.machine.cores)
    assert [(row.codec, row.workers) for row in found.rows] == [(codec, count) for codec in codecs for count in counts]
    assert all(0 < row.cold <= row.steady <= row.warm for row in found.rows)
    assert found.machine.memory_bytes > 0 and found.machine.loader_seconds_per_image > 0
    assert found.recommendation.codec in codecs and found.recommendation.workers in counts


@pytest.mark.parametrize("codec", ["jpeg", "compact"])
def test_a_plan_covers_every_codec_the_images_can_have(
    tmp_path: Path, codec: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From whichever codec it starts; the screen and the JSON say the same."""
    root = shard(tmp_path, codec)
    before = {path: path.read_bytes() for path in Path(root).iterdir()}
    found = plan(root)

    assert_whole(found, ["raw", "zstd", "compact", "jpeg"])
    assert (found.codec, found.num_samples, found.shape) == (codec, 40, (3, SIZE, SIZE))
    stored = next(facts for facts in found.codecs if facts.is_stored)
    assert stored.name == codec
    assert stored.bytes_per_image == sum(info.num_bytes for info in read_index(Store(root)).shards) / 40
    assert {path: path.read_bytes() for path in Path(root).iterdir()} == before
    assert any(f"{found.recommendation.workers} workers) gives the same batches" in note for note in found.notes)
    assert any("the images are not here" in note for note in found.notes) == (codec == "compact")

    record = json.loads(json.dumps(found.to_json()))
    assert record["recommendation"]["sentence"] == found.recommendation.sentence
    assert [row["warm"] for row in record["rows"]] == [row.warm for row in found.rows]
    assert all(row["fits_memory"] for row in record["rows"])
    show_plan(found)
    shown = " ".join(capsys.readouterr().out.split())
    assert found.recommendation.sentence in shown and "compact" in shown
    monkeypatch.setattr(console, "_width", 60)
    show_plan(found)
    narrow = capsys.readouterr().out
    assert (
        "…" not in narrow and "a wider terminal shows cold limit, " in narrow and f"{found.rows[0].warm:,.0f}" in narrow
    )


def test_images_that_were_changed_cannot_be_jpeg(tmp_path: Path) -> None:
    """Advice that shard --codec jpeg would refuse is none."""
    found = plan(shard(tmp_path, "zstd", size=SIZE // 2))
    assert_whole(found, ["raw", "zstd", "compact"])


def test_a_data_set_of_another_source_can_be_planned_for(tmp_path: Path) -> None:
    """Records that say nothing of the source's size leave jpeg out; odd sizes and several splits are no matter."""
    make_dataset(tmp_path / "shards", size=17)
    assert_whole(plan(str(tmp_path / "shards")), ["raw", "zstd", "compact"])


def test_the_sample_is_the_data_set_s_own_images_bit_for_bit(tmp_path: Path) -> None:
    """Decoding speed depends on what is decoded."""
    from ferdata.format import ShardReader

    root = shard(tmp_path, "jpeg")
    index = read_index(Store(root))
    (tmp_path / "work").mkdir()
    sets = write_sample_sets(Store(root), index, tmp_path / "work")
    with ShardReader(Store(root), index.shards[0], index) as reader:
        expected = [sample.pixels for sample in reader]
    for name, sample in sets.items():
        with ShardReader(Store(sample.root), sample.index.shards[0], sample.index) as reader:
            for found, pixels in zip(reader, expected, strict=True):
                np.testing.assert_array_equal(found.pixels, pixels, err_msg=name)
    assert sets["jpeg"].note == ""


def test_no_data_set_and_an_empty_one_are_said(tmp_path: Path) -> None:
    """One line, before anything is measured."""
    with pytest.raises(ShardMissingError, match=r"no index\.json found"):
        plan(str(tmp_path))
    make_dataset(tmp_path / "none", samples={"train": 0})
    with pytest.raises(OptionError, match="0 samples found, expected some to measure with"):
        plan(str(tmp_path / "none"))


def test_auto_chooses_for_a_source_tree_and_says_why(tmp_path: Path) -> None:
    """Nothing is written to the data set's folder, and what is chosen can then be written."""
    said: list[str] = []
    chosen = choose_codec(asked(write_tree(tmp_path / "src"), str(tmp_path / "out" / "deep")), say=said.append)

    assert said[-1].startswith(f"codec {chosen}: Use {chosen} with")
    assert [path.name for path in tmp_path.iterdir()] == ["src"]


def slow_and_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this a machine whose memory keeps nothing and whose disk is a bad link."""
    monkeypatch.setattr(planning, "available_memory", lambda: 0)
    monkeypatch.setattr(planning, "disk_rate", lambda store, names, num_processes: 50_000.0)


def test_on_a_slow_disk_auto_takes_jpeg_where_every_image_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The smallest codec, by far; and one PNG among the images leaves compact."""
    slow_and_small(monkeypatch)
    assert choose_codec(asked(write_tree(tmp_path / "src"))) == "jpeg"
    assert choose_codec(asked(write_tree(tmp_path / "src", others=1))) == "compact"
    assert choose_codec(asked(tmp_path / "src", size=SIZE // 2)) == "compact"


def test_a_png_that_the_sample_missed_still_keeps_jpeg_from_being_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise shard --codec auto would end in a refusal of its own choice."""
    slow_and_small(monkeypatch)
    said: list[str] = []
    options = asked(write_tree(tmp_path / "src", files=600, others=2))
    monkeypatch.setattr(planning, "SAMPLE_BYTES", 0)
    monkeypatch.setattr(planning.np, "linspace", lambda start, stop, count: np.arange(20))

    assert choose_codec(options, say=said.append) == "compact"
    assert "jpeg would be best, but of the images 2 not a JPEG" in said[0]


def test_auto_keeps_the_codec_of_what_is_there_and_minds_the_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed run must go on with its codec; a zstd level asks for a codec that has levels."""
    slow_and_small(monkeypatch)
    root = shard(tmp_path, "raw")
    assert choose_codec(asked(tmp_path / "src", root)) == "raw"
    unfinished = tmp_path / "unfinished"
    (unfinished / ".parts").mkdir(parents=True)
    (unfinished / ".parts" / "settings.json").write_text('{"codec": "zstd"}')
    assert choose_codec(asked(tmp_path / "src", str(unfinished))) == "zstd"
    assert choose_codec(asked(tmp_path / "src", str(tmp_path / "new")), level=3) == "zstd"


def test_the_check_measures_every_codec_with_the_real_loader(tmp_path: Path) -> None:
    """A prediction is worth what the loader says of it."""
    found, checked = check_plan(Path(shard(tmp_path, "jpeg")), work=tmp_path, min_seconds=0.05, workers=[1])

    assert [(row.codec, row.workers) for row in checked] == [(codec, 1) for codec in ("raw", "zstd", "compact", "jpeg")]
    for row in checked:
        assert row.predicted == next(each.warm for each in found.rows if (each.codec, each.workers) == (row.codec, 1))
        assert row.measured > 0 and row.error == row.predicted / row.measured - 1
