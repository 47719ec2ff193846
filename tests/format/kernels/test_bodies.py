"""A job in one call: checksums, and frames inflated by the system's libzstd; the same verdicts where it is missing."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
import zstandard
from make_dataset import expected_pixels, make_dataset
from PIL import Image

from ferdata.errors import FerdataError, ShardCorruptError
from ferdata.format import DatasetIndex, ShardReader, kernel_notice
from ferdata.format.codecs import BodyDecoder
from ferdata.format.codecs.compact import PixelCoder
from ferdata.format.codecs.raw import Raw
from ferdata.format.container import BodyJob, MappedBodies, libzstd
from ferdata.format.container.stored_frame import stored_frame, stored_payload
from ferdata.format.container.zstd_frame import Compressor, Decompressor
from ferdata.format.kernels.native import address, load
from ferdata.sample import TensorSpec
from ferdata.store import Store

needs_kernels = pytest.mark.skipif(load() is None, reason=kernel_notice() or "built")
needs_libzstd = pytest.mark.skipif(load() is None or libzstd.find_libzstd() is None, reason="no libzstd to be found")

SHAPE = (3, 20, 20)
SPEC = TensorSpec(dtype="uint8", shape=(1, 2, 5))
ROW_BYTES = 1200


def noise(num_bytes: int) -> np.ndarray:
    """uint8 ``[n]``, the same every time."""
    return np.random.default_rng(num_bytes).integers(0, 256, num_bytes).astype(np.uint8)


def bodies_of(
    file: np.ndarray, starts: np.ndarray, stops: np.ndarray, checksums: np.ndarray | None = None
) -> MappedBodies:
    """Return bodies in memory that stands for a mapped file."""
    kernels = load()
    assert kernels is not None
    return MappedBodies(kernels, file, np.ascontiguousarray(starts), np.ascontiguousarray(stops), checksums)


@needs_kernels
def test_checksums_are_those_of_xxhash_for_every_length() -> None:
    """The tail of an XXH64 has steps of 8, 4 and 1 bytes behind its stripes of 32."""
    file = noise(40_000)
    stops = np.arange(700) * 53
    starts = stops - np.minimum(stops, np.arange(700))
    bounds = zip(starts.tolist(), stops.tolist(), strict=True)
    sums = np.array([xxhash.xxh64_intdigest(file[start:stop]) & 0xFFFFFFFF for start, stop in bounds], np.uint32)

    bodies, every = bodies_of(file, starts, stops, sums), np.arange(700)
    assert bodies.num_sound(every) == 700
    sums[431] ^= 1 << 31
    assert bodies.num_sound(every) == 431
    assert bodies.num_sound(every[431:]) == 0


@needs_kernels
@pytest.mark.parametrize(("start", "stop"), [(-1, 10), (5, 4), (90, 101), (1 << 62, 1 << 62), (-(1 << 62), 10)])
def test_bodies_outside_the_file_are_not_touched(start: int, stop: int) -> None:
    """Kernels are given bare addresses; a table that was forged must not have them read elsewhere."""
    kernels = load()
    assert kernels is not None
    bodies = bodies_of(noise(100), np.array([0, start]), np.array([10, stop]), np.zeros(2, np.uint32))
    out = np.zeros((2, 10), np.uint8)

    for position in (1, 2, -1, 1 << 62):
        only, rows = np.array([position]), np.zeros(1, np.int64)
        assert bodies.num_sound(only) == 0
        assert bodies.expect(-1, only) is None
        assert Raw().decoder(SPEC).many(BodyJob(bodies, only, out, rows)) == 0
        assert Decompressor().into_rows(BodyJob(bodies, only, out, rows)) == 0
        assert kernels.plain_jpegs(bodies.at, address(only), 1, 1, 1) == 0
    unverified, first = np.zeros(1, bool), np.zeros(1, np.int64)
    for row in (-1, 2, 1 << 62):
        assert Raw().decoder(SPEC).many(BodyJob(bodies, first, out, np.array([row]), unverified)) == 0
    assert Raw().decoder(SPEC).many(BodyJob(bodies, first, out, np.ones(1, np.int64))) == 0  # its checksum is another
    assert not out.any()
    assert Raw().decoder(SPEC).many(BodyJob(bodies, first, out, np.ones(1, np.int64), unverified)) == 1
    assert np.array_equal(out[1], bodies.file[:10])


@needs_kernels
def test_a_file_is_asked_for_where_it_is_not_in_memory(tmp_path: Path) -> None:
    """Few stretches are looked at while all are there, and every one once one of them is not."""
    kernels = load()
    assert kernels is not None
    bodies, told = bodies_of(noise(40_000), np.arange(40) * 1000, np.arange(40) * 1000 + 900), np.zeros(2, np.int64)
    positions = np.array([0, 1, 2, 5, 5, 8, *range(10, 40, 2)])

    def missing(descriptor: int, step: int) -> int:
        job = bodies.at, address(positions), len(positions)
        assert kernels.expect(descriptor, *job, step, address(told)) == 0
        assert told[0] == 2900 + 18 * 900
        return int(told[1])

    (tmp_path / "file").write_bytes(bytes(40_000))
    with (tmp_path / "file").open("rb") as file:
        assert missing(file.fileno(), 1) in (0, 19)  # some file systems do not say
        assert missing(file.fileno(), 8) == missing(file.fileno(), 1)
    assert missing(-1, 8) == 19
    assert bodies.expect(-1, positions) == told[0]
    assert bodies.expect(-1, positions[::-1].copy()) is None


@needs_kernels
def test_only_jpegs_of_the_size_asked_for_are_plain() -> None:
    """What C tells saves a call an image; what is unusual must be left to libjpeg, and no byte behind it be read."""
    kernels = load()
    assert kernels is not None
    picture = Image.fromarray(noise(30 * 20 * 3).reshape(20, 30, 3))
    files, first = {}, np.zeros(1, np.int64)
    for mode in ("RGB", "L", "CMYK"):
        file = io.BytesIO()
        picture.convert(mode).save(file, "JPEG", comment=b"a remark", progressive=mode == "L")
        files[mode] = file.getvalue()

    def is_plain(data: bytes, height: int = 20, width: int = 30) -> bool:
        bodies = bodies_of(np.frombuffer(data + b"\xff", np.uint8), np.zeros(1, np.int64), np.array([len(data)]))
        return kernels.plain_jpegs(bodies.at, address(first), 1, height, width) == 1

    sound = files["RGB"]
    assert is_plain(sound) and is_plain(files["L"]) and not is_plain(files["CMYK"])
    assert not is_plain(sound, 30, 20) and not is_plain(sound, 20, 31)
    assert not is_plain(b"\0" + sound[1:]) and not is_plain(sound[2:])
    assert not is_plain(sound[:2] + b"\0" + sound[2:]) and not is_plain(sound[:2] + b"\xff\xda\0\x02" + sound[2:])
    head = sound.index(b"\xff\xda")
    assert is_plain(sound[:head]) and not any(is_plain(sound[:cut]) for cut in range(sound.index(b"\xff\xc0") + 10))
    rng = np.random.default_rng(2)
    for _ in range(3000):
        damaged = bytearray(sound[:head])
        damaged[int(rng.integers(0, head))] = int(rng.integers(0, 256))
        is_plain(bytes(damaged[: int(rng.integers(0, head))]))


class Frames:
    """Frames of a few images one behind the other, as a file holds them."""

    def __init__(self, codec: str) -> None:
        self.coder = PixelCoder(SHAPE) if codec == "compact" else None
        self.pixels = np.stack([np.resize(noise(40 + number), ROW_BYTES) // 3 for number in range(9)])
        if self.coder is None:
            frames = [Compressor(1).frame(row) for row in self.pixels]
        else:
            frames = [stored_frame(memoryview(self.coder.encode(row.reshape(SHAPE)))) for row in self.pixels]
        stops = np.cumsum([len(frame) for frame in frames])
        self.bodies = bodies_of(np.frombuffer(b"".join(frames), np.uint8), np.append(0, stops[:-1]), stops)
        self.out = np.full((12, ROW_BYTES), 0x5A, np.uint8)

    def read(self, rows: np.ndarray) -> int:
        """Return how many of them are done."""
        if self.coder is None:
            return Decompressor().into_rows(BodyJob(self.bodies, np.arange(9), self.out, rows))
        return self.coder.decode_job(BodyJob(self.bodies, np.arange(9), self.out, rows, None))


@needs_libzstd
@pytest.mark.parametrize("codec", ["zstd", "compact"])
def test_frames_go_to_their_rows_and_nowhere_else(codec: str) -> None:
    """One call a job, straight into the ring, whose other rows belong to others."""
    frames = Frames(codec)
    rows = np.array([4, 0, 10, 11, 7, 6, 2, 9, 5])

    assert frames.read(rows) == 9
    assert np.array_equal(frames.out[rows], frames.pixels)
    assert (frames.out[[1, 3, 8]] == 0x5A).all()
    assert frames.read(np.array([0, 1, 2, 12, 4, 5, 6, 7, 8])) == 3
    assert frames.read(np.array([0, -1, 2, 3, 4, 5, 6, 7, 8])) == 1


@needs_libzstd
def test_frames_that_a_writer_does_not_make_are_left_to_the_binding() -> None:
    """Without size or checksum, of another size, cut, with more behind, skippable: some are valid, none are ours."""
    content = noise(ROW_BYTES).tobytes()
    sound = Compressor(1).frame(content)
    skippable = bytes.fromhex("502a4d1804000000") + bytes(4)
    plain = zstandard.ZstdCompressor(write_checksum=False).compress(content)
    stream = zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compress(content)
    others = [
        plain,
        stream,
        Compressor(1).frame(content[1:]),
        sound[:-1],
        sound + b"\0",
        sound + skippable,
        b"",
        sound[:5],
    ]
    others += [
        skippable + sound,
        sound * 2,
        sound[:4] + bytes([sound[4] | 16]) + sound[5:],
        sound[:4] + bytes([sound[4] | 8]) + sound[5:],
    ]

    for frame in [sound, *others]:
        file, out = np.frombuffer(frame + b"\0" * 64, np.uint8), np.zeros((1, ROW_BYTES), np.uint8)
        bodies, one = bodies_of(file, np.zeros(1, np.int64), np.array([len(frame)])), np.zeros(1, np.int64)
        done = Decompressor().into_rows(BodyJob(bodies, one, out, one))
        assert done == (frame is sound), frame[:16].hex()


def verdict(root: Path, index: DatasetIndex, out: np.ndarray) -> str:
    """Return what a reader says of all samples of the one shard: the pixels, or the error."""
    every = np.arange(len(out))
    try:
        with ShardReader(Store(str(root)), index.shards[0], index) as reader:
            reader.read_rows(every, out, every)
    except FerdataError as error:
        return str(error)
    return xxhash.xxh64_hexdigest(out)


@pytest.mark.parametrize("codec", [pytest.param("zstd", marks=needs_libzstd), "compact"])
def test_damage_is_judged_alike_in_one_call_and_one_by_one(
    tmp_path: Path, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine with kernels and libzstd must take and refuse the very files that another does, in the same words."""
    index = make_dataset(tmp_path, codec=codec, samples={"train": 6}, size=24)
    path, rng, out = tmp_path / index.shards[0].name, np.random.default_rng(3), np.zeros((6, 3 * 24 * 24), np.uint8)
    sound = path.read_bytes()
    assert verdict(tmp_path, index, out) == xxhash.xxh64_hexdigest(
        np.stack([expected_pixels(number, 24) for number in range(6)])
    )
    refused = 0
    for trial in range(160):
        damaged = bytearray(sound)
        at = int(rng.integers(0, len(sound) * 3 // 4))
        if trial % 2:
            damaged[at] ^= 1 << int(rng.integers(0, 8))
        else:
            damaged[at : at + 8] = rng.bytes(8)
        path.write_bytes(damaged)
        in_one_call = verdict(tmp_path, index, out)
        with monkeypatch.context() as patch:
            patch.setattr(type(index.codec.decoder(index.spec)), "many", BodyDecoder.many)
            assert verdict(tmp_path, index, out) == in_one_call, at
        refused += "sample" in in_one_call
    assert refused > 20


@pytest.mark.parametrize("num_bytes", [1, 13, 1 << 17, (1 << 17) + 1, 3 << 17])
def test_a_stored_frame_is_a_zstd_frame_and_nothing_else_passes_for_one(num_bytes: int) -> None:
    """Everybody's zstd reads it; ours takes it as it is, every byte of it as written."""
    payload = np.random.default_rng(num_bytes).integers(0, 256, num_bytes).astype(np.uint8)
    frame = stored_frame(memoryview(payload))

    assert zstandard.ZstdDecompressor().decompress(frame) == payload.tobytes()
    assert bytes(stored_payload(memoryview(frame), num_bytes)) == payload.tobytes()
    ends = [*range(12), *range(len(frame) - 4, len(frame))]
    ends += [at + bit for at in range(9 + 3 + (1 << 17), len(frame) - 4, 3 + (1 << 17)) for bit in range(3)]
    for at in ends:
        damaged = bytearray(frame)
        damaged[at] ^= 1
        with pytest.raises(ShardCorruptError, match="a zstd frame"):
            stored_payload(memoryview(damaged), 1 << 20)
    compressed = Compressor(1).frame(np.zeros(num_bytes, np.uint8))
    for other in (frame[:-1], frame + b"\0", frame * 2, b"", frame[:12], compressed):
        with pytest.raises(ShardCorruptError, match="a zstd frame"):
            stored_payload(memoryview(other), 1 << 20)
    with pytest.raises(ShardCorruptError, match="a zstd frame"):
        stored_payload(memoryview(frame), num_bytes - 1)


@needs_kernels
@pytest.mark.parametrize("size", [8, 100, 224, 300])
def test_large_and_incompressible_images_go_through_several_blocks(size: int) -> None:
    """Noise of 224 px takes more than a block of zstd may hold; what is joined is the same payload."""
    rng, shape = np.random.default_rng(size), (3, size, size)
    coder = PixelCoder(shape)
    images = [rng.integers(0, 256 >> 5 * (number % 2), shape).astype(np.uint8) for number in range(4)]
    frames = [stored_frame(memoryview(coder.encode(image))) for image in images]
    stops = np.cumsum([len(frame) for frame in frames])
    file = np.frombuffer(b"".join(frames), np.uint8)
    bodies, out = bodies_of(file, np.append(0, stops[:-1]), stops), np.zeros((5, 3 * size * size), np.uint8)

    for verify in (None, np.zeros(4, bool)):
        out[:] = 0x5A
        assert coder.decode_job(BodyJob(bodies, np.arange(4), out, np.array([3, 1, 0, 4]), verify)) == 4
        assert np.array_equal(out[[3, 1, 0, 4]].reshape(4, *shape), np.stack(images))
        assert (out[2] == 0x5A).all()
    payloads = [coder.encode(image).tobytes() for image in images]
    sizes = np.array([len(payload) for payload in payloads])
    starts = np.zeros(4, np.int64)
    starts[[2, 0, 3, 1]] = np.cumsum(sizes[[2, 0, 3, 1]] + 3) - sizes[[2, 0, 3, 1]]  # three bytes between them
    memory = np.full(int((sizes + 3).sum()), 0x5A, np.uint8)
    assert bodies.copy_payloads(BodyJob(bodies, np.arange(4), memory, starts, None, sizes)) == 4
    for payload, start, length in zip(payloads, starts.tolist(), sizes.tolist(), strict=True):
        assert memory[start : start + length].tobytes() == payload
        memory[start : start + length] = 0x5A
    assert (memory == 0x5A).all()


@needs_kernels
def test_payloads_are_copied_only_where_there_is_room_for_them_and_if_they_are_sound() -> None:
    """A forged table or place must not move a byte of somebody else's."""
    frames, every = Frames("compact"), np.arange(9)
    assert frames.coder is not None
    payloads = [frames.coder.encode(row.reshape(SHAPE)).tobytes() for row in frames.pixels]
    sizes = np.array([len(payload) for payload in payloads])
    starts = np.cumsum(sizes) - sizes
    out = np.full(int(sizes.sum()), 0x5A, np.uint8)

    def copied(**changed: Any) -> int:
        out[:] = 0x5A
        given = {"bodies": frames.bodies, "positions": every, "rows": starts, "verify": None, "sizes": sizes} | changed
        return given["bodies"].copy_payloads(BodyJob(out=out, **given))

    assert copied() == 9 and out.tobytes() == b"".join(payloads)
    for wrong in (-1, starts[8] + 1, len(out), 1 << 62, -(1 << 62)):
        assert copied(rows=np.append(starts[:8], wrong)) == 8
        assert (out[starts[8] :] == 0x5A).all()
    for wrong in (0, -1, sizes[3] - 1, sizes[3] + 1, 1 << 62, -(1 << 62)):
        assert copied(sizes=np.where(every == 3, wrong, sizes)) == 3
        assert (out[starts[3] :] == 0x5A).all()
    assert copied(positions=np.where(every == 5, 9, every)) == 5
    data = frames.bodies.file.copy()
    data[int(frames.bodies.stops[4]) - 1] ^= 1  # its checksum
    damaged = bodies_of(data, frames.bodies.starts, frames.bodies.stops)
    assert copied(bodies=damaged) == 4
    assert copied(bodies=damaged, verify=every != 4) == 9
    assert copied(bodies=damaged, verify=every == 4) == 4


@needs_kernels
def test_only_checksums_that_are_asked_for_are_verified() -> None:
    """What a loader has verified once need not be hashed again: a tenth of the time."""
    frames = Frames("compact")
    data = frames.bodies.file.copy()
    data[int(frames.bodies.stops[4]) - 1] ^= 1
    bodies = bodies_of(data, frames.bodies.starts, frames.bodies.stops)
    job = BodyJob(bodies, np.arange(9), frames.out, np.arange(9))

    def read(verify: np.ndarray | None) -> int:
        return frames.coder.decode_job(replace(job, verify=verify))

    assert read(None) == 4
    assert read(np.arange(9) != 4) == 9
    assert read(np.arange(9) == 4) == 4


def test_a_library_that_is_missing_or_another_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by a name, it may be anything, and is asked for a frame before it is trusted."""
    for name in ("libno-such-library.so.1", "libc.so.6"):
        monkeypatch.setattr(libzstd, "_NAMES", (name,))
        assert libzstd.find_libzstd.__wrapped__() is None
