"""Does a network on the device wait for data? The same step fed in every way, and on one batch that stays there.

In: a job. Out: images/s, their ratio to the batch that stays, and the share of the time that the consumer waited by
the loader's metrics. That share is the processor's: on a GPU a wait may hide behind work that is queued there, and
a resident loader waits for the GPU itself, so the ratio is what counts.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torchvision.models import resnet18

from ferdata.labels import AFFECTNET_8
from ferdata.plan.timing import now
from ferdata.training.nets.networks import build_network
from ferdata_bench.gpu.job import Job, Way, in_turns
from ferdata_bench.gpu.speeds import WORKERS, Feed, feeds

__all__ = ["time_steps"]

Step = Callable[[Any], None]
_RESIDENT_BATCH = "a batch that stays"
_STEP_ROOM = (3, 300)


def time_steps(job: Job) -> None:
    """Time every network with every way of feeding it."""
    told: dict[str, Any] = {}
    size, batch_size = job.sizes[0], 4 if job.quick else 256
    with ExitStack() as stack:
        found = feeds(job, size, batch_size, (1 if job.quick else WORKERS[-1],), stack)
        for name, network in (
            ("mod4", build_network("mod4", size=(size, size), num_classes=len(AFFECTNET_8))),
            ("resnet18", resnet18(num_classes=len(AFFECTNET_8))),
        ):
            until = now() + (job.deadline - now()) / (2 - len(told))
            step = _step(job, network)
            batch = next(next(iter(found.values())))
            steps = _steps_of_a_go(job, step, batch)
            goes = {way: _Go(job, step, feed, steps) for way, feed in found.items()}
            ways: dict[str, Way] = {_RESIDENT_BATCH: _Go(job, step, _Same(batch), steps), **goes}
            for rows in in_turns(job, ways, "images/s", until=until):
                for way, row in rows.items():
                    if way in goes and "images/s" in row:
                        row["ratio to the batch that stays"] = round(
                            row["images/s"] / rows[_RESIDENT_BATCH]["images/s"], 4
                        )
                        row["data wait share"] = round(goes[way].wait_share, 4)
                job.tell(told | {name: rows})
            told[name] = rows


class _Same:
    """One batch, again and again."""

    waited_seconds = 0.0

    def __init__(self, batch: Any) -> None:
        self._batch = batch._replace(images=batch.images.clone(), labels=batch.labels.clone())

    def __next__(self) -> Any:
        return self._batch


class _Go:
    """One go of a feed: so many steps."""

    def __init__(self, job: Job, step: Step, feed: Feed | _Same, steps: int) -> None:
        self._job, self._step, self._feed, self._steps = job, step, feed, steps
        self._waited = self._seconds = 0.0

    @property
    def wait_share(self) -> float:
        """Share of the time of all goes."""
        return self._waited / self._seconds

    def __call__(self) -> tuple[float, float]:
        images, waited = 0, self._feed.waited_seconds
        self._job.finish()
        start = now()
        for _ in range(self._steps):
            batch = next(self._feed)
            self._step(batch)
            images += len(batch.images)
        self._job.finish()
        seconds = now() - start
        self._waited += self._feed.waited_seconds - waited
        self._seconds += seconds
        return images, seconds


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
    """Return how many steps fill about two goes of other measurements; the first ones choose algorithms."""
    for _ in range(2):
        job.finish()
        start = now()
        for _ in range(_STEP_ROOM[0]):
            step(batch)
        job.finish()
        each = (now() - start) / _STEP_ROOM[0]
    return min(max(int(2 * job.seconds / each), _STEP_ROOM[0]), _STEP_ROOM[1])
