"""A runner with everything around it in memory, and small shards that only know the last value."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import wait

import torch

from forecasters import build
from pipeline.codec import CodecOptions, build_codec
from pipeline.engine.options import DAY_MS, IntakeOptions, LifeOptions, SensorAlertOptions, ShardOptions
from pipeline.engine.settings import DEFAULT, Settings
from pipeline.engine.shard import Shard
from pipeline.holdings import Holding
from pipeline.issued import Selection
from pipeline.keeper import Keeper
from pipeline.loader import Loader
from pipeline.ports import Partition, Position, TopicFacts
from pipeline.readiness import Readiness
from pipeline.runner import Runner, RunnerParts
from pipeline.showcase import Showcase, ShowcaseOptions
from pipeline.store import Choice, choose, describe_numerics
from tests.unit.doubles import (
    MINUTE_MS,
    TOPIC,
    Clock,
    Counting,
    Journal,
    MemoryEmitter,
    MemorySource,
    MemoryStore,
)

INTERVAL_S = 60.0
OPTIONS = ShardOptions(
    intake=IntakeOptions(cadence_ms=MINUTE_MS, max_ahead_ms=30 * DAY_MS),
    life=LifeOptions(warm_readings=3),
    alerts=SensorAlertOptions(masked_in_a_row=2, silent_after_ms=5 * MINUTE_MS),
)

SHOWCASE = ShowcaseOptions(
    forecasters=("naive",), steps=(1, 2), max_series=2, is_watched=lambda series: series.startswith("seen/"),
    champion="naive",
)  # fmt: skip


def make_shard(partition: Partition, facts: TopicFacts, settings: Settings) -> Shard:
    bank = build(("naive",), horizon=2, device="cpu")
    return Shard(bank, OPTIONS, settings, partition.partition, facts.partitions)


class Rig:
    """One worker. `follow` makes the next one of the same group: what is stored and committed stays."""

    def __init__(
        self, *, before: Rig | None = None, settings: Settings = lambda _: DEFAULT, gather_s: float = 0.0
    ) -> None:
        self.journal: Journal = [] if before is None else before.journal
        self.clock = Clock() if before is None else before.clock
        self.source = MemorySource(self.journal, self.clock) if before is None else before.source
        self.store = MemoryStore(self.journal) if before is None else before.store
        self.emitter = MemoryEmitter(self.journal)
        self.observer, self.readiness = Counting(), Readiness()
        self.before_choice: Callable[[], None] = lambda: None
        self.loader = Loader(
            self._choose, make_shard, lambda: build_codec(CodecOptions(format="json")), settings
        )
        self.keeper = Keeper(
            lambda topic: self.store, self.emitter, self.observer, interval_s=INTERVAL_S,
            numerics=describe_numerics(), keep=3, daily_days=7, clock=self.clock,
        )  # fmt: skip
        parts = RunnerParts(
            loader=self.loader, keeper=self.keeper, emitter=self.emitter, observer=self.observer,
            readiness=self.readiness, selection=Selection(("naive",), ("naive",)),
            showcase=Showcase(SHOWCASE, ("naive",), self.clock),
        )  # fmt: skip
        self.runner = Runner(parts, now=self.clock, clock=self.clock, gather_s=gather_s)
        self.source.handler = self.runner

    def _choose(self, partition: Partition, committed: Position | None, facts: TopicFacts) -> Choice:
        self.before_choice()
        return choose(
            self.store.real, committed, facts.topic_id, partition.partition, facts.partitions, "earliest"
        )

    def follow(self, settings: Settings = lambda _: DEFAULT) -> Rig:
        """After this one has ended, in whatever way."""
        self.source.owned.clear()
        self.source.positions.clear()
        self.source.paused.clear()
        return Rig(before=self, settings=settings)

    def assign(self, *partitions: int) -> None:
        """And turn until they are served, or refused."""
        self.source.assign(*partitions)
        self.turn()
        wait([self.holding(p).loading for p in partitions], 10)  # type: ignore[list-item]
        self.turn()

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.runner.turn(self.source)

    def settle(self) -> None:
        """A turn that begins checkpoints that are due, their writing, and a turn that commits them."""
        self.turn()
        wait([each.writing for each in self.runner.holdings.values() if each.writing], 10)
        self.turn()

    def stop(self) -> None:
        self.runner.run(self.source, lambda: True)

    def holding(self, partition: int = 0) -> Holding:
        return self.runner.holdings[Partition(TOPIC, partition)]

    def state(self, partition: int = 0) -> dict[str, bytes]:
        state: dict[str, torch.Tensor] = self.holding(partition).shard.save()
        return {k: v.numpy().tobytes() for k, v in state.items() if not k.startswith("silence.")}

    @property
    def obstacles(self) -> list[str]:
        return [str(each) for each in self.readiness.obstacles()]
