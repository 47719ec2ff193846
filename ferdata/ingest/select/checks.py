"""What is looked at before a run that would fail or reject most of its images: keys, decoders, whether JPEGs can stay.

In: items. Out: nothing, or an error that says what to do. Costs one read of a few dozen files; for the codec ``jpeg``,
which is all or nothing, of every file and about 30 µs beside it.
"""

from collections import Counter
from collections.abc import Callable
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from ferdata.errors import FerdataError, IngestError, SourceError
from ferdata.images.formats import is_decoder_missing, recognise, what_to_install
from ferdata.images.jpeg_file import read_head
from ferdata.images.transform import ImageRejectedError, Transform, Transformed, crop_box
from ferdata.ingest.reading import read_sources
from ferdata.parallel import Progress, map_in_threads
from ferdata.sample import SourceItem
from ferdata.sources.items import ItemTable
from ferdata.sources.scan import Scan

__all__ = ["check_decoders", "check_jpegs", "check_keys", "count_refused", "jpeg_refusal"]

_MAX_LOOKED_AT = 32
_CHUNK_IMAGES = 512
_JPEG_MAGIC = b"\xff\xd8\xff"


def check_keys(scan: Scan) -> None:
    """Check that no two items share a key.

    Raises:
        SourceError: If two do.
    """
    keys, hashes = scan.items.table.column("key"), np.empty(len(scan.items), np.uint64)
    done = 0
    for piece in scan.items.pieces(["key"], num_rows=1 << 13):  # a hash of them all at once takes 200 bytes a key
        found = map(xxhash.xxh64_intdigest, piece.column("key").cast(pa.binary()).to_pylist())
        hashes[done : done + len(piece)] = [*found]
        done += len(piece)
    hashes.sort()
    if (hashes[1:] == hashes[:-1]).any() and pc.count_distinct(keys).as_py() != len(keys):
        raise SourceError(
            f"{scan.root}: two items with one key found, expected each key once; "
            "this is a bug of ferdata, please report it"
        )


def check_jpegs(
    scan: Scan, transform: Transform, positions: np.ndarray, *, num_workers: int, on_tick: Callable[[int, int], None]
) -> None:
    """Look at the items at ``positions``, which rise, before a run that keeps the files' own bytes.

    Raises:
        IngestError: If the transform would change one of them, or one is no JPEG; with every reason and its count.
    """
    items = scan.items.take(positions)
    if refused := count_refused(scan.root, items, transform, num_workers=num_workers, progress=on_tick):
        size = transform.options.size
        listed = ", ".join(f"{count:,} {reason}" for reason, count in refused.most_common())
        raise IngestError(
            f"{scan.root}: of {len(items):,} images looked at, {listed}, expected JPEGs of {size} x {size} pixels, "
            "whose own bytes the jpeg codec keeps; choose codec=zstd, or the size= that the images have"
        )


def check_decoders(scan: Scan, positions: np.ndarray) -> None:
    """Look at a few of the images at ``positions``, which rise, spread over all of them.

    Raises:
        SourceError: If most of them need a decoder that is missing.
    """
    is_in_tables = "#" in scan.items.take(positions[:1]).table.column("path")[0].as_py()
    # Rows side by side share one read of a parquet file; files may differ from folder to folder.
    spread = np.linspace(0, len(positions) - 1, _MAX_LOOKED_AT).astype(np.int64)
    chosen = positions[:_MAX_LOOKED_AT] if is_in_tables else positions[spread]
    sample = scan.items.take(np.unique(chosen))
    reasons = []
    num_read = 0
    for item, data in zip(sample, read_sources(scan.root, sample), strict=True):
        if isinstance(data, FerdataError):
            continue
        num_read += 1
        found = recognise(data)
        if found is not None and is_decoder_missing(data, found):
            reasons.append(f"{item.path}: {what_to_install(data, found)}")
    if 2 * len(reasons) > num_read:
        raise SourceError(
            f"{scan.root}: {len(reasons)} of {num_read} images looked at need a decoder that is missing, "
            f"such as {reasons[0]}; then run the same command again"
        )


def jpeg_refusal(data: bytes, result: Transformed) -> str | None:
    """Return why a sample cannot keep its source's own bytes, or None if it can."""
    if not data.startswith(_JPEG_MAGIC):
        return "not a JPEG"
    if result.unchanged:
        return None
    if "exif_rotated" in result.repairs:
        return "turned upright by its EXIF orientation"
    if result.source_size != result.pixels.shape[:0:-1]:
        return "resized or cropped"
    return "converted to RGB"


def count_refused(
    root: str,
    items: ItemTable,
    transform: Transform,
    *,
    num_workers: int | None = None,
    progress: Progress | None = None,
) -> Counter[str]:
    """Return why images of ``items`` cannot be stored as they are, and how many; images to be rejected are left out.

    Args:
        root: Folder or URL of the images.
        items: In the order in which the source holds them, so that parquet files are read through.
        transform: What would be done to them.
        num_workers: Threads; one per core where None.
        progress: Called with (images done, images).
    """
    decoding = Lock()  # a transform is not for several threads

    def count(start: int) -> Counter[str]:
        chunk = items.take(np.arange(start, min(start + _CHUNK_IMAGES, len(items))))
        refused: Counter[str] = Counter()
        for item, data in zip(chunk, read_sources(root, chunk), strict=True):
            if isinstance(data, FerdataError):
                continue
            try:
                refusal = _refusal_by_head(data, item, transform)
                if refusal is None:
                    with decoding:
                        refusal = jpeg_refusal(data, transform.apply(data, item)) or ""
            except ImageRejectedError:
                continue
            refused.update([refusal] if refusal else [])
        return refused

    starts = range(0, len(items), _CHUNK_IMAGES)

    def tell(done: int, total: int) -> None:
        if progress is not None:
            progress(min(done * _CHUNK_IMAGES, len(items)), len(items))

    return sum(map_in_threads(count, starts, num_workers=num_workers, progress=tell), Counter())


def _refusal_by_head(data: bytes, item: SourceItem, transform: Transform) -> str | None:
    """Return why the image is refused, empty where it is not, None where only decoding can tell."""
    head = read_head(data)
    if head is None or not head.is_usual or head.has_app1:
        return None
    size = (head.width, head.height)
    if transform.options.crop == "box" and item.box is not None:
        size = crop_box(item.box, size, where=item.path)[2:]
    same = size == (head.width, head.height) == (transform.options.size, transform.options.size)
    return "" if same else "resized or cropped"
