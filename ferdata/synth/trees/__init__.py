"""Synthetic faces as source trees, in the layouts of the real data sets."""
