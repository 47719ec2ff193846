"""Writes the shards of a plan that are not there yet: workers fill them, threads here commit them.

In: a plan. Out: one :class:`PartRecord` a shard, in the order of the plan.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from ferdata.format.layout import shard_name
from ferdata.ingest.parts import PartRecord, commit_part, read_parts
from ferdata.ingest.select import ShardPlan
from ferdata.ingest.tasks import ShardTask, TaskSettings, write_shard
from ferdata.sample import ItemTable
from ferdata.store import Store

__all__ = ["WrittenParts", "write_shards"]

_COMMIT_THREADS = 2
_MAX_WAITING_COMMITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenParts:
    """All parts, in the order of the plan, and those among them that an earlier run had finished."""

    parts: list[PartRecord]
    resumed: list[PartRecord]


def write_shards(
    store: Store,
    items: ItemTable,
    plan: Sequence[ShardPlan],
    settings: TaskSettings,
    *,
    run: Callable[..., None],
    num_workers: int,
    on_tick: Callable[[int, int, int, int], None],
) -> WrittenParts:
    """Write what is missing of a plan.

    Args:
        store: Where to.
        items: All items of the scan.
        plan: Every shard of the data set.
        settings: What the tasks share.
        run: What runs them: :func:`ferdata.ingest.pool.run_tasks`, or the like.
        num_workers: Processes.
        on_tick: Called with the images found done, and those accepted, rejected, and the bytes read since.
    """
    names = [shard_name(shard.split, shard.number, compressed=settings.codec.kind.compressed) for shard in plan]
    parts = read_parts(store, {name: len(shard.positions) for name, shard in zip(names, plan, strict=True)})
    resumed = list(parts.values())
    found_done = sum(len(part.source_bytes) for part in resumed)
    on_tick(found_done, 0, 0, 0)
    missing = [(name, shard) for name, shard in zip(names, plan, strict=True) if name not in parts]

    def tasks() -> Iterator[ShardTask]:
        for name, shard in missing:
            yield ShardTask(name=name, split=shard.split, items=items.take(shard.positions))

    # Waiting for the disk happens in these threads, beside the workers, so that these never do.
    with ThreadPoolExecutor(_COMMIT_THREADS) as committer:
        waiting: list[Future[None]] = []

        def keep(part: PartRecord) -> None:
            waiting.append(committer.submit(commit_part, store, part))
            while len(waiting) > _MAX_WAITING_COMMITS:
                waiting.pop(0).result()
            parts[part.name] = part

        if missing:
            run(
                partial(write_shard, settings),
                tasks(),
                num_workers=min(num_workers, len(missing)),
                on_result=keep,
                on_tick=partial(on_tick, found_done),
                where=str(store),
            )
        for commit in waiting:
            commit.result()
    return WrittenParts(parts=[parts[name] for name in names], resumed=resumed)
