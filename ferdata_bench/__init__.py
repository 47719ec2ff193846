"""Measures ferdata and the alternatives on the same images in one run, with the machine's ceilings beside them."""

from ferdata_bench.harness import run_bench
from ferdata_bench.options import BenchOptions, BenchResult, BenchRow

__all__ = ["BenchOptions", "BenchResult", "BenchRow", "run_bench"]
