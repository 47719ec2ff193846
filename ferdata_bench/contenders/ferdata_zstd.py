"""ferdata's loader over its ``zstd`` shards: zstd frames of plain pixels, the default codec.

In: JPEG files, converted once by ``ferdata shard``. Out: uint8 batches in recycled shared memory; workers inflate straight into the batch.
"""

from functools import partial

from ferdata_bench.contenders.ferdata_shards import SHUFFLE, class_names, open_loader, write_shards

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "class_names", "ingest"]

NAME = "ferdata-zstd"
CODEC = "zstd"
LOSSLESS = True

ingest = partial(write_shards, codec="zstd")
batches = open_loader
