"""Copies of what the shards know, taken between two waves and never changed after."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from forecasters import Bank
from forecasters.comparison import Comparison
from pipeline.engine.settings import Settings
from pipeline.engine.survey import Survey
from pipeline.exporters.quality import QualityFigures
from pipeline.holdings import Holding
from pipeline.ports import Partition
from pipeline.records import Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSnapshot:
    """One partition. seconds: by forecaster, and `learned` readings in that time; lag: records, None where it
    is not known; settings: what is declared of the series."""

    partition: Partition
    num_partitions: int
    lag: int | None
    clock_ms: int
    survey: Survey
    settings: Settings
    firing: tuple[Alert, ...]
    comparison: Comparison | None
    training: Mapping[str, Mapping[str, float]]
    parameters: Mapping[str, int]
    bytes_per_series: Mapping[str, int]
    seconds: Mapping[str, float]
    learned: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All shards of the worker at one moment; time_ms: of the wall clock."""

    time_ms: int
    shards: tuple[ShardSnapshot, ...]
    quality: QualityFigures
    readings_per_second: float


class Spent:
    """Seconds by forecaster and readings learnt of each shard, since this worker first saw it: what a shard
    brings from its checkpoint counts readings that cost somebody else's seconds."""

    def __init__(self) -> None:
        self._begun: dict[Partition, tuple[int, dict[str, float]]] = {}

    def see(self, holdings: Iterable[Holding]) -> None:
        """Once a turn, so that a shard is seen before it has done much."""
        for holding in holdings:
            if holding.partition not in self._begun and holding.loaded is not None:
                self._begun[holding.partition] = _read_spent(holding)

    def forget(self, kept: Iterable[Partition]) -> None:
        self._begun = {partition: self._begun[partition] for partition in kept if partition in self._begun}

    def since(self, holding: Holding) -> tuple[int, dict[str, float]]:
        learned, seconds = _read_spent(holding)
        before, seconds_before = self._begun.get(holding.partition, (learned, seconds))
        return learned - before, {name: spent - seconds_before[name] for name, spent in seconds.items()}


def take_bank(holding: Holding) -> Bank:
    """The shards of a worker have banks of `forecasters`, of which the engine sees less."""
    return cast(Bank, holding.shard.bank)


def _read_spent(holding: Holding) -> tuple[int, dict[str, float]]:
    bank = take_bank(holding)
    return holding.shard.counts["accepted"], {name: bank.seconds(name) for name in bank.names}


def take_snapshot(
    holdings: Iterable[Holding],
    *,
    time_ms: int,
    quality: Callable[[], QualityFigures],
    spent: Spent,
    readings_per_second: float,
) -> Snapshot:
    """A few milliseconds at 10 000 series. Belongs on the thread that moves the shards."""
    shards = tuple(_copy(holding, spent) for holding in holdings if holding.loaded is not None)
    return Snapshot(
        time_ms=time_ms, shards=shards, quality=quality(), readings_per_second=readings_per_second
    )


def _copy(holding: Holding, spent: Spent) -> ShardSnapshot:
    assert holding.loaded is not None
    shard, bank = holding.shard, take_bank(holding)
    learned, seconds = spent.since(holding)
    return ShardSnapshot(
        partition=holding.partition,
        num_partitions=holding.loaded.facts.partitions,
        lag=holding.lag,
        clock_ms=shard.clock_ms,
        survey=shard.survey(),
        settings=shard.settings,
        firing=tuple(shard.list_firing()),
        comparison=bank.comparison.copy() if bank.comparison else None,
        training=bank.training(),
        parameters={name: bank.parameters(name) for name in bank.names},
        bytes_per_series=bank.bytes_per_series(),
        seconds=seconds,
        learned=learned,
    )
