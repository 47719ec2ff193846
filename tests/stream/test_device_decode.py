"""``ferdata.decode``: the kernels' pixels from tensor operations, and every payload that they refuse refused."""

import io
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from make_dataset import expected_pixels
from torch.utils._python_dispatch import TorchDispatchMode

import ferdata
from ferdata.errors import OptionError, ShardCorruptError
from ferdata.stream.device import decode_torch
from ferdata.stream.device.decode import _SCRATCH_BYTES
from ferdata.stream.device.decode_torch import scratch_bytes, undo
from ferdata_bench.gpu.payloads import by_the_kernels, damaged, encoded, joined, pictures

GOLDEN = Path(__file__).parents[1] / "golden" / "compact"
HEADER_BYTES = 128
SHAPES = [(1, 1, 1), (1, 1, 65), (2, 3, 1), (3, 1, 1), (3, 5, 7), (2, 31, 33), (4, 9, 40), (3, 64, 64), (5, 7, 200)]


@pytest.fixture(params=["uint8", "int32"])
def sums(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of running sums; int32 are those of MPS."""
    monkeypatch.setattr(decode_torch, "_sum_kind", lambda device: getattr(torch, request.param))
    return request.param


@pytest.mark.parametrize("shape", SHAPES)
def test_a_batch_has_the_pixels_that_were_encoded(shape: tuple[int, int, int], sums: str) -> None:
    """Whatever stands in the images, and however few pixels they have."""
    images = pictures(shape)
    payloads, offsets = joined([encoded(image) for image in images])

    assert np.array_equal(ferdata.decode(payloads, offsets, shape).numpy(), images)


@st.composite
def batches(draw: st.DrawFn) -> np.ndarray:
    """Up to four images of any small shape whose noise has any strength."""
    shape = [draw(st.integers(1, most)) for most in (4, 5, 30, 70)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    noise = rng.integers(0, draw(st.sampled_from([1, 2, 3, 9, 30, 100, 256])), shape)
    spikes = rng.random(shape) < draw(st.sampled_from([0, 0.01, 0.3]))
    return (noise + draw(st.integers(0, 255)) + spikes * 128).astype(np.uint8)


@settings(max_examples=150)
@given(batches())
def test_decoding_is_exact_on_anything(images: np.ndarray) -> None:
    """The property that a decoder stands on."""
    payloads, offsets = joined([encoded(image) for image in images])

    assert np.array_equal(ferdata.decode(payloads, offsets, images.shape[1:]).numpy(), images)


def test_the_golden_shards_decode_to_their_pixels() -> None:
    """They were written once and never change: a payload stands in the tar behind its member's header."""
    shape = ferdata.read_index(GOLDEN).spec.shape
    found = [data for path in sorted(GOLDEN.glob("*.tar.zst")) for data in members(path)]
    payloads, offsets = joined([data[HEADER_BYTES:] for data in found])

    images = ferdata.decode(payloads, offsets, shape)

    assert len(found) == 3
    assert np.array_equal(images.numpy(), np.stack([expected_pixels(number, shape[1]) for number in range(3)]))


def members(path: Path) -> list[bytes]:
    """The members of a shard that hold pixels."""
    with path.open("rb") as file:
        data = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [tar.extractfile(name).read() for name in tar.getnames() if name.endswith(".fpx")]


@pytest.mark.parametrize(("shape", "count"), [((3, 11, 37), 6000), ((1, 5, 9), 3000), ((4, 16, 16), 3000)])
def test_damage_is_refused_or_harmless_exactly_as_the_kernels_have_it(
    shape: tuple[int, int, int], count: int, sums: str
) -> None:
    """A place outside the buffer would be an IndexError here, and somebody else's memory on a device."""
    batch = list(damaged(shape, count, seed=7))
    payloads, offsets = joined(batch)
    out = torch.empty((count, *shape), dtype=torch.uint8)

    sound = undo(payloads, offsets, shape, out).tolist()

    for payload, accepted, pixels in zip(batch, sound, out.numpy(), strict=True):
        expected = by_the_kernels(payload, shape)
        assert accepted == (expected is not None)
        if expected is not None:
            assert np.array_equal(pixels, expected)
    assert 0.1 * count < sum(sound) < 0.9 * count


def test_what_stands_beside_a_payload_does_not_matter() -> None:
    """Words are read whole, and some of their bits belong to the neighbours."""
    shape = (3, 9, 13)
    images = pictures(shape)
    payloads = [encoded(image) for image in images]
    for before, behind in ((b"", b""), (b"\xff" * 3, b"\xff" * 700), (b"\0" * 5, b"\0")):
        assert np.array_equal(ferdata.decode(*joined(payloads, before, behind), shape).numpy(), images)


@pytest.mark.parametrize(
    ("offsets", "first", "said"),
    [
        ([0, 40, 90], 0, "40 bytes contradict"),
        ([0, 41, 40, 82], 1, "offsets 41 and 40 found, expected them to ascend within 82 bytes"),
        ([0, 41, 83], 1, "offsets 41 and 83 found"),
        ([-1, 41], 0, "offsets -1 and 41 found"),
        ([0, -(1 << 63)], 0, "offsets 0 and -9,223,372,036,854,775,808 found"),
        ([0, 41, 82, (1 << 63) - 1], 2, "offsets 82 and 9,223,372,036,854,775,807 found"),
        ([41, 41], 0, "0 bytes contradict themselves, expected a payload of [3, 2, 3] pixels"),
    ],
)
def test_the_first_damaged_image_is_named(offsets: list[int], first: int, said: str) -> None:
    """Whoever has the batch can say which sample it is."""
    sound = bytes.fromhex("0100000001000000010000000601000000802c63004138ff8800100300020000000000000001010001")
    payloads, _ = joined([sound, sound])

    with pytest.raises(ShardCorruptError, match=re.escape(f"decode: image {first} of {len(offsets) - 1}: {said}")):
        ferdata.decode(payloads, torch.tensor(offsets), (3, 2, 3))


def test_an_empty_buffer_and_an_empty_batch_are_no_special_cases() -> None:
    """The last batch of a filtered set may be empty."""
    nothing = torch.empty(0, dtype=torch.uint8)

    assert ferdata.decode(nothing, torch.tensor([0]), (3, 8, 8)).shape == (0, 3, 8, 8)
    with pytest.raises(ShardCorruptError, match="image 0 of 1: 0 bytes contradict"):
        ferdata.decode(nothing, torch.tensor([0, 0]), (3, 8, 8))


def test_memory_of_the_callers_is_filled_however_it_lies() -> None:
    """A ring's rows, or a batch in channels-last order."""
    images = pictures((3, 10, 12))
    batch = joined([encoded(image) for image in images])
    rows = torch.zeros((2 * len(images), 3, 10, 12), dtype=torch.uint8)
    last = torch.zeros(images.shape, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    for out in (rows[::2], last):
        assert ferdata.decode(*batch, (3, 10, 12), out=out) is out
        assert np.array_equal(out.numpy(), images)
    assert not rows[1::2].any()


class Watch(TorchDispatchMode):
    """Counts tensor operations, and finds the largest result of one."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations += 1
        for each in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(each, torch.Tensor) and each.ndim:
                self.largest = max(self.largest, each.numel() * each.element_size())
        return result


def test_operations_and_scratch_depend_on_the_budget_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop over images would cost a launch of every operation for each of them."""
    shape = (3, 24, 24)
    payload = encoded(pictures(shape)[5])

    def watched(count: int) -> Watch:
        payloads, offsets = joined([payload] * count)
        out = torch.empty((count, *shape), dtype=torch.uint8)
        with Watch() as watch:
            ferdata.decode(payloads, offsets, shape, out)
        return watch

    watched(1)  # tables are made once
    one, many = watched(1), watched(50)
    monkeypatch.setitem(_SCRATCH_BYTES, "cpu", 5 * scratch_bytes(shape))
    cut = watched(50)

    assert one.operations == many.operations < 500
    assert cut.operations <= 10 * one.operations
    assert cut.largest <= 5 * scratch_bytes(shape) < many.largest < 50 * scratch_bytes(shape)


def test_nothing_waits_for_the_device_before_the_end() -> None:
    """A tensor of the device "meta" has no values that could be waited for."""
    payloads, offsets = torch.empty(1000, dtype=torch.uint8, device="meta"), torch.empty(6, dtype=torch.int64)
    out = torch.empty((5, 3, 20, 20), dtype=torch.uint8, device="meta")

    assert undo(payloads, offsets.to("meta"), (3, 20, 20), out).shape == (5,)


def test_wrong_arguments_are_refused() -> None:
    """By what they are and what they should be."""
    payloads, offsets, shape = *joined([encoded(pictures((3, 4, 4))[0])]), (3, 4, 4)
    out = torch.empty((1, *shape), dtype=torch.uint8)
    for arguments, said in (
        ((payloads.int(), offsets, shape), "payloads are int32 [13] on cpu, expected uint8 [P]"),
        ((payloads, offsets.int(), shape), "offsets are int32 [2] on cpu, expected int64 [N + 1] on cpu"),
        ((payloads, offsets[:0], shape), "offsets are int64 [0] on cpu"),
        ((payloads, offsets.to("meta"), shape), "offsets are int64 [2] on meta, expected int64 [N + 1] on cpu"),
        ((payloads, offsets, (3, 0, 4)), "shape [3, 0, 4] found"),
        ((payloads, offsets, (3, 1 << 13, 1 << 13)), "less than 128 MiB of pixels"),
        ((payloads, offsets, shape, out[0]), "out is uint8 [3, 4, 4] on cpu, expected uint8 [1, 3, 4, 4] on cpu"),
        ((payloads, offsets, shape, out.int()), "out is int32"),
    ):
        with pytest.raises(OptionError, match="^decode: .*" + re.escape(said)):
            ferdata.decode(*arguments)
