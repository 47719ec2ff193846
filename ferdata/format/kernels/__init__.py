"""Work on pixels, in C if it is built: moving them to rows of a batch, summing them, the pixel coder of ``compact``."""

from ferdata.format.kernels.moves import channel_moments, deinterleave_into, scatter, split_rgbx_into

__all__ = ["channel_moments", "deinterleave_into", "scatter", "split_rgbx_into"]
