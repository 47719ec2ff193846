"""Work on pixels that is done in C where it is built: moving them to rows of a batch, summing them, undoing the filter of ``compact``."""

from ferdata.format.kernels.moves import channel_moments, deinterleave_into, scatter, split_rgbx_into

__all__ = ["channel_moments", "deinterleave_into", "scatter", "split_rgbx_into"]
