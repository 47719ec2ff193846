"""The shard format: what is written comes back, byte for byte, through our reader and programs that are not ours."""

import io
import json
import os
import tarfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from make_dataset import CODECS, SAMPLES, assert_expected, expected_pixels, make_dataset, read_all, sample_number

from ferdata.errors import OptionError
from ferdata.format import (
    Codec,
    DatasetIndex,
    ShardInfo,
    ShardReader,
    ShardTable,
    ShardWriter,
    json_bytes_for,
    make_codec,
    read_index,
    read_samples,
)
from ferdata.sample import TensorSpec
from ferdata.store import Store


def one_shard(
    samples: list[tuple[str, int, dict, np.ndarray]], *, codec: Codec, num_classes: int, root: Path
) -> ShardReader:
    """Write samples of one shape to one shard, and open it under an index that is true of it."""
    spec = TensorSpec(dtype="uint8", shape=samples[0][3].shape if samples else (3, 4, 4))
    longest = max((len(json.dumps(record)) for _, _, record, _ in samples), default=1)
    members = codec.members(spec, num_classes=num_classes, json_bytes=json_bytes_for(longest))
    store = Store(str(root))
    with store.write_atomic("train-000000.tar") as file:
        writer = ShardWriter(file, members, codec)
        for key, label, record, pixels in samples:
            writer.add(key, label, record, pixels)
        written = writer.close()
    info = ShardInfo.of(written, name="train-000000.tar", split="train")
    index = DatasetIndex(
        source="folder",
        source_layout="",
        codec=codec,
        spec=spec,
        json_bytes=members.json_bytes,
        transform={},
        settings={},
        classes=tuple(map(str, range(num_classes))),
        counts={},
        mean=(),
        std=(),
        files=(),
        shards=ShardTable.of([info]),
    )
    return ShardReader(store, info, index)


# What was written comes back


@pytest.mark.parametrize("codec", CODECS)
def test_every_sample_comes_back_with_its_own_key_label_record_and_pixels(tmp_path: Path, codec: str) -> None:
    """A data set of two splits and a short last shard, read from its files alone."""
    written = make_dataset(tmp_path, codec=codec, size=9)

    assert read_index(Store(str(tmp_path))) == written
    assert_expected(read_all(tmp_path), num_samples=sum(SAMPLES.values()), size=9)


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_samples_give_the_same_bytes(tmp_path: Path, codec: str) -> None:
    """Nothing of the time, the folder or the process gets into the files."""
    for folder in ("a", "deeper/b"):
        make_dataset(tmp_path / folder, codec=codec)

    names = sorted(os.listdir(tmp_path / "a"))
    assert names == sorted(os.listdir(tmp_path / "deeper" / "b"))
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "deeper" / "b" / name).read_bytes()


def test_the_fingerprint_does_not_depend_on_the_codec_but_on_the_samples(tmp_path: Path) -> None:
    """A training state must fit its data set after a change of codec, and no other data set."""
    prints = [make_dataset(tmp_path / codec, codec=codec).fingerprint for codec in ("raw", "zstd")]
    other = make_dataset(tmp_path / "other", samples={"train": 39, "val": 13}).fingerprint

    assert prints[0] == prints[1] != other
    assert read_index(Store(str(tmp_path / "raw"))).fingerprint == prints[0]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("num_samples", [0, 1])
def test_a_shard_may_hold_one_sample_or_none(tmp_path: Path, codec: str, num_samples: int) -> None:
    """The smallest shards are all edge: no neighbours, or only the end of a tar and its table."""
    pixels = expected_pixels(0, 4)
    with one_shard(
        [("k", 0, {}, pixels)] * num_samples, codec=make_codec(codec), num_classes=1, root=tmp_path
    ) as reader:
        assert [sample.pixels.tolist() for sample in reader] == [pixels.tolist()] * num_samples
        assert reader.read_rows(np.zeros(0, np.int64), np.zeros((1, 48), np.uint8), np.zeros(0, np.int64)) == 0
        with pytest.raises(OptionError, match=rf"positions up to {num_samples} found, expected 0 to {num_samples - 1}"):
            reader.read(num_samples)
        with pytest.raises(OptionError, match="positions up to -1 found"):
            reader.read(-1)


