"""Damaged, cut, forged and changing files: every one is an error that names the file, and none gives a wrong sample."""

import contextlib
import dataclasses
import io
import os
import pickle
import random
import tarfile
from pathlib import Path

import numpy as np
import pytest
import xxhash
import zstandard
from forging import forge, frames_of, shard_of
from make_dataset import CODECS, expected_pixels, make_dataset, read_all

from ferdata.dataset.verify import verify
from ferdata.errors import FerdataError, OptionError, ShardCorruptError, ShardMissingError, StoreError
from ferdata.format import ShardReader, make_codec, read_index, read_samples, write_index
from ferdata.format.container.plain_tar import body_table
from ferdata.format.container.zstd_frame import Compressor, Decompressor
from ferdata.store import Store

SMALL = {"samples": {"train": 5, "val": 2}, "samples_per_shard": 3, "size": 11}


def contents(root: Path) -> tuple[list, list]:
    """Return everything a data set says, through a fresh index: rows, then keys, labels, records and pixels."""
    store = Store(str(root))
    rows = read_samples(store, read_index(store)).to_pylist()
    return rows, [(sample.key, sample.label, sample.record, sample.pixels.tobytes()) for sample in read_all(root)]


# Flipped bits


@pytest.mark.parametrize("codec", CODECS)
def test_a_flipped_bit_is_an_error_that_names_the_file_and_never_a_wrong_sample(tmp_path: Path, codec: str) -> None:
    """Disks, cables and memory flip bits; of 500 flips over all files none may pass for data.

    A few bits mean nothing (zstd leaves some unused, and nobody reads the padding of a raw tar): then every sample is
    right, and ``verify`` finds the flip.
    """
    make_dataset(tmp_path, codec=codec, **SMALL)
    expected = contents(tmp_path)
    files = sorted(path for path in tmp_path.iterdir() if path.name != "rejects.csv")
    sizes = [path.stat().st_size for path in files]
    rng = random.Random(20_240)
    meaningless = 0
    for _ in range(500):
        [path] = rng.choices(files, sizes)
        sound = path.read_bytes()
        bit = rng.randrange(8 * len(sound))
        damaged = bytearray(sound)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            assert contents(tmp_path) == expected, f"bit {bit} of {path.name}"
        except FerdataError as error:
            assert str(path) in str(error), f"bit {bit} of {path.name}"
        else:
            meaningless += 1
            report = verify(str(tmp_path), num_workers=1)
            assert not report.ok and str(path) in " ".join(report.errors), f"bit {bit} of {path.name}"
        path.write_bytes(sound)

    assert contents(tmp_path) == expected
    assert meaningless <= (40 if codec == "raw" else 5)


@pytest.mark.parametrize("codec", CODECS)
def test_a_flipped_label_is_found_although_it_is_still_a_label(tmp_path: Path, codec: str) -> None:
    """A tar has no checksum over its members' content; a 2 that became a 3 must not train a model."""
    index = make_dataset(tmp_path, codec=codec, samples={"train": 1}, size=4)
    path = tmp_path / index.shards[0].name
    data = bytearray(path.read_bytes())
    if codec == "raw":
        data[512] ^= 1
    else:
        data[data.index(b"images/0.jpg")] ^= 1
    path.write_bytes(data)

    with pytest.raises(ShardCorruptError, match=f"{path}: .*head of sample 0"):
        read_all(tmp_path)


def test_a_frame_is_decoded_in_one_pass_so_that_its_checksum_is_always_read() -> None:
    """Block by block, libzstd stops when the memory is full; with one more flip, pixels were wrong in silence."""
    fooled = 0
    out = np.empty(150_528, np.uint8)
    for seed in range(150):
        pixels = np.random.default_rng(seed).integers(0, 256, len(out)).astype(np.uint8)
        frame = bytearray(Compressor(-1).frame(pixels))
        last_block = zstandard.frame_header_size(bytes(frame)) + 3 + (1 << 17)
        frame[last_block] ^= 1  # it is no longer the last
        frame[100] ^= 4
        with contextlib.suppress(zstandard.ZstdError):
            fooled += zstandard.ZstdDecompressor().stream_reader(bytes(frame)).readinto(out) == len(out)
        with pytest.raises(ShardCorruptError, match="a zstd frame is damaged"):
            Decompressor().into(bytes(frame), out)

    assert fooled, "the usual way to read a frame is no longer fooled, so this guard may go"


