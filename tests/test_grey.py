"""Data sets of one channel, from the files to a trained network: the same as colour, with a third of the bytes."""

import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from ingest_sources import SIZE, jpeg, options, picture
from make_dataset import CODECS, expected_pixels, make_dataset
from PIL import Image
from torch.utils.data import DataLoader
from train_helpers import small_options

import ferdata
from ferdata.dataset.info import shard_command
from ferdata.ingest import ingest
from ferdata.randomness import Stream
from ferdata.stream import BatchContext
from ferdata.training import train

COUNT = 36


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of the files are grey, of several formats; every ninth has another size."""
    root = tmp_path_factory.mktemp("source")
    for number in range(COUNT):
        folder = root / ("train" if number < 30 else "val") / ("Happy" if number % 2 else "Sad")
        folder.mkdir(parents=True, exist_ok=True)
        image = picture(number, SIZE + 9 if number % 9 == 0 else SIZE)
        if number % 4 == 0:
            (folder / f"{number}.jpg").write_bytes(jpeg(number))
        elif number % 4 == 1:
            image.convert("L").save(folder / f"{number}.jpg", quality=90)
        else:
            (image if number % 4 == 2 else image.convert("L")).save(folder / f"{number}.png")
    return root


def grey_of(path: Path) -> np.ndarray:
    """What plain Pillow gives."""
    with Image.open(path) as image:
        return np.asarray(image.convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR))[None]


@pytest.mark.parametrize("codec", CODECS)
def test_files_become_grey_shards_and_come_out_the_same_everywhere(source: Path, tmp_path: Path, codec: str) -> None:
    """Every way to read a data set, and every command that makes something of one."""
    out = tmp_path / "out"
    summary = ingest(options(source, out, source="folder", codec=codec, channels=1))
    index = ferdata.read_index(out)
    assert index.spec.shape == (1, SIZE, SIZE) and summary.repairs == {"colour_to_grey": 18}
    truth = {path: grey_of(source / path) for path in ferdata.open_dataset(out).table().column("path").to_pylist()}

    fields = ("images", "labels", "path")
    order = {"batch_size": 8, "fields": fields, "drop_last": False, "seed": 5}
    loaders = [
        ferdata.Loader(out, num_workers=0, **order),
        ferdata.Loader(out, num_workers=1, **order),
        ferdata.Loader(out, num_workers=1, resident=True, **order),
        DataLoader(ferdata.ShardBatches(out, **order), batch_size=None),
    ]
    if codec == "compact":
        loaders += [ferdata.Loader(out, num_workers=workers, decode="device", **order) for workers in (0, 1)]
    for loader in loaders:
        batches = list(loader)
        assert sum(len(batch.path) for batch in batches) >= 30
        for batch in batches:
            assert batch.images.dtype == torch.uint8
            for pixels, path in zip(batch.images, batch.path, strict=True):
                assert np.array_equal(pixels, truth.get(path, np.zeros((1, SIZE, SIZE), np.uint8)))
    pixels = np.stack([truth[one.path] for one in ferdata.ShardDataset(out, fields=fields)]).astype(float)
    assert (index.mean, index.std) == (pytest.approx((pixels.mean(),)), pytest.approx((pixels.std(),)))

    assert "--channels 1" in shard_command(index, "again")
    assert ferdata.verify(out, deep=True, num_workers=1).ok
    ferdata.recode(out, out=tmp_path / "raw", codec="raw", num_workers=1)
    ferdata.export(tmp_path / "raw", to="folder", out=tmp_path / "pictures", num_workers=1)
    ferdata.export(out, to="tar", out=tmp_path / "tar", num_workers=1)
    ferdata.preview(out, tmp_path / "sheet.png")
    for row in ferdata.open_dataset(out).table("train").to_pylist():
        with Image.open(tmp_path / "pictures" / "train" / index.classes[row["label"]] / f"{row['key']}.png") as drawn:
            assert drawn.mode == "L" and np.array_equal(drawn, truth[row["path"]][0])
        with tarfile.open(tmp_path / "tar" / "train-000000.tar") as tar:
            member = tar.extractfile(f"{row['key']}.npy")
            assert member and np.array_equal(np.load(BytesIO(member.read())), truth[row["path"]])


def test_codec_jpeg_refuses_grey_before_anything_is_read(tmp_path: Path) -> None:
    """It keeps files as they are, and these are decoded to three channels."""
    with pytest.raises(ferdata.OptionError, match=r"codec: jpeg found with channels=1, expected 3 .*codec=compact"):
        options(tmp_path / "none", tmp_path / "out", codec="jpeg", channels=1)


def test_a_set_goes_on_only_with_the_channels_it_has(source: Path, tmp_path: Path) -> None:
    """Half of a data set in colour would be two data sets."""
    ingest(options(source, tmp_path, source="folder", channels=1))
    with pytest.raises(ferdata.IngestError, match=r"channels=1 \(now 3\)"):
        ingest(options(source, tmp_path, source="folder"))


def test_jitter_changes_grey_as_it_changes_grey_in_three_channels() -> None:
    """The same draws and the same weights; saturation has nothing to change."""
    images = torch.from_numpy(np.stack([expected_pixels(number, 12)[:1] for number in range(16)]))
    context = BatchContext(seed=1, epoch=2, rank=0, positions=np.arange(16))
    jitter = ferdata.ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5)

    found = jitter(images, context)

    assert found.shape == images.shape and found.dtype == torch.uint8 and not torch.equal(found, images)
    in_colour = jitter(images.expand(-1, 3, -1, -1), context)
    assert (found.int() - in_colour.int()).abs().max() <= 1
    assert context.uniform(Stream.COLOURS.number, 3, images.device).shape == (16, 3)
    with pytest.raises(ferdata.OptionError, match="images of 4 channels found, expected 1 or 3"):
        jitter(images.expand(-1, 4, -1, -1), context)


def test_a_run_on_grey_images_is_used_like_any_other(tmp_path: Path) -> None:
    """With every augmentation, the report's pictures, and an error that names the one channel."""
    make_dataset(tmp_path / "grey", size=28, channels=1, samples={"train": 70, "val": 21})
    options = small_options(str(tmp_path / "grey"), tmp_path, epochs=1, augment=("flip", "crop", "color"))
    trained = ferdata.load_run(train(options).run)
    batch = next(iter(ferdata.Loader(tmp_path / "grey", split="val", batch_size=21, num_workers=0)))
    assert trained(batch.images).shape == (21, 8) and len(trained.mean) == 1
    with pytest.raises(ferdata.OptionError, match=r"expected torch.uint8 \[N, 1, H, W\]"):
        trained(torch.zeros(2, 3, 28, 28, dtype=torch.uint8))
