"""Measures ferdata and the alternatives on the same images in one run, with the machine's ceilings beside them."""
