"""Figures of a fleet by Prometheus equal those of all series at once; and what names its own parser reads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from dashboards.alerting.groups import build_groups
from dashboards.thresholds import read_thresholds
from pipeline.exporters.exposition import expose
from pipeline.exporters.http import HttpOptions, HttpServer, Providers
from pipeline.exporters.prometheus import MetricsExporter
from pipeline.readiness import Readiness
from pipeline.records import Alert, Scores
from tests.stack.servers import Prometheus

FORECASTERS = ("naive", "linear", "rnn", "lstm")
STEPS = (1, 2, 4)
SIZES = (3, 297)
"""Series of the two workers: an average of averages would weigh them alike."""
READINGS = 40
NAMES = (
    'Kessel "Nord"', "back\\slash", "trailing\\", "Prüfstand/Öl-Temperatur °C", "温度センサー", "датчик", "🌡",
    '{a="b"} 1', "# HELP x", " spaces ", "مرحبا", "two\nlines", '\\n"\n',
)  # fmt: skip
"""A series' id has no newline; the exposition bears them all the same."""


class Worker:
    """An exporter with its HTTP port, and no worker behind it: its figures are told by the test."""

    def __init__(self, partition: int) -> None:
        self.registry = CollectorRegistry()
        self.shard = ("plant", partition)
        self.exporter = MetricsExporter(
            self.registry,
            forecasters=FORECASTERS,
            scored_steps=STEPS,
            trained=("rnn", "lstm"),
            topics=("plant",),
        )
        providers = Providers(
            metrics=lambda accept: expose(self.registry, accept),
            readiness=Readiness(),
            overview=dict,
            series=dict,
            one_series=lambda *_: None,
            errors=dict,
            networks=dict,
        )
        self.server = HttpServer(HttpOptions(port=0), providers)
        self.exporter.on_topic("plant", 2)
        self.exporter.on_assigned(*self.shard)

    def alert(self, series: str) -> None:
        one = Alert(
            id=series, kind="stuck", state="firing", severity="page", series=series, name=series, unit="",
            labels={"site": series, "area": series, "owner": series}, started=0, ended=None, time=0,
            value=1.0, expected=None, lower=None, upper=None, score=None, reason="", forecaster=None,
            resolution=None,
        )  # fmt: skip
        self.exporter.on_alerts(*self.shard, [one])


@pytest.fixture(scope="module")
def workers() -> Iterator[tuple[Worker, Worker]]:
    pair = Worker(0), Worker(1)
    for worker in pair:
        worker.server.start()
    yield pair
    for worker in pair:
        worker.server.stop()


@pytest.fixture(scope="module")
def prometheus(
    workers: tuple[Worker, Worker], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    server = Prometheus(tmp_path_factory.mktemp("fleet"), scrape_interval="1s")
    server.set_targets([f"127.0.0.1:{worker.server.port}" for worker in workers])
    server.start()
    yield server
    server.stop()


def make_scores(rng: np.random.Generator, size: int) -> Scores:
    shape = (len(FORECASTERS), len(STEPS), size)
    return Scores(
        slots=np.arange(size),
        scored=np.ones((len(STEPS), size), bool),
        error=rng.standard_t(3, shape).astype(np.float32) * np.arange(1, size + 1) / size,
        missed=rng.random(shape) < np.arange(1, size + 1) / size / 4,
        width=np.ones(shape, np.float32),
        replaced=np.zeros(len(FORECASTERS), np.int64),
    )


def test_figures_are_those_of_all_series_at_once(
    workers: tuple[Worker, Worker], prometheus: Prometheus
) -> None:
    rng = np.random.default_rng(7)
    prometheus.wait_until(lambda: bool(prometheus.query("sum(up) == 2")), "both workers")
    waves = [[make_scores(rng, size) for size in SIZES] for _ in range(READINGS)]
    for wave in waves:
        for worker, scores in zip(workers, wave, strict=True):
            worker.exporter.on_wave(*worker.shard, scores)
    count = f"sum(gatecast_forecasts_scored_total) == {READINGS * sum(SIZES) * len(FORECASTERS) * len(STEPS)}"
    prometheus.wait_until(lambda: bool(prometheus.query(count)), count)
    for rule in build_groups(read_thresholds())["figures"].rules[:2]:
        # Recorded every 10 s: until it is what its expression gives now.
        same = f"count(abs({rule.name} - ({rule.expr})) < 1e-12) == {len(FORECASTERS) * len(STEPS)}"
        prometheus.wait_until(lambda same=same: bool(prometheus.query(same)), same)
    every = np.concatenate(
        [np.stack([np.abs(wave[at].error) for wave in waves]) for at in range(2)], axis=3
    ).mean(axis=0, dtype=np.float64)  # [E, Q, S]
    every = every.transpose(2, 0, 1)
    skill = 1 - every.sum(0) / every.sum(0)[:1]
    mase = every.mean(0)
    missed = np.concatenate([wave[at].missed for wave in waves for at in range(2)], axis=2).mean(2)
    for name, wanted in (("forecast_skill:ratio", skill), ("forecast_mase:ratio", mase)):
        found = prometheus.query(f"gatecast:{name}")
        assert len(found) == wanted.size
        for sample in found:
            at = FORECASTERS.index(sample.labels["forecaster"]), STEPS.index(int(sample.labels["step"]))
            assert sample.value == pytest.approx(wanted[at], rel=1e-5, abs=1e-6), sample
    totals = (
        "sum by (forecaster, step) (gatecast_forecast_interval_misses_total)"
        " / sum by (forecaster, step) (gatecast_forecasts_scored_total)"
    )
    for sample in prometheus.query(totals):
        at = FORECASTERS.index(sample.labels["forecaster"]), STEPS.index(int(sample.labels["step"]))
        assert sample.value == pytest.approx(missed[at], rel=1e-12)


def test_any_name_is_read_by_prometheus_as_it_is(
    workers: tuple[Worker, Worker], prometheus: Prometheus
) -> None:
    """And the rule, whose expression and texts it goes through, finds it again."""
    for name in NAMES:
        workers[0].alert(name)
    expected = f"count(gatecast_alert_active) == {len(NAMES)}"
    prometheus.wait_until(lambda: bool(prometheus.query(expected)), expected)
    found = prometheus.query("gatecast_alert_active")
    for label in ("series", "site", "area", "owner"):
        assert {sample.labels[label] for sample in found} == set(NAMES)
    assert {sample.labels["name"] for sample in prometheus.query("gatecast_alert_info")} == set(NAMES)
    firing = 'count(ALERTS{alertname="GatecastSensorAlert",alertstate="firing"})'
    prometheus.wait_until(lambda: bool(prometheus.query(f"{firing} == {len(NAMES)}")), firing)
    told = {
        one["labels"]["series"]: one["annotations"]
        for one in prometheus.alerts()
        if "series" in one["labels"]  # rules about the fleet may fire as well
    }
    for name in NAMES:
        assert told[name]["summary"] == f"{name} is stuck"
        assert told[name]["value"] == "1"
