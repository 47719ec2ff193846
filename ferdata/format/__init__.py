"""The shard format: bytes to samples and back. Knows nothing of images, folders, workers or torch; FORMAT.md is its specification."""

from ferdata.format.codec import CodecOptions, codec_names
from ferdata.format.index import (
    INDEX_NAME,
    REJECTS_NAME,
    SAMPLES_NAME,
    DatasetIndex,
    FileInfo,
    ShardInfo,
    check_file,
    read_file,
    read_index,
    write_file,
    write_index,
)
from ferdata.format.layout import FORMAT_VERSION, SampleLayout, json_bytes_for, shard_name
from ferdata.format.reader import Decoders, Sample, ShardReader, read_whole
from ferdata.format.samples import SAMPLES_SCHEMA, read_samples, write_samples
from ferdata.format.shardfile import shard_copy
from ferdata.format.writer import ShardWriter, WrittenShard, make_layout

__all__ = [
    "FORMAT_VERSION",
    "INDEX_NAME",
    "REJECTS_NAME",
    "SAMPLES_NAME",
    "SAMPLES_SCHEMA",
    "CodecOptions",
    "DatasetIndex",
    "Decoders",
    "FileInfo",
    "Sample",
    "SampleLayout",
    "ShardInfo",
    "ShardReader",
    "ShardWriter",
    "WrittenShard",
    "check_file",
    "codec_names",
    "json_bytes_for",
    "make_layout",
    "read_file",
    "read_index",
    "read_samples",
    "read_whole",
    "shard_copy",
    "shard_name",
    "write_file",
    "write_index",
    "write_samples",
]
