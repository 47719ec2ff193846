"""Shards without ferdata: programs and libraries that aren't ours, a reader made from FORMAT.md, golden files."""

import io
import itertools
import json
import os
import re
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pyzstd
import webdataset
import xxhash
import zstandard
from make_dataset import (
    assert_expected,
    expected_key,
    expected_label,
    expected_pixels,
    expected_record,
    make_dataset,
    read_all,
)

from ferdata.dataset.verify import verify
from ferdata.format import DatasetIndex, Sample, read_index, read_samples
from ferdata.store import Store

GOLDEN = Path(__file__).parents[1] / "golden"
FORMAT_PAGE = Path(__file__).parents[2] / "ferdata" / "format" / "FORMAT.md"
GOLDEN_CLASSES = ("Neutral", "Happy", "Sad")
JPEG_PIXELS = "a639783c595bd26b"
GOLDEN_LIBRARIES = {"zstd": (1, 5, 7), "parquet": "parquet-cpp-arrow version 26.0.1"}
GOLDEN_SETS = {
    "raw": {"size": 2},
    "zstd": {"size": 2, "level": -1},
    "compact": {"size": 11},
    "jpeg": {"size": 16},
}
"""To make golden shards again: ``make_golden(GOLDEN / codec, codec)``; ``jpeg`` takes the images that are there."""


def make_golden(root: Path, codec: str) -> None:
    sources = golden_sources() if codec == "jpeg" else ()
    split = {"samples": {"train": 2, "val": 1}, "samples_per_shard": 2, "classes": GOLDEN_CLASSES}
    make_dataset(root, codec=codec, sources=sources, **split, **GOLDEN_SETS[codec])


def golden_sources() -> list[bytes]:
    """Return the image files in the golden ``jpeg`` set: another libjpeg would make others of the same pixels."""
    sources = []
    for path in sorted((GOLDEN / "jpeg").glob("*.tar")):
        with tarfile.open(path) as tar:
            files = [tar.extractfile(member) for member in tar if member.name.endswith(".jpg")]
            sources += [file.read() for file in files if file]
    return sources


needs_zstd = pytest.mark.skipif(shutil.which("zstd") is None, reason="the zstd program is not installed")
needs_tar = pytest.mark.skipif(shutil.which("tar") is None, reason="the tar program is not installed")


def shard_paths(root: Path, index: DatasetIndex) -> list[Path]:
    return [root / info.name for info in index.shards]


# Programs that are not ours


@needs_zstd
def test_the_zstd_and_tar_programs_read_a_shard(tmp_path: Path) -> None:
    """The promise of the format: in ten years, without us, two programs that every system has give the data back."""
    index = make_dataset(tmp_path)
    for path in shard_paths(tmp_path, index):
        subprocess.run(["zstd", "-qt", path], check=True)
    listed = subprocess.run(
        f"zstd -dcq {tmp_path}/train-000001.tar.zst | tar -tvf -",
        shell=True,
        check=True,
        capture_output=True,
        text=True,
    )

    names = [line.split()[-1] for line in listed.stdout.splitlines()]
    assert names == [
        f"{expected_key(number)}.{suffix}" for number in range(16, 32) for suffix in ("cls", "json", "npy")
    ]
    assert listed.stderr == ""


@needs_tar
def test_the_tar_program_reads_an_uncompressed_shard(tmp_path: Path) -> None:
    """Its table is one more member, which does no harm."""
    make_dataset(tmp_path, codec="raw", samples={"train": 2})
    listed = subprocess.run(["tar", "-tf", tmp_path / "train-000000.tar"], check=True, capture_output=True, text=True)

    assert listed.stdout.split()[-2:] == ["face-000001.npy", "__table__"]


@needs_zstd
@pytest.mark.filterwarnings("ignore::Warning:webdataset")
def test_webdataset_decodes_every_sample_through_a_pipe(tmp_path: Path) -> None:
    """The usual way to stream tars reads ours with one line."""
    index = make_dataset(tmp_path)
    number = 0
    for path in shard_paths(tmp_path, index):
        for sample in webdataset.WebDataset(f"pipe:zstd -dcq {path}", shardshuffle=False).decode():
            assert (sample["__key__"], sample["cls"]) == (expected_key(number), expected_label(number))
            np.testing.assert_array_equal(sample["npy"], expected_pixels(number, 16))
            assert sample["json"] == expected_record(number)
            number += 1

    assert number == 52


