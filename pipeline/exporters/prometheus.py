"""Tells Prometheus: an observer that keeps the metrics of the catalogue in arrays until they are scraped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.metrics_core import Metric as Family

from forecasters.verdict import Evidence
from pipeline.exporters import catalogue
from pipeline.exporters.active_alerts import ActiveAlerts
from pipeline.exporters.quality import Quality, QualityFigures
from pipeline.exporters.samples import Table
from pipeline.exporters.shown import ShownSeries
from pipeline.exporters.standing import Standing
from pipeline.records import Alert, Float64Array, Int64Array, Profile, Scores, Shown


@dataclass(slots=True, kw_only=True)
class _Shard:
    """What gauges need to know of an assigned partition."""

    saved_s: float  # since the epoch: last checkpoint, or assignment
    saved_bytes: int = 0
    by_state: Mapping[str, int] = field(default_factory=dict)
    champions: Mapping[str, int] = field(default_factory=dict)  # where each series has its own


def register_process(registry: CollectorRegistry) -> None:
    """The usual metrics of any Python process: `process_*`, `python_gc_*`, `python_info`."""
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)


class MetricsExporter:
    """Satisfies the `Observer` port and is a collector of `registry`.

    Thread-safe. A lock is held while numbers are added or copied, never while text is made. A word that the
    catalogue does not know (a new reason) gets a sample of its own rather than stop the stream.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        forecasters: Sequence[str],
        scored_steps: Sequence[int],
        trained: Sequence[str] = (),
        parameters: Mapping[str, int] | None = None,
        pairs: Sequence[tuple[str, str]] = (),
        shown_forecasters: Sequence[str] = (),
        shown_steps: Sequence[int] = (),
        champion: str | None = None,
        topics: Sequence[str] = (),
        software: Mapping[str, str] | None = None,
        device_memory: Callable[[], Mapping[str, int]] | None = None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """forecasters, scored_steps: E and Q of `Scores`; trained: those of them that take training steps;
        parameters: how many weights each has; pairs: that are compared. shown_forecasters, shown_steps: E and
        L of `Shown`. champion: whom alerts of all
        series follow; None where each has its own.
        software: version, python and torch for `build_info`. device_memory: bytes in use by device, asked at
        each scrape, from another thread. now: seconds since the epoch; clock: monotonic."""
        self._lock = threading.Lock()
        self._device_memory, self._now, self._clock = device_memory, now, clock
        self._shards: dict[tuple[str, int], _Shard] = {}
        self._newest_clock_ms: int | None = None
        self._quality = Quality(forecasters, scored_steps)
        self._standing, self._shown = (
            Standing(pairs, scored_steps),
            ShownSeries(shown_forecasters, shown_steps),
        )
        self._champion = champion
        self._active = ActiveAlerts()
        known = {"forecaster": tuple(trained), "topic": tuple(topics)}
        aside = (*Quality.METRICS, *Standing.METRICS, *ShownSeries.METRICS)
        own = [metric for metric in catalogue.CATALOGUE if metric not in aside]
        self._tables = {metric.name: Table(metric, known) for metric in own}
        if software is not None:
            row = tuple(software.get(label, "") for label in catalogue.BUILD_INFO.labels)
            self._put(catalogue.BUILD_INFO, 1, *row)
        for forecaster in forecasters:
            self._add(catalogue.FORECASTER_SECONDS, 0, forecaster)
            self._put(catalogue.FORECASTER_PARAMETERS, (parameters or {}).get(forecaster, 0), forecaster)
        for metric in (catalogue.LAST_READING, catalogue.CHECKPOINT_TIMESTAMP, catalogue.TRAINING_LOSS):
            self._of(metric).clear()  # unknown is not 0
        registry.register(self)

    def _of(self, metric: catalogue.Metric) -> Table:
        return self._tables[metric.name]

    def _add(self, metric: catalogue.Metric, amount: float, *labels: str) -> None:
        self._tables[metric.name].add(amount, *labels)

    def _put(self, metric: catalogue.Metric, value: float, *labels: str) -> None:
        self._tables[metric.name].put(value, *labels)

    # -- the observer: partitions ------------------------------------------------------------------------

    def on_topic(self, topic: str, partitions: int) -> None:
        with self._lock:
            self._put(catalogue.TOPIC_PARTITIONS, partitions, topic)
            self._add(catalogue.PARTITIONS_ASSIGNED, 0, topic)

    def on_assigned(self, topic: str, partition: int) -> None:
        with self._lock:
            self._shards[topic, partition] = _Shard(saved_s=self._now())
            self._quality.assign((topic, partition))
            self._count_partitions(topic)
            for metric in (catalogue.READINGS_CONSUMED, catalogue.READINGS_LOST):
                self._add(metric, 0, topic, str(partition))

    def on_revoked(self, topic: str, partition: int) -> None:
        with self._lock:
            self._shards.pop((topic, partition), None)
            self._quality.revoke((topic, partition))
            self._standing.forget((topic, partition))
            self._shown.forget((topic, partition))
            self._active.forget((topic, partition))
            self._count_partitions(topic)
            self._of(catalogue.CONSUMER_LAG).remove(topic, str(partition))

    def _count_partitions(self, topic: str) -> None:
        here = sum(1 for name, _ in self._shards if name == topic)
        self._put(catalogue.PARTITIONS_ASSIGNED, here, topic)

    def on_lag(self, topic: str, partition: int, records: int) -> None:
        with self._lock:
            if (topic, partition) in self._shards:
                self._put(catalogue.CONSUMER_LAG, records, topic, str(partition))

    # -- fates of readings -------------------------------------------------------------------------------

    def on_consumed(self, topic: str, partition: int, readings: int, clock_ms: int) -> None:
        with self._lock:
            self._add(catalogue.READINGS_CONSUMED, readings, topic, str(partition))
            self._newest_clock_ms = max(clock_ms, self._newest_clock_ms or clock_ms)

    def on_lost(self, topic: str, partition: int, records: int) -> None:
        with self._lock:
            self._add(catalogue.READINGS_LOST, records, topic, str(partition))

    def on_masked(self, by_reason: Mapping[str, int]) -> None:
        self._add_by(catalogue.READINGS_MASKED, by_reason)

    def on_dropped(self, by_reason: Mapping[str, int]) -> None:
        self._add_by(catalogue.READINGS_DROPPED, by_reason)

    def on_rejected(self, by_reason: Mapping[str, int]) -> None:
        self._add_by(catalogue.READINGS_REJECTED, by_reason)

    def _add_by(self, metric: catalogue.Metric, counts: Mapping[str, int]) -> None:
        with self._lock:
            for word, count in counts.items():
                self._add(metric, count, word)

    def on_learned(self, readings: int) -> None:
        with self._lock:
            self._add(catalogue.READINGS_LEARNED, readings)

    def on_dead_letters_failed(self, messages: int) -> None:
        with self._lock:
            self._add(catalogue.DEAD_LETTERS_FAILED, messages)

    # -- forecasts and series ----------------------------------------------------------------------------

    def on_wave(self, topic: str, partition: int, scores: Scores) -> None:
        with self._lock:
            self._quality.add((topic, partition), scores)

    def on_series(self, topic: str, partition: int, by_state: Mapping[str, int]) -> None:
        with self._lock:
            if (topic, partition) in self._shards:
                self._shards[topic, partition].by_state = dict(by_state)

    def on_series_left(self, topic: str, partition: int, slots: Int64Array) -> None:
        with self._lock:
            self._quality.forget((topic, partition), slots)

    def on_alerts(self, topic: str, partition: int, alerts: Sequence[Alert]) -> None:
        with self._lock:
            self._show(topic, partition, alerts, count=True)

    def on_firing(self, topic: str, partition: int, alerts: Sequence[Alert]) -> None:
        with self._lock:
            self._show(topic, partition, alerts, count=False)

    def _show(self, topic: str, partition: int, alerts: Sequence[Alert], *, count: bool) -> None:
        now_s = self._clock()
        self._active.prune(now_s)
        for alert in alerts:
            if alert.state == "resolved":
                self._active.end(alert, now_s)
            elif alert.state == "firing":
                is_new, is_shown = self._active.begin((topic, partition), alert, now_s)
                self._add(catalogue.ALERTS, int(count and is_new), alert.kind)
                self._add(catalogue.ALERTS_DROPPED, int(is_new and not is_shown))

    def on_shown_series(self, topic: str, partition: int, profiles: Sequence[Profile]) -> None:
        with self._lock:
            self._shown.choose((topic, partition), profiles)

    def on_shown(self, topic: str, partition: int, shown: Shown) -> None:
        with self._lock:
            self._shown.take((topic, partition), shown)

    def on_wins(
        self, topic: str, partition: int, pair: tuple[str, str], by_series: Mapping[str, float]
    ) -> None:
        with self._lock:
            if (topic, partition) in self._shards:
                self._standing.take_wins((topic, partition), pair, by_series)

    def on_cost(self, seconds: Mapping[str, float]) -> None:
        with self._lock:
            for forecaster, spent in seconds.items():
                self._add(catalogue.FORECASTER_SECONDS, spent, forecaster)

    def on_evidence(self, topic: str, partition: int, evidence: Evidence) -> None:
        with self._lock:
            if (topic, partition) in self._shards:
                self._standing.take((topic, partition), evidence)

    def on_champions(self, topic: str, partition: int, by_forecaster: Mapping[str, int]) -> None:
        with self._lock:
            if (topic, partition) in self._shards:
                self._shards[topic, partition].champions = dict(by_forecaster)

    def on_reach(
        self, topic: str, partition: int, forecaster: str, inputs: Float64Array, memory_length: int | None
    ) -> None:
        with self._lock:
            if (topic, partition) in self._shards:
                self._standing.take_reach((topic, partition), forecaster, inputs, memory_length)

    # -- work --------------------------------------------------------------------------------------------

    def on_training(
        self, forecaster: str, *, loss: float, norms: Float64Array, applied: int, clipped: int, skipped: int
    ) -> None:
        with self._lock:
            if np.isfinite(loss):
                self._put(catalogue.TRAINING_LOSS, loss, forecaster)
            finite = np.asarray(norms)[np.isfinite(norms)]
            self._of(catalogue.GRADIENT_NORM).observe(finite, forecaster)
            counts = (applied, clipped, skipped)
            for result, count in zip(catalogue.TRAINING_RESULTS, counts, strict=True):
                self._add(catalogue.TRAINING_STEPS, count, forecaster, result)

    def on_thinned(self, readings: int) -> None:
        with self._lock:
            self._add(catalogue.TRAINING_THINNED, readings)

    def on_stage(self, stage: str, duration_s: float) -> None:
        with self._lock:
            self._of(catalogue.STAGE_DURATION).observe(np.array([duration_s]), stage)

    def on_forecast_latency(self, latency_s: Float64Array) -> None:
        with self._lock:
            self._of(catalogue.FORECAST_LATENCY).observe(latency_s)

    def on_checkpoint(self, topic: str, partition: int, size_bytes: int) -> None:
        with self._lock:
            self._add(catalogue.CHECKPOINTS, 1)
            if (topic, partition) in self._shards:
                shard = self._shards[topic, partition]
                shard.saved_s, shard.saved_bytes = self._now(), size_bytes

    def on_checkpoint_failed(self, topic: str, partition: int) -> None:
        with self._lock:
            self._add(catalogue.CHECKPOINTS, 1)
            self._add(catalogue.CHECKPOINT_FAILURES, 1)

    def figures(self) -> QualityFigures:
        """The quality metrics as numbers."""
        with self._lock:
            return self._quality.figures()

    # -- the collector -----------------------------------------------------------------------------------

    def describe(self) -> Iterator[Family]:
        """Names for the registry, which refuses two collectors of one name."""
        for metric in catalogue.CATALOGUE:
            yield Family(metric.name.removesuffix("_total"), metric.help, metric.kind)

    def collect(self) -> Iterator[Family]:
        """All families as they are now, in the order of the catalogue."""
        memory = self._device_memory() if self._device_memory else {}
        with self._lock:
            self._set_gauges(memory)
            frozen = [table.freeze() for table in self._tables.values()]
            frozen += self._quality.freeze() + self._standing.freeze() + self._shown.freeze()
        places = {metric.name: at for at, metric in enumerate(catalogue.CATALOGUE)}
        for table in sorted(frozen, key=lambda one: places[one.table.metric.name]):
            yield table.family()

    def _set_gauges(self, memory: Mapping[str, int]) -> None:
        """What is cheaper to find out once a scrape than at each call."""
        shards = self._shards.values()
        series = self._of(catalogue.SERIES)
        series.values[:] = 0
        for shard in shards:
            for state, count in shard.by_state.items():
                series.add(count, state)
        if self._champion is not None:
            live = sum(shard.by_state.get("live", 0) for shard in shards)
            self._put(catalogue.CHAMPION_SERIES, live, self._champion)
        else:
            counts: dict[str, int] = {}
            for shard in shards:
                for name, number in shard.champions.items():
                    counts[name] = counts.get(name, 0) + number
            values = np.array(list(counts.values()), np.float64).reshape(-1, 1)
            self._of(catalogue.CHAMPION_SERIES).replace(tuple((name,) for name in counts), values)
        for metric, rows, values in self._active.rows(self._clock()):
            self._of(metric).replace(rows, values)
        self._put(catalogue.CHECKPOINT_BYTES, sum(shard.saved_bytes for shard in shards))
        if shards:
            self._put(catalogue.CHECKPOINT_TIMESTAMP, min(shard.saved_s for shard in shards))
        else:
            self._of(catalogue.CHECKPOINT_TIMESTAMP).clear()
        if self._newest_clock_ms is not None:
            self._put(catalogue.LAST_READING, self._newest_clock_ms / 1000)
        used = np.array(list(memory.values()), np.float64).reshape(-1, 1)
        self._of(catalogue.DEVICE_MEMORY).replace(tuple((device,) for device in memory), used)
