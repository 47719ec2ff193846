"""``bench-loader``: measure the loader beside the alternatives."""

from pathlib import Path

from ferdata.console.options import Given, Json, Plot, Shards, write_json
from ferdata.console.screen import console, say
from ferdata_bench.loaders.options import BenchOptions

__all__ = ["bench_loader"]


def bench_loader(asked: Given[BenchOptions], shards: Shards = None, json_file: Json = None, plot: Plot = None) -> None:
    """Measure, write, print and draw."""
    from ferdata.dataset.builtin import find_shards
    from ferdata_bench.loaders.harness import run_bench
    from ferdata_bench.loaders.report import print_result, save_plot

    result = run_bench(asked.build(shards=find_shards(shards, say=say)), say=say)
    write_json(json_file, result.to_json())
    print_result(result, console)
    if plot is not None:
        for path in save_plot(result, Path(plot)):
            console.print(f"wrote {path}", highlight=False, soft_wrap=True)