@pytest.mark.filterwarnings("ignore::Warning:webdataset")
def test_webdataset_reads_an_uncompressed_shard_and_leaves_its_table_out(tmp_path: Path) -> None:
    """The table must not become a sample."""
    make_dataset(tmp_path, codec="raw", samples={"train": 5})
    found = list(webdataset.WebDataset(str(tmp_path / "train-000000.tar"), shardshuffle=False).decode())

    assert [(sample["__key__"], sample["cls"]) for sample in found] == [
        (expected_key(number), expected_label(number)) for number in range(5)
    ]


def test_a_foreign_seekable_reader_reads_a_shard_at_random_places(tmp_path: Path) -> None:
    """The seek table is zstd's own, so any reader of seekable files jumps into our shards."""
    index = make_dataset(tmp_path, samples={"train": 30}, samples_per_shard=30)
    [path] = shard_paths(tmp_path, index)
    plain = zstandard.ZstdDecompressor().stream_reader(path.read_bytes(), read_across_frames=True).read()
    rng = np.random.default_rng(1)

    with pyzstd.SeekableZstdFile(path) as file:
        assert len(plain) == file.seek(0, io.SEEK_END)
        for start in rng.integers(0, len(plain), 50).tolist():
            file.seek(start)
            assert file.read(1_000) == plain[start : start + 1_000]


def test_python_and_numpy_read_a_shard_in_five_lines(tmp_path: Path) -> None:
    """What a stranger writes first: zstandard, tarfile, np.load."""
    index = make_dataset(tmp_path, samples={"train": 7})
    [path] = shard_paths(tmp_path, index)
    stream = zstandard.ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True, closefd=True)
    with stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar}

    assert len(found) == 21
    for number in range(7):
        np.testing.assert_array_equal(
            np.load(io.BytesIO(found[f"{expected_key(number)}.npy"])), expected_pixels(number, 16)
        )
        assert int(found[f"{expected_key(number)}.cls"]) == expected_label(number)
        assert json.loads(found[f"{expected_key(number)}.json"]) == expected_record(number)


# A reader made from FORMAT.md alone


