"""What to do when a run waits for its data. In: how long it waited, how it is fed. Out: a sentence or nothing. Pure."""

from dataclasses import dataclass

from ferdata.parallel import usable_cores
from ferdata.stream import Loader
from ferdata.training.run.clock import WaitClock

__all__ = ["WAIT_LIMIT", "Advice", "advise"]

WAIT_LIMIT = 0.05
"""Share of the time that may be spent waiting before anything is said."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do: ``kind`` is ``start`` where only an epoch's beginning waits, ``steady`` where all of it does."""

    kind: str
    text: str


def advise(clock: WaitClock, loader: Loader, *, ranks_share_batches: bool) -> Advice | None:
    """Return what would make an epoch wait less, or None where it waits less than :data:`WAIT_LIMIT`.

    Args:
        clock: Of the epoch.
        loader: What fed it.
        ranks_share_batches: Whether several ranks each read all of every batch.
    """
    if clock.wait_share <= WAIT_LIMIT:
        return None
    found = f"waiting for data: {clock.wait_share:.1%} of the time, expected at most {WAIT_LIMIT:.0%}"
    if clock.steady_wait_share <= WAIT_LIMIT:
        return Advice(
            "start",
            f"{found}; nearly all of it is the start of the epoch ({clock.first_wait_seconds:.2f} s), "
            "which longer epochs hide",
        )
    return Advice("steady", f"{found}; " + ", or ".join(_remedies(loader, ranks_share_batches)))


def _remedies(loader: Loader, ranks_share_batches: bool) -> list[str]:
    cores = usable_cores()
    remedies = []
    if loader.has_workers and loader.num_workers < cores:
        more = min(cores, max(1, 2 * loader.num_workers))
        remedies.append(f"use more workers (num_workers={more}; this machine has {cores} cores)")
    if loader.index.codec.name != "raw":
        remedies.append(
            f"recode the shards from {loader.index.codec.name} to raw (recode --codec raw) if they fit the memory"
        )
    if ranks_share_batches:
        remedies.append("let each rank read windows of its own (assign=windows)")
    if loader.batch_size < 128:
        remedies.append(f"use larger batches (batch_size={2 * loader.batch_size}) to spend less per step")
    return remedies or [
        "shard at a smaller size=, or train where the shards are on a faster disk: "
        "the loader is at this machine's limit"
    ]
