"""The jpeg codec: shards hold the images' own files, and what comes out are the very pixels Pillow gives."""

import io
import json
import re
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

from ferdata import Loader
from ferdata.dataset.export import export
from ferdata.dataset.recode import recode
from ferdata.dataset.verify import verify
from ferdata.errors import IngestError, OptionError, ShardCorruptError
from ferdata.format import ShardReader, ShardWriter, json_bytes_for, make_codec, read_index, read_samples
from ferdata.format.codecs.jpeg import find_fast_decoder
from ferdata.ingest import IngestOptions, ingest
from ferdata.sample import TensorSpec
from ferdata.setting import build
from ferdata.store import Store
from ferdata.synth import write_synthetic

SIZE = 24
CLASSES = ("Angry", "Happy")


def picture(number: int, size: int = SIZE) -> Image.Image:
    """Return an RGB image that depends on its number."""
    y, x = np.mgrid[:size, :size]
    return Image.fromarray(
        np.stack([(x * 7 + number * 13) % 256, (y * 5 + number) % 256, (x * y + number) % 256], axis=2).astype(np.uint8)
    )


def jpeg(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **{"quality": 85} | options)
    return file.getvalue()


VARIANTS: tuple[Callable[[int], bytes], ...] = (
    lambda number: jpeg(picture(number)),
    lambda number: jpeg(picture(number), subsampling=0),
    lambda number: jpeg(picture(number), subsampling=1, progressive=True),
    lambda number: jpeg(picture(number).convert("L")),
    lambda number: jpeg(picture(number), quality=30, optimize=True, comment=b"a comment"),
    lambda number: jpeg(picture(number), exif=orientation(1)),
    lambda number: jpeg(picture(number)) + b"what some cameras put behind the image",
)
"""Files whose decoded pixels are the tensor: every one must go through, byte for byte."""


def orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def write_tree(root: Path, files: int = 20) -> Path:
    """Write a class-folder tree of JPEGs of all variants."""
    for number in range(files):
        path = root / "train" / CLASSES[number % 2] / f"{number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(VARIANTS[number % len(VARIANTS)](number))
    return root


def shard(src: Path, out: Path, **settings: object) -> None:
    named = {
        "source": "folder",
        "src": str(src),
        "out": str(out),
        "size": SIZE,
        "codec": make_codec("jpeg"),
        "num_workers": 1,
    }
    ingest(build(IngestOptions, named | settings))


def pillow_pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def assert_same_pixels(out: Path, src: Path, *, num_workers: int = 0) -> int:
    """Compare what the loader gives with what Pillow gives of the source files; return the number of images."""
    index = read_index(Store(out))
    paths = dict(zip(*read_samples(Store(out), index, ["key", "path"]).to_pydict().values(), strict=True))
    seen = 0
    for split in index.splits:
        with Loader(
            out, split=split, batch_size=7, num_workers=num_workers, fields=("images", "keys"), drop_last=False
        ) as loader:
            for batch in loader:
                for image, key in zip(batch.images.numpy(), batch.keys, strict=True):
                    np.testing.assert_array_equal(image, pillow_pixels(src / paths[key]))
                    seen += 1
    assert seen == index.num_samples()
    return seen


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_loader_gives_pillows_pixels(tmp_path: Path, num_workers: int) -> None:
    """A model must not see other pixels because a file was moved into a shard."""
    src = write_tree(tmp_path / "src")
    shard(src, tmp_path / "out")

    assert assert_same_pixels(tmp_path / "out", src, num_workers=num_workers) == 20


def test_the_member_is_the_source_file_byte_for_byte(tmp_path: Path) -> None:
    """Never encoded again: any tar reader gets the very files back."""
    src = write_tree(tmp_path / "src")
    shard(src, tmp_path / "out")

    index = read_index(Store(tmp_path / "out"))
    assert index.codec.to_json() == {"name": "jpeg", "level": None}
    found = {}
    for info in index.shards:
        assert info.name.endswith(".tar")
        with tarfile.open(tmp_path / "out" / info.name) as tar:
            members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        found |= {
            json.loads(members[f"{name[:-4]}.json"])["path"]: data
            for name, data in members.items()
            if name.endswith(".jpg")
        }
    assert found == {path.relative_to(src).as_posix(): path.read_bytes() for path in src.rglob("*.jpg")}


@pytest.mark.filterwarnings("ignore::Warning:webdataset")
def test_webdataset_reads_the_shards_as_they_are(tmp_path: Path) -> None:
    """A jpeg shard is a WebDataset like any other."""
    src = write_tree(tmp_path / "src")
    shard(src, tmp_path / "out")

    dataset = webdataset.WebDataset(str(tmp_path / "out" / "train-000000.tar"), shardshuffle=False).decode("rgb8")
    found = list(dataset)
    assert len(found) == 20
    for sample in found:
        np.testing.assert_array_equal(sample["jpg"].transpose(2, 0, 1), pillow_pixels(src / sample["json"]["path"]))


