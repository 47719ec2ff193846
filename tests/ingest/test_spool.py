"""Images that come from Python instead of a folder: the same bits, nothing left behind, errors that name the item."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ferdata
from ferdata.errors import IngestError, OptionError, SourceError
from ferdata.ingest import IngestProgress, IngestSummary
from ferdata.synth import write_synthetic

WORDS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")
SIDE = 32


def sharded(src: Any, out: Path, **options: Any) -> IngestSummary:
    return ferdata.shard(ferdata.IngestOptions(source="table", src=src, out=out, size=SIDE, num_workers=1, **options))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw images with a table, once."""
    root = tmp_path_factory.mktemp("faces")
    write_synthetic("table", str(root), count=28, size=SIDE, num_workers=1)
    return root


@pytest.fixture(scope="module")
def rows(drawn: Path) -> list[tuple[Path, str, dict[str, Any]]]:
    """Return path, label and record of every image."""
    lines = [line.split(",") for line in (drawn / "labels.csv").read_text().splitlines()[1:]]
    return [
        (
            drawn / path,
            label,
            {"split": split, "person": who, "box": tuple(map(float, (x, y, w, h))), "valence": float(valence),
             "arousal": float(arousal), "number": np.int64(number), "key": path[7:-4]},
        )
        for number, (path, label, split, who, x, y, w, h, valence, arousal) in enumerate(lines)
    ]  # fmt: skip


def contents(root: Path) -> dict[tuple[str, str], tuple[bytes, int, dict[str, Any]]]:
    """Return (split, key) -> pixels, label and record; keys without what readers of tables put in front."""
    found = {}
    for split in ferdata.read_index(root).counts:
        with ferdata.Loader(
            root, split=split, batch_size=8, num_workers=0, drop_last=False, as_dict=True,
            fields=("images", "labels", "keys", "records", "mask"),
        ) as loader:  # fmt: skip
            for batch in loader:
                for image, label, key, record, real in zip(*batch.values(), strict=True):
                    if real:
                        record = {name: value for name, value in record.items() if name not in ("path", "extra")}
                        key = str(key).removeprefix(f"{split}_images_")
                        found[split, key] = image.numpy().tobytes(), int(label), record
    return found


def test_paths_bytes_and_the_files_themselves_give_the_same_bits(
    drawn: Path, rows: list[tuple[Path, str, dict[str, Any]]], tmp_path: Path
) -> None:
    """How images reach the converter must not change a pixel, a label or what is said of an image."""
    summary = sharded(iter(rows), tmp_path / "paths")
    sharded(((path.read_bytes(), label, record) for path, label, record in rows), tmp_path / "bytes")
    files = sharded(drawn, tmp_path / "files")

    names = sorted(path.name for path in (tmp_path / "bytes").iterdir())
    assert names == [
        "index.json",
        "rejects.csv",
        "samples.parquet",
        *(f"{s}-000000.tar.zst" for s in ("test", "train", "val")),
    ]
    assert all((tmp_path / "paths" / name).read_bytes() == (tmp_path / "bytes" / name).read_bytes() for name in names)
    assert (summary.class_counts, summary.accepted) == (files.class_counts, 28)
    assert contents(tmp_path / "bytes") == contents(tmp_path / "files")


def test_arrays_and_pillow_images_keep_every_pixel(tmp_path: Path) -> None:
    """They are stored without loss, grey ones too; a Pillow image is turned upright like the file that it is from."""
    colour = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    grey = colour[:, :, 0]
    turned = Image.fromarray(colour)
    turned.getexif()[0x0112] = 6
    images = [colour, grey, grey[:, :, None], Image.fromarray(colour), Image.fromarray(grey), turned]

    sharded([(image, "sad") for image in images], tmp_path / "out")

    found = contents(tmp_path / "out")
    planes = [np.frombuffer(found["train", f"{number:07d}"][0], np.uint8).reshape(3, SIDE, SIDE) for number in range(6)]
    shown = [colour, *[np.stack([grey] * 3, axis=2)] * 2, colour, np.stack([grey] * 3, axis=2), np.rot90(colour, -1)]
    for plane, image in zip(planes, shown, strict=True):
        np.testing.assert_array_equal(plane, image.transpose(2, 0, 1))


