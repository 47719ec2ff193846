"""Last step: the tables beside the shards, the index, and what it all amounts to."""