keys = st.text("abcXYZ019_-", min_size=1, max_size=80)
labels = st.integers(0, 1_233)
values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
records = st.dictionaries(
    st.text(max_size=10), st.recursive(values, lambda inner: st.lists(inner, max_size=3), max_leaves=8), max_size=5
)
shapes = st.lists(st.integers(1, 40), min_size=1, max_size=4).filter(lambda sizes: np.prod(sizes) < 20_000).map(tuple)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), codec=st.sampled_from([("raw", None), ("zstd", -7), ("zstd", 1), ("zstd", 3)]), shape=shapes)
def test_any_shape_key_label_and_record_comes_back(
    tmp_path: Path, data: st.DataObject, codec: tuple[str, int | None], shape: tuple
) -> None:
    """Sizes that fill a tar block to the last byte, long keys and odd texts have arithmetic of their own."""
    heads = data.draw(st.lists(st.tuples(keys, labels, records), min_size=1, max_size=4))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    pixels = [rng.integers(0, 256, shape).astype(np.uint8) * (number % 2) for number in range(len(heads))]
    samples = [(*head, image) for head, image in zip(heads, pixels, strict=True)]

    with one_shard(samples, codec=make_codec(*codec), num_classes=1_234, root=tmp_path) as reader:
        found = list(reader)
    if codec[0] == "raw":
        members = np.concatenate(
            [np.load(io.BytesIO(data))[None] for data in npy_members(tmp_path / "train-000000.tar")]
        )
        np.testing.assert_array_equal(members, np.stack(pixels))

    assert [(sample.key, sample.label, sample.record) for sample in found] == heads
    np.testing.assert_array_equal(np.stack([sample.pixels for sample in found]), np.stack(pixels))


def npy_members(path: Path) -> list[bytes]:
    with tarfile.open(path) as tar:
        return [tar.extractfile(member).read() for member in tar if member.name.endswith(".npy")]


@pytest.mark.parametrize("codec", CODECS)
def test_rows_of_a_batch_are_filled_and_no_others(tmp_path: Path, codec: str) -> None:
    """Runs, gaps and any order of rows: a batch is built in place, so a sample in a neighbour's row would go unseen."""
    index = make_dataset(tmp_path, codec=codec, samples={"train": 1_100}, samples_per_shard=1_100, size=4)
    positions = np.array([0, 1, 2, 7, 9, 10, 11, 400, *range(500, 1_099), 1_099])
    rows = np.random.default_rng(0).permutation(len(positions) + 50)[: len(positions)]
    out = np.full((len(positions) + 50, 48), 7, np.uint8)

    with ShardReader(Store(str(tmp_path)), index.shards[0], index) as reader:
        num_bytes = reader.read_rows(positions, out, rows)

    np.testing.assert_array_equal([sample_number(out[row]) for row in rows], positions)
    np.testing.assert_array_equal(out[rows], [expected_pixels(number, 4).reshape(-1) for number in positions])
    assert (np.delete(out, rows, axis=0) == 7).all()
    assert num_bytes >= 48 * len(positions) // 4


@pytest.mark.parametrize("codec", CODECS)
def test_positions_out_of_order_are_refused(tmp_path: Path, codec: str) -> None:
    """Only the first and the last were looked at: one in between could lie behind the end of the file."""
    index = make_dataset(tmp_path, codec=codec, samples={"train": 5}, size=4)
    out = np.zeros((4, 48), np.uint8)
    with ShardReader(Store(str(tmp_path)), index.shards[0], index) as reader:
        for positions in ([0, 1_000_000, 4], [0, -3, 4], [2, 1]):
            with pytest.raises(
                OptionError, match="positions out of order found, expected ascending ones; correct the caller"
            ):
                reader.read_rows(np.array(positions), out, np.arange(len(positions)))
        reader.read_rows(np.array([1, 3, 3, 4]), out, np.arange(4))
    assert [sample_number(row) for row in out] == [1, 3, 3, 4]


def test_a_sample_can_be_read_into_memory_that_is_there(tmp_path: Path) -> None:
    """A check over a whole data set must not pay for fresh memory a sample."""
    index = make_dataset(tmp_path, size=5)
    pixels = np.zeros((3, 5, 5), np.uint8)
    with ShardReader(Store(str(tmp_path)), index.shards[1], index) as reader:
        sample = reader.read(3, pixels)

    assert sample.pixels is pixels
    np.testing.assert_array_equal(pixels, expected_pixels(19, 5))


def test_the_sample_table_names_every_sample_in_reading_order(tmp_path: Path) -> None:
    """Loaders take labels from the table alone, so it must agree with the shards row by row."""
    index = make_dataset(tmp_path)
    rows = read_samples(Store(str(tmp_path)), index).to_pylist()

    assert [row["key"] for row in rows] == [sample.key for sample in read_all(tmp_path)]
    assert [(row["shard"], row["position"], row["frame"]) for row in rows[15:18]] == [(0, 15, 31), (1, 0, 1), (1, 1, 3)]
    assert [row["split"] for row in rows] == ["train"] * 40 + ["val"] * 12
    assert read_samples(Store(str(tmp_path)), index, ["label"]).column_names == ["label"]


# Stores that are not a local folder


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("scheme", ["memory", "local"])
def test_a_remote_folder_reads_the_same_as_a_local_one(tmp_path: Path, codec: str, scheme: str) -> None:
    """Behind a URL samples come by ranges; the same code must give the same bytes."""
    url = f"{scheme}://{tmp_path}/far"
    local, remote = make_dataset(tmp_path / "near", codec=codec), make_dataset(url, codec=codec)
    store = Store(url)

    assert not store.is_local
    assert read_index(store) == local == remote
    assert_expected(read_all(url), num_samples=52, size=16)
    out = np.zeros((5, 768), np.uint8)
    with ShardReader(store, remote.shards[0], remote) as reader:
        reader.read_rows(np.array([0, 1, 2, 8, 9]), out, np.array([4, 0, 1, 3, 2]))
    assert [sample_number(row) for row in out] == [1, 2, 9, 8, 0]
    fsspec.filesystem("memory").store.clear()


