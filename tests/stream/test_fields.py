"""What batches may hold beside images and labels, and the shapes they may come in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from make_dataset import expected_key, expected_record
from streams import make_truth
from torch.utils.data import DataLoader

import ferdata
from ferdata.stream import FIELDS, IterableShardDataset, Loader, ShardDataset
from ferdata.synth import write_synthetic


def test_every_field_is_the_samples_own_in_every_loader(tmp_path: Path) -> None:
    """From the table, from the samples' records, shuffled, padded or one by one."""
    truth = make_truth(tmp_path, samples={"train": 45}, samples_per_shard=16)
    options: dict[str, Any] = {
        "fields": FIELDS,
        "shuffle": True,
        "drop_last": False,
        "batch_size": 8,
        "window_samples": 16,
    }
    with Loader(tmp_path, num_workers=2, **options) as loader:
        batches = list(loader)
    dataset = ShardDataset(tmp_path, fields=FIELDS)

    seen = []
    for batch in batches:
        truth.assert_true(batch)
        for row, number in enumerate(batch.indices.tolist()):
            sample = {name: value[row] for name, value in zip(batch._fields, batch, strict=True)}
            if number < 0:
                assert (sample["records"], sample["path"], int(sample["shard"])) == ({}, "", 0)
                continue
            seen.append(number)
            record = expected_record(number)
            assert sample["records"] == record
            assert (sample["keys"], sample["path"], sample["source_label"]) == (
                expected_key(number),
                record["path"],
                record["source_label"],
            )
            assert (int(sample["shard"]), int(sample["position"]), int(sample["frame"])) == (
                number // 16,
                number % 16,
                2 * (number % 16) + 1,
            )
            assert torch.isnan(sample["boxes"]).all() and sample["landmarks"].shape == (0, 2)
            alone = dataset[number]
            assert all(
                np.array_equal(np.asarray(alone[at]), np.asarray(value), equal_nan=True)
                for at, (name, value) in enumerate(sample.items())
                if name not in ("keys", "path", "source_label", "person", "sequence", "records")
            )
            assert alone.records == sample["records"] and alone.path == sample["path"]
    assert sorted(seen) == [*range(45)]


def test_dicts_have_the_names_that_trainers_ask_for(tmp_path: Path) -> None:
    """Hugging Face's Trainer hands a batch to the model as keyword arguments: pixel_values and labels."""
    truth = make_truth(tmp_path)
    with Loader(tmp_path, as_dict=True, shuffle=False, batch_size=8, num_workers=0) as loader:
        batch = next(iter(loader))
    assert list(batch) == ["pixel_values", "labels"]
    assert (
        np.array_equal(batch["pixel_values"], truth.pixels[:8])
        and batch["labels"].tolist() == truth.labels[:8].tolist()
    )
    one = ShardDataset(tmp_path, as_dict=True)[3]
    assert list(one) == ["pixel_values", "labels"] and one["labels"] == truth.labels[3]
    collated = next(iter(DataLoader(ShardDataset(tmp_path, as_dict=True), batch_size=8)))
    assert torch.equal(collated["pixel_values"], batch["pixel_values"]) and torch.equal(
        collated["labels"], batch["labels"]
    )
    assert list(next(iter(IterableShardDataset(tmp_path, as_dict=True)))) == ["pixel_values", "labels"]


def test_objects_say_what_they_are(tmp_path: Path) -> None:
    """In a notebook the last line of a cell is printed: an address in memory tells nobody anything."""
    make_truth(tmp_path)
    with Loader(tmp_path, batch_size=8, num_workers=0, where="label == 'Happy'") as loader:
        assert (
            "batches of 8, rank 0 of 1" in repr(loader)
            and "samples, codec zstd" in repr(loader)
            and str(tmp_path) in repr(loader)
        )
    for subject in (
        ShardDataset(tmp_path),
        IterableShardDataset(tmp_path),
        ferdata.read_index(tmp_path),
        ferdata.describe(tmp_path),
        ferdata.open_dataset(tmp_path),
    ):
        assert (
            "300" in repr(subject)
            and "8 classes" in repr(subject)
            and "zstd" in repr(subject)
            and len(repr(subject)) < 300
        )
    assert repr(ferdata.verify(tmp_path)) == "VerifyReport: sound; 17 shards, 350 samples"
    next(tmp_path.glob("val-*")).unlink()
    assert "NOT sound, 1 faults, first" in repr(ferdata.verify(tmp_path))


def test_an_open_data_set_is_a_mapping_of_splits(tmp_path: Path) -> None:
    """What one looks for first: the splits, the classes, the table, and mean and deviation ready for use."""
    truth = make_truth(tmp_path)
    data = ferdata.open_dataset(tmp_path)

    assert (list(data), len(data["train"]), len(data["val"])) == (["train", "val"], 300, 50)
    assert np.array_equal(data["val"][1].images, truth.pixels[301])
    assert data.table().num_rows == 350 and data.table("val").column("key")[0].as_py() == expected_key(300)
    assert data.normalize == ferdata.Normalize.of(data.index)
    assert "<td>train</td>" in data._repr_html_() and "<td>300</td>" in data._repr_html_()
    with pytest.raises(KeyError):
        data["test"]


def test_boxes_and_landmarks_come_from_the_source(tmp_path: Path) -> None:
    """Boxes in pixels of the source image, landmarks in those of the tensor."""
    write_synthetic("affectnet", str(tmp_path / "data"), count=24, size=48, num_workers=1, layout="AN-csv")
    ferdata.shard(
        ferdata.IngestOptions(source="affectnet", src=tmp_path / "data", out=tmp_path / "out", size=32, num_workers=1)
    )
    records = [sample.records for sample in ShardDataset(tmp_path / "out", fields=("images", "records"))]

    with Loader(
        tmp_path / "out", shuffle=False, batch_size=4, num_workers=0, fields=("images", "boxes", "landmarks")
    ) as loader:
        batch = next(iter(loader))

    assert batch.boxes.dtype == torch.float32 and batch.boxes.shape == (4, 4)
    assert np.allclose(batch.boxes, [record["box"] for record in records[:4]])
    for found, record in zip(batch.landmarks, records, strict=False):
        assert found.shape == (68, 2) and np.allclose(found.ravel(), record["landmarks"])
        assert -16 < found.min() < found.max() < 48

    with Loader(
        tmp_path / "out", shuffle=False, batch_size=4, num_workers=0, fields=("images", "boxes", "landmarks"), resize=16
    ) as loader:
        resized = next(iter(loader))
    assert resized.images.shape == (4, 3, 16, 16) and torch.equal(resized.boxes, batch.boxes)
    for half, found in zip(resized.landmarks, batch.landmarks, strict=True):
        assert torch.allclose(half, (found + 0.5) / 2 - 0.5, atol=1e-5)