# Cut, missing and changing files


@pytest.mark.parametrize("codec", CODECS)
def test_a_shard_cut_anywhere_is_an_error_even_where_the_index_agrees(tmp_path: Path, codec: str) -> None:
    """A full disk and a broken copy cut files; a bad tool may write an index that fits the cut file."""
    index = make_dataset(tmp_path, codec=codec, **SMALL)
    name = index.shards[0].name
    path, sound = tmp_path / name, (tmp_path / name).read_bytes()
    cuts = {0, 1, 3, 4, 5, 9, 100, 511, 512, 513, 1024, 2048, 2687, 2688, len(sound) // 2}
    cuts |= {len(sound) - cut for cut in (1, 2, 4, 8, 9, 10, 17, 64, 65, 66, 73, 74, 500, 1023, 1024, 1025, 1536, 2048)}
    if codec == "zstd":
        cuts |= set(np.cumsum([len(frame) for frame in frames_of(sound, 3)]).tolist())
    cuts = sorted(cut for cut in cuts if 0 <= cut < len(sound))
    assert len(cuts) > 25
    for cut in cuts:
        path.write_bytes(sound[:cut])
        with pytest.raises(
            ShardCorruptError, match=f"{path}: {cut:,} bytes found, expected {len(sound):,} as index.json says"
        ):
            read_all(tmp_path)
    for data in [*(sound[:cut] for cut in cuts), sound + b"\0", sound + sound, sound[1:]]:
        write_index(Store(str(tmp_path)), index)
        forge(tmp_path, name, data)
        with pytest.raises(ShardCorruptError, match=rf"{path}|index\.json: shards\.train\.samples\[0\]"):
            read_all(tmp_path)
    path.write_bytes(sound)
    write_index(Store(str(tmp_path)), index)
    assert len(read_all(tmp_path)) == 7


@pytest.mark.parametrize("name", ["index.json", "samples.parquet"])
def test_an_index_or_a_table_cut_anywhere_is_an_error(tmp_path: Path, name: str) -> None:
    """The small files are what is copied last, and cut first."""
    make_dataset(tmp_path, **SMALL)
    path, sound = tmp_path / name, (tmp_path / name).read_bytes()
    for cut in [*range(0, len(sound), 53), *range(len(sound) - 40, len(sound))]:
        path.write_bytes(sound[:cut])
        with pytest.raises(ShardCorruptError, match=str(path)):
            contents(tmp_path)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("scheme", ["", "memory://"])
def test_a_missing_file_is_named_with_what_to_do(tmp_path: Path, codec: str, scheme: str) -> None:
    """Half-copied data sets are common; the user must learn which file to fetch."""
    root = f"{scheme}{tmp_path}"
    index, store = make_dataset(root, codec=codec, **SMALL), Store(root)

    store.remove(index.shards[1].name)
    with pytest.raises(ShardMissingError, match=f"{root}/{index.shards[1].name}: no such file"):
        read_all(root)
    store.remove("samples.parquet")
    with pytest.raises(ShardMissingError, match=f"{root}/samples.parquet: no such file, expected it beside index.json"):
        read_samples(store, index)
    store.remove("index.json")
    for folder in (root, f"{root}/nothing", f"{root}/{index.shards[0].name}"):
        with pytest.raises(
            ShardMissingError, match=f"{folder}: no index.json found, expected a folder that 'shard' has finished"
        ):
            read_index(Store(folder))


@pytest.mark.parametrize("codec", CODECS)
def test_a_shard_that_changes_while_it_is_read_is_an_error(tmp_path: Path, codec: str) -> None:
    """A second run into the same folder would mix two data sets in one batch."""
    index = make_dataset(tmp_path, codec=codec, **SMALL)
    path = tmp_path / index.shards[0].name
    with ShardReader(Store(str(tmp_path)), index.shards[0], index) as reader:
        reader.read(0)
        os.utime(path, ns=(1, 1))
        with pytest.raises(ShardCorruptError, match=f"{path}: the file was changed while it was being read"):
            reader.read(0)
    with ShardReader(Store(str(tmp_path)), index.shards[0], index) as reader:
        os.truncate(path, 300)
        with pytest.raises(ShardCorruptError, match=f"{path}: the file was changed while it was being read"):
            reader.read(2)


def test_an_error_of_the_system_names_the_file(tmp_path: Path) -> None:
    """The words "Input/output error" do not say which of a thousand shards the disk has lost."""
    index = make_dataset(tmp_path, **SMALL)
    path = tmp_path / index.shards[0].name
    path.unlink()
    path.mkdir()
    with pytest.raises(FerdataError, match=str(path)):
        ShardReader(Store(str(tmp_path)), index.shards[0], index)
    (tmp_path / "index.json").unlink()
    (tmp_path / "index.json").mkdir()
    with pytest.raises(StoreError, match=f"{tmp_path}/index.json: a folder found, expected a regular file"):
        read_index(Store(str(tmp_path)))


# Forged shards


class Tripwire:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_a_pickled_object_in_a_tensor_is_never_loaded(tmp_path: Path) -> None:
    """An NPY member may hold a pickle, which is a program; a data set from the internet must not run one."""
    index = make_dataset(tmp_path, codec="raw", samples={"train": 1}, size=11)
    name = index.shards[0].name
    data = bytearray((tmp_path / name).read_bytes())
    head_bytes, body_bytes = index.members.head_bytes, index.spec.num_bytes
    header = data[head_bytes - 128 : head_bytes]
    data[head_bytes - 128 : head_bytes] = header.replace(b"'|u1'", b"'|O' ").replace(b"(3, 11, 11)", b"(1,)       ")
    data[head_bytes : head_bytes + body_bytes] = pickle.dumps([Tripwire(tmp_path / "ran")], protocol=4).ljust(
        body_bytes, b"\0"
    )
    head, body = data[:head_bytes], data[head_bytes : head_bytes + body_bytes]
    entry = [body_bytes, *(xxhash.xxh64_intdigest(bytes(part)) % 2**32 for part in (body, head))]
    table = body_table(np.array([entry], np.uint32))
    start = len(data) - 1024 - 512
    data[start : start + len(table)] = table
    forge(tmp_path, name, bytes(data))

    with pytest.raises(ShardCorruptError, match=f"{name}: the head of 'face-000000' is not what ferdata writes"):
        read_all(tmp_path)
    assert not verify(str(tmp_path), deep=True, num_workers=1).ok
    assert not (tmp_path / "ran").exists()
    with tarfile.open(tmp_path / name) as tar:  # the bait is real: this is how it is taken
        np.load(io.BytesIO(tar.extractfile("face-000000.npy").read()), allow_pickle=True)
    assert (tmp_path / "ran").exists()


def test_a_table_that_asks_for_much_memory_is_refused_before_it_gets_it(tmp_path: Path) -> None:
    """One forged number must not make the reader ask for gigabytes."""
    index = make_dataset(tmp_path, **SMALL)
    name = index.shards[0].name
    frames = frames_of((tmp_path / name).read_bytes(), 3)
    sizes = [zstandard.frame_content_size(frame) for frame in frames]
    for frame in (0, 1, 6):
        forge(
            tmp_path,
            name,
            shard_of(frames, [size if number != frame else 2**32 - 1 for number, size in enumerate(sizes)]),
        )
        with pytest.raises(
            ShardCorruptError, match=f"{name}: its seek table has heads of a size that heads do not have"
        ):
            read_all(tmp_path)


def test_frames_that_are_not_as_written_are_refused(tmp_path: Path) -> None:
    """Frames without checksum, of another size, of two samples swapped, with bytes behind them: all are valid zstd."""
    index = make_dataset(tmp_path, **SMALL)
    name = index.shards[0].name
    frames = frames_of((tmp_path / name).read_bytes(), 3)
    pixels = expected_pixels(0, 11).tobytes()
    unchecked = zstandard.ZstdCompressor(write_checksum=False).compress(pixels)
    unsized = zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compress(pixels)
    longer = Compressor(1).frame(pixels + b"\0")
    sizes = [zstandard.frame_content_size(frame) for frame in frames]
    for body in (unchecked, unsized, longer, b"", b"\0" * 50, frames[1][:-1], frames[1][4:]):
        forge(tmp_path, name, shard_of([frames[0], body, *frames[2:]], sizes))
        with pytest.raises(
            ShardCorruptError, match=f"{name}: sample 0: a zstd frame .*; copy or write the shard again"
        ):
            read_all(tmp_path)
    for place in (0, 1, 2, 6):  # a head, a body, another head, the end
        for behind in (b"JUNK", Compressor(1).frame(b""), b"\x50\x2a\x4d\x18\0\0\0\0"):
            forge(tmp_path, name, shard_of([*frames[:place], frames[place] + behind, *frames[place + 1 :]], sizes))
            with pytest.raises(
                ShardCorruptError, match=f"{name}: .*a zstd frame of .* bytes ends after .*, expected nothing behind it"
            ):
                read_all(tmp_path)
            assert not verify(str(tmp_path), deep=True, num_workers=1).ok
    ends = Compressor(1).frame(b"\0" * 1000 + b"x" + b"\0" * (sizes[-1] - 1001))
    forge(tmp_path, name, shard_of([*frames[:-1], ends]))
    with pytest.raises(ShardCorruptError, match=f"{name}: its tar does not end in zeros"):
        read_all(tmp_path)
    forge(tmp_path, name, shard_of([frames[2], *frames[1:]]))
    with pytest.raises(ShardCorruptError, match=f"{name}: its seek table has heads of a size"):
        read_all(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[1]", "is not what ferdata writes"),
        (b"{", "cannot be parsed"),
        (b"\xff", "cannot be parsed"),
        (b"[" * 512, "cannot be parsed"),
    ],
)
def test_a_head_that_is_no_json_object_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    """A checksum proves that bytes are as written, not that the writer was right."""
    index = make_dataset(tmp_path, samples={"train": 1}, size=4)
    name = index.shards[0].name
    frames = frames_of((tmp_path / name).read_bytes(), 1)
    head = bytearray(zstandard.ZstdDecompressor().decompress(frames[0]))
    head[1536:2048] = text.ljust(512)
    forge(tmp_path, name, shard_of([Compressor(1).frame(bytes(head)), *frames[1:]]))

    with pytest.raises(ShardCorruptError, match=f"{name}: .*{message}"):
        read_all(tmp_path)