def test_a_record_is_kept_with_its_image(tmp_path: Path) -> None:
    """Known keys are columns, all others go along; soft labels are in the order of the names that are given."""
    rows = [
        (np.full((8, 8), 9 * number, np.uint8), np.float64(number % 3), {
            "split": ("train", "dev")[number % 2], "sequence": f"clip{number}", "soft_labels": [0.5, 0.25, 0.25],
            "frame": number, "tags": np.array([1, 2]), "age": float("nan"), "valence": np.float32("nan"),
        })
        for number in range(6)
    ]  # fmt: skip

    summary = sharded(rows, tmp_path / "out", class_names=("bored", "sad", "happiness"), crop="none")

    index = ferdata.read_index(tmp_path / "out")
    assert (index.classes, summary.samples) == (("Happy", "Sad", "bored"), {"train": 3, "val": 3})
    sample = ferdata.ShardDataset(
        tmp_path / "out", split="val", fields=("images", "labels", "sequence", "soft_labels", "records")
    )[0]
    _, label, sequence, soft, record = sample
    assert record["extra"] == {"frame": int(str(sequence)[-1]), "tags": [1, 2]}
    assert (int(label), soft.tolist()) == (2 - record["extra"]["frame"] % 3, [0.25, 0.25, 0.5])


def test_a_dict_names_the_splits(tmp_path: Path) -> None:
    """As a Hugging Face DatasetDict does, and whoever has a set for each."""
    grey = np.zeros((8, 8), np.uint8)

    summary = sharded({"training": [(grey, "sad")], "validation": iter([(grey + 1, "joy", None)])}, tmp_path / "out")

    assert summary.class_counts == {"train": {"Happy": 0, "Sad": 1}, "val": {"Happy": 1, "Sad": 0}}
    with pytest.raises(OptionError, match="'fold1' found, expected names of splits"):
        sharded({"fold1": [(grey, "sad")]}, tmp_path / "other")


def test_what_cannot_be_read_is_a_reject_of_its_own(tmp_path: Path) -> None:
    """As with files: counted, named and left out."""
    grey = np.zeros((8, 8), np.uint8)

    summary = sharded(
        [(grey, "sad"), (tmp_path / "gone.jpg", "sad"), (b"no image", "sad"), (grey, None)], tmp_path / "out"
    )

    assert summary.rejected == {"image_missing": 1, "image_corrupt": 1, "label_missing": 1}
    assert "gone.jpg" in (tmp_path / "out/rejects.csv").read_text()


