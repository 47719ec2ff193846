"""Builds the kernels that move and filter pixels; everything else stands in setup.cfg.

Without a C compiler the install goes on without them: NumPy then does the same work, slowly, and says so.
"""

import os
from glob import glob

from setuptools import Extension, setup

FOLDER = "ferdata/format/kernels"

setup(
    ext_modules=[
        Extension(
            "ferdata.format.kernels._native",
            sources=sorted(glob(f"{FOLDER}/_*.c")),
            depends=[f"{FOLDER}/_native.h"],
            extra_compile_args=["/O2", "/std:c11"] if os.name == "nt" else ["-O3", "-std=c11", "-fvisibility=hidden"],
            optional=True,
        )
    ]
)