@pytest.mark.parametrize(
    ("place", "value"), [(0, b"x"), (100, b"7"), (156, b"5"), (512, b"9"), (513, b"1"), (1030, b"."), (2686, b"x")]
)
def test_a_head_with_a_byte_of_another_tar_is_refused(tmp_path: Path, place: int, value: bytes) -> None:
    """A reader that jumps by arithmetic must know that every header is the one it takes it for."""
    index = make_dataset(tmp_path, samples={"train": 1}, size=4)
    name = index.shards[0].name
    frames = frames_of((tmp_path / name).read_bytes(), 1)
    head = bytearray(zstandard.ZstdDecompressor().decompress(frames[0]))
    assert head[place : place + 1] != value
    head[place : place + 1] = value
    forge(tmp_path, name, shard_of([Compressor(1).frame(bytes(head)), *frames[1:]]))

    with pytest.raises(ShardCorruptError, match=f"{name}: the head of .* is not what ferdata writes"):
        read_all(tmp_path)


def test_another_codec_in_the_index_does_not_make_tensors_of_it(tmp_path: Path) -> None:
    """An index of one data set beside the shards of another."""
    make_dataset(tmp_path, codec="zstd", **SMALL)
    index = read_index(Store(str(tmp_path)))
    info = index.shards[0]
    wrong = [
        dataclasses.replace(index, codec=make_codec("raw")),
        dataclasses.replace(index, json_bytes=1024),
        dataclasses.replace(index, spec=dataclasses.replace(index.spec, shape=(3, 11, 12))),
        dataclasses.replace(index, classes=tuple(map(str, range(200)))),
    ]
    for other in wrong:
        with pytest.raises(ShardCorruptError, match=info.name):
            ShardReader(Store(str(tmp_path)), info, other).read(0)
    with pytest.raises(ShardCorruptError, match=info.name):
        ShardReader(Store(str(tmp_path)), dataclasses.replace(info, samples=2), index)
    with pytest.raises(OptionError, match="json_bytes: 500 found"):
        dataclasses.replace(index, json_bytes=500).members  # noqa: B018
