"""The figures behind docs/benchmarks.md: scripts that measure, a JSON file each, and the page rendered from those."""
