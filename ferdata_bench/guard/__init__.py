"""The guard against getting slower: ``make bench-check``."""
