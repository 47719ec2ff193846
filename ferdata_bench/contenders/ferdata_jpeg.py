"""ferdata's loader over its ``jpeg`` shards: the source's own JPEG bytes.

In: JPEG files, converted once by ``ferdata shard``. Out: uint8 batches in recycled shared memory; workers decode them.
"""

from functools import partial

from ferdata_bench.contenders.ferdata_shards import SHUFFLE, class_names, open_loader, write_shards

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "class_names", "ingest"]

NAME = "ferdata-jpeg"
CODEC = "jpeg"
LOSSLESS = True

ingest = partial(write_shards, codec="jpeg")
batches = open_loader
