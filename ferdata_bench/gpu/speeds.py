"""How fast are copies, decoding and loaders, each beside the ceiling that was timed in turns with it?

In: a job. Out: rows, told after every round. A copy counts its bytes once, though a device reads and writes them.
"""

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import torch
from torchvision.io import decode_jpeg

import ferdata
from ferdata.plan.timing import now
from ferdata.stream.device import decode, decode_torch
from ferdata_bench.gpu.feeds import WORKERS, Feed, feeds
from ferdata_bench.gpu.job import Go, Job, Row, Way, repeated, time_in_turns
from ferdata_bench.gpu.nvcomp import nvcomp_ways
from ferdata_bench.gpu.payloads import Shape, encoded, joined

__all__ = ["time_copies", "time_decoding", "time_jpeg", "time_loaders"]

_GIGA = 1e9
_SCRATCH_BYTES = 256 << 20
_LEAD_SHARE = 0.3
"""Of a go that is not timed: a loader that was waiting has batches ready."""
_TO_THE_DEVICE, _ON_THE_DEVICE = "copy to the device", "copy on the device"


def time_copies(job: Job) -> None:
    """Time copies from page-locked memory to the device, and on it."""
    size = 1 << 16 if job.quick else 512 << 20
    time_in_turns(job, [], {}, _copies(job, (size,), size), "GB/s", until=job.deadline, scale=_GIGA)


def time_decoding(job: Job) -> None:
    """Time decoding alone, in bytes of pixels, beside a copy of these on the device, and nvCOMP where it is there."""
    told: list[Row] = []
    some = 4 if job.quick else 256
    cases = [(size, times) for size in job.sizes for times in (1, 8)]
    for number, (size, times) in enumerate(cases):
        until = job.share(number, len(cases))
        with ferdata.Loader(str(job.shards(size, "raw")), batch_size=some, num_workers=0) as loader:
            images = next(iter(loader)).images.clone()
        batch = [encoded(image) for image in images.numpy()] * times
        payloads, offsets = (each.to(job.device) for each in joined(batch))
        shape, pixels = (3, size, size), images.to(job.device).repeat(times, 1, 1, 1)
        out = torch.empty_like(pixels)
        functions: dict[str, Callable[[], object]] = {
            _ON_THE_DEVICE: partial(out.copy_, pixels),
            "tensor operations": partial(_undo, payloads, offsets, shape, out),
        }
        if pixels.is_cuda and decode.kernel(pixels.device) is not None:
            functions["Triton kernel"] = partial(ferdata.decode, payloads, offsets, shape, out)
        if pixels.is_cuda:
            functions |= nvcomp_ways(pixels)
        ways = {name: repeated(job, function, pixels.numel()) for name, function in functions.items()}
        about = {"size": size, "images at a time": len(pixels)}
        ceilings = dict.fromkeys(list(ways)[1:], _ON_THE_DEVICE)
        time_in_turns(job, told, about, ways, "GB/s", until=until, scale=_GIGA, ceilings=ceilings)


def time_loaders(job: Job) -> None:
    """Time what arrives of each way of feeding, beside copies of a batch's pixels over the bus and on the device."""
    told: list[Row] = []
    batch_size = 8 if job.quick else 256
    for number, size in enumerate(job.sizes):
        until = job.share(number, len(job.sizes))
        with ExitStack() as stack:
            found = feeds(job, size, batch_size, WORKERS[:1] if job.quick else WORKERS, stack)
            ways = _copies(job, (batch_size, 3, size, size), batch_size)
            ways |= {name: _arriving(job, feed) for name, feed in found.items()}
            ceilings = {name: _ON_THE_DEVICE if "resident" in name else _TO_THE_DEVICE for name in found}
            about = {"size": size, "batch size": batch_size}
            time_in_turns(job, told, about, ways, "images/s", until=until, ceilings=ceilings)


def time_jpeg(job: Job) -> None:
    """Time what torchvision decodes on the device (on CUDA by nvJPEG) of files that are in memory."""
    told: list[Row] = []
    for number, size in enumerate(job.sizes):
        until = job.share(number, len(job.sizes))
        paths = sorted(job.files(size).rglob("*.jpg"))[: 8 if job.quick else 256]
        files = [torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8) for path in paths]
        ways = {"torchvision.io.decode_jpeg": repeated(job, partial(decode_jpeg, files, device=job.device), len(files))}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torchcodec will have it
            time_in_turns(job, told, {"size": size, "images at a time": len(files)}, ways, "images/s", until=until)


def _copies(job: Job, shape: tuple[int, ...], work: int) -> dict[str, Way]:
    here = torch.zeros(shape, dtype=torch.uint8, pin_memory=job.device.type == "cuda")
    one, two = (torch.zeros(shape, dtype=torch.uint8, device=job.device) for _ in range(2))
    return {
        _TO_THE_DEVICE: repeated(job, partial(one.copy_, here, non_blocking=True), work),
        _ON_THE_DEVICE: repeated(job, partial(two.copy_, one), work),
    }


def _arriving(job: Job, feed: Feed) -> Way:
    def way() -> Go:
        _taken(feed, _LEAD_SHARE * job.seconds)
        job.finish()
        start, waited = now(), feed.waited_seconds
        images = _taken(feed, job.seconds)
        job.finish()
        return Go(work=images, seconds=now() - start, waited_seconds=feed.waited_seconds - waited)

    return way


def _taken(feed: Feed, seconds: float) -> int:
    """Take batches for some time, and return how many images they were."""
    images, stop = 0, now() + seconds
    while not images or now() < stop:
        images += len(next(feed).images)
    return images


def _undo(payloads: torch.Tensor, offsets: torch.Tensor, shape: Shape, out: torch.Tensor) -> None:
    """Decode as ``ferdata.decode`` does where there is no Triton."""
    size = max(1, _SCRATCH_BYTES // decode_torch.scratch_bytes(shape))
    for start in range(0, len(out), size):
        decode_torch.undo(payloads, offsets[start : start + size + 1], shape, out[start : start + size])
