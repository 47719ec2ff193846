"""Payloads of ``compact`` to pixels on whatever device they are on, bit for bit what the kernels give on a processor.

In: one buffer of payloads and where each begins. Out: pixels on the same device; a payload that is damaged is an error.
"""

import functools
import importlib.util
import logging
import math
from types import ModuleType

import torch

from ferdata.errors import OptionError, ShardCorruptError
from ferdata.stream.device import decode_torch

__all__ = ["decode", "kernel", "undo"]

_SCRATCH_BYTES = {"cpu": 16 << 20}
_SCRATCH_BYTES_ELSEWHERE = 256 << 20
"""On a processor what stays in its caches; elsewhere what keeps a device busy."""
_MAX_VALUES = 1 << 27
"""Bits of a payload are counted in 32 bits."""
_EXAMPLE = "010000000100000001000000 06 01000000 802c63004138ff88001003000200000000000000 01 01 00 01"
"""That of FORMAT.md."""


def decode(
    payloads: torch.Tensor, offsets: torch.Tensor, shape: tuple[int, int, int], out: torch.Tensor | None = None
) -> torch.Tensor:
    """Decode a batch of ``compact`` payloads on the device they are on: CPU, CUDA, MPS or any other.

    The pixels are those that every other decoder of the format gives, bit for bit. The batch is cut into micro-batches
    whose scratch memory is at most 16 MiB on a CPU and 256 MiB elsewhere, but at least what one image takes (16 times
    its pixels); each is a fixed number of tensor operations. On CUDA, if Triton is there, one kernel does it all and
    needs no scratch memory. The device is waited for once, at the end.

    Args:
        payloads: uint8 ``[P]``, the payloads one after another; FORMAT.md, section 9.3, says what is in them.
        offsets: int64 ``[N + 1]`` on the same device: image i is ``payloads[offsets[i]:offsets[i + 1]]``.
        shape: ``(C, H, W)`` of every image, less than 128 MiB of pixels.
        out: uint8 ``[N, C, H, W]`` on the same device, to be filled; None allocates it.

    Returns:
        ``out``: uint8 ``[N, C, H, W]``.

    Raises:
        ShardCorruptError: If payloads or offsets are damaged; it names the first such image of the batch, and ``out``
            then holds anything. Nothing outside ``payloads`` is ever read.
        OptionError: If an argument is of another type, shape or device.

    Example:
        >>> sections = "010000000100000001000000 06 01000000 802c63004138ff88001003000200000000000000 01 01 00 01"
        >>> payload = torch.tensor(list(bytes.fromhex(sections)), dtype=torch.uint8)
        >>> ferdata.decode(payload, torch.tensor([0, 41]), (3, 2, 3))[0, 0]
        tensor([[100, 101, 103],
                [102, 104, 105]], dtype=torch.uint8)
    """
    out = _checked_out(payloads, offsets, shape, out)
    _check_sound(undo(payloads, offsets, shape, out), payloads, offsets, shape)
    return out


def undo(payloads: torch.Tensor, offsets: torch.Tensor, shape: tuple[int, int, int], out: torch.Tensor) -> torch.Tensor:
    """Decode as :func:`decode` does, and wait for nothing: return which payloads are sound, bool ``[N]``."""
    budget = _SCRATCH_BYTES.get(payloads.device.type, _SCRATCH_BYTES_ELSEWHERE)
    size = max(1, budget // decode_torch.scratch_bytes(shape))
    undo_some = decode_torch.undo
    if payloads.is_cuda and (fused := kernel(payloads.device)) is not None and fused.fits(shape):
        undo_some = fused.undo
        size = max(1, len(out)) if out.is_contiguous() else size
    sound = [
        undo_some(payloads, offsets[start : start + size + 1], shape, out[start : start + size])
        for start in range(0, len(out), size)
    ]
    return torch.cat(sound) if sound else torch.ones(0, dtype=torch.bool, device=out.device)


@functools.cache
def kernel(device: torch.device) -> ModuleType | None:
    """Return the module of the Triton kernel, or None where there is no Triton or it does not work.

    It is tried on a payload first: Triton also needs a C compiler, a recent driver and a folder to write to.
    """
    if importlib.util.find_spec("triton") is None:
        return None
    shape = (3, 2, 3)
    payload = torch.tensor(list(bytes.fromhex(_EXAMPLE)), dtype=torch.uint8, device=device)
    offsets = torch.tensor([0, len(payload)], device=device)
    outs = [torch.zeros((1, *shape), dtype=torch.uint8, device=device) for _ in range(2)]
    try:
        from ferdata.stream.device import decode_triton

        sound = [
            each.undo(payload, offsets, shape, out)
            for each, out in zip((decode_torch, decode_triton), outs, strict=True)
        ]
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    else:
        if all(map(bool, sound)) and torch.equal(*outs):
            return decode_triton
        reason = "its pixels are others"
    logging.getLogger("ferdata").warning(
        "decode: Triton's kernel does not work on %s (%s), so images are decoded in tensor operations",
        device,
        reason,
    )
    return None


def _checked_out(
    payloads: torch.Tensor, offsets: torch.Tensor, shape: tuple[int, int, int], out: torch.Tensor | None
) -> torch.Tensor:
    """Return the tensor to fill.

    Raises:
        OptionError: If the arguments do not fit each other.
    """
    if payloads.dtype != torch.uint8 or payloads.ndim != 1:
        raise OptionError(f"decode: payloads are {_described(payloads)}, expected uint8 [P]")
    if offsets.dtype != torch.int64 or offsets.ndim != 1 or not len(offsets) or offsets.device != payloads.device:
        raise OptionError(f"decode: offsets are {_described(offsets)}, expected int64 [N + 1] on {payloads.device}")
    if len(shape) != 3 or min(shape) < 1 or math.prod(shape) >= _MAX_VALUES:
        raise OptionError(
            f"decode: shape {list(shape)} found, expected [C, H, W] with positive sizes and less than 128 MiB of pixels"
        )
    whole = (len(offsets) - 1, *shape)
    if out is None:
        return torch.empty(whole, dtype=torch.uint8, device=payloads.device)
    if out.dtype != torch.uint8 or out.shape != whole or out.device != payloads.device:
        raise OptionError(f"decode: out is {_described(out)}, expected uint8 {list(whole)} on {payloads.device}")
    return out


def _check_sound(
    sound: torch.Tensor, payloads: torch.Tensor, offsets: torch.Tensor, shape: tuple[int, int, int]
) -> None:
    """Raise ShardCorruptError for the first image that is not sound; this waits for the device."""
    if sound.all():
        return
    first = int(sound.int().argmin())
    start, stop = offsets[first : first + 2].tolist()
    where = f"decode: image {first} of {len(sound)}"
    if not 0 <= start <= stop <= len(payloads):
        raise ShardCorruptError(
            f"{where}: offsets {start:,} and {stop:,} found, expected them to ascend within {len(payloads):,} bytes"
        )
    raise ShardCorruptError(
        f"{where}: {stop - start:,} bytes contradict themselves, expected a payload of {list(shape)} pixels"
    )


def _described(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)} on {tensor.device}"
