"""Measures ferdata and the alternatives on the same images in one run, with the machine's ceilings beside them."""

from ferdata_bench.loaders.harness import run_bench
from ferdata_bench.loaders.options import BenchOptions, BenchResult, BenchRow

__all__ = ["BenchOptions", "BenchResult", "BenchRow", "run_bench"]
