"""A plain ``DataLoader`` with default collate over ferdata's ``raw`` shards: what the fast loader is compared with.

In: the shards that ``ferdata-raw`` wrote. Out: uint8 batches in fresh shared memory, one sample read at a time.
"""

from functools import partial

from ferdata_bench.contenders.ferdata_plain import SHUFFLE, batches
from ferdata_bench.contenders.ferdata_shards import class_names, write_shards

__all__ = ["CODEC", "LOSSLESS", "NAME", "SHUFFLE", "batches", "class_names", "ingest"]

NAME = "ferdata-plain-raw"
CODEC = "raw"
LOSSLESS = True

ingest = partial(write_shards, codec="raw")
