"""Writes the shards of a plan that are not there yet: workers fill them, threads here commit them.

In: a plan. Out: one :class:`PartRecord` a shard, in the order of the plan.
"""

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from ferdata.errors import IngestError
from ferdata.format.codecs import Codec
from ferdata.format.index import INDEX_NAME
from ferdata.ingest.conversion import Conversion
from ferdata.ingest.options import Clock
from ferdata.ingest.select.selection import ShardPlan
from ferdata.ingest.write.doubt import NOT_READ, check_source
from ferdata.ingest.write.parts import PartRecord, commit_part, is_whole, read_parts
from ferdata.ingest.write.task import ShardTask, TaskSettings, usable_now, write_shard
from ferdata.parallel import map_in_threads, run_tasks, run_tasks_on_ray, seen_by_nodes
from ferdata.store import Store

__all__ = ["UnlistedError", "WrittenParts", "named", "task_settings", "unlisted_error", "write_shards"]

_COMMIT_THREADS = 2
_MAX_WAITING_COMMITS = 4
_ROUNDS = 2


class UnlistedError(IngestError):
    """Shards of a data set without an index are not those of this run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenParts:
    """All parts, in the order of the plan, and those among them that an earlier run had finished."""

    parts: list[PartRecord]
    resumed: list[PartRecord]


def write_shards(
    conversion: Conversion, plan: Sequence[ShardPlan], *, unlisted: Collection[str], clock: Clock
) -> WrittenParts:
    """Write what is missing of a plan.

    An earlier run's shard is missing too where it is not, to the last bit, what was written, or where an image can be
    used now that was rejected then. Images that could not be read are tried once more at the end.

    Args:
        conversion: What is converted.
        plan: Every shard of the data set.
        unlisted: Shards there of which nothing is known but that ferdata wrote them; they are only replaced by
            the same bytes.
        clock: Is told of the phases ``resume`` and ``write``.

    Raises:
        SourceError: If the source is gone, or many images in a row fail alike.
        UnlistedError: If an unlisted shard is not what would be written.
    """
    store, items, num_workers = conversion.store, conversion.scan.items, conversion.options.resolved_workers()
    settings = task_settings(conversion)
    by_name = named(plan, conversion.options.codec)
    if foreign := sorted(set(unlisted) - set(by_name)):
        raise unlisted_error(store, foreign[0])

    def is_stale(part: PartRecord, reasons: Collection[str] | None = None) -> bool:
        numbers = [number for number, reason, _ in part.rejects if reasons is None or reason in reasons]
        if not numbers:
            return False
        again = items.take(by_name[part.shard.name].positions[numbers])
        return next(usable_now(settings, again), None) is not None

    parts = read_parts(store, {name: len(shard.positions) for name, shard in by_name.items()})
    whole = map_in_threads(
        partial(is_whole, store), [*parts.values()], num_workers=num_workers, progress=clock.phase("resume")
    )
    parts = {
        name: part for (name, part), sound in zip(parts.items(), whole, strict=True) if sound and not is_stale(part)
    }
    resumed = list(parts.values())
    found_done, total = sum(len(part.source_bytes) for part in resumed), sum(len(shard.positions) for shard in plan)
    tell = clock.phase("write")

    def tick(accepted: int, rejected: int, num_bytes: int) -> None:
        done = min(found_done + accepted + rejected, total)  # images that are tried again were counted before
        tell(done, total, accepted=accepted, rejected=rejected, bytes_in=num_bytes)

    tick(0, 0, 0)

    def tasks(missing: Sequence[str]) -> Iterator[ShardTask]:
        for name in missing:
            yield ShardTask(name=name, split=by_name[name].split, items=items.take(by_name[name].positions))

    def commit(part: PartRecord) -> None:
        if part.shard.name in unlisted and not (part.shard.samples and is_whole(store, part)):
            raise unlisted_error(store, part.shard.name)
        commit_part(store, part)

    # Waiting for the disk happens in these threads, beside the workers, so that these never do.
    with ThreadPoolExecutor(_COMMIT_THREADS) as committer:
        waiting: list[Future[None]] = []

        def keep(part: PartRecord) -> None:
            waiting.append(committer.submit(commit, part))
            while len(waiting) > _MAX_WAITING_COMMITS:
                waiting.pop(0).result()
            parts[part.shard.name] = part

        missing = [name for name in by_name if name not in parts]
        for _ in range(_ROUNDS):
            if missing:
                run = run_tasks_on_ray if conversion.options.engine == "ray" else run_tasks
                run(
                    partial(write_shard, settings),
                    tasks(missing),
                    num_workers=min(num_workers, len(missing)),
                    on_result=keep,
                    on_tick=tick,
                    where=str(store),
                    advice="finished shards are kept: run the same command again to go on",
                )
            while waiting:
                waiting.pop(0).result()
            missing = [name for name, part in parts.items() if is_stale(part, NOT_READ)]
    ordered = [parts[name] for name in by_name]
    check_source(settings.root, items, plan, ordered)
    return WrittenParts(parts=ordered, resumed=[part for part in resumed if parts[part.shard.name] is part])


def task_settings(conversion: Conversion) -> TaskSettings:
    """Return what every worker of a conversion must know."""
    named = seen_by_nodes if conversion.options.engine == "ray" else str
    return TaskSettings(
        root=named(conversion.scan.root),
        out=named(str(conversion.store)),
        transform=conversion.transform.options,
        codec=conversion.options.codec,
        num_classes=len(conversion.scan.classes),
        json_bytes=conversion.json_bytes,
        usual_size=conversion.scan.side,
    )


def named(plan: Sequence[ShardPlan], codec: Codec) -> dict[str, ShardPlan]:
    """Return the shards of a plan by their file names."""
    return {codec.shard_name(shard.split, shard.number): shard for shard in plan}


def unlisted_error(store: Store, name: str) -> UnlistedError:
    """Return the error about a shard of a data set without an index that these settings do not make."""
    return UnlistedError(
        f"{store}: {name} found, of a ferdata data set whose {INDEX_NAME} is lost, "
        "expected the very shard that this source and these settings give; "
        "replace that data set with resume=False, or choose another out="
    )