# What is refused when it is written


SPEC = TensorSpec(dtype="uint8", shape=(3, 4, 4))
MEMBERS = make_codec("raw").members(SPEC, num_classes=8, json_bytes=512)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (("a.b", 0, {}, np.zeros((3, 4, 4), np.uint8)), "key 'a.b': expected 1 to 80 letters, digits, '_' or '-'"),
        (("", 0, {}, np.zeros((3, 4, 4), np.uint8)), "key '': expected 1 to 80"),
        (("k" * 81, 0, {}, np.zeros((3, 4, 4), np.uint8)), "expected 1 to 80"),
        (("é", 0, {}, np.zeros((3, 4, 4), np.uint8)), "key 'é': expected"),
        (("a\n", 0, {}, np.zeros((3, 4, 4), np.uint8)), "expected 1 to 80"),
        (("a", 8, {}, np.zeros((3, 4, 4), np.uint8)), "a: label 8 found, expected 0 to 7"),
        (("a", -1, {}, np.zeros((3, 4, 4), np.uint8)), "a: label -1 found, expected 0 to 7"),
        (("a", 0, {"x": float("nan")}, np.zeros((3, 4, 4), np.uint8)), "expected finite numbers in its json"),
        (
            ("a", 0, {"x": "é" * 100}, np.zeros((3, 4, 4), np.uint8)),
            "608 bytes of json found, expected at most 512; raise json_bytes",
        ),
        (("a", 0, {}, np.zeros((4, 4, 3), np.uint8)), r"a: tensor uint8 \[4, 4, 3\] found, expected uint8 \[3, 4, 4\]"),
        (("a", 0, {}, np.zeros((3, 4, 4), np.float32)), r"a: tensor float32 \[3, 4, 4\] found"),
    ],
)
def test_a_sample_that_could_not_be_read_back_is_refused(sample: tuple, message: str) -> None:
    """The writer must not make a file that the reader refuses, or worse, misreads."""
    writer = ShardWriter(io.BytesIO(), MEMBERS, make_codec("raw"))
    with pytest.raises(OptionError, match=message):
        writer.add(*sample)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (TensorSpec(dtype="float32", shape=(3, 4, 4)), "dtype float32 found, expected uint8"),
        (TensorSpec(dtype="uint8", shape=(3, 0, 4)), r"shape \[3, 0, 4\] found, expected a few positive sizes"),
        (TensorSpec(dtype="uint8", shape=(-3, -4, 4)), "expected a few positive sizes"),
        (TensorSpec(dtype="uint8", shape=(1,) * 40), "expected a few positive sizes"),
    ],
)
def test_a_tensor_spec_that_no_header_can_hold_is_refused(spec: TensorSpec, message: str) -> None:
    """An NPY header has 128 bytes here, and one dtype."""
    with pytest.raises(OptionError, match=message):
        make_codec("raw").members(spec, num_classes=8, json_bytes=512)


@pytest.mark.parametrize(
    ("name", "level", "message"),
    [
        ("lz4", None, "codec: 'lz4' found, expected one of raw, zstd"),
        ("zstd", 20, "level: 20 found, expected -20 to 19"),
        ("zstd", -21, "level: -21 found"),
        ("raw", 3, "level: 3 found, but codec raw has none"),
    ],
)
def test_codec_options_outside_what_is_allowed_are_refused(name: str, level: int | None, message: str) -> None:
    """One line must tell what was wrong; the same options later stand in the index."""
    with pytest.raises(OptionError, match=message):
        make_codec(name, level)


def test_pixels_that_are_not_contiguous_are_stored_in_c_order(tmp_path: Path) -> None:
    """A transposed view of an image is what most decoders hand over."""
    pixels = expected_pixels(5, 6).transpose(2, 0, 1)
    with one_shard([("k", 0, {}, pixels)], codec=make_codec("zstd"), num_classes=1, root=tmp_path) as reader:
        np.testing.assert_array_equal(reader.read(0).pixels, pixels)


def test_a_codec_says_what_it_is(tmp_path: Path) -> None:
    """It is shown where a data set is; a codec without a level has none to show."""
    names = ("raw", "zstd", "compact", "jpeg")
    assert [str(make_codec(name)) for name in names] == ["raw", "zstd at level -10", "compact", "jpeg"]
    assert str(make_codec("zstd", 3)) == "zstd at level 3"
    assert "codec raw;" in repr(make_dataset(tmp_path / "raw", codec="raw"))
    assert "codec zstd at level 1;" in repr(make_dataset(tmp_path / "zstd", level=1))
