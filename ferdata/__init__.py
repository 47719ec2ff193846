"""ferdata: AffectNet and RAF-DB as zstd tar shards of ready tensors, streamed faster than a GPU can eat.

The public names load on first use, so that converting images never waits for torch.
"""

__version__ = "0.1.0"
