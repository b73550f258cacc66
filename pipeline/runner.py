"""The loop of a worker: moves messages through shards, and what they say to the emitter. It decides nothing.

    assigned ─► load aside ─► start ─► poll ─► gather ─► decode ─► step ─► emit ─► checkpoint aside ─► commit

One thread does all of it, but for loading and for writing checkpoints.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import numpy as np

from pipeline.batches import join_by_message
from pipeline.engine.observer import Observer
from pipeline.engine.settings import Settings
from pipeline.holdings import Holding, Refused
from pipeline.issued import Selection
from pipeline.keeper import Keeper
from pipeline.live.view import LiveView
from pipeline.loader import Loader
from pipeline.outbox import Outbox
from pipeline.ports import Emitter, Partition, Position, Source
from pipeline.readiness import Readiness
from pipeline.records import Alert, Messages, Readings, Rejected
from pipeline.showcase import Showcase
from pipeline.teller import Teller
from pipeline.waiting import AT_ONCE, Pace, Waiting
from pipeline.wave_teller import WaveTeller

POLL_S = 0.05
GATHER_S = 0.1
"""Readings wait for others of their tick for so long."""
TURN_S = 0.25
"""Readings are worked off for so long between two polls: the group expels who does not come back to poll."""
FEWEST, MOST = 16, 4096
"""Messages between two looks at the clock: as many as a turn has time for, by what the last ones took. With
many series they share waves, with few each reading is one."""
POLL_AGAIN_S = 1.0
"""Amid a batch; well below any session."""
FINISH_S = POLL_AGAIN_S + 0.5
"""A worker that is told to stop ends a batch if it can by then, reckoned from its last poll."""
HOUSEKEEPING_S = 1.0
STOP_S = 5.0
"""For the last checkpoints; with the commit and leaving the group it stays below ten seconds."""
CLOSE_S = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerParts:
    """What a runner is made of."""

    loader: Loader
    keeper: Keeper
    emitter: Emitter
    observer: Observer
    readiness: Readiness
    selection: Selection
    showcase: Showcase
    view: LiveView | None = None


class Runner:
    """A worker without a source: `run` is given one, which asks back as a `RebalanceHandler`."""

    def __init__(
        self,
        parts: RunnerParts,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        gather_s: float = GATHER_S,
    ) -> None:
        self._loader, self._keeper, self._emitter = parts.loader, parts.keeper, parts.emitter
        self._observer, self._readiness = parts.observer, parts.readiness
        self._showcase = parts.showcase
        self._view = parts.view
        self._now, self._clock = now, clock
        self._outbox = Outbox(parts.emitter, parts.selection)
        self._waves = WaveTeller(parts.observer, parts.showcase, parts.view)
        self._teller = Teller(parts.observer, parts.showcase, clock)
        self._holdings: dict[Partition, Holding] = {}
        self._kept_house_s = self._polled_s = float("-inf")
        self._settings: Settings | None = None
        self._is_resting = False
        self._waiting = Waiting(self._find_pace, gather_s, clock)
        self._slice = FEWEST

    @property
    def holdings(self) -> Mapping[Partition, Holding]:
        return self._holdings

    def declare(self, settings: Settings) -> None:
        """What is declared of series has changed: shards take it over right before their next checkpoint."""
        self._settings = settings
        self._loader.settings = settings

    def run(self, source: Source, is_over: Callable[[], bool]) -> None:
        """Until `is_over`, then the last checkpoints. Raises what can't be mended by trying again."""
        try:
            while not is_over():
                self.turn(source, is_over)
        except BaseException:
            self._loader.close()
            source.close(CLOSE_S)
            raise
        self._loader.close()
        self._keeper.save_all(source, self._holdings.values(), STOP_S)
        source.close(CLOSE_S)
        self._keeper.close()

    def turn(self, source: Source, is_over: Callable[[], bool] = lambda: False) -> None:
        """One turn of the loop."""
        self._take_assigned(source)
        self._start_loaded(source)
        self._rest_if_full(source)
        self._poll(source, min(self._waiting.due_in_s, POLL_S) if self._emitter.has_room else POLL_S)
        self._work_off(source, is_over)
        self._readiness.beat()
        if self._clock() - self._kept_house_s >= HOUSEKEEPING_S:
            self._keep_house(source)
            self._kept_house_s = self._clock()
        if self._settings is None:
            self._keeper.begin_one(self._holdings.values())
        else:
            self._declare_all(self._settings)
        self._keeper.finish(source, self._holdings.values())
        self._show()

    def _show(self) -> None:
        if self._view is not None:
            self._view.look(self._holdings)

    # -- partitions come and go --------------------------------------------------------------------------

    def _take_assigned(self, source: Source) -> None:
        for partition in source.take_assigned():
            self._holdings[partition] = holding = Holding(partition=partition)
            self._readiness.hinder_partition(*partition, "its shard is loading")
            holding.loading = self._loader.load(
                source, partition, partial(self._is_held, holding), partial(setattr, holding, "waits_for")
            )

    def _is_held(self, holding: Holding) -> bool:
        return self._holdings.get(holding.partition) is holding

    def _start_loaded(self, source: Source) -> None:
        for partition, holding in self._holdings.items():
            if holding.loaded is not None or holding.loading is None:
                continue
            if not holding.loading.done():
                if holding.waits_for is not None:
                    self._readiness.hinder_partition(
                        *partition, f"its shard can't be loaded yet: {holding.waits_for}"
                    )
                continue
            loaded = holding.loading.result()
            if isinstance(loaded, Refused):
                self._readiness.hinder_partition(*partition, loaded.reason)
                if not holding.is_frozen:
                    log.error("%s/%s is not served: %s", *partition, loaded.reason)
                holding.is_frozen = True
                continue
            if loaded.is_fresh and partition not in source.commit({partition: loaded.position}).done:
                continue  # tried again at the next turn
            for note in loaded.notes:
                log.warning("%s", note)
            if not source.start(partition, loaded.position.offset):
                continue  # it has gone; its drop is on the way
            if self._is_resting:
                source.pause(partition)
            holding.loaded, holding.committed = loaded, loaded.position
            holding.next_offset = loaded.position.offset
            # staggered: shards that were loaded together are not copied together
            holding.saved_at_s = self._clock() - self._keeper.stagger(partition)
            holding.told = dict(loaded.shard.counts)
            self._readiness.hinder_partition(*partition, None)
            self._observer.on_assigned(*partition)
            self._send_alerts(partition, loaded.alerts)
            if loaded.settings is not self._loader.settings:  # declared since it was loaded
                self._declare(holding, self._loader.settings)
            self._observer.on_topic(partition.topic, loaded.facts.partitions)
            firing = loaded.shard.list_firing()
            self._observer.on_firing(*partition, firing)
            self._showcase.hear(firing)
            log.info("%s/%s reads on at offset %s", *partition, loaded.position.offset)

    def freeze(self, partition: Partition) -> Future[Position] | None:
        """As `RebalanceHandler.freeze`."""
        holding = self._holdings.get(partition)
        if holding is None or not holding.is_running:
            return None
        return self._keeper.freeze(holding)

    def drop(self, partitions: Sequence[Partition], committed: Mapping[Partition, Position]) -> None:
        """As `RebalanceHandler.drop`."""
        self._waiting.drop(partitions)
        for partition in partitions:
            holding = self._holdings.pop(partition, None)
            self._readiness.hinder_partition(*partition, None)
            if holding is not None and holding.loaded is not None:
                self._observer.on_revoked(*partition)
                self._showcase.forget(partition)
                self._teller.forget(partition)

    # -- readings ----------------------------------------------------------------------------------------

    def _poll(self, source: Source, timeout_s: float) -> None:
        self._waiting.add(source.poll(timeout_s))
        self._polled_s = self._clock()

    def _find_pace(self, partition: Partition) -> Pace:
        """Of messages, by how many readings the last ones had."""
        holding = self._holdings.get(partition)
        if holding is None or not holding.is_running:
            return AT_ONCE
        return Pace(*(max(round(n / holding.readings_each), 1) for n in holding.shard.readings_to_ticks))

    def _work_off(self, source: Source, is_over: Callable[[], bool]) -> None:
        """What was polled, for a while; state depends on the log alone, so it may stop behind any message."""
        started = self._clock()
        while not is_over() and self._emitter.has_room:
            messages = self._waiting.take(self._slice)
            if messages is None:
                break
            before = self._clock()
            self._process(messages, source, is_over)
            spent = max(self._clock() - before, 1e-6)
            if 2 * len(messages) > self._slice or spent > TURN_S:
                fitting = int(len(messages) * TURN_S / spent)
                self._slice = min(max(fitting, FEWEST), 2 * self._slice, MOST)
            if self._clock() - started >= TURN_S:
                break

    def _may_go_on(self, holding: Holding, source: Source, is_over: Callable[[], bool]) -> bool:
        """Amid a batch: whether to go on with it, once there is room for more. One message can hold minutes
        of work, longer than the group waits for a poll; whoever stops here leaves it to the next owner."""
        while not is_over():
            if self._clock() - self._polled_s < POLL_AGAIN_S and self._emitter.has_room:
                return True
            self._tell_waves()  # before others look, or the partition goes
            self._rest_if_full(source, is_busy=True)
            self._poll(source, 0.0 if self._emitter.has_room else POLL_S)
            self._readiness.beat()
            self._show()
            if not self._is_held(holding) or not holding.is_running:
                return False
        self._tell_waves()
        return self._clock() - self._polled_s < FINISH_S

    def _tell_waves(self) -> None:
        self._outbox.send()
        self._waves.tell()

    def _process(self, messages: Messages, source: Source, is_over: Callable[[], bool]) -> None:
        partition = Partition(messages.topic, messages.partition)
        holding = self._holdings.get(partition)
        if holding is None or not holding.is_running:
            return
        assert holding.loaded is not None
        started = self._clock()
        decoded = holding.loaded.codec.decode(messages)
        self._observer.on_stage("decode", self._clock() - started)
        holding.readings_each = max(len(decoded.readings) / len(messages), 1.0)
        rejected, emitting_s = [*decoded.rejected], 0.0
        started = self._clock()
        holding.is_amid = True
        for outcome in holding.shard.process(decoded.readings):
            self._waves.tell_freed(partition, holding.shard.take_freed())
            if not self._may_go_on(holding, source, is_over):
                return
            rejected += outcome.rejected
            before = self._clock()
            if outcome.stepped is not None:
                self._outbox.add(outcome.stepped)
                self._waves.add(partition, outcome.stepped)
            self._send_alerts(partition, outcome.alerts)
            emitting_s += self._clock() - before
        holding.is_amid = False
        before = self._clock()
        self._tell_waves()
        self._waves.tell_freed(partition, holding.shard.take_freed())
        emitting_s += self._clock() - before
        self._observer.on_stage("process", self._clock() - started - emitting_s)
        if rejected:
            self._emitter.rejected(messages, join_by_message(rejected))
        self._observer.on_stage("emit", emitting_s)
        holding.next_offset = int(messages.offset[-1]) + 1
        self._tell(holding, decoded.readings, decoded.rejected, decoded.tombstones)
        latency_s = np.maximum(self._now() - messages.timestamp_ms / 1000.0, 0.0)
        self._observer.on_forecast_latency(latency_s)

    def _tell(
        self, holding: Holding, readings: Readings, rejected: Sequence[Rejected], tombstones: int
    ) -> None:
        counts, told = holding.shard.counts, holding.told
        new = {fate: count - told.get(fate, 0) for fate, count in counts.items()}
        holding.told = dict(counts)
        if len(readings):  # before the first one the shard has no clock
            self._observer.on_consumed(*holding.partition, len(readings), holding.shard.clock_ms)
        self._observer.on_learned(new.pop("accepted"))
        by_reason: dict[str, int] = {}
        for each in rejected:
            for reason in each.reasons:
                by_reason[reason] = by_reason.get(reason, 0) + 1
        kinds: dict[str, dict[str, int]] = {
            "masked": {},
            "dropped": {"tombstone": tombstones},
            "rejected": by_reason,
        }
        for fate, count in new.items():
            kind, _, reason = fate.partition("_")
            kinds[kind][reason] = kinds[kind].get(reason, 0) + count
        self._observer.on_masked(kinds["masked"])
        self._observer.on_dropped(kinds["dropped"])
        self._observer.on_rejected(kinds["rejected"])

    # -- now and then ------------------------------------------------------------------------------------

    def _rest_if_full(self, source: Source, is_busy: bool = False) -> None:
        """While there is enough to do, or no room for what comes of it, the source rests and polls go on."""
        is_full = is_busy or self._waiting.due_in_s <= 0.0 or not self._emitter.has_room
        if is_full == self._is_resting:
            return
        self._is_resting = is_full
        for partition, holding in self._holdings.items():
            if holding.is_running:
                (source.pause if is_full else source.resume)(partition)

    def _keep_house(self, source: Source) -> None:
        trouble, stopped = source.trouble, source.stopped
        self._readiness.hinder(None if trouble is None else trouble.reason)
        for partition, lost in source.take_lost().items():
            self._observer.on_lost(*partition, lost)
        for partition, holding in self._holdings.items():
            if partition in stopped:
                self._readiness.hinder_partition(*partition, stopped[partition])
            if not holding.is_running:
                continue
            lag = source.lag(partition)
            if lag is not None:
                # to whoever waits for forecasts, what waits here is lag as well
                holding.lag = lag + self._waiting.count(partition)
                self._observer.on_lag(*partition, holding.lag)
            self._observer.on_series(*partition, holding.shard.count_states())
            self._teller.tell(partition, holding.shard)
            # the wall clock raises alerts of silence and nothing else
            alerts = holding.shard.check_silence(
                int(self._now() * 1000),
                not self._waiting.count(partition) and source.read_to_end(partition),
            )
            self._send_alerts(partition, alerts)

    def _send_alerts(self, partition: Partition, alerts: Sequence[Alert]) -> None:
        if alerts:
            self._emitter.alerts(alerts)
            self._observer.on_alerts(*partition, alerts)
            self._showcase.hear(alerts)
            if self._view is not None:
                self._view.hear(partition, alerts)

    def _declare_all(self, settings: Settings) -> None:
        """New declarations enter state at a checkpoint, which stores them: all shards are saved now."""
        for holding in self._holdings.values():
            if holding.is_running:
                self._declare(holding, settings)
        self._settings = None

    def _declare(self, holding: Holding, settings: Settings) -> None:
        self._send_alerts(holding.partition, holding.shard.declare(settings))
        self._waves.tell_freed(holding.partition, holding.shard.take_freed())
        holding.writing = self._keeper.begin(holding)
