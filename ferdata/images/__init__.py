"""File bytes to uint8 ``[C, H, W]``: what an image file may be, and the transform that is baked into shards."""
