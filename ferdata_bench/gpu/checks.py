"""Is what the device makes the same, bit for bit, as what the kernels make on a processor?

In: a job. Out: named checks, each passed or with the reason why not; one that fails does not stop the next.
"""

import importlib.util
import itertools
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch

import ferdata
from ferdata.stream.device import decode, decode_torch
from ferdata_bench.gpu.data import CODECS, picture
from ferdata_bench.gpu.job import Job
from ferdata_bench.gpu.payloads import Shape, by_the_kernels, damaged, encoded, joined, pictures

__all__ = ["check_kernel", "check_loaders", "check_operations"]

Undo = Callable[[torch.Tensor, torch.Tensor, Shape, torch.Tensor], torch.Tensor]
_SHAPES: tuple[Shape, ...] = ((3, 224, 224), (3, 100, 100), (3, 37, 53), (1, 70, 40), (4, 9, 40), (2, 3, 1), (1, 1, 1))
_QUICK_SHAPES: tuple[Shape, ...] = ((3, 37, 53), (1, 1, 1))
_DAMAGED: dict[Shape, int] = {(3, 11, 37): 3000, (1, 5, 9): 1000, (4, 16, 16): 500, (3, 100, 100): 200}
_QUICK_DAMAGED: dict[Shape, int] = {(3, 7, 13): 60}
_BATCH = 15
"""The last one of an epoch is smaller."""


def check_operations(job: Job) -> None:
    """Check the tensor operations, and ``ferdata.decode``, which takes the kernel where it works."""
    checks = _Checks(job)
    _check_undo(job, checks, "tensor operations", decode_torch.undo)
    checks.run("ferdata.decode: pixels", lambda: _pixels(job, _decoded))


def check_kernel(job: Job) -> None:
    """Check Triton's kernel; on a processor in Triton's interpreter, which the environment has to ask for."""
    checks = _Checks(job)
    if importlib.util.find_spec("triton") is None:
        checks.leave_out("Triton kernel", "Triton is not installed")
        return
    from ferdata.stream.device import decode_triton

    checks.run("Triton kernel: is used", lambda: _is_used(job))
    _check_undo(job, checks, "Triton kernel", decode_triton.undo)


def check_loaders(job: Job) -> None:
    """Check that loaders give the batches of one that decodes on the processor, also after a resume."""
    checks = _Checks(job)
    size = job.sizes[1]
    for codec in CODECS:
        root = str(job.shards(size, codec))
        ways: dict[str, dict[str, Any]] = {"streamed": {"num_workers": 2}, "resident": {"resident": True}}
        if codec == "compact":
            ways["streamed, decoded there"] = {"num_workers": 2, "decode": "device"}
        for name, way in ways.items():
            checks.run(f"Loader, {codec} {name}: batches", partial(_batches, job, root, way))
            if name != "streamed":
                balanced = way | {"sampling": "balanced"}
                checks.run(f"Loader, {codec} {name}, classes balanced: batches", partial(_batches, job, root, balanced))
                checks.run(f"Loader, {codec} {name}: goes on from a state", partial(_resumed, job, root, way))


