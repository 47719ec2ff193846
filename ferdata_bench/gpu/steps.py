"""Does a network on the device wait for data? The same step fed in every way, and on one batch that stays there.

In: a job. Out: images/s, their share of what the batch that stays gives (0.99 is asked), and the share of the time that
the consumer waited, by the loader's metrics. That is the processor's time: on a GPU a wait may hide behind work that is
queued there, and a resident loader waits for the GPU itself. So the first share is what counts.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torchvision.models import resnet18

from ferdata.labels import AFFECTNET_8
from ferdata.parallel import usable_cores
from ferdata.plan.timing import now
from ferdata.training.nets.networks import build_network
from ferdata_bench.gpu.feeds import WORKERS, Feed, feeds
from ferdata_bench.gpu.job import Go, Job, Row, Way, time_in_turns

__all__ = ["STAYS", "time_steps"]

STAYS = "a batch that stays"
Step = Callable[[Any], None]
_LEAST_STEPS, _MOST_STEPS = 3, 300
_ROOMY_BYTES = 20e9
"""With so much memory a device takes 256 images at a time through ``mod4``, else 64."""


def time_steps(job: Job) -> None:
    """Time every network with every way of feeding it."""
    told: list[Row] = []
    size, batch_size = job.sizes[0], _batch_size(job)
    workers = 1 if job.quick else min(WORKERS[-1], usable_cores())
    with ExitStack() as stack:
        found = feeds(job, size, batch_size, (workers,), stack)
        batch = next(next(iter(found.values())))
        batch = batch._replace(images=batch.images.clone(), labels=batch.labels.clone())
        networks = {
            "mod4": build_network("mod4", size=(size, size), num_classes=len(AFFECTNET_8)),
            "resnet18": resnet18(num_classes=len(AFFECTNET_8)),
        }
        for number, (name, network) in enumerate(networks.items()):
            until = job.share(number, len(networks))
            step = _step(job, network)
            steps = 1 if job.quick else _steps_of_a_go(job, step, batch)
            ways = {STAYS: _staying(job, step, batch, steps)}
            ways |= {way: _fed(job, step, feed, steps) for way, feed in found.items()}
            about = {"network": name, "size": size, "batch size": batch_size}
            time_in_turns(job, told, about, ways, "images/s", until=until, ceilings=dict.fromkeys(found, STAYS))


def _batch_size(job: Job) -> int:
    if job.device.type != "cuda" or job.quick:
        return 4
    return 256 if torch.cuda.get_device_properties(job.device).total_memory > _ROOMY_BYTES else 64


def _step(job: Job, network: nn.Module) -> Step:
    """Return a training step in bfloat16, with images in channels-last order."""
    network = network.to(job.device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)

    def step(batch: Any) -> None:
        images = batch.images.to(memory_format=torch.channels_last).float().div_(255)
        with torch.autocast(job.device.type, torch.bfloat16):
            outputs = network(images)
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        optimizer.zero_grad()
        loss: torch.Tensor = nn.functional.cross_entropy(logits.float(), batch.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def _steps_of_a_go(job: Job, step: Step, batch: Any) -> int:
    """Return how many steps take twice the least time of a go; the first ones, which choose algorithms, are slow."""
    go = [_staying(job, step, batch, _LEAST_STEPS)() for _ in range(2)][-1]
    return min(max(int(2 * job.seconds / go.seconds * _LEAST_STEPS), _LEAST_STEPS), _MOST_STEPS)


def _staying(job: Job, step: Step, batch: Any, steps: int) -> Way:
    def way() -> Go:
        job.finish()
        start = now()
        for _ in range(steps):
            step(batch)
        job.finish()
        return Go(work=steps * len(batch.images), seconds=now() - start)

    return way


def _fed(job: Job, step: Step, feed: Feed, steps: int) -> Way:
    def way() -> Go:
        job.finish()
        start, waited, images = now(), feed.waited_seconds, 0
        for _ in range(steps):
            batch = next(feed)
            step(batch)
            images += len(batch.images)
        job.finish()
        return Go(work=images, seconds=now() - start, waited_seconds=feed.waited_seconds - waited)

    return way
