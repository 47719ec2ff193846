"""ferdata's loader over its ``raw`` shards: ready pixels, copied from a memory-mapped tar.

In: JPEG files, converted once by ``ferdata shard``. Out: uint8 batches in recycled shared memory; no decoding is left.
"""

from functools import partial

from ferdata_bench.contenders.ferdata_shards import SHUFFLE, class_names, open_loader, write_shards

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "class_names", "ingest"]

NAME = "ferdata-raw"
CODEC = "raw"
LOSSLESS = True

ingest = partial(write_shards, codec="raw")
batches = open_loader
