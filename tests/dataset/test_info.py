"""info tells what a data set is, from its index alone."""

import dataclasses
import json
from pathlib import Path

import pytest
from make_dataset import CODECS, make_dataset

from ferdata.dataset.info import describe
from ferdata.errors import ShardMissingError
from ferdata.format import write_index
from ferdata.store import Store


@pytest.mark.parametrize("codec", CODECS)
def test_the_figures_are_those_of_the_files(tmp_path: Path, codec: str) -> None:
    """People choose a codec and buy disks by these."""
    index = make_dataset(tmp_path, codec=codec, size=32)
    found = describe(str(tmp_path))

    num_bytes = sum(path.stat().st_size for path in tmp_path.glob("*.tar*"))
    assert found.num_bytes == num_bytes
    assert found.bytes_per_image == pytest.approx(num_bytes / 52)
    assert found.ratio == pytest.approx(52 * 3 * 32 * 32 / num_bytes)
    assert (found.samples, found.shards) == ({"train": 40, "val": 12}, {"train": 3, "val": 1})
    assert (found.codec, found.level) == (codec, index.codec.to_json()["level"])
    assert (found.shape, found.dtype) == ([3, 32, 32], "uint8")
    assert found.counts == index.counts
    assert found.fingerprint == index.fingerprint
    assert found.mean == list(index.mean)
    assert json.loads(json.dumps(found.to_json())) == found.to_json()


def test_notes_name_empty_and_rare_classes_and_repeat_those_of_the_ingest(tmp_path: Path) -> None:
    """What a user would otherwise learn from a confusion matrix, a week later."""
    index = make_dataset(tmp_path)
    write_index(
        Store(str(tmp_path)), dataclasses.replace(index, summary={"notes": ["3 images fewer than the release has"]})
    )

    assert describe(str(tmp_path)).notes == [
        "3 images fewer than the release has",
        "train has 23 of Happy and 2 of Fear: consider balanced sampling",
        "val has no sample of Sad, Surprise",
    ]


def test_an_empty_data_set_has_figures_too_and_a_missing_one_is_said(tmp_path: Path) -> None:
    """No division by its zero images."""
    make_dataset(tmp_path / "empty", samples={})
    found = describe(str(tmp_path / "empty"))

    assert (found.num_bytes, found.bytes_per_image, found.ratio, found.notes) == (0, 0.0, 0.0, [])
    with pytest.raises(ShardMissingError, match=r"no index\.json found"):
        describe(str(tmp_path))
