"""Checkpoints of a worker's shards: copied between two polls, written aside, committed once they are whole.

Order: forecasts before the offset delivered, state written, manifest written, commit. A checkpoint that is
not committed does not count, so a crash anywhere between costs repetition and nothing else.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait

import torch

from pipeline.engine.observer import Observer
from pipeline.engine.shard import Shard
from pipeline.heap import give_back
from pipeline.holdings import Holding
from pipeline.pool import Pool
from pipeline.ports import Emitter, Partition, Position, Source, Store

FLUSH_S = 1.0
FROZEN_FLUSH_S = 1.5
"""Of the two seconds that a rebalance waits for a checkpoint."""
WRITERS = 2

log = logging.getLogger(__name__)


class Keeper:
    """Every shard is due once an interval; they are staggered, at most one is copied between two polls."""

    def __init__(
        self,
        find_store: Callable[[str], Store],
        emitter: Emitter,
        observer: Observer,
        *,
        interval_s: float,
        numerics: Mapping[str, str | int],
        keep: int,
        daily_days: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """find_store: the store of a topic."""
        self._find_store, self._emitter, self._observer = find_store, emitter, observer
        self._interval_s, self._numerics, self._clock = interval_s, numerics, clock
        self._keep, self._daily_days = keep, daily_days
        self._writers = Pool(WRITERS, "checkpoint")

    def stagger(self, partition: Partition) -> float:
        """Seconds that a partition's first checkpoint comes before a whole interval has passed."""
        return zlib.crc32(f"{partition.topic}/{partition.partition}".encode()) / 2**32 * self._interval_s

    def begin_one(self, holdings: Iterable[Holding]) -> bool:
        """Copies the shard that has waited longest, if one is due, and has it written aside."""
        now = self._clock()
        due = [
            each
            for each in holdings
            if each.is_running and each.writing is None and now - each.saved_at_s >= self._interval_s
            and not self._is_saved(each)
        ]  # fmt: skip
        if not due:
            return False
        holding = min(due, key=lambda each: each.saved_at_s)
        holding.writing = self.begin(holding)
        return True

    def begin(self, holding: Holding, flush_s: float | None = None) -> Future[Position]:
        """A copy of the shard as it is now, on its way to the store. Holds the caller up for the copy alone.

        flush_s: what was sent is delivered before the future is done, within so long; None: by the caller.
        """
        assert holding.loaded is not None
        started = self._clock()
        state = holding.shard.save()
        holding.saved_at_s = self._clock()
        holding.saved_bytes = sum(column.nbytes for column in state.values())
        self._observer.on_stage("save", holding.saved_at_s - started)
        facts = {
            "num_partitions": holding.loaded.facts.partitions,
            "signatures": holding.shard.bank.signatures(),
            "counts": count_for_manifest(holding.shard),
            "numerics": dict(self._numerics),
        }
        return self._writers.submit(
            self._write, holding.partition, holding.loaded.facts.topic_id, holding.next_offset, state, facts,
            flush_s,
        )  # fmt: skip

    def finish(self, source: Source, holdings: Iterable[Holding]) -> None:
        """Commits what is written. What can't be committed now is tried again at the next call."""
        written = {each.partition: each for each in holdings if each.writing and each.writing.done()}
        positions: dict[Partition, Position] = {}
        for partition, holding in written.items():
            assert holding.writing is not None
            error = holding.writing.exception()
            if error is None:
                positions[partition] = holding.writing.result()
                continue
            holding.writing = None
            self._observer.on_checkpoint_failed(*partition)
            log.error("%s/%s: the checkpoint can't be written, learning goes on: %s", *partition, error)
        if not positions:
            return
        try:
            self._emitter.flush(FLUSH_S)
        except TimeoutError as error:
            log.warning("checkpoints wait for forecasts to be delivered: %s", error)
            return
        done = source.commit(positions)
        for partition in done.done:
            self._note(written[partition], positions[partition])
        for partition, reason in done.refused.items():
            if reason in ("fenced", "not_owned"):
                written[partition].writing = None
                self._observer.on_checkpoint_failed(*partition)

    def freeze(self, holding: Holding) -> Future[Position] | None:
        """The last checkpoint of a shard that goes; None if all is committed already, or if it can't be saved
        amid a batch."""
        holding.is_frozen = True
        if holding.is_amid or self._is_saved(holding):
            return None
        return self.begin(holding, FROZEN_FLUSH_S)

    def save_all(self, source: Source, holdings: Iterable[Holding], timeout_s: float) -> None:
        """At the end: what does not fit into the time is learnt again by the next owner."""
        deadline = self._clock() + timeout_s
        going = [h for h in holdings if h.is_running and not h.is_amid and not self._is_saved(h)]
        futures = [self.begin(each) for each in going]
        wait(futures, timeout=max(0.0, deadline - self._clock()))
        positions = {}
        for holding, future in zip(going, futures, strict=True):
            if future.done() and future.exception() is None:
                positions[holding.partition] = future.result()
            else:
                why = future.exception() if future.done() else "no time left"
                log.warning("%s/%s: no last checkpoint (%s)", *holding.partition, why)
        if not positions:
            return
        try:
            self._emitter.flush(max(0.1, deadline - self._clock()))
        except TimeoutError as error:
            log.warning("nothing is committed: forecasts were not delivered in time: %s", error)
            return
        done = source.commit(positions)
        for holding in going:
            if holding.partition in done.done:
                self._note(holding, positions[holding.partition])

    def close(self) -> None:
        self._writers.close()

    def _is_saved(self, holding: Holding) -> bool:
        return holding.committed is not None and holding.committed.offset == holding.next_offset

    def _note(self, holding: Holding, position: Position) -> None:
        assert holding.loaded is not None
        holding.writing, holding.committed = None, position
        store, topic_id = self._find_store(holding.partition.topic), holding.loaded.facts.topic_id
        self._observer.on_checkpoint(*holding.partition, holding.saved_bytes)
        self._writers.submit(self._prune, store, topic_id, holding.partition, position)

    def _write(
        self,
        partition: Partition,
        topic_id: str,
        offset: int,
        state: Mapping[str, torch.Tensor],
        facts: Mapping[str, object],
        flush_s: float | None,
    ) -> Position:
        started = self._clock()
        store = self._find_store(partition.topic)
        metadata = store.write(topic_id, partition.partition, offset, state, facts)
        self._observer.on_stage("write", self._clock() - started)
        if flush_s is not None:
            self._emitter.flush(flush_s)
        return Position(offset=offset, metadata=metadata)

    def _prune(self, store: Store, topic_id: str, partition: Partition, position: Position) -> None:
        try:
            store.prune(topic_id, partition.partition, position, keep=self._keep, daily_days=self._daily_days)
        except OSError as error:
            log.warning("%s/%s: old checkpoints stay: %s", *partition, error)
        give_back()  # the copy that was written is let go by now


def count_for_manifest(shard: Shard) -> dict[str, int]:
    """What `gatecast checkpoints list` shows, then readings by fate."""
    counts = {name: int(count) for name, count in shard.counts.items()}
    return {"series": len(shard.list_series()), "readings_learned": counts["accepted"], **counts}
