"""The figures behind docs/benchmarks.md: scripts that measure, one JSON file each, and the page that is rendered from those files."""
