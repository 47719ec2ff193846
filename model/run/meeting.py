"""How the processes of torchrun meet, in every attempt anew, and what the first of them says before they compute.

In: the environment ``torchrun`` sets. Out: a store that only the processes of one attempt use. Costs three messages a
rank.
"""

import json
import os
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from ferdata.errors import TrainError

__all__ = ["first_says", "is_unique", "launch_name", "meet", "restarts", "restarts_left"]

_LOOK_SECONDS = 0.02


@dataclass(slots=True)
class _Meeting:
    """What this process knows of the others: their store, the launch's name in it, and how much the first has said."""

    store: Store | None = None
    launch: str | None = None
    said: int = 0


_meeting = _Meeting()


def meet() -> Store | None:
    """Return the store of this attempt's processes; None for a process alone, or whose program has joined them itself.

    What earlier attempts wrote into torchrun's store stays there, the addresses of the dead among it, and waiting for
    those never ends. How often it has begun again is no name for an attempt: machines count on their own, and not at
    all where one comes or goes. So each process draws a name; the first one answers whoever is there, with its own.

    Raises:
        TrainError: If the others do not come.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    is_alone = size == 1 and not _agent_keeps_store()
    if _meeting.store is not None or is_alone or (dist.is_available() and dist.is_initialized()):
        return _meeting.store
    rank, own = os.environ.get("RANK"), uuid.uuid4().hex
    try:
        store, rank, size = next(rendezvous("env://"))
        first = _answer_all(store, own, size) if rank == 0 else _ask_first(store, own, rank)
        if _agent_keeps_store():
            _meeting.launch = store.compare_set("ferdata/launch", "", own).decode()
    except RuntimeError as error:
        raise TrainError(
            f"rank {rank} of {size}: the other processes did not come ({str(error).splitlines()[0][:120]}), expected "
            "all of them; see what became of them, and start torchrun again, on several machines with "
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"
        ) from error
    _meeting.store = PrefixStore(f"ferdata/{first}", store)
    return _meeting.store


def _answer_all(store: Store, own: str, size: int) -> str:
    """Tell every process that is there the name of the first; return it once as many as there are have heard it."""
    places = [f"ferdata/here/{rank}" for rank in range(1, size)]
    told: set[str] = set()
    while store.add(f"ferdata/heard/{own}", 0) < size - 1:
        for name in {name.decode() for name in store.multi_get(places)} - told:
            store.set(f"ferdata/first/{name}", own)
            told.add(name)
        time.sleep(_LOOK_SECONDS)
    return own


def _ask_first(store: Store, own: str, rank: int) -> str:
    """Return the name of the first process, which only one that is alive can have told this one."""
    store.set(f"ferdata/here/{rank}", own)
    first: str = store.get(f"ferdata/first/{own}").decode()
    store.add(f"ferdata/heard/{first}", 1)
    return first


def _agent_keeps_store() -> bool:
    """Tell whether the store is that of the process which starts every attempt, and outlives them."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def first_says(make: Callable[[], Any]) -> Any:
    """Return on every rank what ``make`` gives on rank 0, as JSON keeps it: a shared disk may show each another state.

    Raises:
        TrainError: If the others do not come.
    """
    rank, store = int(os.environ.get("RANK", "0")), meet()
    if store is not None:
        key = f"said/{_meeting.said}"
        _meeting.said += 1
        if rank == 0:
            store.set(key, json.dumps(make()))
        return json.loads(store.get(key))
    if not (dist.is_available() and dist.is_initialized()):
        return make()
    box = [make() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(box)
    return box[0]


def launch_name() -> str | None:
    """Return what all attempts of one torchrun have in common; None without torchrun."""
    name = _meeting.launch or os.environ.get("TORCHELASTIC_RUN_ID")
    # torchrun calls launches that nobody named "none"; the process that starts every attempt is what they share
    return f"{socket.gethostname()}:{os.getppid()}" if name == "none" else name


def is_unique() -> bool:
    """Tell whether :func:`launch_name` is one that no other launch has, as those are that it keeps itself."""
    return _meeting.launch is not None


def restarts() -> int:
    """Return how often torchrun has started the processes of this machine again."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def restarts_left() -> int:
    """Return how often it still will if one of them is killed."""
    return max(0, int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) - restarts())
