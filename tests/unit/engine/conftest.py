"""A shard with a bank that only says the last value, fed one reading at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from forecasters import Bank, build
from pipeline.engine.options import IntakeOptions, LifeOptions, SensorAlertOptions, ShardOptions
from pipeline.engine.settings import SeriesSettings, Settings
from pipeline.engine.shard import Outcome, Shard
from pipeline.records import GOOD, Alert, Readings

MINUTE_MS = 60_000
START_MS = 1_795_415_880_000  # 2026-11-23T06:38:00Z


def build_bank() -> Bank:
    return build(("naive",), horizon=2, device="cpu")


@dataclass
class Feed:
    """Times are minutes since START_MS."""

    shard: Shard[Any]
    settings: Settings

    def outcomes(
        self, name: str, minute: float, value: float = 1.0, fault: int = GOOD, clock: float | None = None
    ) -> list[Outcome[Any]]:
        time_ms, clock = START_MS + round(minute * MINUTE_MS), minute if clock is None else clock
        readings = Readings(
            series=(name,),
            series_index=np.zeros(1, np.int32),
            event_time_ms=np.array([time_ms], np.int64),
            value=np.array([value]),
            fault=np.array([fault], np.int8),
            clock_ms=np.array([START_MS + round(clock * MINUTE_MS)], np.int64),
            message=np.array([7], np.int32),
            index=np.array([3], np.int32),
        )
        return list(self.shard.process(readings))

    def send(self, *given: Any, **more: Any) -> list[Alert]:
        """The alerts that a reading brings."""
        return [alert for outcome in self.outcomes(*given, **more) for alert in outcome.alerts]

    def warm(self, name: str, until: int = 3) -> None:
        for minute in range(until):
            assert self.send(name, minute) == []


@pytest.fixture
def make_feed():
    """A feed of a shard whose series are warm after three readings a minute apart."""

    def make(
        declared: Mapping[str, SeriesSettings] | None = None,
        *,
        life: Mapping[str, Any] | None = None,
        alerts: Mapping[str, Any] | None = None,
        **intake: Any,
    ) -> Feed:
        options = ShardOptions(
            intake=IntakeOptions(**{"cadence_ms": MINUTE_MS, **intake}),
            life=LifeOptions(**{"warm_readings": 3, **(life or {})}),
            alerts=SensorAlertOptions(**(alerts or {})),
        )
        known = declared or {}

        def find(name: str) -> SeriesSettings:
            return known.get(name, SeriesSettings())

        return Feed(Shard(build_bank(), options, find, 0, 2), find)

    return make


@pytest.fixture
def resume():
    """A feed of a fresh shard that has loaded the state of another."""

    def load(feed: Feed) -> Feed:
        new = Shard(build_bank(), feed.shard.options, feed.settings, 0, 2)
        new.load(feed.shard.save())
        return Feed(new, feed.settings)

    return load
