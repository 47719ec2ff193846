"""Several processes that train as one: what they must tell each other, and nothing else.

In: the environment ``torchrun`` sets. Out: :class:`Ranks`, whose methods do nothing where there is only one process.
"""

import atexit
import gc
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ferdata.errors import FerdataError, OptionError, TrainError
from ferdata.training.run.meeting import meet, restarts_left

__all__ = ["FollowingError", "Ranks", "find_device", "is_first_process", "join_ranks"]

T = TypeVar("T")

_LOST_RANK = ("connection closed by peer", "connection reset by peer", "broken pipe", "nccl", "gloo", "processgroup")
"""What torch says, somewhere in a long text, when another process of the run is gone."""


class FollowingError(TrainError):
    """What all ranks fail with together, on every rank but the first, which raises the error that is to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """This process among those of a run.

    Attributes:
        rank: Which one it is.
        world_size: How many there are.
        device: Where it computes.
    """

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of every rank's ``values``, in place."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Return when every rank has come here."""
        self.sum(torch.zeros(1, device=self.device))

    def gather(self, value: Any) -> list[Any]:
        """Return every rank's value, by rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def gather_rows(self, rows: torch.Tensor) -> torch.Tensor:
        """Return every rank's rows (the same number on each) in rank order; only this rank's own carry gradients."""
        if self.world_size == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.world_size)]
        dist.all_gather(parts, rows.detach().contiguous())
        parts[self.rank] = rows
        return torch.cat(parts)

    def from_first(self, make: Callable[[], T]) -> T:
        """Return what ``make`` gives on rank 0; where it fails there, fail everywhere, so that nobody waits for nobody.

        Raises:
            FollowingError: On the other ranks, with the text of what went wrong on rank 0.
        """
        if self.world_size == 1:
            return make()
        failure: FerdataError | None = None
        box: list[Any] = [None, None]
        if self.is_first:
            try:
                box[0] = make()
            except FerdataError as error:
                failure, box[1] = error, str(error)
        dist.broadcast_object_list(box)
        if failure is not None:
            raise failure
        if box[1] is not None:
            raise FollowingError(box[1])
        made: T = box[0]
        return made

    def error(self, text: str) -> TrainError:
        """Return the error that all ranks raise together, of which the first one tells."""
        return TrainError(text) if self.is_first else FollowingError(text)

    @contextmanager
    def watched(self, advice: Callable[[], str]) -> Iterator[None]:
        """Give an error of one sentence where another rank is gone in the block.

        Args:
            advice: Says what to do then.

        Raises:
            TrainError: Instead of what torch makes of a broken connection.
        """
        try:
            yield
        except FerdataError:
            raise
        except RuntimeError as error:
            text = str(error)
            reason = re.sub(r"^\[\S*\] ", "", text.splitlines()[0] if text else "")[:120]
            if self.world_size == 1 or not any(part in text.lower() for part in _LOST_RANK):
                raise
            left = restarts_left()
            again = f"torchrun starts all of them again ({left} more times at most): the run goes on"
            then = again if left else f"then {advice()}"
            raise TrainError(
                f"rank {self.rank} of {self.world_size}: another rank of this run ended without a word ({reason}), "
                f"expected all of them until the end; see what killed it (memory, a scheduler), {then}"
            ) from error

    def wrap(self, network: nn.Module, *, some_unused: bool = False) -> nn.Module:
        """Return the network so that a backward pass averages gradients over ranks.

        Args:
            network: The network.
            some_unused: Whether parts of it get no gradients, which would be waited for.
        """
        if self.world_size == 1:
            return network
        devices = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=devices, find_unused_parameters=some_unused)

    def without_sync(self, network: nn.Module) -> AbstractContextManager[Any]:
        """Return a block in which backward passes keep gradients to this rank."""
        return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()


def is_first_process() -> bool:
    """Tell whether this is the only process, or that of rank 0 under ``torchrun``; also before it joins the others."""
    return int(os.environ.get("RANK", "0")) == 0


def join_ranks(device: str) -> Ranks:
    """Join the other processes of ``torchrun``, if there are any; they stay joined until this process ends.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<n>``; each rank of a machine takes the GPU of its local rank.

    Raises:
        OptionError: If the device is not there.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    joined = dist.is_available() and dist.is_initialized()
    local_rank = int(os.environ.get("LOCAL_RANK", "0")) if joined or world_size > 1 else 0
    chosen = find_device(device, local_rank)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if not joined and world_size > 1:
        on_gpu = chosen.type == "cuda"
        dist.init_process_group(
            "nccl" if on_gpu else "gloo",
            store=meet(),
            rank=int(os.environ["RANK"]),
            world_size=world_size,
            device_id=chosen if on_gpu else None,
        )
        # not after each run: the same processes cannot meet a second time under the names torchrun gave them
        atexit.register(_leave)
        joined = True
    if not joined:
        return Ranks(rank=0, world_size=1, device=chosen)
    return Ranks(rank=dist.get_rank(), world_size=dist.get_world_size(), device=chosen)


def _leave() -> None:
    gc.collect()  # a wrapped network in a cycle keeps the group's threads, and ending with them aborts the process
    if dist.is_initialized():
        dist.destroy_process_group()


def find_device(name: str, local_rank: int = 0) -> torch.device:
    """Return a device by its name: ``auto``, ``cpu``, ``cuda`` (that of the local rank) or ``cuda:<n>``.

    Raises:
        OptionError: If it is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"device: {name!r} found, expected auto, cpu, cuda or cuda:<n>") from error
    if device.type not in ("cpu", "cuda"):
        raise OptionError(f"device: {name!r} found, expected auto, cpu, cuda or cuda:<n>")
    if device.type == "cpu":
        return torch.device("cpu")
    index = local_rank if device.index is None else device.index
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        raise OptionError(
            f"device: {name} for local rank {local_rank} found, but this torch sees {torch.cuda.device_count()} CUDA "
            "devices; use device cpu, or as many processes as there are GPUs"
        )
    return torch.device("cuda", index)