ARRAY = np.zeros((8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("item", "match"),
    [
        (
            (ARRAY.astype(np.float32), "sad"),
            r"item 1: an array float32 \[8, 8, 3\] found, expected a path.*uint8 array",
        ),
        ((ARRAY.transpose(2, 0, 1), "sad"), r"item 1: an array uint8 \[3, 8, 8\] found.*channels to the end"),
        ((3, "sad"), "item 1: a int found, expected a path"),
        ((ARRAY, 1), r"item 1: label 1 found, and no names for numbers.*class_names="),
        ((ARRAY, 0.5), "item 1: label 0.5 found, expected a class name or a number"),
        (ARRAY, "item 1: a ndarray found, expected \\(image, label\\)"),
        ((ARRAY, "sad", "train"), "item 1: a str found as record, expected a dict"),
        ((ARRAY, "sad", {"split": "fold"}), "item 1: split 'fold' found, expected train, val or test"),
        ((ARRAY, "sad", {"box": 3}), "item 1: box 3 found, expected numbers"),
        ((ARRAY, "sad", {"soft_labels": [1.0]}), r"item 1: soft_labels found, expected to know of which.*class_names="),
        ((ARRAY, "sad", {"when": object()}), "item 1: record when found .*expected values that JSON has"),
    ],
)
def test_an_item_that_is_none_stops_with_its_number(tmp_path: Path, item: Any, match: str) -> None:
    """A loop of a million that drops some is worse than one that stops; nothing is left of the others."""
    with pytest.raises(OptionError, match=match):
        sharded([(ARRAY, "sad"), item], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_run_that_is_stopped_leaves_nothing_and_can_be_repeated(
    rows: list[tuple[Path, str, dict[str, Any]]], tmp_path: Path
) -> None:
    """Images taken in are removed, finished shards are gone on with, and what is finished is not made again."""

    def stopping() -> Iterator[Any]:
        yield rows[0]
        raise KeyboardInterrupt

    with pytest.raises(IngestError, match="Ctrl-C while images were taken in; nothing was"):
        sharded(stopping(), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(SourceError, match="no image found, expected"):
        sharded(iter(()), tmp_path / "out")

    left = tmp_path / "out/.ferdata-images/images-00007.parquet"  # as a killed run does
    left.parent.mkdir()
    left.write_bytes(b"x")
    assert sharded(rows, tmp_path / "out").is_new
    assert not left.parent.exists()
    assert not sharded(rows, tmp_path / "out").is_new
    with pytest.raises(IngestError, match="other images or labels in the source"):
        sharded(rows[1:], tmp_path / "out")


def test_shards_that_were_finished_are_gone_on_with(tmp_path: Path) -> None:
    """The images are taken in again; the shards of a run that was stopped, or killed, are there already."""
    images = [(np.full((8, 8), number % 251, np.uint8), "sad") for number in range(600)]

    def stop(now: IngestProgress) -> None:
        if list(tmp_path.glob("out/.parts/train-*.json")):
            raise KeyboardInterrupt

    options = ferdata.IngestOptions(source="table", src=images, out=tmp_path / "out", num_workers=1, codec="raw")
    with pytest.raises(IngestError, match="finished shards are kept"):
        ferdata.shard(options, progress=stop)
    assert not (tmp_path / "out/.ferdata-images").exists()
    assert ferdata.shard(options).resumed_shards >= 1


def test_only_a_table_takes_images_from_python(tmp_path: Path) -> None:
    """A layout of files has no meaning there; a number is neither."""
    for source, src in (("affectnet", [(ARRAY, "sad")]), ("table", 3)):
        with pytest.raises(OptionError, match=r"src: a .* found, expected a folder or URL"):
            ferdata.IngestOptions(source=source, src=src, out=tmp_path)


def test_a_set_for_torch_is_taken_as_it_is(tmp_path: Path) -> None:
    """Pillow images and numbers by their place, without a word on where they end but their length."""

    class Faces(torch.utils.data.Dataset[tuple[Image.Image, torch.Tensor]]):
        def __len__(self) -> int:
            return 6

        def __getitem__(self, place: int) -> tuple[Image.Image, torch.Tensor]:
            return Image.fromarray(np.full((8, 8, 3), place, np.uint8)), torch.tensor(place % 3)

    summary = sharded(Faces(), tmp_path / "out", class_names=("happy", "sad", "fear"))

    assert (summary.accepted, ferdata.read_index(tmp_path / "out").classes) == (6, ("Happy", "Sad", "Fear"))


def test_images_go_through_the_disk_and_not_through_memory(tmp_path: Path) -> None:
    """Files of many images have small groups, so that one image costs no more than its neighbours."""
    import pyarrow.parquet as pq

    from ferdata.ingest.spool.write import spooled

    data = bytes(30_000)
    options = ferdata.IngestOptions(source="table", src=((data, "sad") for _ in range(20)), out=tmp_path / "out")
    with spooled(options, on_tick=lambda done: None) as found:
        meta = pq.ParquetFile(Path(found.place()) / "images-00001.parquet").metadata
        assert [meta.row_group(group).num_rows for group in range(meta.num_row_groups)] == [3] * 6 + [2]


def test_hugging_face_data_sets_are_taken_without_decoding(drawn: Path, tmp_path: Path) -> None:
    """Files come through as they are stored, in memory or on the disk, and numbers by the names of their feature."""
    datasets = pytest.importorskip("datasets", reason="datasets is not installed: pip install -e '.[datasets-test]'")
    features = datasets.Features(
        {"picture": datasets.Image(), "label": datasets.ClassLabel(names=["bored", "joy", "anger"]),
         "gender": datasets.ClassLabel(names=["f", "m"]), "person": datasets.Value("string"),
         "taken": datasets.Value("timestamp[s]")}
    )  # fmt: skip
    paths = sorted((drawn / "images").iterdir())[:8]

    def made(part: list[Path], labels: list[int]) -> Any:
        images = [
            str(path) if number % 2 else {"bytes": path.read_bytes(), "path": None} for number, path in enumerate(part)
        ]
        columns = {
            "picture": images,
            "label": labels,
            "gender": [0, 1] * 2,
            "person": ["a", "a", "b", "b"],
            "taken": [0] * 4,
        }
        return datasets.Dataset.from_dict(columns, features=features)

    parts = datasets.DatasetDict({"train": made(paths[:4], [0, 1, 2, 0]), "validation": made(paths[4:], [1, 1, 2, -1])})
    summary = sharded(parts, tmp_path / "out")

    assert summary.class_counts == {
        "train": {"Happy": 1, "Anger": 1, "bored": 2},
        "val": {"Happy": 2, "Anger": 1, "bored": 0},
    }
    assert summary.rejected == {"label_missing": 1}
    sharded([(path, "joy") for path in paths], tmp_path / "same")
    same = {pixels for pixels, _, _ in contents(tmp_path / "same").values()}
    found = contents(tmp_path / "out")
    assert {pixels for pixels, _, _ in found.values()} < same
    assert {record["person"] for _, _, record in found.values()} == {"a", "b"}
    records = ferdata.ShardDataset(tmp_path / "out", split="val", fields=("images", "records"))
    assert {records[place][1]["extra"]["gender"] for place in range(3)} == {"f", "m"}

    parts["train"].select([0, 2]).to_parquet(tmp_path / "hub/data/train-00000-of-00001.parquet")  # those with bytes
    again = sharded(tmp_path / "hub", tmp_path / "parquet")
    assert again.class_counts == {"train": {"Anger": 1, "bored": 1}}
    with pytest.raises(OptionError, match="columns label, gender, person, taken found, expected one with images"):
        sharded(parts["train"].remove_columns(["picture"]), tmp_path / "none")
