"""A finished data set: what it holds, and its samples split by split.

In: a folder or URL. Out: figures, the sample table, data sets of samples. Costs one small file;
shards are opened when they are read.
"""

from collections.abc import Iterator, Mapping
from html import escape

import pyarrow as pa

from ferdata.format import DatasetIndex, SamplesFile, read_index
from ferdata.store import Store, StrPath
from ferdata.stream.datasets import ShardDataset
from ferdata.stream.transforms import Normalize

__all__ = ["OpenDataset", "open_dataset"]


class OpenDataset(Mapping[str, ShardDataset]):
    """A data set: split -> its samples.

    Attributes:
        root: Its folder or URL.
        index: All that ``index.json`` says.
    """

    def __init__(self, root: StrPath) -> None:
        self._store = Store(root)
        self.root: str = self._store.root
        self.index: DatasetIndex = read_index(self._store)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; labels are indices into them."""
        return self.index.classes

    @property
    def normalize(self) -> Normalize:
        """The transform that gives its pixels mean 0 and standard deviation 1."""
        return Normalize.of(self.index)

    def table(self, split: str | None = None) -> pa.Table:
        """Return the rows of ``samples.parquet``, of one split or of all, in the order of the samples."""
        rows = slice(0, self.index.num_samples()) if split is None else self.index.rows(split)
        return SamplesFile(self._store, self.index).read(None, rows.start, rows.stop)

    def __getitem__(self, split: str) -> ShardDataset:
        if split not in self.index.splits:
            raise KeyError(split)
        return ShardDataset(self.root, split=split)

    def __iter__(self) -> Iterator[str]:
        return iter(self.index.splits)

    def __len__(self) -> int:
        return len(self.index.splits)

    def __repr__(self) -> str:
        return f"OpenDataset({self.root!r}): {self.index!r}"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in ("split", *self.classes, "samples"))
        rows = "".join(
            f"<tr><td>{escape(split)}</td>"
            + "".join(f"<td>{count:,}</td>" for count in (*counts, sum(counts)))
            + "</tr>"
            for split, counts in self.index.counts.items()
        )
        return (
            f"<p>{escape(self.root)}: {escape(self.index.describe_samples())}</p><table><tr>{head}</tr>{rows}</table>"
        )


def open_dataset(root: StrPath) -> OpenDataset:
    """Return the data set in a folder or behind a URL.

    Raises:
        ShardMissingError: If there is none.
        ShardCorruptError: If its index is damaged.

    Example:
        >>> data = ferdata.open_dataset("shards/affectnet")
        >>> list(data), len(data["train"]), data.classes[:3]
        (['train', 'val'], 208, ('Neutral', 'Happy', 'Sad'))
        >>> image, label = data["val"][0]
        >>> image.shape, data.classes[label] in data.classes
        (torch.Size([3, 32, 32]), True)
        >>> data.table("val").column_names[:3]
        ['key', 'split', 'label']
    """
    return OpenDataset(root)
