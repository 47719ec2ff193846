"""Measuring shards that are given: by any address, and by the bytes of the split that is read."""

from pathlib import Path
from typing import Any

import pytest
from make_dataset import make_dataset

from ferdata.plan import advise as planning
from ferdata.store import Store
from ferdata_bench.loaders.explain import explain_limit
from ferdata_bench.loaders.harness import run_bench
from ferdata_bench.loaders.options import BenchOptions
from ferdata_bench.loaders.subject import stored_bytes


def test_shards_behind_a_url_are_measured_by_the_bytes_of_their_train_split(tmp_path: Path) -> None:
    """The val split, as large as train, and a folder of something else are not what an epoch reads."""
    url = f"memory://bench{tmp_path}"
    index = make_dataset(url, samples={"train": 40, "val": 44}, codec="compact")
    Store(url).write("stray/file", bytes(1 << 20))
    said: list[str] = []

    result = run_bench(
        BenchOptions(
            shards=url,
            against=(),
            num_workers=1,
            batch_size=8,
            min_seconds=0.01,
            sweep=("codec",),
            work=tmp_path / "work",
        ),
        say=said.append,
    )

    rows = {row.name: row for row in result.rows}
    train = sum(info.num_bytes for info in index.shards if info.split == "train")
    assert rows["ferdata-compact"].images == 40 and rows["ferdata-compact"].bytes_per_image == train / 40
    assert train < rows["ferdata-compact"].bytes_on_disk < 1 << 20
    assert result.ceilings["disk_bytes_per_image"] == train / 40 and result.ceilings["decode_codec"] == "compact"
    assert "from zstd" not in result.limit and " zstd " not in result.limit
    assert (
        "preparing 40 images" in said
        and f"the shards measured are a copy of {url} on this machine's disk" in result.notes
    )
    assert any("sweep: the shards given have one codec, compact" in note for note in result.notes)


def test_a_stray_folder_is_no_part_of_the_shards(tmp_path: Path) -> None:
    """Of other contenders every file counts, whatever it is called: mosaicml-streaming has an index.json too."""
    index = make_dataset(tmp_path, samples={"train": 6, "val": 6})
    before = stored_bytes(tmp_path, is_ours=True)
    (tmp_path / "stray").mkdir()
    (tmp_path / "stray/file").write_bytes(bytes(1000))

    assert stored_bytes(tmp_path, is_ours=True) == before
    assert before[1] == sum(info.num_bytes for info in index.shards if info.split == "train")
    assert stored_bytes(tmp_path, is_ours=False) == (before[0] + 1000, before[0] + 1000)


def test_the_limit_names_the_codec_that_was_decoded() -> None:
    """jpeg does not come from zstd."""
    row: Any = type("Row", (), {"name": "ferdata-jpeg", "codec": "jpeg", "sweep": None, "images_per_second": 40.0})
    ceilings = {"copy": 100.0, "decode": 50.0, "decode_codec": "jpeg", "disk": None}

    assert (
        "can decode" not in (text := explain_limit(ceilings, [row], cores=2, workers=2))
        and "decode 50 jpeg images/s" in text
    )


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_plan_takes_a_file_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """The disk that is asked for its free room is the one of the folder."""
    make_dataset(tmp_path, samples={"train": 6})
    monkeypatch.setattr(planning, "_measure", lambda *arguments, disk, **options: disk(1))
    monkeypatch.setattr(planning, "disk_rate", lambda *arguments, **options: 1.0)

    rate, free = planning.plan(form.format(tmp_path))  # type: ignore[misc]

    assert rate == 1.0 and free > 0
