"""Second step: which items are written, in which split and shard, and whether they can be."""
