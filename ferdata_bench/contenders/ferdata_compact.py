"""ferdata's loader over its ``compact`` shards: filtered pixels in zstd frames, the smallest lossless codec.

In: JPEG files, converted once by ``ferdata shard``. Out: uint8 batches in recycled shared memory; workers inflate and undo the filter.
"""

from functools import partial

from ferdata_bench.contenders.ferdata_shards import SHUFFLE, class_names, open_loader, write_shards

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "class_names", "ingest"]

NAME = "ferdata-compact"
CODEC = "compact"
LOSSLESS = True

ingest = partial(write_shards, codec="compact")
batches = open_loader