class StrangersReader:
    """Reads a data set by FORMAT.md's sections, with struct, xxHash and a zstd library; nothing of ferdata."""

    def __init__(self, root: Path) -> None:
        self.root = root
        data = (root / "index.json").read_bytes()  # section 3
        assert data.startswith(b'{\n "format": "ferdata",') and len(data) > 33
        assert data[-33:] == b',\n "xxh64": "%s"\n}\n' % xxhash.xxh64_hexdigest(data[:-33]).encode()
        self.index = json.loads(data)
        assert self.index["format_version"] == 3
        ending = {"zstd": ".tar.zst", "raw": ".tar"}[self.index["codec"]["name"]]
        self.shards = [
            {**dict(zip(columns, row, strict=True)), "name": f"{split}-{row[0]:06d}{ending}"}
            for split, columns in self.index["shards"].items()
            for row in zip(*columns.values(), strict=True)
        ]
        for info in self.index["files"] + self.shards:
            content = (root / info["name"]).read_bytes()
            assert (len(content), xxhash.xxh64_hexdigest(content)) == (info["num_bytes"], info["xxh64"])
        self._check_parts((root / "samples.parquet").read_bytes())
        self.json_bytes = self.index["json_bytes"]
        self.body_bytes = int(np.prod(self.index["spec"]["shape"]))
        self.head_bytes = 2048 + self.json_bytes + 128
        self.label_digits = len(str(len(self.index["classes"]) - 1))

    def _check_parts(self, data: bytes) -> None:
        footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")  # section 4
        metadata, ends = pq.read_metadata(io.BytesIO(data)), [0]
        for group in range(metadata.num_row_groups):
            for column in range(metadata.num_columns):
                ends.append((ends[-1] or 4) + metadata.row_group(group).column(column).total_compressed_size)
        assert ends[-1] == footer
        ends.append(len(data))
        hashes = [xxhash.xxh64_hexdigest(data[start:end]) for start, end in itertools.pairwise(ends)]
        assert hashes == next(info for info in self.index["files"] if info["name"] == "samples.parquet")["parts_xxh64"]

    def samples(self) -> list[tuple[str, int, dict, np.ndarray]]:
        read = {"zstd": self._compressed, "raw": self._uncompressed}[self.index["codec"]["name"]]
        found = []
        for info in self.shards:
            for head, body in read((self.root / info["name"]).read_bytes(), info["samples"], info["tail_xxh64"]):
                found.append(self._sample(head, body))
        return found

    def _compressed(self, data: bytes, count: int, tail_xxh64: str) -> list[tuple[bytes, bytes]]:
        frames = 2 * count + 1  # section 7.1
        table = data[-(17 + 8 * frames) :]
        assert struct.unpack_from("<II", table) == (0x184D2A5E, 9 + 8 * frames)
        assert struct.unpack_from("<IBI", table, 8 + 8 * frames) == (frames, 0, 0x8F92EAB1)
        last_bytes = int.from_bytes(table[-17:-13], "little")
        assert xxhash.xxh64_hexdigest(data[-(4 + last_bytes + len(table)) :]) == tail_xxh64
        contents, offset = [], 0
        for frame in range(frames):
            stored, inflated = struct.unpack_from("<II", table, 8 + 8 * frame)
            content = pyzstd.decompress(data[offset : offset + stored])
            assert len(content) == inflated
            contents.append(content)
            offset += stored
        assert offset + len(table) == len(data)
        padding = -(128 + self.body_bytes) % 512
        assert contents[-1] == bytes(1024 + (padding if count else 0))
        for number in range(count):
            assert contents[2 * number][: -self.head_bytes] == bytes(padding if number else 0)
        return [(contents[2 * number][-self.head_bytes :], contents[2 * number + 1]) for number in range(count)]

    def _uncompressed(self, data: bytes, count: int, tail_xxh64: str) -> list[tuple[bytes, bytes]]:
        content_bytes = 24 + 12 * count  # section 8
        start = len(data) - 1024 - content_bytes - -content_bytes % 512
        assert data[start - 512 : start] == self._header("__table__", content_bytes)
        assert xxhash.xxh64_hexdigest(data[start - 512 :]) == tail_xxh64
        table = data[start : start + content_bytes]
        assert not any(data[start + content_bytes :])
        assert struct.unpack_from("<8sII", table) == (b"FERTABLE", 1, count)
        assert struct.unpack("<Q", table[-8:]) == (xxhash.xxh64_intdigest(table[:-8]),)
        found, offset = [], 0
        for number in range(count):
            size, body_checksum, head_checksum = struct.unpack_from("<III", table, 16 + 12 * number)
            head = data[offset : offset + self.head_bytes]
            body = data[offset + self.head_bytes : offset + self.head_bytes + size]
            assert [xxhash.xxh64_intdigest(part) % 2**32 for part in (body, head)] == [body_checksum, head_checksum]
            found.append((head, body))
            offset += self.head_bytes + size + -(128 + size) % 512
        assert offset == start - 512
        return found

    def _sample(self, head: bytes, body: bytes) -> tuple[str, int, dict, np.ndarray]:
        key = head[: head.index(b".cls\0")].decode()  # section 6
        assert re.fullmatch("[A-Za-z0-9_-]{1,80}", key)
        label = int(head[512 : 512 + self.label_digits])
        text = head[1536 : 1536 + self.json_bytes]
        shape = tuple(self.index["spec"]["shape"])
        npy = (
            b"\x93NUMPY\x01\0\x76\0"
            + f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117)
            + b"\n"
        )
        assert head == (
            self._header(f"{key}.cls", self.label_digits)
            + f"{label:0{self.label_digits}}".encode().ljust(512, b"\0")
            + self._header(f"{key}.json", self.json_bytes)
            + text
            + self._header(f"{key}.npy", 128 + len(body))
            + npy
        )
        return key, label, json.loads(text), np.frombuffer(body, np.uint8).reshape(shape)

    @staticmethod
    def _header(name: str, num_bytes: int) -> bytes:
        header = bytearray(512)
        header[: len(name)] = name.encode()
        header[100:156] = b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % num_bytes + b"0" * 11 + b"\0" + b" " * 8
        header[156:157], header[257:265] = b"0", b"ustar\x0000"
        header[148:156] = b"%06o\0 " % sum(header)
        return bytes(header)


