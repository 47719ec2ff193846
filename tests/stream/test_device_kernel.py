"""The Triton kernel behind ``ferdata.decode``, in Triton's interpreter: the pixels and verdicts of the C kernels."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ferdata

ROOT = Path(ferdata.__file__).resolve().parents[1]

pytest.importorskip("triton", reason="Triton, which comes with torch for CUDA, is not installed")

START = """
import logging, os, sys
import numpy as np, torch
from ferdata_bench.gpu.payloads import by_the_kernels, damaged, encoded, joined, pictures
from ferdata.stream.device import decode
from ferdata.stream.device.decode_triton import fits, undo
"""


def run(script: str, tmp_path: Path, **environment: str) -> str:
    """What a script writes, in a process of its own: Triton reads its settings when it is imported."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    settings = {"PYTHONPATH": paths, "TRITON_CACHE_DIR": str(tmp_path / "triton"), **environment}
    command = [sys.executable, "-c", START + script]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_batch_has_the_pixels_that_were_encoded(tmp_path: Path) -> None:
    """From one pixel to several blocks of values and tiles of rows, and with any number of channels."""
    script = """
for shape in [(1, 1, 1), (2, 3, 1), (3, 5, 7), (4, 9, 40), (1, 70, 40), (3, 24, 50), (3, 64, 64)]:
    images = pictures(shape)[::1 if np.prod(shape) < 500 else 4]
    payloads, offsets = joined([encoded(image) for image in images], b"xyz", b"x" * 99)
    out = torch.zeros(images.shape, dtype=torch.uint8)
    strided = torch.zeros((*images.shape, 2), dtype=torch.uint8)[..., 0]
    for out in (out, strided) if shape == (3, 5, 7) else (out,):
        assert undo(payloads, offsets, shape, out).all()
        assert np.array_equal(out.numpy(), images)
print("done", fits((3, 224, 224)), fits((1, 1, 5000)))
"""
    assert run(script, tmp_path, TRITON_INTERPRET="1").split() == ["done", "True", "False"]


def test_damage_is_refused_or_harmless_exactly_as_the_kernels_have_it(tmp_path: Path) -> None:
    """A damaged payload must end as a verdict, never as an error of the device, which would end the process."""
    script = """
accepted = 0
for shape, count in (((3, 7, 13), 120), ((1, 5, 9), 120), ((4, 3, 3), 60)):
    batch = list(damaged(shape, count, seed=11))
    payloads, offsets = joined(batch)
    out = torch.empty((count, *shape), dtype=torch.uint8)
    sound = undo(payloads, offsets, shape, out).tolist()
    accepted += sum(sound)
    for payload, verdict, pixels in zip(batch, sound, out.numpy(), strict=True):
        expected = by_the_kernels(payload, shape)
        assert verdict == (expected is not None)
        assert expected is None or np.array_equal(pixels, expected)
payload = encoded(pictures((3, 5, 7))[5])
payloads, offsets = joined([payload] * 3)
for forged in ([-1, len(payload)], [len(payload), 0], [0, len(payloads) + 1], [1 << 62, (1 << 62) + len(payload)]):
    out = torch.empty((1, 3, 5, 7), dtype=torch.uint8)
    assert not undo(payloads, torch.tensor(forged), (3, 5, 7), out).any()
print(accepted)
"""
    assert 30 < int(run(script, tmp_path, TRITON_INTERPRET="1")) < 270


def test_it_is_tried_before_it_is_used_and_left_alone_if_it_fails(tmp_path: Path) -> None:
    """Without a C compiler Triton fails at its first launch; images are decoded all the same, and the log says why."""
    script = """
from ferdata.stream.device import decode_triton
assert decode.kernel(torch.device("cpu")) is decode_triton
def fails(*arguments):
    raise RuntimeError("Failed to find C compiler")
decode_triton.undo = fails
decode.kernel.cache_clear()
assert decode.kernel(torch.device("cpu")) is None
decode_triton.undo = lambda payloads, offsets, shape, out: torch.ones(1, dtype=torch.bool)
decode.kernel.cache_clear()
assert decode.kernel(torch.device("cpu")) is None
"""
    said = run(script, tmp_path, TRITON_INTERPRET="1")

    assert "decode: Triton's kernel does not work on cpu (RuntimeError: Failed to find C compiler), so images" in said
    assert "decode: Triton's kernel does not work on cpu (its pixels are others)" in said


def test_it_compiles_for_a_gpu(tmp_path: Path) -> None:
    """What the interpreter runs need not compile; a size of 1 is a constant to Triton, which compiles differently."""
    script = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from ferdata.stream.device.decode_triton import _undo
types = dict(zip(_undo.arg_names, ["*u8", "*i64", "*u8", "*u8", "i64", *["i32"] * 5, *["constexpr"] * 3]))
block = {"BLOCK": 1024, "ROWS": 8, "COLUMNS": 256}
ones = {"channels": 1, "height": 1, "width": 1, "num_values": 1, "words": 1}
for constants in (block, block | ones):
    source = ASTSource(_undo, types | dict.fromkeys(constants, "constexpr"), constants)  # its name has changed
    print("cubin" in triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm)
"""
    assert run(script, tmp_path, TRITON_INTERPRET="0").split() == ["True", "True"]
