"""What ``shard`` rejected, out of ``rejects.csv``, and the picture of it if the source is there."""

import csv
from dataclasses import dataclass
from io import BytesIO, StringIO

from PIL import Image, ImageFile

from ferdata.errors import FerdataError
from ferdata.format import REJECTS_NAME, DatasetIndex, read_file
from ferdata.sources.files.image_bytes import read_image
from ferdata.store import Store

__all__ = ["Reject", "read_rejects", "reject_picture"]

_MOST_PIXELS = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """One line of ``rejects.csv``; where it has none, ``row`` is empty."""

    split: str
    key: str
    path: str
    row: str
    reason: str
    detail: str


def read_rejects(store: Store, index: DatasetIndex) -> list[Reject]:
    """Return the rejects of a data set.

    Raises:
        ShardMissingError, ShardCorruptError: If the table is missing, or not what the index says.
    """
    data = read_file(store, next(info for info in index.files if info.name == REJECTS_NAME))
    names = Reject.__dataclass_fields__
    lines = csv.DictReader(StringIO(data.decode("utf-8", "replace"), newline=""))
    return [Reject(**{name: line.get(name) or "" for name in names}) for line in lines]


def reject_picture(src: str, path: str) -> Image.Image | None:
    """Return what can be seen of an image that was rejected, in colour; None if nothing can."""
    try:
        data = read_image(src, path)
    except FerdataError:
        return None
    strict = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True  # shows of a file that ends early what is there
    try:
        with Image.open(BytesIO(data)) as picture:
            return picture.convert("RGB") if picture.width * picture.height <= _MOST_PIXELS else None
    except Exception:  # whatever a decoder raises for a damaged file: there is nothing to see
        return None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = strict
