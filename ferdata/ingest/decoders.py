"""Does Pillow, as it is installed here, decode what this source holds? Looked at before a run that would reject most of it.

In: items. Out: nothing, or an error that says what to install. Costs one read of a few dozen files.
"""

import numpy as np

from ferdata.errors import FerdataError, SourceError
from ferdata.images.formats import is_decoder_missing, recognise, what_to_install
from ferdata.ingest.tasks import read_sources
from ferdata.sample import ItemTable

__all__ = ["check_decoders"]

_MAX_LOOKED_AT = 32


def check_decoders(root: str, items: ItemTable, positions: np.ndarray) -> None:
    """Look at a few images, spread over all that are to be written.

    Args:
        root: Folder or URL of the images.
        items: All items of the scan.
        positions: Those that are to be written.

    Raises:
        SourceError: If most of them need a decoder that is missing.
    """
    ordered = np.sort(positions)
    is_in_tables = "#" in items.take(ordered[:1]).table.column("path")[0].as_py()
    # Rows side by side share one read of a parquet file; files may differ from folder to folder.
    chosen = ordered[:_MAX_LOOKED_AT] if is_in_tables else ordered[np.linspace(0, len(ordered) - 1, _MAX_LOOKED_AT).astype(np.int64)]
    sample = items.take(np.unique(chosen))
    reasons = []
    num_read = 0
    for item, data in zip(sample, read_sources(root, sample), strict=True):
        if isinstance(data, FerdataError):
            continue
        num_read += 1
        found = recognise(data)
        if found is not None and is_decoder_missing(data, found):
            reasons.append(f"{item.path}: {what_to_install(data, found)}")
    if 2 * len(reasons) > num_read:
        raise SourceError(
            f"{root}: {len(reasons)} of {num_read} images looked at need a decoder that is missing, such as {reasons[0]}; "
            "then run the same command again"
        )