@pytest.mark.parametrize(("source", "size"), [("affectnet", 224), ("rafdb", 100)])
def test_the_releases_at_their_own_size_go_through(tmp_path: Path, source: str, size: int) -> None:
    """AffectNet's 224 px crops and RAF-DB's aligned 100 px faces are what this codec is for."""
    write_synthetic(source, str(tmp_path / "src"), count=24, num_workers=1)
    shard(tmp_path / "src", tmp_path / "out", source=source, size=size)

    index = read_index(Store(tmp_path / "out"))
    assert index.spec.shape == (3, size, size)
    root = tmp_path / "src"
    record = next(iter(ShardReader(Store(tmp_path / "out"), index.shards[0], index))).record
    while not (root / record["path"]).exists():
        root = next(path for path in root.iterdir() if path.is_dir())
    assert assert_same_pixels(tmp_path / "out", root) == index.num_samples() > 0
    assert sum(info.num_bytes for info in index.shards) < index.num_samples() * index.spec.num_bytes / 2


def test_a_source_with_other_images_is_refused_with_counts_before_anything_is_written(tmp_path: Path) -> None:
    """Half a data set, or one of mixed quality, is worse than none; the user must know how many are in the way."""
    src = write_tree(tmp_path / "src", files=30)
    for number in range(3):
        picture(number).save(src / "train" / "Happy" / f"png{number}.png")
    for number in range(2):
        (src / "train" / "Angry" / f"turned{number}.jpg").write_bytes(jpeg(picture(number), exif=orientation(6)))
    (src / "train" / "Angry" / "large.jpg").write_bytes(jpeg(picture(1, size=SIZE + 1)))
    (src / "train" / "Angry" / "named.jpg").write_bytes((src / "train" / "Happy" / "png0.png").read_bytes() + b"\0")
    (src / "train" / "Angry" / "cmyk.jpg").write_bytes(jpeg(picture(1).convert("CMYK")))
    (src / "train" / "Angry" / "broken.jpg").write_bytes(jpeg(picture(2))[:-300])

    with pytest.raises(IngestError) as caught:
        shard(src, tmp_path / "out")

    text = str(caught.value)
    assert "of 39 images looked at, " in text and "choose codec=zstd" in text
    for part in (
        "4 not a JPEG",
        "2 turned upright by its EXIF orientation",
        "1 resized or cropped",
        "1 converted to RGB",
    ):
        assert part in text
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    shard(src, tmp_path / "out", codec=make_codec("zstd"))


def test_one_changed_image_among_thousands_of_small_ones_is_found(tmp_path: Path) -> None:
    """A look at some of them would miss it, and the run would stop at half."""
    src = write_tree(tmp_path / "src", files=1)
    data = jpeg(picture(0))
    for number in range(1, 1500):
        (src / "train" / "Angry" / f"{number:04d}.jpg").write_bytes(data)
    (src / "train" / "Angry" / "0777.jpg").write_bytes(jpeg(picture(0), exif=orientation(3)))

    with pytest.raises(IngestError, match=r"of 1,500 images looked at, 1 turned upright by its EXIF orientation"):
        shard(src, tmp_path / "out")


def test_images_that_no_codec_could_store_are_rejects_and_do_not_refuse_the_rest(tmp_path: Path) -> None:
    """A damaged file is counted and left out, as under every codec."""
    src = write_tree(tmp_path / "src")
    (src / "train" / "Angry" / "broken.jpg").write_bytes(jpeg(picture(2))[:-300])
    (src / "train" / "Angry" / "empty.jpg").write_bytes(b"")

    shard(src, tmp_path / "out")

    index = read_index(Store(tmp_path / "out"))
    assert index.num_samples() == 20
    assert index.summary["rejected"] == {"image_corrupt": 2}


@pytest.mark.parametrize("codec", ["raw", "zstd", "compact"])
def test_recode_from_jpeg_stores_the_decoded_pixels(tmp_path: Path, codec: str) -> None:
    """From the smallest codec to any other without the source, pixel for pixel and in the same order."""
    shard(write_tree(tmp_path / "src"), tmp_path / "jpeg")
    recode(str(tmp_path / "jpeg"), out=str(tmp_path / codec), codec=codec, num_workers=1)

    before, after = (read_index(Store(tmp_path / name)) for name in ("jpeg", codec))
    assert before.fingerprint == after.fingerprint
    assert verify(str(tmp_path / codec), deep=True, num_workers=1).errors == []
    for old, new in zip(before.shards, after.shards, strict=True):
        readers = ShardReader(Store(tmp_path / "jpeg"), old, before), ShardReader(Store(tmp_path / codec), new, after)
        for first, second in zip(*readers, strict=True):
            assert (first.key, first.label, first.record) == (second.key, second.label, second.record)
            np.testing.assert_array_equal(first.pixels, second.pixels)


