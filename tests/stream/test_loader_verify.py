"""Checksums: which samples a loader verifies and when, and that a flipped bit is found as the README promises."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from streams import corrupt, first_error, make_truth, shard_of, small_jobs

from ferdata.errors import ShardCorruptError
from ferdata.format.codecs import make_codec
from ferdata.format.kernels.native import load
from ferdata.images.transform import TransformOptions
from ferdata.ingest import IngestOptions, ingest
from ferdata.stream import Loader
from ferdata.stream.order.windows import Checked, due

needs_kernels = pytest.mark.skipif(load() is None, reason="without kernels every byte is verified at every read")
SMALL: dict[str, Any] = {"batch_size": 8, "window_samples": 48, "fields": ("images", "labels", "indices"), "seed": 3}
WRONG = {
    "raw": r"train-00000{shard}\.tar: the checksum of sample {sample} does not fit its bytes",
    "compact": r"train-00000{shard}\.tar\.zst: sample {sample}: a zstd frame is damaged",
}
"""What is said of a flipped bit by codecs that leave checksums to the reader."""


@pytest.fixture(autouse=True)
def jobs_of_seven_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    small_jobs(monkeypatch)


@needs_kernels
@pytest.mark.parametrize("codec", WRONG)
def test_verify_first_checks_in_the_first_epoch_and_always_in_each(tmp_path: Path, codec: str) -> None:
    """What is checked, and when, must be as the option says."""
    truth = make_truth(tmp_path, codec=codec)
    options = {**SMALL, "num_workers": 0, "drop_last": False}
    with Loader(truth.root, **options) as first, Loader(truth.root, verify="always", **options) as always:
        list(first)
        list(always)
        corrupt(shard_of(truth), 9)
        list(first)
        error = first_error(always)
    assert re.search(WRONG[codec].format(shard=7, sample=9), str(error))


@needs_kernels
@pytest.mark.parametrize("codec", WRONG)
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_bit_that_flips_after_the_first_epoch_is_found_within_64_epochs_and_in_which_is_arithmetic(
    tmp_path: Path, num_workers: int, codec: str
) -> None:
    """A long training on one set: a disk that goes bad, or a tool that keeps times, must be noticed."""
    truth = make_truth(tmp_path, codec=codec, samples={"train": 70})
    with Loader(truth.root, num_workers=num_workers, drop_last=False, **SMALL) as loader:
        list(loader)
        corrupt(shard_of(truth, 2), 20)  # number 66: its checksum is next taken in epoch 62
        with pytest.raises(ShardCorruptError, match=WRONG[codec].format(shard=2, sample=20)):
            while loader.epoch < 64:
                list(loader)
        assert loader.epoch == 62


@pytest.mark.parametrize("total", [1, 63, 64, 65, 1000])
def test_every_sample_is_verified_once_in_64_epochs_of_the_whole_split(total: int) -> None:
    """The promise of the README, as arithmetic: none is left out and none takes more than its share."""
    samples = np.arange(total)
    checked = Checked(total, always=False)
    checked.note(samples)
    times = sum(np.asarray(due(samples, checked.needs(samples, epoch))).astype(int) for epoch in range(5, 69))
    assert (times == 1).all()


@pytest.mark.parametrize("codec", ["zstd", "jpeg"])
def test_other_codecs_are_verified_in_every_epoch(tmp_path: Path, codec: str) -> None:
    """A checksum costs nothing beside decoding: what is damaged between two epochs is an error in the next."""
    src = tmp_path / "src" / "train"
    for number in range(20):
        path = src / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (16, 16, 3)).astype(np.uint8)).save(path)
    root = tmp_path / "set"
    ingest(
        IngestOptions(
            source="folder",
            src=str(tmp_path / "src"),
            out=str(root),
            transform=TransformOptions(size=16),
            codec=make_codec(codec),
            num_workers=1,
        )
    )
    with Loader(root, num_workers=0, batch_size=5, drop_last=False) as loader:
        list(loader)
        [path] = root.glob("train-*")
        corrupt(path, 12)
        with pytest.raises(ShardCorruptError, match=f"{path}: .*sample 12"):
            list(loader)


def test_what_was_not_read_before_is_verified_in_any_epoch(tmp_path: Path) -> None:
    """A resumed run, or draws by class, meet samples for the first time in a later epoch: an error there too."""
    truth = make_truth(tmp_path, codec="raw")
    with Loader(truth.root, num_workers=0, **SMALL) as loader:
        *_, before, _ = [loader.state_dict() for _ in loader]
    corrupt(shard_of(truth), 9)

    with Loader(truth.root, num_workers=2, **SMALL) as resumed:
        resumed.load_state_dict(before)
        with pytest.raises(ShardCorruptError, match="the checksum of sample 9"):
            for _ in range(3):
                list(resumed)
