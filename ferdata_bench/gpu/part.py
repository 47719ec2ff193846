"""One part of the run, in a process of its own: a fault of the device ends that process, and not the run.

    python -m ferdata_bench.gpu.part NAME --device cuda --work DIR --out FILE --seconds N [--quick]

In: orders. Out: its results, in a file.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from ferdata.plan.timing import now
from ferdata_bench.gpu import checks, data, speeds, steps
from ferdata_bench.gpu.job import Job

__all__ = ["PARTS", "main"]

PARTS: Mapping[str, Callable[[Job], None]] = {
    "data": data.make_data,
    "operations": checks.check_operations,
    "kernel": checks.check_kernel,
    "loaders": checks.check_loaders,
    "copies": speeds.time_copies,
    "decode": speeds.time_decoding,
    "images": speeds.time_loaders,
    "steps": steps.time_steps,
    "jpeg": speeds.time_jpeg,
}


def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m ferdata_bench.gpu.part", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("name", choices=PARTS)
    parser.add_argument("--device", type=torch.device, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="in which it should be done")
    parser.add_argument("--quick", action="store_true")
    given = vars(parser.parse_args())
    name, seconds = given.pop("name"), given.pop("seconds")
    PARTS[name](Job(**given, deadline=now() + seconds))


if __name__ == "__main__":
    main()
