"""Sources for tests of the write half, and readers of what comes out that use nothing of ferdata."""

import csv
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import zstandard
from PIL import Image

from ferdata.format.codecs import make_codec
from ferdata.ingest import IngestOptions
from ferdata.setting import build
from ferdata.sources.scan import Scan, ScanBuilder

SIZE = 24


SMALL_SHARD_BYTES = 50_000


def picture(number: int, size: int = SIZE) -> Image.Image:
    """A picture that is a formula of its number."""
    y, x = np.mgrid[:size, :size]
    return Image.fromarray(
        np.stack([(x * 7 + number * 13) % 256, (y * 5 + number) % 256, (x * y + number * 3) % 256], axis=2).astype(
            np.uint8
        )
    )


def jpeg(number: int, size: int = SIZE) -> bytes:
    file = io.BytesIO()
    picture(number, size).save(file, "JPEG", quality=90)
    return file.getvalue()


def write_affectnet(root: Path, train: int = 60, val: int = 12) -> Path:
    """AN-npy in its true layout: the class of image i is i % 8; landmark k of image i is (k + i / 8, k / 2)."""
    for folder, count, offset in (("train_set", train, 0), ("val_set", val, 10_000)):
        (root / folder / "images").mkdir(parents=True)
        (root / folder / "annotations").mkdir()
        for number in range(count):
            (root / folder / "images" / f"{number}.jpg").write_bytes(jpeg(number + offset))
            for kind, value in (("exp", number % 8), ("val", number / 1000), ("aro", -number / 1000)):
                np.save(root / folder / "annotations" / f"{number}_{kind}.npy", np.array(str(value)))
            points = np.stack([np.arange(68) + number / 8, np.arange(68) / 2], axis=1).ravel()
            np.save(root / folder / "annotations" / f"{number}_lnd.npy", points)
    return root


def options(
    src: Path | str, out: Path | str, *, codec: str = "zstd", level: int | None = None, **fields: object
) -> IngestOptions:
    named = {"source": "affectnet", "src": str(src), "out": str(out), "size": SIZE, "num_workers": 1}
    return build(IngestOptions, named | fields | {"codec": make_codec(codec, level)})


def members(out: Path) -> Iterator[tuple[str, str, bytes]]:
    """(split, member name, content) of every shard, read with nothing of ours."""
    for path in sorted(out.glob("*.tar*")):
        data = path.read_bytes()
        if path.suffix == ".zst":
            data = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                if member.name != "__table__":
                    yield path.name.split("-")[0], member.name, tar.extractfile(member).read()


def samples(out: Path) -> dict[str, dict[str, object]]:
    """Key -> split, label, record, tensor; fails on a key that occurs twice."""
    found: dict[str, dict[str, object]] = {}
    for split, name, content in members(out):
        key, kind = name.split(".")
        sample = found.setdefault(key, {"split": split})
        assert sample["split"] == split and kind not in sample
        sample[kind] = np.load(io.BytesIO(content)) if kind == "npy" else json.loads(content)
    return found


def contents(out: Path) -> dict[str, bytes]:
    """Every file of a data set, hidden ones too."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def rejects(out: Path) -> list[dict[str, str]]:
    with open(out / "rejects.csv", newline="") as file:
        return list(csv.DictReader(file))


def folder_scan(root: Path, files: dict[str, bytes], splits: Callable[[int], str] = lambda number: "train") -> Scan:
    """A scan of files in which the class of number i is i % 3."""
    builder = ScanBuilder()
    for number, (path, data) in enumerate(files.items()):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
        builder.accept(
            key=f"item_{number}", path=path, split=splits(number), label=number % 3, source_label=str(number % 3)
        )
    return builder.build(source="folder", layout="folder", root=str(root), classes=("a", "b", "c"))
