"""The pixel coder: bit-exact for every shape and content, the same bytes from every implementation, safe on damage."""

import _ctypes
import itertools
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

import ferdata
from ferdata.errors import OptionError, ShardCorruptError
from ferdata.format.codecs.compact import SLACK_BYTES, PixelCoder, decode_member, kernel_notice
from ferdata.format.codecs.compact.coder import max_payload_bytes
from ferdata.format.codecs.compact.member import member_header
from ferdata.format.kernels.native import BEST, load
from ferdata_bench.loaders.photos import write_photos

SHAPES = [(1, 1, 1), (1, 1, 65), (2, 3, 1), (3, 1, 1), (3, 5, 7), (3, 33, 31), (4, 9, 40), (3, 64, 64), (3, 7, 5000)]
CONTENTS = ("zero", "most", "noise", "ramp", "ends", "flat", "edges")
ROOT = Path(ferdata.__file__).resolve().parents[1]

needs_kernels = pytest.mark.skipif(load() is None, reason=kernel_notice() or "built")


def picture(shape: tuple[int, int, int], content: str) -> np.ndarray:
    """uint8 [C, H, W] of one kind; every pixel a formula of its place."""
    count = shape[0] * shape[1] * shape[2]
    i = np.arange(count)
    values = {
        "zero": np.zeros(count),
        "most": np.full(count, 255),
        "noise": np.random.default_rng(count).integers(0, 256, count),
        "ramp": i // 3 + i % shape[2] * 2,
        "ends": i % 2 * 255,
        "flat": np.full(count, 77) + (i % 97 == 0),
        "edges": (i // 5 % 7 == 0) * 200 + np.random.default_rng(1).integers(0, 4, count),
    }[content]
    return (values.astype(np.int64) % 256).astype(np.uint8).reshape(shape)


@pytest.fixture(params=["plain", "avx2", "avx512", "numpy"])
def compiled(request: pytest.FixtureRequest):
    """Every implementation this machine has, one after another; False stands for NumPy."""
    kernels = load()
    if request.param == "numpy":
        yield False
        return
    if kernels is None:
        pytest.skip(kernel_notice())
    kernels.select(("plain", "avx2", "avx512").index(request.param))
    yield True
    kernels.select(BEST)


def test_it_gives_the_pixels_back_bit_for_bit(compiled: bool) -> None:
    """A coder is lossless or it is a bug, whatever the shape, down to one pixel, and whatever stands in it."""
    for shape, content in itertools.product(SHAPES, CONTENTS):
        pixels = picture(shape, content)
        coder = PixelCoder(shape, compiled=compiled)

        payload = coder.encode(pixels)
        out = np.full(shape, 99, np.uint8)
        coder.decode_into(payload.tobytes(), out)

        assert np.array_equal(out, pixels), (shape, content)
        assert len(payload) <= coder.max_bytes == max_payload_bytes(shape)


@needs_kernels
@pytest.mark.parametrize("limit", [0, 1, 2])
def test_kernels_and_numpy_write_the_same_bytes(limit: int) -> None:
    """Shards must not depend on the machine that wrote them."""
    kernels = load()
    assert kernels is not None
    kernels.select(limit)
    try:
        for shape, content in itertools.product(SHAPES, CONTENTS):
            pixels = picture(shape, content)
            assert np.array_equal(PixelCoder(shape).encode(pixels), PixelCoder(shape, compiled=False).encode(pixels))
    finally:
        kernels.select(BEST)


@st.composite
def rough_pictures(draw: st.DrawFn) -> np.ndarray:
    """Pictures of any small shape whose noise has any strength, so that every group width occurs."""
    shape = (draw(st.integers(1, 5)), draw(st.integers(1, 40)), draw(st.integers(1, 70)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    amplitude = draw(st.sampled_from([1, 2, 3, 9, 30, 100, 256]))
    spikes = rng.random(shape) < draw(st.sampled_from([0, 0.01, 0.3]))
    return (rng.integers(0, amplitude, shape) + draw(st.integers(0, 255)) + spikes * 128).astype(np.uint8)


@settings(max_examples=150, deadline=None)
@example(np.zeros((1, 1, 1), np.uint8))
@given(rough_pictures())
def test_it_is_exact_on_anything(pixels: np.ndarray) -> None:
    """The property the whole codec stands on, over both implementations and between them."""
    fast, slow = PixelCoder(pixels.shape), PixelCoder(pixels.shape, compiled=False)
    payload, out = fast.encode(pixels), np.empty_like(pixels)

    assert np.array_equal(payload, slow.encode(pixels))
    for coder, slack in ((fast, 0), (fast, SLACK_BYTES), (slow, 0)):
        source = np.concatenate([payload, np.full(slack, 255, np.uint8)])[: len(payload)]
        out[:] = 0
        coder.decode_into(source, out, slack_bytes=slack)
        assert np.array_equal(out, pixels)


@needs_kernels
def test_other_threads_run_while_a_frame_is_decoded() -> None:
    """A thread that holds the interpreter for a whole frame would stall the others: ctypes lets it go for these."""
    kernels = load()
    assert kernels is not None
    for function in (
        kernels.encode,
        kernels.decode,
        kernels.planes,
        kernels.scatter,
        kernels.moments,
        kernels.expect,
        kernels.check,
        kernels.copy,
        kernels.plain_jpegs,
        kernels.inflate,
        kernels.decode_bodies,
    ):
        assert not function._flags_ & _ctypes.FUNCFLAG_PYTHONAPI


def test_a_cut_or_lengthened_payload_is_refused(compiled: bool) -> None:
    """Sizes are checked even where the checksum of zstd has been lost on the way."""
    pixels = picture((3, 9, 30), "edges")
    coder = PixelCoder(pixels.shape, compiled=compiled)
    payload = coder.encode(pixels).tobytes()
    for damaged in [payload[:cut] for cut in range(0, len(payload), 7)] + [payload + b"\0", payload * 2]:
        with pytest.raises(ShardCorruptError, match="bytes contradict themselves, expected a payload of"):
            coder.decode_into(damaged, np.empty_like(pixels))


def test_hostile_payloads_never_reach_outside_the_row() -> None:
    """Whatever a shard holds, memory beside the row stays as it was, and both implementations judge it alike."""
    shape = (3, 11, 37)
    fast, slow = PixelCoder(shape), PixelCoder(shape, compiled=False)
    payload, rng = fast.encode(picture(shape, "edges")), np.random.default_rng(5)
    ring = np.full((3, 3 * 11 * 37), 0x5A, np.uint8)
    refused = 0
    for trial in range(3000):
        damaged = payload.copy()
        if trial % 3 == 0:
            damaged = rng.integers(0, 256, rng.integers(0, fast.max_bytes + 1)).astype(np.uint8)
        elif trial % 3 == 1:
            damaged[rng.integers(0, 60)] ^= 1 << rng.integers(0, 8)
        else:
            damaged[12 : 12 + 20] = rng.integers(0, 9, 20) | rng.integers(0, 9, 20) << 4
        verdicts = []
        for coder, row in ((fast, ring[1]), (slow, np.empty_like(ring[1]))):
            try:
                coder.decode_into(damaged, row)
                verdicts.append(row.tobytes())
            except ShardCorruptError:
                verdicts.append(b"")
        refused += verdicts[0] == b""
        assert verdicts[0] == verdicts[1]
    assert refused > 1000
    assert (ring[[0, 2]] == 0x5A).all()


def test_wrong_memory_is_refused_before_it_is_touched(compiled: bool) -> None:
    """The kernels are given bare addresses, so every size is checked first."""
    pixels = picture((3, 8, 8), "ramp")
    coder = PixelCoder(pixels.shape, compiled=compiled)
    payload = coder.encode(pixels)
    frozen = np.empty(pixels.size, np.uint8)
    frozen.flags.writeable = False

    for out in (
        np.empty(pixels.size - 1, np.uint8),
        np.empty(pixels.size, np.int8),
        np.empty((8, 8, 6), np.uint8)[..., ::2],
        frozen,
    ):
        with pytest.raises(OptionError, match="expected writable contiguous uint8 memory"):
            coder.decode_into(payload, out)
    with pytest.raises(OptionError, match=r"float32 \[3, 8, 8\] found, expected uint8"):
        coder.encode(pixels.astype(np.float32))
    with pytest.raises(OptionError, match=r"shape \[3, 0, 8\] found, expected \[C, H, W\]"):
        PixelCoder((3, 0, 8), compiled=compiled)


def test_a_member_says_what_it_is() -> None:
    """It is read without an index; a reader that guessed would give wrong pixels."""
    pixels = picture((3, 8, 8), "ramp")
    header = member_header((3, 8, 8))
    payload = PixelCoder((3, 8, 8)).encode(pixels).tobytes()

    assert len(header) == 128
    assert np.array_equal(decode_member(memoryview(header + payload)), pixels)
    with pytest.raises(OptionError, match="version 1 found, expected 2"):
        decode_member(memoryview(header[:7] + b"\x01" + header[8:] + payload))
    for damaged in (
        header[:100],
        b"\x93NUMPY\x01\x00" + header[8:] + payload,
        header.replace(b"[3", b"[0") + payload,
        header.replace(b"{", b"(") + payload,
        header.replace(b"[3,8,8]", b"[3]    ") + payload,
    ):
        with pytest.raises(ShardCorruptError, match="member: "):
            decode_member(memoryview(damaged))
    with pytest.raises(ShardCorruptError, match=r"of payload found, expected those of \[3, 90, 8\] pixels"):
        decode_member(memoryview(header.replace(b"[3,8,8]} ", b"[3,90,8]}") + payload[:20]))


def test_without_the_library_numpy_does_the_work_and_says_so_once(tmp_path: Path) -> None:
    """A machine without a compiler reads every shard; the price is named, once, and not in every worker."""
    shutil.copytree(
        ROOT / "ferdata", tmp_path / "ferdata", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    )
    pixels = picture((3, 12, 40), "edges")
    np.save(tmp_path / "pixels.npy", pixels)
    script = (
        "import numpy as np, logging\nlogging.basicConfig(format='%(levelname)s %(message)s')\n"
        "from ferdata.format.codecs.compact import PixelCoder, kernel_notice\n"
        "pixels = np.load('pixels.npy'); out = np.empty_like(pixels)\n"
        "coder = PixelCoder(pixels.shape); payload = coder.encode(pixels); "
        "coder.decode_into(payload, out)\n"
        "assert np.array_equal(out, pixels) and PixelCoder((3, 2, 2))\n"
        "from ferdata.format.kernels import deinterleave_into, scatter\n"
        "hwc = pixels.transpose(1, 2, 0).copy(); deinterleave_into(hwc, out); assert np.array_equal(out, pixels)\n"
        "rows = np.zeros((2, 40), np.uint8); scatter(pixels[0, :3], rows, np.array([1, -1, 0]))\n"
        "assert np.array_equal(rows, pixels[0, [2, 0]])\n"
        "print(payload.tobytes().hex(), len(kernel_notice()) > 0)\n"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    payload, noticed = done.stdout.split()
    assert payload == PixelCoder(pixels.shape).encode(pixels).tobytes().hex()
    assert noticed == "True"
    assert done.stderr.count("the compiled kernels are missing (they are not built)") == 1
    assert "make -B setup" in done.stderr


@needs_kernels
def test_with_the_library_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The notice is for those who need it."""
    with caplog.at_level(logging.DEBUG):
        PixelCoder((3, 4, 4)).encode(picture((3, 4, 4), "ramp"))

    assert kernel_notice() == ""
    assert not caplog.records


@pytest.mark.parametrize("size", [224, 100])
def test_photographs_become_less_than_half(size: int, tmp_path: Path) -> None:
    """The promise of the codec, on real photographs saved as JPEG and decoded again."""
    pytest.importorskip("skimage")
    write_photos(tmp_path, count=24, size=size, num_threads=1)

    photographs = [np.asarray(Image.open(path)).transpose(2, 0, 1) for path in sorted(tmp_path.rglob("*.jpg"))]
    sizes = [len(PixelCoder((3, size, size)).encode(pixels)) for pixels in photographs]

    assert len(sizes) == 24
    assert np.mean(sizes) * 2.0 <= 3 * size * size
