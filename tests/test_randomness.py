"""The random streams: their numbers, and the mixing function in both libraries."""

import re
from pathlib import Path

import numpy as np
import torch

from ferdata.randomness import GOLDEN_RATIO, Stream, shift_right, splitmix64

ROOT = Path(__file__).parent.parent


def test_splitmix64_gives_the_published_numbers_in_both_libraries() -> None:
    """Masks and orders follow from it; the first outputs for seed 1234567 are those of the reference implementation."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    counters = 1234567 + np.arange(1, 4) * GOLDEN_RATIO
    on_torch = torch.from_numpy(counters.copy())

    assert splitmix64(counters).view(np.uint64).tolist() == expected
    assert splitmix64(on_torch).numpy().view(np.uint64).tolist() == expected
    assert (
        shift_right(counters, 40).tolist()
        == shift_right(on_torch, 40).tolist()
        == [number >> 40 for number in expected]
    )


def test_every_stream_keeps_its_numbers() -> None:
    """A number that changes changes the order of shards, epochs or masks of data that is there already."""
    assert Stream.SHARD_ORDER.seed(7, 11, 0) == (7, 3, 11, 0)
    assert Stream.WINDOWS.seed(7, 1, 0, 5) == (7, 1, 2, 0, 5)
    assert Stream.CROPS.number == 2 and Stream.TRAINING_STEPS.seed(7, 30, 1) == (7, 5, 30, 1)
    assert len({stream.value for stream in Stream}) == len(Stream.__members__)


def test_the_mixing_constants_stand_in_one_file() -> None:
    """A second copy is a second place to get them wrong."""
    sources = [
        path for folder in ("ferdata", "model") for kind in ("*.py", "*.c") for path in (ROOT / folder).rglob(kind)
    ]

    found = [path.name for path in sources if re.search("BF58476D1CE4E5B9", path.read_text(), re.IGNORECASE)]

    assert found == ["randomness.py"]
