"""The shard format: bytes to samples and back, and nothing of images, workers or torch. FORMAT.md specifies it."""

from typing import TYPE_CHECKING

from ferdata.format.codecs import CODECS, BodyDecoder, Codec, make_codec
from ferdata.format.codecs.compact import decode_member, kernel_notice
from ferdata.format.container import END_OF_TAR, FetchedFile, SampleMembers, json_bytes_for, open_copy, shard_copy
from ferdata.format.index import (
    FORMAT_VERSION,
    INDEX_NAME,
    REJECTS_NAME,
    SAMPLES_NAME,
    DatasetIndex,
    FileInfo,
    ShardInfo,
    ShardTable,
    check_file,
    keeping_indexes,
    parse_index,
    read_file,
    read_index,
    read_index_text,
    write_file,
    write_index,
)
from ferdata.format.kernels import channel_moments, scatter, split_rgbx_into
from ferdata.format.reader import Sample, ShardReader, read_whole
from ferdata.format.writer import ShardWriter, WrittenShard
from ferdata.lazy import lazily

if TYPE_CHECKING:
    from ferdata.format.samples import SAMPLES_SCHEMA, SamplesFile, read_samples, write_samples

__all__ = [
    "CODECS",
    "END_OF_TAR",
    "FORMAT_VERSION",
    "INDEX_NAME",
    "REJECTS_NAME",
    "SAMPLES_NAME",
    "SAMPLES_SCHEMA",
    "BodyDecoder",
    "Codec",
    "DatasetIndex",
    "FetchedFile",
    "FileInfo",
    "Sample",
    "SampleMembers",
    "SamplesFile",
    "ShardInfo",
    "ShardReader",
    "ShardTable",
    "ShardWriter",
    "WrittenShard",
    "channel_moments",
    "check_file",
    "decode_member",
    "json_bytes_for",
    "keeping_indexes",
    "kernel_notice",
    "make_codec",
    "open_copy",
    "parse_index",
    "read_file",
    "read_index",
    "read_index_text",
    "read_samples",
    "read_whole",
    "scatter",
    "shard_copy",
    "split_rgbx_into",
    "write_file",
    "write_index",
    "write_samples",
]

__getattr__ = lazily(  # whoever has no use for the table need not wait for pyarrow
    __name__, {"ferdata.format.samples": ["SAMPLES_SCHEMA", "SamplesFile", "read_samples", "write_samples"]}
)
