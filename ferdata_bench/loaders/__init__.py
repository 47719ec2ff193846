"""The loader beside the alternatives: the harness behind ``bench-loader``."""
