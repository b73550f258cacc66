"""A worker's view without its runner: two shards with small banks, stepped by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from forecasters import build
from pipeline.codec import CodecOptions, build_codec
from pipeline.engine.options import DAY_MS, IntakeOptions, LifeOptions, SensorAlertOptions, ShardOptions
from pipeline.engine.settings import SeriesSettings
from pipeline.engine.shard import Shard
from pipeline.exporters.prometheus import MetricsExporter
from pipeline.holdings import Holding, Loaded
from pipeline.issued import find_scores
from pipeline.live.tracks import Tracks
from pipeline.live.view import LiveView
from pipeline.ports import Partition, Position, TopicFacts
from pipeline.readiness import Readiness
from pipeline.records import Readings

NAMES = ("naive", "rnn", "lstm")
SHOWN = ("rnn", "lstm")
HORIZON = 4
STEPS = (1, 2, 4)
STEP_MS = 1000
START_MS = 1_795_415_880_000
TOPIC = "plant"


def declare(series: str) -> SeriesSettings:
    return SeriesSettings(cadence_ms=STEP_MS, name=f"name of {series}", unit="°C")


def make_shard(partition: int) -> Shard:
    options = ShardOptions(
        intake=IntakeOptions(max_ahead_ms=30 * DAY_MS, season_ms=60_000),
        life=LifeOptions(warm_readings=10),
        alerts=SensorAlertOptions(masked_in_a_row=2),
    )
    bank = build(NAMES, horizon=HORIZON, seed=partition, device="cpu", hidden=8, chunk=4, replay=4)
    return Shard(bank, options, declare, partition, 2)


@dataclass
class Stage:
    """`step` sends one reading of each series; both clocks stand still unless they are moved."""

    clock_s: float = 100.0
    most: int = 4
    holdings: dict[Partition, Holding] = field(default_factory=dict)
    made: int = 0

    def __post_init__(self) -> None:
        self.metrics = MetricsExporter(CollectorRegistry(), forecasters=NAMES, scored_steps=(1, 2, 3, 4))
        tracks = Tracks(NAMES, SHOWN, STEPS, most=self.most, length=20)
        self.view = LiveView(self.metrics.figures, tracks, now=self.now, clock=lambda: self.clock_s)
        self.readiness = Readiness()
        self.readiness.hinder(None)

    def now(self) -> float:
        return START_MS / 1000 + self.made

    def assign(self, partition: int) -> Holding:
        at = Partition(TOPIC, partition)
        loaded = Loaded(
            shard=make_shard(partition),
            codec=build_codec(CodecOptions(format="json")),
            facts=TopicFacts(topic_id="id", partitions=2, timestamp_type="LogAppendTime"),
            position=Position(offset=0),
            is_fresh=True,
            settings=declare,
        )
        self.holdings[at] = holding = Holding(partition=at, loaded=loaded, lag=3)
        self.metrics.on_assigned(*at)
        return holding

    def step(
        self,
        series: tuple[str, ...],
        times: int = 1,
        *,
        partition: int = 0,
        value: Callable[[int, int], float] = lambda row, k: float(
            np.sin(0.5 * k + row) + 0.05 * (k * row % 7)
        ),
        fault: int = 0,
    ) -> None:
        """Readings of these series at the next grid times; fault: of all of them."""
        holding = self.holdings[Partition(TOPIC, partition)]
        for _ in range(times):
            count = len(series)
            readings = Readings(
                series=series,
                series_index=np.arange(count, dtype=np.int32),
                event_time_ms=np.full(count, START_MS + STEP_MS * self.made),
                value=np.array([value(row, self.made) for row in range(count)]),
                fault=np.full(count, fault, np.int8),
            )
            for outcome in holding.shard.process(readings):
                if outcome.stepped is not None:
                    self.view.see(holding.partition, outcome.stepped)
                    self.metrics.on_wave(*holding.partition, find_scores(outcome.stepped.wave))
                self.view.hear(holding.partition, outcome.alerts)
            self.made += 1

    def look(self, after_s: float = 1.0) -> None:
        """As the runner does it once a turn, a while later."""
        self.clock_s += after_s
        self.view.look(self.holdings)


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.assign(0)
    return made
