"""Builds the kernels that move and filter pixels; everything else stands in setup.cfg.

Without a C compiler the install goes on without them: NumPy then does the same work, slowly, and says so.
"""

import os
from glob import glob

from setuptools import Extension, find_packages, setup

KERNELS = "ferdata/format/kernels"
TRAINING = ["ferdata.training", *(f"ferdata.training.{name}" for name in find_packages("model"))]

setup(
    # a module called model would hide people's own model.py; in the repository the link ferdata/training says the same
    packages=[
        *find_packages(include=["ferdata", "ferdata.*", "ferdata_bench*"], exclude=["ferdata.training*"]),
        *TRAINING,
    ],
    package_dir={"ferdata.training": "model"},
    ext_modules=[
        Extension(
            "ferdata.format.kernels._native",
            sources=sorted(glob(f"{KERNELS}/_*.c")),
            depends=[f"{KERNELS}/_native.h"],
            extra_compile_args=["/O2", "/std:c11"] if os.name == "nt" else ["-O3", "-std=c11", "-fvisibility=hidden"],
            optional=True,
            py_limited_api=True,  # no Python.h at all: one library for every version
        )
    ],
)