class _Checks:
    """The checks so far; told after each."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._done: list[dict[str, Any]] = []

    def run(self, name: str, function: Callable[[], str]) -> None:
        """Note a check, whose function returns what is wrong, or nothing."""
        try:
            reason = function()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        self._note(name, passed=not reason, reason=reason)

    def leave_out(self, name: str, reason: str) -> None:
        """Note a check that cannot be made here."""
        self._note(name, passed=None, reason=reason)

    def _note(self, name: str, *, passed: bool | None, reason: str) -> None:
        self._done.append({"name": name, "passed": passed, "reason": reason})
        self._job.tell(self._done)


def _check_undo(job: Job, checks: _Checks, name: str, undo: Undo) -> None:
    checks.run(f"{name}: pixels", lambda: _pixels(job, undo))
    checks.run(f"{name}: verdicts on damaged payloads", lambda: _verdicts(job, undo))
    checks.run(f"{name}: verdicts on wrong offsets", lambda: _wrong_offsets(job, undo))


def _pixels(job: Job, undo: Undo) -> str:
    for shape in _QUICK_SHAPES if job.quick else _SHAPES:
        images = pictures(shape)
        if shape[0] == 3:
            images = np.concatenate([images, picture(max(shape[1:]), 0)[None, :, : shape[1], : shape[2]]])
        payloads, offsets = joined([encoded(image) for image in images], b"xyz", b"\xff" * 99)
        out = torch.zeros(images.shape, dtype=torch.uint8, device=job.device)
        sound = undo(payloads.to(job.device), offsets.to(job.device), shape, out)
        if not sound.all():
            return f"{list(shape)}: sound payload {int(sound.int().argmin())} is refused"
        if wrong := _different(out.cpu().numpy(), images):
            return f"{list(shape)}: {wrong}"
    return ""


def _verdicts(job: Job, undo: Undo) -> str:
    for shape, count in (_QUICK_DAMAGED if job.quick else _DAMAGED).items():
        batch = list(damaged(shape, count, seed=5))
        payloads, offsets = joined(batch)
        out = torch.zeros((count, *shape), dtype=torch.uint8, device=job.device)
        sound = undo(payloads.to(job.device), offsets.to(job.device), shape, out).tolist()
        for number, (payload, accepted, pixels) in enumerate(zip(batch, sound, out.cpu().numpy(), strict=True)):
            expected = by_the_kernels(payload, shape)
            if accepted != (expected is not None):
                return f"{list(shape)}: damaged payload {number} is {'accepted' if accepted else 'refused'}"
            if expected is not None and not np.array_equal(pixels, expected):
                return f"{list(shape)}: damaged payload {number} has other pixels"
    return ""


def _wrong_offsets(job: Job, undo: Undo) -> str:
    payload = encoded(pictures((3, 5, 7))[5])
    payloads, size = joined([payload] * 3)[0].to(job.device), len(payload)
    for pair in ([-1, size], [size, 0], [0, len(payloads) + 1], [1 << 62, (1 << 62) + size], [-(1 << 63), 0]):
        out = torch.empty((1, 3, 5, 7), dtype=torch.uint8, device=job.device)
        if undo(payloads, torch.tensor(pair, device=job.device), (3, 5, 7), out).any():
            return f"offsets {pair} are accepted"
    return ""


def _is_used(job: Job) -> str:
    return "" if decode.kernel(torch.empty(0, device=job.device).device) is not None else "it fails its own trial"


def _decoded(payloads: torch.Tensor, offsets: torch.Tensor, shape: Shape, out: torch.Tensor) -> torch.Tensor:
    ferdata.decode(payloads, offsets, shape, out)
    return torch.ones(len(out), dtype=torch.bool)


def _batches(job: Job, root: str, options: dict[str, Any]) -> str:
    with ExitStack() as stack:
        order = {name: value for name, value in options.items() if name == "sampling"}
        here = stack.enter_context(_loader(root, num_workers=0, **order))
        there = stack.enter_context(_loader(root, device=job.device, **options))
        for epoch in range(2):
            if wrong := _unequal(job, here, there):
                return f"epoch {epoch}, {wrong}"
            if here.state_dict() != there.state_dict():
                return f"epoch {epoch}: the states differ"
    return ""


def _resumed(job: Job, root: str, options: dict[str, Any]) -> str:
    with _loader(root, num_workers=0) as here, _loader(root, device=job.device, **options) as there:
        rest = iter(here)
        for _ in itertools.islice(zip(rest, there, strict=False), 2):
            pass
        with _loader(root, device=job.device, **options) as resumed:
            resumed.load_state_dict(there.state_dict())
            return _unequal(job, rest, resumed)


def _unequal(job: Job, here: Any, there: Any) -> str:
    """Return the first difference of two loaders' batches; that of the second must be on the device."""
    for number, (one, two) in enumerate(itertools.zip_longest(here, there)):
        if one is None or two is None:
            return f"batch {number}: only one of the loaders has it"
        if two.images.device.type != job.device.type:
            return f"batch {number}: it is on {two.images.device}"
        for name in one._fields:
            if wrong := _different(getattr(two, name).cpu().numpy(), getattr(one, name).numpy()):
                return f"batch {number}, {name}: {wrong}"
    return ""


def _different(found: np.ndarray, expected: np.ndarray) -> str:
    if found.shape != expected.shape:
        return f"{list(found.shape)} found, expected {list(expected.shape)}"
    wrong = np.flatnonzero((found != expected).reshape(len(found), -1).any(1))
    return f"{len(wrong)} of {len(found)} differ, the first is {wrong[0]}" if len(wrong) else ""


def _loader(root: str, **options: Any) -> ferdata.Loader:
    fields = ("images", "labels", "indices")
    return ferdata.Loader(root, batch_size=_BATCH, drop_last=False, seed=3, fields=fields, **options)
