"""export gives the samples back without ferdata: the same pixels, labels and keys, in forms that anything reads."""

import csv
import json
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset
from make_dataset import CODECS, expected_key, expected_label, expected_pixels, expected_record, make_dataset
from PIL import Image
from torchvision.datasets import ImageFolder

from ferdata.dataset.export import ExportReport, export
from ferdata.errors import OptionError, ShardCorruptError, StoreError
from ferdata.ingest import IngestOptions, ingest
from ferdata.labels import AFFECTNET_8
from ferdata.store import Store
from ferdata.stream import ShardDataset


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.filterwarnings("ignore::Warning:webdataset")
def test_tars_hold_every_sample_byte_for_byte(tmp_path: Path, codec: str) -> None:
    """The way out of the format must lose nothing, or the way in is a trap."""
    make_dataset(tmp_path / "shards", codec=codec, size=9)
    report = export(str(tmp_path / "shards"), to="tar", out=str(tmp_path / "out"), num_workers=2)

    tars = sorted((tmp_path / "out").glob("*.tar"))
    assert [path.name for path in tars] == [*(f"train-{number:06d}.tar" for number in range(3)), "val-000000.tar"]
    assert report == ExportReport(
        to="tar", out=str(tmp_path / "out"), files=4, samples=52, num_bytes=sum(path.stat().st_size for path in tars)
    )
    assert (tmp_path / "out" / "classes.txt").read_text().splitlines() == list(AFFECTNET_8)
    found = [sample for path in tars for sample in webdataset.WebDataset(str(path), shardshuffle=False).decode()]
    assert len(found) == 52
    for number, sample in enumerate(found):
        assert sample["__key__"] == expected_key(number)
        assert sample["cls"] == expected_label(number)
        assert sample["json"] == expected_record(number)
        np.testing.assert_array_equal(sample["npy"], expected_pixels(number, 9))


def test_tars_do_not_depend_on_the_codec_or_the_number_of_workers(tmp_path: Path) -> None:
    """The same samples are the same files."""
    for codec, num_workers in (("raw", 1), ("zstd", 3)):
        make_dataset(tmp_path / codec, codec=codec)
        export(str(tmp_path / codec), to="tar", out=str(tmp_path / f"{codec}-out"), num_workers=num_workers)

    for path in (tmp_path / "raw-out").iterdir():
        assert path.read_bytes() == (tmp_path / "zstd-out" / path.name).read_bytes()


