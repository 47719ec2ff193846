"""How fast are copies, decoding and loaders, each beside the ceiling that was timed in turns with it?

In: a job. Out: medians, told after every round. A copy counts its bytes once, though the device reads and writes them.
"""

import warnings
from collections.abc import Generator
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torchvision.io import decode_jpeg

import ferdata
from ferdata.plan.timing import now
from ferdata.stream.device import decode, decode_torch
from ferdata_bench.gpu.data import CODECS
from ferdata_bench.gpu.job import Job, Way, in_turns, repeated
from ferdata_bench.gpu.payloads import Shape, encoded, joined

__all__ = ["WORKERS", "Feed", "time_copies", "time_decoding", "time_jpeg", "time_loaders"]

WORKERS = (1, 2, 8)
_GIGA = 1e9
_SCRATCH_BYTES = 256 << 20
_LEAD_SHARE = 0.3
"""Of a go that is not timed: a loader that was waiting has batches ready."""


class Feed:
    """A loader's batches without an end, and how long its consumer has waited for them."""

    def __init__(self, job: Job, size: int, codec: str, batch_size: int, **options: Any) -> None:
        root = str(job.shards(size, codec))
        self.loader = ferdata.Loader(root, batch_size=batch_size, device=job.device, **options)
        self._batches = self._endless()
        self._before = 0.0

    def __next__(self) -> Any:
        return next(self._batches)

    def close(self) -> None:
        """Close the loader."""
        self._batches.close()
        self.loader.close()

    @property
    def waited_seconds(self) -> float:
        """What the loader's metrics say of all epochs so far."""
        return self._before + self.loader.metrics().consumer_wait_seconds

    def _endless(self) -> Generator[Any, None, None]:
        while True:
            yield from self.loader
            self._before = self.waited_seconds


def feeds(job: Job, size: int, batch_size: int, workers: tuple[int, ...], stack: ExitStack) -> dict[str, Feed]:
    """Return every way of feeding a device, by its name; ``stack`` closes them."""
    streamed = {
        f"{codec} streamed, workers: {number}": (codec, {"num_workers": number})
        for codec in CODECS
        for number in workers
    }
    resident = {f"{codec} resident": (codec, {"resident": True}) for codec in CODECS}
    found = {}
    for name, (codec, options) in (streamed | resident).items():
        found[name] = Feed(job, size, codec, batch_size, **options)
        stack.callback(found[name].close)
    return found


def time_copies(job: Job) -> None:
    """Time copies to the device and on it."""
    size = 1 << 16 if job.quick else 512 << 20
    here = torch.zeros(size, dtype=torch.uint8, pin_memory=job.device.type == "cuda")
    one, two = (torch.zeros(size, dtype=torch.uint8, device=job.device) for _ in range(2))
    ways = {
        "page-locked memory to the device": repeated(job, lambda: one.copy_(here, non_blocking=True), size),
        "device to device": repeated(job, lambda: two.copy_(one), size),
    }
    for rows in in_turns(job, ways, "GB/s", scale=_GIGA):
        job.tell(rows)


def time_decoding(job: Job) -> None:
    """Time decoding alone, in bytes of pixels, beside a copy of these on the device."""
    told: dict[str, Any] = {}
    for size in job.sizes:
        with ferdata.Loader(str(job.shards(size, "raw")), batch_size=4 if job.quick else 256, num_workers=0) as loader:
            images = next(iter(loader)).images.clone()
        some = [encoded(image) for image in images.numpy()]
        for times in (1, 8):
            payloads, offsets = (each.to(job.device) for each in joined(some * times))
            pixels = images.to(job.device).repeat(times, 1, 1, 1)
            shape, out = (3, size, size), torch.empty_like(pixels)
            ways: dict[str, Way] = {
                "copy on the device": repeated(job, partial(out.copy_, pixels), pixels.numel()),
                "tensor operations": repeated(
                    job, partial(_by_operations, payloads, offsets, shape, out), pixels.numel()
                ),
            }
            if pixels.is_cuda and decode.kernel(pixels.device) is not None:
                ways["Triton kernel"] = repeated(
                    job, partial(ferdata.decode, payloads, offsets, shape, out), pixels.numel()
                )
            for rows in in_turns(job, ways, "GB/s", scale=_GIGA):
                job.tell(told | {f"{size} px, {len(pixels)} images at a time": rows})
            told[f"{size} px, {len(pixels)} images at a time"] = rows


def time_loaders(job: Job) -> None:
    """Time what arrives of each way of feeding, beside a copy of a batch's pixels over the bus."""
    told: dict[str, Any] = {}
    batch_size = 8 if job.quick else 256
    for size in job.sizes:
        half = (job.deadline - now()) / (len(job.sizes) - len(told))
        with ExitStack() as stack:
            one = torch.zeros((batch_size, 3, size, size), dtype=torch.uint8, pin_memory=job.device.type == "cuda")
            there = one.to(job.device)
            copy = partial(there.copy_, one, non_blocking=True)
            ways = {"copy of a batch over the bus": repeated(job, copy, batch_size)}
            ways |= {
                name: _arriving(job, feed) for name, feed in feeds(job, size, batch_size, _workers(job), stack).items()
            }
            for rows in in_turns(job, ways, "images/s", until=now() + half):
                job.tell(told | {f"{size} px": rows})
            told[f"{size} px"] = rows


def time_jpeg(job: Job) -> None:
    """Time what torchvision decodes on the device (nvJPEG, with CUDA) of files that are in memory."""
    told: dict[str, Any] = {}
    for size in job.sizes:
        paths = sorted(job.files(size).rglob("*.jpg"))[: 8 if job.quick else 256]
        files = [torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8) for path in paths]
        way = repeated(job, partial(decode_jpeg, files, device=job.device), len(files))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torchcodec will have it
            for rows in in_turns(job, {"torchvision.io.decode_jpeg": way}, "images/s"):
                job.tell(told | {f"{size} px": rows})
        told[f"{size} px"] = rows


def _workers(job: Job) -> tuple[int, ...]:
    return WORKERS[:1] if job.quick else WORKERS


def _arriving(job: Job, feed: Feed) -> Way:
    def way() -> tuple[float, float]:
        _taken(feed, _LEAD_SHARE * job.seconds)
        job.finish()
        start = now()
        images = _taken(feed, job.seconds)
        job.finish()
        return images, now() - start

    return way


def _taken(feed: Feed, seconds: float) -> int:
    """Take batches for some time, and return how many images they were."""
    images, stop = 0, now() + seconds
    while not images or now() < stop:
        images += len(next(feed).images)
    return images


def _by_operations(payloads: torch.Tensor, offsets: torch.Tensor, shape: Shape, out: torch.Tensor) -> None:
    """Decode as ``ferdata.decode`` does where there is no Triton."""
    size = max(1, _SCRATCH_BYTES // decode_torch.scratch_bytes(shape))
    for start in range(0, len(out), size):
        decode_torch.undo(payloads, offsets[start : start + size + 1], shape, out[start : start + size])
