"""index.json by somebody else: another version or program, or forged. Refused by name, before anything is believed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import xxhash
from forging import rewrite_index
from make_dataset import make_dataset

from ferdata.dataset.export import export
from ferdata.dataset.info import describe
from ferdata.dataset.recode import recode
from ferdata.dataset.verify import verify
from ferdata.errors import ShardCorruptError
from ferdata.format import read_index
from ferdata.store import Store

SMALL = {"samples": {"train": 5, "val": 2}, "samples_per_shard": 3, "size": 11}


@pytest.mark.parametrize("version", [0, 1, 2, 4, "3", 3.0, None, [3]])
def test_another_format_version_is_refused_by_its_number(tmp_path: Path, version: object) -> None:
    """A later format may change one meaning, and an earlier one proves less; a guess would be wrong in silence."""
    make_dataset(tmp_path, **SMALL)
    rewrite_index(tmp_path, lambda record: record.update(format_version=version, codec={"name": "unheard of"}, spec=7))

    with pytest.raises(ShardCorruptError) as caught:
        read_index(Store(str(tmp_path)))
    assert str(caught.value).startswith(
        f"{tmp_path}/index.json: format version {version!r} found, expected 3; read it with the"
    )


def test_members_that_are_not_known_are_left_alone(tmp_path: Path) -> None:
    """FORMAT.md lets later writers add what readers may ignore."""
    index = make_dataset(tmp_path, **SMALL)

    def add(record: dict) -> None:
        for place in (
            record,
            record["codec"],
            record["spec"],
            record["files"][0],
            record["shards"]["train"],
            record["summary"],
        ):
            place["extra"] = {"a": 1}

    rewrite_index(tmp_path, add)
    found = read_index(Store(str(tmp_path)))

    assert (found.shards, found.files, found.codec, found.fingerprint) == (
        index.shards,
        index.files,
        index.codec,
        index.fingerprint,
    )


@pytest.mark.parametrize("text", ["", "{}", '{"version": 2, "shards": []}', "\0" * 100, "[" * 100_000])
def test_an_index_of_another_program_is_told_from_a_damaged_one(tmp_path: Path, text: str) -> None:
    """Other shard formats have an index.json too."""
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(ShardCorruptError, match=f"{tmp_path}/index.json: not an index that ferdata wrote"):
        read_index(Store(str(tmp_path)))


@pytest.mark.parametrize(
    "tail",
    [
        b" garbage",
        b"",
        b'\n "source": "\xff"',
        b'\n "source": "\xc3\xa9"',
        b'\n "mean": [NaN]',
        b'\n "source": ' + b"[" * 200_000 + b"]" * 200_000,
        b'\n "format_version": ' + b"9" * 5_000,
    ],
    ids=["garbage", "nothing", "no text", "not ASCII", "no number", "deep", "long"],
)
def test_an_index_that_is_no_json_is_an_error_whatever_its_checksum(tmp_path: Path, tail: bytes) -> None:
    """Parsers fail in many ways: values, encodings, recursion, digits."""
    data = b'{\n "format": "ferdata",' + tail
    (tmp_path / "index.json").write_bytes(data + b',\n "xxh64": "%s"\n}\n' % xxhash.xxh64_hexdigest(data).encode())

    with pytest.raises(ShardCorruptError, match=f"{tmp_path}/index.json: .*expected ASCII JSON"):
        read_index(Store(str(tmp_path)))


def put(path: str, value: object) -> Callable[[dict], None]:
    """Return a change of one member: ``shards.0.name``."""

    def change(record: dict) -> None:
        *parents, last = (int(part) if part.isdecimal() else part for part in path.split("."))
        for part in parents:
            record = record[part]
        record[last] = value

    return change


WRONG = [
    # Other types and ranges
    ("codec", None, "codec: None found, expected an object"),
    ("codec.name", "lz4", "codec.name: 'lz4' found, expected one of raw, zstd, compact, jpeg"),
    ("codec.name", ["zstd"], "codec.name: "),
    ("codec.level", 40, "codec.level: 40 found, expected a whole number from -20 to 19"),
    ("codec.level", None, "codec zstd: level None found"),
    ("spec", None, "spec: None found, expected an object"),
    ("spec.dtype", "float32", "spec.dtype: 'float32' found, expected one of uint8"),
    ("spec.shape", [3.0, 11, 11], r"spec.shape\[0\]: 3.0 found, expected a whole number"),
    ("spec.shape", [True, 11, 11], r"spec.shape\[0\]: True found"),
    ("spec.shape", [3, 0, 11], r"spec.shape\[1\]: 0 found"),
    ("spec.shape", [3, -11, -11], r"spec.shape\[1\]: -11 found"),
    ("spec.shape", [3, 100_000, 100_000], "spec.shape: .*expected at most 268,435,456 bytes"),
    ("spec.shape", [3, 10**300, 1], "spec.shape.*found, expected"),
    ("spec.shape", [], "spec.shape: .* found, expected an array of 1 to 32 values"),
    ("spec.shape", [3] + [1] * 31, "tensor spec: shape .* found, expected a few positive sizes"),
    ("json_bytes", 513, "json_bytes: 513 found, expected a multiple of 512"),
    ("json_bytes", 2**40, "json_bytes: .*expected a whole number from 512 to 16,777,216"),
    ("transform", {}, "transform.fingerprint: no such member found"),
    ("transform.fingerprint", "0" * 16, "transform.fingerprint: .*expected 32 lower-case hexadecimal digits"),
    ("settings", 3, "settings: 3 found, expected an object"),
    ("classes", "Happy", "classes: 'Happy' found, expected an array"),
    ("classes", [], "classes: .*expected an array of 1 to"),
    ("classes.0", None, r"classes\[0\]: None found, expected text"),
    ("classes", ["a", "b"], "counts.train: .*expected 2 numbers, one per class"),
    ("counts", [], r"counts: \[\] found, expected an object"),
    ("counts.train", None, "counts.train: None found, expected an array"),
    ("counts.train.0", -1, r"counts.train\[0\]: -1 found"),
    ("counts.train.0", 77, "counts.train: .*expected a sum of 5, the samples of its shards"),
    ("counts.test", [0] * 7, "counts.test: .*expected 8 numbers, one per class"),
    (
        "counts.test",
        [0] * 8,
        r"shards: \['train', 'val'\] found, expected columns for each of .*'test'\], in this order",
    ),
    ("mean", [None, 1, 2], r"mean\[0\]: None found, expected a number from 0 to 255"),
    ("mean", [1.0], "mean: .*expected 3 numbers, one per channel"),
    ("std.1", -0.5, r"std\[1\]: -0.5 found"),
    ("summary", 5, "summary: 5 found, expected an object"),
    ("summary.notes", 5, "summary.notes: 5 found, expected an array"),
    ("summary.rejected", {"a": "b"}, "summary.rejected.a: 'b' found"),
    ("files", [], "files: .*expected an array of 2 to 2 values"),
    ("files.0.xxh64", "x", r"files\[0\].xxh64: 'x' found, expected 16 lower-case"),
    ("files.1.name", "samples.parquet", "files: .*found, expected samples.parquet and rejects.csv"),
    ("files.0.parts_xxh64", None, r"files\[0\].parts_xxh64: None found, expected an array"),
    ("files.0.parts_xxh64", ["0" * 15], r"files\[0\].parts_xxh64\[0\]: .*expected 16 lower-case"),
    ("shards", 7, "shards: 7 found, expected an object"),
    ("shards.train", [], r"shards.train: \[\] found, expected an object"),
    ("shards.train.number", "01", "shards.train.number: '01' found, expected an array"),
    ("shards.train.number", [0, 10**9], r"shards.train.number\[1\]: 1000000000 found, expected a whole number"),
    ("shards.train.samples.0", "abc", r"shards.train.samples\[0\]: 'abc' found, expected a whole number"),
    ("shards.train.samples.1", True, r"shards.train.samples\[1\]: True found, expected a whole number"),
    ("shards.train.samples.0", 10**12, r"shards.train.samples\[0\]: 1000000000000 found"),
    (
        "shards.train.samples.0",
        10**6,
        r"shards.train.samples\[0\]: 1000000 found, expected no more than its bytes hold",
    ),
    ("shards.train.samples", [5], "shards.train: .*'samples': 1, .* found, expected columns of one length"),
    ("shards.train.num_bytes.0", None, r"shards.train.num_bytes\[0\]: None found"),
    ("shards.train.tail_xxh64.1", 0, r"shards.train.tail_xxh64\[1\]: 0 found"),
    ("shards.train.xxh64.1", "0" * 15 + "A", r"shards.train.xxh64\[1\]: .*expected 16 lower-case"),
    ("shards.train.xxh64.1", "0" * 15 + "\u0660", r"shards.train.xxh64\[1\]: .*expected 16 lower-case"),
    # Names that lead elsewhere
    (
        "files.1.name",
        "../evil.txt",
        r"files\[1\].name: '../evil.txt' found, expected one of samples.parquet, rejects.csv",
    ),
    ("shards", {"..": {}}, r"shards: the name '..': '..' found, expected a split's name"),
    ("shards", {}, r"shards: \[\] found, expected columns for each of \['train', 'val'\], in this order"),
    ("counts", {"..": [0] * 8}, "counts: the name '..': '..' found, expected a split's name"),
    # Order
    ("shards.train.number", [0, 0], r"shards.train.number\[1\]: 0 found, expected every shard once, in the order of"),
    ("shards.train.number", [7, 2], r"shards.train.number\[1\]: 2 found, expected every shard once, in the order of"),
]


@pytest.mark.parametrize(
    ("path", "value", "message"), WRONG, ids=[f"{path}={str(value)[:20]!r}" for path, value, _ in WRONG]
)
def test_a_member_that_no_data_set_can_have_is_named(tmp_path: Path, path: str, value: object, message: str) -> None:
    """A checksum that fits proves no sense: users must see file and member, no traceback, no demand for terabytes."""
    make_dataset(tmp_path, **SMALL)
    rewrite_index(tmp_path, put(path, value))

    with pytest.raises(ShardCorruptError, match=f"^{tmp_path}/index.json: {message}"):
        read_index(Store(str(tmp_path)))


@pytest.mark.parametrize(
    "path",
    [
        "source",
        "codec.level",
        "spec.shape",
        "classes",
        "counts",
        "mean",
        "shards",
        "shards.train.samples",
        "shards.val.tail_xxh64",
        "files.1.xxh64",
        "files.1.parts_xxh64",
    ],
)
def test_a_member_that_is_missing_is_named(tmp_path: Path, path: str) -> None:
    """Somebody else's writer may forget one; the user must see the file's name and not a KeyError."""
    make_dataset(tmp_path, **SMALL)

    def drop(record: dict) -> None:
        *parents, last = (int(part) if part.isdecimal() else part for part in path.split("."))
        for part in parents:
            record = record[part]
        del record[last]

    rewrite_index(tmp_path, drop)
    with pytest.raises(
        ShardCorruptError, match=f"^{tmp_path}/index.json: .*{path.split('.')[-1]}: no such member found, expected one"
    ):
        read_index(Store(str(tmp_path)))


def test_shards_listed_twice_left_out_or_out_of_order_are_found(tmp_path: Path) -> None:
    """Labels and pixels are matched by the order of the index alone."""
    make_dataset(tmp_path, **SMALL)
    shards = json.loads((tmp_path / "index.json").read_bytes())["shards"]
    for order in ([0, 0, 1], [1], [1, 0], []):
        changed = {name: [values[place] for place in order] for name, values in shards["train"].items()}
        rewrite_index(tmp_path, lambda record, changed=changed: record["shards"].update(train=changed))
        with pytest.raises(ShardCorruptError, match=f"{tmp_path}/index.json: (shards|counts).train"):
            read_index(Store(str(tmp_path)))
    rewrite_index(tmp_path, lambda record: record.update(shards={"val": shards["val"], "train": shards["train"]}))
    with pytest.raises(ShardCorruptError, match=f"{tmp_path}/index.json: shards: .*in this order"):
        read_index(Store(str(tmp_path)))
    rewrite_index(tmp_path, lambda record: record.update(shards=shards))
    assert len(read_index(Store(str(tmp_path))).shards) == 3


def test_nothing_is_written_outside_the_folder_that_was_named(tmp_path: Path) -> None:
    """A data set from the internet must not choose where its files go."""
    make_dataset(tmp_path / "set", **SMALL)
    (tmp_path / "evil.txt").write_text("bait")
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    changes = [
        put("files.1.name", "../evil.txt"),
        lambda record: [record[name].update({"../..": record[name].pop("train")}) for name in ("shards", "counts")],
    ]
    original = (tmp_path / "set" / "index.json").read_bytes()
    for change in changes:
        rewrite_index(tmp_path / "set", change)
        for act in (
            lambda: recode(str(tmp_path / "set"), out=str(tmp_path / "out" / "deep"), codec="raw"),
            lambda: export(str(tmp_path / "set"), to="folder", out=str(tmp_path / "out" / "deep")),
            lambda: describe(str(tmp_path / "set")),
        ):
            with pytest.raises(ShardCorruptError, match=r"index\.json: "):
                act()
        assert not verify(str(tmp_path / "set"), num_workers=1).ok
        (tmp_path / "set" / "index.json").write_bytes(original)
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


def put_setting(text: str) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(b'"settings": {', b'"settings": {"forged": ' + text.encode() + b", ", 1)


ODD = {
    "deep": (put_setting("[" * 500 + "]" * 500), "at most 16 values one in the other"),
    "deeper": (put_setting("[" * 100_000 + "]" * 100_000), "expected ASCII JSON"),
    "half a character": (put_setting('"\\ud800"'), "expected whole characters"),
    "half a character in a class": (
        lambda data: data.replace(b'"classes": [', b'"classes": ["\\udfff", ', 1),
        "4,096 whole characters",
    ),
    "no number": (put_setting("NaN"), "NaN found"),
    "endless": (put_setting("1e999"), "inf found, expected a number"),
    "huge": (put_setting("9" * 4000), "expected a number"),
    "longer than Python reads": (put_setting("9" * 10_000), "expected ASCII JSON"),
    "twice": (
        lambda data: data.replace(b'"counts": {', b'"classes": [], "counts": {', 1),
        "the member 'classes' found twice",
    ),
    "twice within": (put_setting('{"a": 1, "a": 2}'), "the member 'a' found twice"),
}


@pytest.mark.parametrize(("forge", "message"), ODD.values(), ids=ODD)
def test_json_that_python_takes_and_others_do_not_is_refused(
    tmp_path: Path, forge: Callable[[bytes], bytes], message: str
) -> None:
    """Each of these went through, and ended in a traceback where it was shown, copied or written again."""
    make_dataset(tmp_path, **SMALL)
    path = tmp_path / "index.json"
    data = path.read_bytes()
    forged = forge(data[: data.rindex(b',\n "xxh64"')])
    path.write_bytes(forged + f',\n "xxh64": "{xxhash.xxh64_hexdigest(forged)}"\n}}\n'.encode())

    with pytest.raises(ShardCorruptError, match=f"^{path}: ") as caught:
        read_index(Store(str(tmp_path)))
    assert message in str(caught.value)
    assert len(str(caught.value)) < 1000
