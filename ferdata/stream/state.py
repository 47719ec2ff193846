"""Where a loader is: a few numbers that cost nothing to take after any batch, and are enough to resume exactly there.

In: data set identity, order, epoch, samples consumed. Out: a plain dict for a checkpoint;
reading it back refuses every mismatch.
"""

from dataclasses import asdict, dataclass
from typing import Any

from ferdata.errors import StateError
from ferdata.stream.order.sequence import OrderOptions, Phase

__all__ = ["EpochState", "Identity", "Position"]

STATE_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a state belongs to.

    Attributes:
        fingerprint: Identity of the data set, the same for every codec of the same samples, and of the subset if there
            is one.
        split: The split.
        order: Options of the order: seed, shuffle, batch size ...
    """

    fingerprint: str
    split: str
    order: OrderOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where in the training a rank is.

    Attributes:
        epoch: Counted from 0.
        phases: What was consumed of this epoch on other numbers of ranks, oldest first.
        world_size: Number of ranks now.
        consumed: Samples each rank has consumed since the last phase began.
    """

    epoch: int
    world_size: int
    phases: tuple[Phase, ...] = ()
    consumed: int = 0

    def to_state(self, identity: Identity) -> dict[str, Any]:
        """Return the position as a dict of plain values."""
        return {
            "version": STATE_VERSION,
            "fingerprint": identity.fingerprint,
            "split": identity.split,
            "order": asdict(identity.order),
            "epoch": int(self.epoch),
            "world_size": self.world_size,
            "phases": [[phase.world_size, phase.consumed] for phase in self.phases],
            "consumed": self.consumed,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], identity: Identity, world_size: int) -> "Position":
        """Return the position that a state describes, for this many ranks.

        Raises:
            StateError: If the state is of another data set, split, seed or order, or is not a state.
        """
        version = state.get("version") if isinstance(state, dict) else None
        if version != STATE_VERSION:
            raise StateError(
                f"loader state: version {version} found, expected {STATE_VERSION}; take it from state_dict() of this "
                "ferdata"
            )
        for name, kind in _KINDS.items():
            if not isinstance(state.get(name), kind):
                raise _malformed(name, state.get(name), f"a value of type {kind.__name__}")
        expected = {"fingerprint": identity.fingerprint, "split": identity.split}
        for name, value in expected.items():
            if state[name] != value:
                raise StateError(
                    f"loader state: {name} {state[name]} found, expected {value}; it belongs to another data set, "
                    "split or subset"
                )
        order = asdict(identity.order)
        saved = {name: tuple(value) if isinstance(value, list) else value for name, value in state["order"].items()}
        differing = sorted(name for name in order if saved.get(name) != order[name])
        if differing:
            raise StateError(
                "loader state: "
                + ", ".join(f"{name} {saved.get(name)} found, expected {order[name]}" for name in differing)
                + "; make the loader with the options of the run that it resumes"
            )
        phases = tuple(_phase(phase, "phases", identity.order.batch_size) for phase in state["phases"])
        current = _phase([state["world_size"], state["consumed"]], "world_size, consumed", identity.order.batch_size)
        if state["epoch"] < 0:
            raise _malformed("epoch", state["epoch"], "0 or more")
        if current.world_size != world_size and current.consumed:
            phases, current = (*phases, current), Phase(world_size, 0)
        return cls(epoch=state["epoch"], world_size=world_size, phases=phases, consumed=current.consumed)


@dataclass(slots=True)
class EpochState:
    """One iteration of a loader; another object is another iteration.

    Attributes:
        start: Where it begins.
        position: Where it stands: after the last batch that was handed out.
        has_begun: Whether its first batch was asked for.
    """

    start: Position
    position: Position
    has_begun: bool = False

    @classmethod
    def at(cls, start: Position) -> "EpochState":
        """Return an iteration that is to begin somewhere."""
        return cls(start, start)


_KINDS = {
    "fingerprint": str,
    "split": str,
    "order": dict,
    "epoch": int,
    "world_size": int,
    "phases": list,
    "consumed": int,
}


def _phase(value: Any, name: str, batch_size: int) -> Phase:
    """Return a phase from ``[world_size, consumed]``; only whole batches are ever consumed."""
    match value:
        case [int(world_size), int(consumed)] if world_size >= 1 and consumed >= 0 and consumed % batch_size == 0:
            return Phase(world_size, consumed)
    raise _malformed(name, value, f"ranks and samples in whole batches of {batch_size}")


def _malformed(name: str, found: Any, expected: str) -> StateError:
    return StateError(
        f"loader state: {name} {found!r} found, expected {expected}; take it from state_dict() of this ferdata"
    )
