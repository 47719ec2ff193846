"""Batches that a ``DataLoader``'s worker builds where its consumer sees them: memory used again, and not copied.

In: a slot of a worker's own memory. Out: in the worker a tensor over it, which is sent as a slot's number; in the
consumer's process a tensor over the same memory, whose slot is free again once nothing refers to it.
"""

import os
import uuid
import weakref
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import torch

from ferdata.errors import StateError
from ferdata.stream.memory.ring import Lease, SharedBytes

__all__ = ["WorkerSlots", "forget_ended"]

SLOTS = 5
"""Two are prefetched, one the consumer has, one it had before, and one is to spare; further batches are copied."""
_FLAG_BYTES = 4096
_FREE, _OWN, _SENT = 0, 1, 2
"""A slot that is sent is the consumer's to free; the worker's own is free when nothing refers to its memory."""


class WorkerSlots:
    """One worker's memory for batches.

    Args:
        slot_bytes: Bytes of the largest batch.
    """

    def __init__(self, slot_bytes: int) -> None:
        self.token = uuid.uuid4().hex
        self.process = os.getpid()
        self.slot_bytes = slot_bytes
        self.memory = SharedBytes(_FLAG_BYTES + SLOTS * slot_bytes)
        self._flags = self.memory.array()[:SLOTS]
        self._own: dict[int, weakref.ref[Lease]] = {}
        self._is_known = False

    def take(self, shape: tuple[int, ...]) -> torch.Tensor | None:
        """Return uint8 ``shape`` over a free slot, or None if there is none."""
        for slot in range(SLOTS):
            own = self._own.get(slot)
            if self._flags[slot] != _SENT and (own is None or own() is None):
                self._flags[slot] = _OWN
                lease = _lease(self.memory.array(), slot, self.slot_bytes, shape)
                self._own[slot] = weakref.ref(lease)
                tensor = torch.from_numpy(np.asarray(lease)).as_subclass(_SlotTensor)
                tensor.place = (self, slot)
                return tensor
        return None

    def is_at(self, slot: int, tensor: torch.Tensor) -> bool:
        """Tell whether a slot's tensor is as it was taken, but for its values: it can be changed in place."""
        address = int(self.memory.array().ctypes.data) + _FLAG_BYTES + slot * self.slot_bytes
        return tensor.dtype is torch.uint8 and tensor.is_contiguous() and tensor.data_ptr() == address

    def send(self, slot: int, shape: tuple[int, ...]) -> Any:
        """Return what rebuilds a slot's tensor elsewhere; with the first the memory itself is sent."""
        self._flags[slot] = _SENT
        memory = None if self._is_known else self.memory
        self._is_known = True
        return _receive, (self.token, self.process, self.slot_bytes, memory, slot, shape)


class _SlotTensor(torch.Tensor):
    """A tensor over a slot; whatever is computed from it has no ``place`` and is sent as other tensors are.

    Copied and saved it is a tensor like any other.
    """

    place: tuple[WorkerSlots, int] | None = None

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _plain, (self.as_subclass(torch.Tensor),)

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        copied: torch.Tensor = memo.setdefault(id(self), self.as_subclass(torch.Tensor).clone())
        return copied


def _sent(tensor: _SlotTensor) -> Any:
    """Return what rebuilds a tensor in the consumer's process."""
    place, tensor.place = tensor.place, None
    if place is None or not place[0].is_at(place[1], tensor):
        return _plain, (tensor.as_subclass(torch.Tensor),)
    return place[0].send(place[1], tuple(tensor.shape))


ForkingPickler.register(_SlotTensor, _sent)


class _Received:
    """A worker's memory in the consumer's process."""

    def __init__(self, memory: SharedBytes, process: int, slot_bytes: int) -> None:
        self._bytes, self.process, self._slot_bytes = memory.array(), process, slot_bytes
        self._lent: dict[int, weakref.ref[Lease]] = {}

    def lend(self, slot: int, shape: tuple[int, ...]) -> torch.Tensor:
        for other in [other for other, lease in self._lent.items() if lease() is None]:
            del self._lent[other]
            self._bytes[other] = _FREE
        lease = _lease(self._bytes, slot, self._slot_bytes, shape)
        self._lent[slot] = weakref.ref(lease)
        return torch.from_numpy(np.asarray(lease))


_received: dict[str, _Received] = {}
"""The memory of the workers that live, by token."""


def forget_ended() -> None:
    """Let go of the memory of workers that ended; batches that are held stay valid."""
    for token in [token for token, received in list(_received.items()) if not _is_alive(received.process)]:
        _received.pop(token, None)


def _receive(
    token: str, process: int, slot_bytes: int, memory: SharedBytes | None, slot: int, shape: tuple[int, ...]
) -> torch.Tensor:
    if memory is not None:
        forget_ended()
        _received[token] = _Received(memory, process, slot_bytes)
    if token not in _received:
        raise StateError(
            f"batches: a batch of process {process} came without its memory, expected it with the first; iterate the "
            "DataLoader in one process, from its first batch on"
        )
    return _received[token].lend(slot, shape)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, PermissionError):  # one that belongs to somebody else has taken the number
        return False
    return True


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _lease(memory: np.ndarray, slot: int, slot_bytes: int, shape: tuple[int, ...]) -> Lease:
    return Lease(memory, int(memory.ctypes.data) + _FLAG_BYTES + slot * slot_bytes, shape)