def test_recode_to_jpeg_is_refused_with_the_reason(tmp_path: Path) -> None:
    """Encoding pixels again would lose some of them."""
    shard(write_tree(tmp_path / "src"), tmp_path / "jpeg")
    with pytest.raises(
        OptionError, match="codec: jpeg found, expected one that stores pixels; run 'shard --codec jpeg' on the images"
    ):
        recode(str(tmp_path / "jpeg"), out=str(tmp_path / "out"), codec="jpeg")
    assert not (tmp_path / "out").exists()


def test_verify_decodes_every_image_and_finds_every_changed_bit(tmp_path: Path) -> None:
    """libjpeg decodes most damaged files without a word; the checksums must speak first."""
    shard(write_tree(tmp_path / "src"), tmp_path / "out")
    assert verify(str(tmp_path / "out"), deep=True, num_workers=1).ok

    index = read_index(Store(tmp_path / "out"))
    path = tmp_path / "out" / index.shards[0].name
    whole = path.read_bytes()
    with ShardReader(Store(tmp_path / "out"), index.shards[0], index) as reader:
        starts = [int(start) for start in reader._shard.starts]
    for number, start in enumerate(starts[:12]):
        path.write_bytes(
            whole[: start + 40 + number]
            + bytes([whole[start + 40 + number] ^ 1 << number % 8])
            + whole[start + 41 + number :]
        )
        with (
            pytest.raises(ShardCorruptError, match=f"checksum of sample {number} does not fit"),
            Loader(tmp_path / "out", batch_size=4, num_workers=0) as loader,
        ):
            list(loader)
    assert not verify(str(tmp_path / "out"), num_workers=1).ok


def test_export_writes_the_decoded_pixels(tmp_path: Path) -> None:
    """Plain tensors for whoever has no JPEG decoder that agrees."""
    src = write_tree(tmp_path / "src")
    shard(src, tmp_path / "jpeg")
    recode(str(tmp_path / "jpeg"), out=str(tmp_path / "raw"), codec="raw", num_workers=1)
    for codec in ("jpeg", "raw"):
        export(str(tmp_path / codec), to="tar", out=str(tmp_path / f"{codec}-out"), num_workers=1)

    for path in (tmp_path / "raw-out").iterdir():
        assert path.read_bytes() == (tmp_path / "jpeg-out" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (None, "pixels without their image file"),
        (jpeg(picture(2)), "the transform changed its pixels"),
        (jpeg(picture(1, size=SIZE + 8)), "a JPEG of RGB 32 x 32 pixels found, expected RGB or L 24 x 24"),
        (b"\x89PNG", "4 bytes are not a whole JPEG"),
    ],
)
def test_the_writer_takes_no_file_that_is_not_the_pixels(source: bytes | None, problem: str) -> None:
    """What is stored can't be checked against the pixels later, so it is checked while both are there."""
    codec = make_codec("jpeg")
    members = codec.members(
        TensorSpec(dtype="uint8", shape=(3, SIZE, SIZE)), num_classes=2, json_bytes=json_bytes_for(1)
    )
    pixels = np.asarray(Image.open(io.BytesIO(jpeg(picture(1)))).convert("RGB")).transpose(2, 0, 1)
    writer = ShardWriter(io.BytesIO(), members, codec)
    writer.add("good", 0, {}, pixels, jpeg(picture(1)))
    with pytest.raises(OptionError, match=f"jpeg: {re.escape(problem)}.*; use codec zstd"):
        writer.add("bad", 0, {}, pixels, source)


@pytest.mark.parametrize("problem", [ImportError("no such module"), ValueError("numpy.dtype size changed")])
def test_an_accelerator_that_cannot_be_imported_is_done_without(
    problem: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """simplejpeg built for another NumPy raises ValueError; Pillow gives the same pixels."""

    class Broken:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "simplejpeg":
                raise problem

    monkeypatch.delitem(sys.modules, "simplejpeg", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])

    assert find_fast_decoder.__wrapped__() is None


def test_a_level_is_refused() -> None:
    """There is nothing it could change."""
    with pytest.raises(OptionError, match="level: 3 found, but codec jpeg has none"):
        make_codec("jpeg", 3)