@pytest.mark.parametrize("codec", ["raw", "zstd"])
@pytest.mark.parametrize("num_classes", [1, 8, 11])
def test_a_reader_made_from_the_format_page_alone_reads_everything(
    tmp_path: Path, codec: str, num_classes: int
) -> None:
    """The page is normative: what it leaves out, a stranger cannot know."""
    make_dataset(tmp_path, codec=codec, size=7, classes=[f"class {label}" for label in range(num_classes)])
    found = StrangersReader(tmp_path).samples()

    assert_expected(
        [Sample(key=key, label=label, record=record, pixels=pixels) for key, label, record, pixels in found],
        num_samples=52,
        size=7,
        num_classes=num_classes,
    )


# Golden shards


@pytest.mark.parametrize("codec", GOLDEN_SETS)
def test_shards_of_earlier_days_are_still_read(codec: str) -> None:
    """These files were written once and stay; a reader that no longer reads them has broken somebody's disk."""
    samples = read_all(GOLDEN / codec)
    if codec == "jpeg":
        pixels = np.stack([sample.pixels for sample in samples])
        assert (pixels.shape, xxhash.xxh64_hexdigest(pixels.tobytes())) == ((3, 3, 16, 16), JPEG_PIXELS)
    else:
        assert_expected(samples, num_samples=3, size=GOLDEN_SETS[codec]["size"], num_classes=3)
    index = read_index(Store(str(GOLDEN / codec)))
    assert read_samples(Store(str(GOLDEN / codec)), index).column("key").to_pylist() == [
        expected_key(number) for number in range(3)
    ]
    assert verify(str(GOLDEN / codec), deep=True, num_workers=1).ok


@pytest.mark.parametrize("codec", GOLDEN_SETS)
def test_the_bytes_that_are_written_have_not_changed(tmp_path: Path, codec: str) -> None:
    """A change of bytes is a change of format: it needs a version, a line in FORMAT.md and a new golden shard."""
    make_golden(tmp_path, codec)

    files = sorted(path.name for path in (GOLDEN / codec).iterdir())
    assert files == sorted(os.listdir(tmp_path))
    for name in files:
        written, golden = (tmp_path / name).read_bytes(), (GOLDEN / codec / name).read_bytes()
        if name.endswith(".zst"):
            assert pyzstd.decompress(written) == pyzstd.decompress(golden)
        if (
            codec in ("zstd", "compact")
            and name.endswith((".zst", ".json"))
            and GOLDEN_LIBRARIES["zstd"] != zstandard.ZSTD_VERSION
        ):
            continue  # another libzstd may choose other matches, and the index holds their hash
        if not name.endswith((".tar", ".zst", ".csv")) and parquet_writer() != GOLDEN_LIBRARIES["parquet"]:
            continue  # the table names the library that wrote it, and the index holds the table's hash
        assert written == golden, name


def parquet_writer() -> str:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), buffer)
    return pq.read_metadata(buffer).created_by


def test_the_bytes_on_the_format_page_are_those_of_the_golden_shards() -> None:
    """An example that has drifted from the format teaches the wrong one."""
    blocks = re.findall(r"```\n((?:[0-9a-f]{3,4}  .*\n)+)```", FORMAT_PAGE.read_text())
    shown = [bytes.fromhex("".join(line[line.index("  ") :] for line in block.splitlines())) for block in blocks]

    assert len(shown) == 2
    assert shown[0] == (GOLDEN / "zstd" / "train-000000.tar.zst").read_bytes()
    assert shown[1] == (GOLDEN / "raw" / "train-000000.tar").read_bytes()[0x1A00:0x1A30]
