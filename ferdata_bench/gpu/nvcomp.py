"""What nvCOMP makes of the same pixels, and how it undoes that: NVIDIA's own codecs, where its package is installed.

In: images on a CUDA device. Out: for each codec a function that undoes all of them at once. The streams are nvCOMP's
native ones, in pieces that are undone in parallel, which is the fastest that it has.
"""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import torch
from torch.utils.dlpack import from_dlpack

__all__ = ["nvcomp_ways"]

_ALGORITHMS = ("Zstd", "ANS")


def nvcomp_ways(pixels: torch.Tensor) -> dict[str, Callable[[], object]]:
    """Return a function for each codec, named with how many times smaller it makes uint8 ``[N, C, H, W]``.

    There is none where nvCOMP (``nvidia-nvcomp``) is not installed; one that does not work raises its error.
    """
    try:
        nvcomp: Any = importlib.import_module("nvidia.nvcomp")
    except ImportError:
        return {}
    ways: dict[str, Callable[[], object]] = {}
    for algorithm in _ALGORITHMS:
        name = f"nvCOMP {algorithm}"
        try:
            way, ratio = _way(nvcomp, algorithm, pixels)
            ways[f"{name}, {ratio:.2f} times smaller"] = way
        except Exception as error:
            ways[name] = partial(_fail, error)
    return ways


def _way(nvcomp: Any, algorithm: str, pixels: torch.Tensor) -> tuple[Callable[[], object], float]:
    stream = torch.cuda.current_stream(pixels.device).cuda_stream
    codec = nvcomp.Codec(algorithm=algorithm, device_id=pixels.device.index or 0, cuda_stream=stream, data_type="|u1")
    stored = codec.encode([nvcomp.as_array(image.flatten(), cuda_stream=stream) for image in pixels])
    for image, array in zip(pixels, codec.decode(stored), strict=True):
        if not torch.equal(from_dlpack(array).view(torch.uint8), image.flatten()):
            raise ValueError("what it undoes are other pixels")
    return partial(codec.decode, stored), pixels.numel() / sum(array.buffer_size for array in stored)


def _fail(error: Exception) -> NoReturn:
    raise error