@pytest.mark.parametrize("codec", CODECS)
def test_pictures_stand_in_class_folders_with_their_labels_beside_them(tmp_path: Path, codec: str) -> None:
    """PNG is lossless, so the pixels must be the tensor's own."""
    make_dataset(tmp_path / "shards", codec=codec, size=9)
    report = export(str(tmp_path / "shards"), to="folder", out=str(tmp_path / "out"), num_workers=2)

    pictures = list((tmp_path / "out").glob("*/*/*.png"))
    assert len(pictures) == report.files == report.samples == 52
    assert report.num_bytes == sum(path.stat().st_size for path in pictures)
    for number in range(52):
        folder = tmp_path / "out" / ("train" if number < 40 else "val") / AFFECTNET_8[expected_label(number)]
        with Image.open(folder / f"{expected_key(number)}.png") as image:
            assert image.mode == "RGB"
            np.testing.assert_array_equal(np.asarray(image).transpose(2, 0, 1), expected_pixels(number, 9))
    with (tmp_path / "out" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"].rpartition("/")[2] for row in rows] == [f"{expected_key(number)}.png" for number in range(52)]
    for number, row in enumerate(rows):
        assert (tmp_path / "out" / row["path"]).is_file()
        assert (int(row["label"]), row["class"]) == (expected_label(number), AFFECTNET_8[expected_label(number)])
        for name in ("valence", "arousal"):
            value = expected_record(number)[name]
            assert row[name] == ("" if value is None else str(value))


def test_a_public_class_folder_reader_gives_every_split_the_same_class_numbers(tmp_path: Path) -> None:
    """torchvision numbers the folders it finds: a class that one split lacks must not shift the others in silence."""
    make_dataset(tmp_path / "shards", samples={"train": 40, "val": 5})
    export(str(tmp_path / "shards"), to="folder", out=str(tmp_path / "out"))

    splits = [ImageFolder(tmp_path / "out" / split, allow_empty=True) for split in ("train", "val")]
    assert splits[0].classes == splits[1].classes == sorted(AFFECTNET_8)
    assert [len(split) for split in splits] == [40, 5]


@pytest.mark.parametrize(
    ("classes", "folders"),
    [
        (("Happy/Sad", "..", "a:b"), ["0 Happy_Sad", "1", "2 a_b"]),
        (("Angry", "angry", "ANGRY"), ["0 Angry", "1 angry", "2 ANGRY"]),
        (("Happily Surprised", "驚き", "c"), ["Happily Surprised", "驚き", "c"]),
    ],
)
def test_class_names_that_cannot_be_folders_are_changed_and_stay_inside(
    tmp_path: Path, classes: tuple, folders: list[str]
) -> None:
    """A name from somebody's index must not write beside the folder, nor put two classes into one."""
    make_dataset(tmp_path / "shards", classes=classes, samples={"train": 12})
    export(str(tmp_path / "shards"), to="folder", out=str(tmp_path / "out" / "deep"), num_workers=1)

    assert sorted(path.name for path in (tmp_path / "out" / "deep" / "train").iterdir()) == sorted(folders)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["deep"]
    assert len(list((tmp_path / "out" / "deep" / "train").glob("*/*.png"))) == 12


@pytest.mark.parametrize("to", ["tar", "folder"])
def test_a_folder_that_holds_anything_is_refused(tmp_path: Path, to: str) -> None:
    """Nothing of the user's is ever written over, and two exports never mix."""
    make_dataset(tmp_path / "shards", samples={"train": 2})
    (tmp_path / "out").mkdir()
    export(str(tmp_path / "shards"), to=to, out=str(tmp_path / "out"))
    for out in (tmp_path / "out", tmp_path / "shards"):
        before = sorted(out.rglob("*"))
        with pytest.raises(
            OptionError, match=f"{out}: a folder that is not empty found, expected a new or an empty one"
        ):
            export(str(tmp_path / "shards"), to=to, out=str(out))
        assert sorted(out.rglob("*")) == before


def test_other_forms_and_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    """One line that says what to change."""
    make_dataset(tmp_path / "shards", samples={"train": 2})
    with pytest.raises(OptionError, match="to: 'zip' found, expected one of tar, folder"):
        export(str(tmp_path / "shards"), to="zip", out=str(tmp_path / "out"))
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=f"{tmp_path}/file"):
        export(str(tmp_path / "shards"), to="tar", out=str(tmp_path / "file"))
    assert not (tmp_path / "out").exists()


def test_a_damaged_sample_ends_the_export_with_its_shard_s_name(tmp_path: Path) -> None:
    """Half an export that looks whole would be worse than none."""
    index = make_dataset(tmp_path / "shards")
    path = tmp_path / "shards" / index.shards[1].name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with pytest.raises(ShardCorruptError, match=re.escape(path.name)):
        export(str(tmp_path / "shards"), to="tar", out=str(tmp_path / "out"), num_workers=1)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("to", ["tar", "folder"])
def test_an_export_that_failed_can_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str) -> None:
    """What it left, be it a list of class names, would make the folder one that is not empty."""
    index = make_dataset(tmp_path / "shards", samples={"train": 20})
    path = tmp_path / "shards" / index.shards[0].name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ShardCorruptError, match=re.escape(path.name)):
        export(str(tmp_path / "shards"), to=to, out=str(tmp_path / "out"), num_workers=2)

    path.write_bytes(whole)
    assert export(str(tmp_path / "shards"), to=to, out=str(tmp_path / "out")).samples == 20


