"""A data set in the form that Hugging Face's ``datasets`` reads: Parquet files of PNG images, and a card.

In: samples and their rows of the table. Out: files that ``datasets.load_dataset(folder)`` opens with images, class
names and splits, and that ``shard table`` takes back to the same pixels. The package itself is not needed for it.
Memory: the PNG images of one row group.
"""

import json
from collections.abc import Iterable
from itertools import islice
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ferdata.format import DatasetIndex
from ferdata.format.reader import Sample
from ferdata.images.colours import to_png

__all__ = ["COLUMNS", "card", "parquet_name", "write_parquet"]

_GROUP_ROWS = 100
"""Images of a row group: what the hub's viewer reads to show a page."""
COLUMNS = ("key", "valence", "arousal", "source_label")
"""What is written of every row of the table."""


def parquet_name(split: str, number: int, count: int) -> str:
    """Return the path of one file of a split, by the convention that ``datasets`` recognises splits by."""
    return f"data/{split}-{number:05d}-of-{count:05d}.parquet"


def write_parquet(file: IO[bytes], samples: Iterable[Sample], rows: pa.Table, index: DatasetIndex) -> int:
    """Write samples, and what the table says of them, as one Parquet file; return its bytes.

    Args:
        file: Where to.
        samples: In the order of the rows; may share one memory.
        rows: Their rows of ``samples.parquet``, with the columns to write.
        index: The data set's index.
    """
    known = rows.column_names
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = [pa.field("image", image), pa.field("label", pa.int64())]
    fields += [pa.field(name, _plain(rows.schema.field(name).type)) for name in known]
    features = {field.name: _feature(field, index) for field in fields}
    schema = pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})
    remaining, done = iter(samples), 0
    with pq.ParquetWriter(file, schema, compression="zstd", write_page_index=True) as writer:
        while group := [(_image(sample), sample.label) for sample in islice(remaining, _GROUP_ROWS)]:
            images, labels = zip(*group, strict=True)
            part = rows.slice(done, len(group))
            columns = [pa.array(images, image), pa.array(labels, pa.int64())]
            columns += [part.column(name).cast(schema.field(name).type).combine_chunks() for name in known]
            writer.write_table(pa.table(columns, schema=schema))
            done += len(group)
    return file.tell()


def card(index: DatasetIndex) -> bytes:
    """Return the data set's card: what it holds, where each split is, and whose images they are."""
    lines = ["---", "task_categories:", "- image-classification", "configs:", "- config_name: default", "  data_files:"]
    for split in index.splits:
        lines += [f"  - split: {split}", f"    path: data/{split}-*"]
    lines += [
        "---", "",
        f"# {index.source}", "",
        f"{index.describe_samples()}; layout {index.source_layout}.", "",
        "| split | " + " | ".join(index.classes) + " |",
        "|---" * (1 + len(index.classes)) + "|",
    ]  # fmt: skip
    lines += [
        f"| {split} | " + " | ".join(f"{count:,}" for count in index.counts[split]) + " |" for split in index.splits
    ]
    lines += [
        "",
        "Written by `ferdata export --to datasets`. Images are lossless PNG of the pixels that networks were trained "
        "on. They belong to the authors of the data set they come from: its terms hold for this copy too, and most of "
        "them allow no publication.",
        "",
    ]
    return "\n".join(lines).encode()


def _image(sample: Sample) -> dict[str, Any]:
    """Return a picture as ``datasets`` keeps one."""
    return {"bytes": to_png(sample.pixels), "path": f"{sample.key}.png"}


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _feature(field: pa.Field, index: DatasetIndex) -> dict[str, Any]:
    """Return what ``datasets`` calls the type of a column."""
    if field.name == "image":
        return {"_type": "Image"}
    if field.name == "label":
        return {"names": list(index.classes), "_type": "ClassLabel"}
    if pa.types.is_list(field.type):
        return {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "List"}
    return {"dtype": {"double": "float64"}.get(str(field.type), str(field.type)), "_type": "Value"}
