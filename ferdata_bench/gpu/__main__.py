"""Everything that needs a GPU: is it right, and how fast is it? What ``make gpu`` runs.

    python -m ferdata_bench.gpu [--json FILE] [--device cpu --quick]

In: a checkout, PyTorch and a CUDA device; what else is missing is named, nothing is downloaded. Out: checks and figures
in docs/figures/gpu.json, or in $OUT, or in the file asked for. Under eight minutes; exit code 1 if a check failed.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ferdata_bench.gpu.packages import ROOT, advice, build_kernels, missing_packages

__all__ = ["main"]

TOTAL_SECONDS = 460.0


def main(arguments: Sequence[str] | None = None) -> int:
    """See what is there, run, and tell what failed."""
    stop = time.perf_counter() + TOTAL_SECONDS
    parser = argparse.ArgumentParser(prog="python -m ferdata_bench.gpu", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, help="file of the figures; docs/figures/gpu.json, or gpu.json in $OUT")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu only shows that it runs")
    parser.add_argument("--quick", action="store_true", help="toy sizes: the figures mean nothing")
    given = parser.parse_args(arguments)
    if missing := missing_packages():
        print(advice(missing), file=sys.stderr)
        return 1
    import torch

    if given.device == "cuda" and not torch.cuda.is_available():
        print("gpu: this torch sees no CUDA device, expected one; nothing was measured", file=sys.stderr)
        return 1
    if reason := build_kernels():
        print(f"gpu: no compiled kernels ({reason}): NumPy stands for them, slowly", file=sys.stderr)
    from ferdata_bench.gpu.run import run_all

    path = (given.json or Path(os.environ.get("OUT") or ROOT / "docs" / "figures") / "gpu.json").resolve()
    options = f"{'' if given.device == 'cuda' else f' --device {given.device}'}{' --quick' if given.quick else ''}"
    command = f"python -m ferdata_bench.gpu{options}"
    results = run_all(given.device, quick=given.quick, path=path, command=command, stop=stop)
    for check in results["checks"]:
        verdict = {True: "passed", False: "FAILED", None: "left out"}[check["passed"]]
        print(f"{verdict:>8}  {check['name']}{': ' + check['reason'] if check['reason'] else ''}")
    print(f"wrote {path}")
    return int(any(check["passed"] is False for check in results["checks"]))


if __name__ == "__main__":
    raise SystemExit(main())