def test_export_reads_and_writes_urls_and_tells_how_far_it_is(tmp_path: Path) -> None:
    """Both ends may be an object store."""
    source, target = f"memory://{tmp_path}/shards", f"memory://{tmp_path}/out"
    make_dataset(source, samples={"train": 20})
    calls: list[tuple[int, int]] = []
    report = export(source, to="folder", out=target, progress=lambda done, total: calls.append((done, total)))

    assert calls == [(1, 2), (2, 2)]
    assert json.loads(json.dumps(report.to_json()))["samples"] == 20
    names = [entry.name for entry in Store(target).list("train/Happy")]
    assert names == [f"{expected_key(number)}.png" for number in range(20) if expected_label(number) == 1]
    Store(f"memory://{tmp_path}").remove("")


@pytest.mark.parametrize("to", ["tar", "folder"])
def test_an_export_that_is_interrupted_removes_its_own_files_and_no_others(tmp_path: Path, to: str) -> None:
    """What somebody puts there meanwhile is not part of it, wherever it lies."""
    make_dataset(tmp_path / "shards")

    def stop(done: int, total: int) -> None:
        for name in ("thesis/chapter1.tex", "train/Happy/mine.png"):
            (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "out" / name).write_text("three years of work")
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(str(tmp_path / "shards"), to=to, out=str(tmp_path / "out"), num_workers=1, progress=stop)

    left = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*"))
    assert left == ["thesis", "thesis/chapter1.tex", "train", "train/Happy", "train/Happy/mine.png"]


@pytest.fixture(scope="module")
def for_hugging_face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set in ``shards`` that was exported to ``out``."""
    folder = tmp_path_factory.mktemp("hugging_face")
    make_dataset(folder / "shards", codec="compact", size=9)
    report = export(str(folder / "shards"), to="datasets", out=str(folder / "out"), num_workers=2)
    assert (report.files, report.samples) == (4, 52)
    return folder


def test_parquet_files_hold_every_image_and_its_labels(for_hugging_face: Path) -> None:
    """What ``datasets`` knows of a column stands in the file's own metadata: class names would be lost without it."""
    files = sorted((for_hugging_face / "out" / "data").iterdir())
    assert [path.name for path in files] == [
        *(f"train-{number:05d}-of-00003.parquet" for number in range(3)),
        "val-00000-of-00001.parquet",
    ]
    rows = [row for path in files for row in pq.read_table(path).to_pylist()]
    assert len(rows) == 52
    for number, row in enumerate(rows):
        image = np.asarray(Image.open(BytesIO(row["image"]["bytes"])))
        np.testing.assert_array_equal(image.transpose(2, 0, 1), expected_pixels(number, 9))
        assert (row["key"], row["label"]) == (expected_key(number), expected_label(number))
    features = json.loads(pq.read_schema(files[0]).metadata[b"huggingface"])["info"]["features"]
    assert features["label"] == {"names": list(AFFECTNET_8), "_type": "ClassLabel"}
    assert "soft_labels" not in features  # the data set has none


def test_hugging_face_reads_it_with_its_splits_and_classes(
    for_hugging_face: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a hub, and without a word about the layout."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(for_hugging_face / "out"), cache_dir=str(for_hugging_face / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 40, "val": 12}
    assert loaded["val"].features["label"].names == list(AFFECTNET_8)
    image = np.asarray(loaded["val"][3]["image"]).transpose(2, 0, 1)
    np.testing.assert_array_equal(image, expected_pixels(43, 9))


def test_what_was_exported_for_hugging_face_comes_back_to_the_bit(for_hugging_face: Path) -> None:
    """Somebody gets only the copy; ``shard table`` makes the same data set of it."""
    summary = ingest(
        IngestOptions(source="table", src=for_hugging_face / "out", out=for_hugging_face / "back", size=9, seed=1)
    )
    assert summary.samples == {"train": 40, "val": 12}
    for split in ("train", "val"):
        there, back = (ShardDataset(for_hugging_face / name, split=split) for name in ("shards", "back"))
        assert back.classes == there.classes
        assert contents(back) == contents(there)


def contents(dataset: ShardDataset) -> list[tuple[bytes, int]]:
    """Return the pixels and label of every sample, in an order that is theirs alone."""
    return sorted((image.numpy().tobytes(), int(label)) for image, label in dataset)
