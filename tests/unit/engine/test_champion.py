"""A champion for each series, from readings to messages: who is named, whose forecasts are sent."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from prometheus_client import CollectorRegistry

from forecasters import build
from forecasters.anomaly import AlertOptions
from forecasters.champion import LEADER
from pipeline.config import ConfigError, load_config
from pipeline.engine.options import IntakeOptions, LifeOptions, ShardOptions
from pipeline.engine.settings import SeriesSettings
from pipeline.engine.shard import Shard
from pipeline.exporters.arrow_values import ArrowEncoder
from pipeline.exporters.kafka_values import encode_json, select
from pipeline.exporters.prometheus import MetricsExporter
from pipeline.issued import Selection
from pipeline.kafka_options import EmitterOptions
from pipeline.records import Alert, Forecasts, Readings

STEP_MS = 600_000
START_MS = 1_795_392_000_000
SEASON = 12
NAMES = ("naive", "seasonal_naive", "linear")
SERIES = ("walk", "season")
STEPS = 400


def make_shard() -> Shard[Any]:
    alerts = AlertOptions(champion=LEADER, episodes_per_day=0.01, grid_ms=STEP_MS, hold=20)
    bank = build(NAMES, horizon=3, device="cpu", alerts=alerts)
    settings = SeriesSettings(season_ms=SEASON * STEP_MS)
    options = ShardOptions(intake=IntakeOptions(cadence_ms=STEP_MS), life=LifeOptions(), champion=LEADER)
    return Shard(bank, options, lambda name: settings, 0, 1)


def make_readings(first: int, values_T2: np.ndarray) -> Readings:
    steps = len(values_T2)
    return Readings(
        series=SERIES,
        series_index=np.tile(np.arange(2, dtype=np.int32), steps),
        event_time_ms=np.repeat(START_MS + (first + np.arange(steps)) * STEP_MS, 2),
        value=values_T2.reshape(-1),
    )


def make_values(steps: int) -> np.ndarray:
    """`[T, 2]`: a walk, and a season so noisy that yesterday is worse than a regression, but not the last
    value."""
    rng = np.random.default_rng(1)
    walk = rng.normal(size=steps).cumsum()
    season = 30 * np.sin(2 * np.pi * np.arange(steps) * 5 / SEASON) + 0.1 * rng.normal(size=steps)
    return np.stack([walk, season], 1)


@pytest.fixture(scope="module")
def played() -> tuple[Shard[Any], list[Alert], list[Forecasts]]:
    """400 steps, then one far off."""
    shard, selection = make_shard(), Selection(NAMES, (LEADER, "naive"))
    values = make_values(STEPS + 1)
    values[-1] = 500.0
    alerts: list[Alert] = []
    sent = []
    for outcome in shard.process(make_readings(0, values)):
        alerts += [alert for alert in outcome.alerts if alert.kind == "anomaly"]
        if outcome.stepped is not None:
            sent.append(selection.take(outcome.stepped))
    return shard, alerts, sent


def test_each_series_has_a_champion_of_its_own(
    played: tuple[Shard[Any], list[Alert], list[Forecasts]],
) -> None:
    shard, alerts, _ = played
    slots = np.array([shard.list_slots()[name] for name in SERIES])
    followed = dict(zip(SERIES, shard.bank.champion.list_names(slots), strict=True))
    assert followed["season"] != "naive"
    fired = {a.series: a.forecaster for a in alerts if a.state == "firing"}
    assert fired == followed
    listed = {a.series: a.forecaster for a in shard.list_firing() if a.kind == "anomaly"}
    assert listed == followed


def test_what_is_sent_is_the_leaders(played: tuple[Shard[Any], list[Alert], list[Forecasts]]) -> None:
    shard, _, sent = played
    whole = Selection(NAMES, NAMES)
    for forecasts in sent[:3]:
        assert set(forecasts.followed) == {"linear"}  # whom all begin with
    last = sent[-1]
    followed = dict(zip(last.series, last.followed, strict=True))
    messages = [json.loads(m) for _, m in encode_json(last, select(last, EmitterOptions()))]
    assert {m["series"]: m["forecaster"] for m in messages[: len(last.series)]} == followed
    assert {m["forecaster"] for m in messages[len(last.series) :]} == {"naive"}
    assert LEADER not in {m["forecaster"] for m in messages}
    chosen, placed = select(last, EmitterOptions()), np.zeros(len(last.series), int)
    batches = [m for _, m in ArrowEncoder().encode(last, chosen, 1, lambda: placed)]
    rows = pa.ipc.open_stream(batches[0]).read_all().to_pylist()
    assert {row["series"]: row["forecaster"] for row in rows} == followed
    # one more step: the column of the leader is that of the forecaster it names
    outcome = next(iter(shard.process(make_readings(STEPS + 1, make_values(STEPS + 2)[-1:]))))
    leader, every = Selection(NAMES, (LEADER,)).take(outcome.stepped), whole.take(outcome.stepped)
    for row, name in enumerate(leader.followed):
        for bound in ("mean", "lower", "upper"):
            own, theirs = getattr(leader, bound)[row, 0], getattr(every, bound)[row, NAMES.index(name)]
            assert (own == theirs).all()


def test_the_metric_counts_series_by_whom_they_follow() -> None:
    registry = CollectorRegistry()
    exporter = MetricsExporter(registry, forecasters=NAMES, scored_steps=(1,), champion=None)
    for partition, counts in ((0, {"naive": 3, "linear": 4}), (1, {"naive": 2, "linear": 0})):
        exporter.on_assigned("t", partition)
        exporter.on_champions("t", partition, counts)

    def read(forecaster: str) -> float | None:
        return registry.get_sample_value("gatecast_champion_series", {"forecaster": forecaster})

    assert (read("naive"), read("linear"), read("leader")) == (5.0, 4.0, None)
    exporter.on_revoked("t", 0)
    assert (read("naive"), read("linear")) == (2.0, 0.0)


def test_the_configuration_switches_it() -> None:
    config = load_config(None, {"GATECAST_FORECASTERS__CHAMPION": "leader"})
    assert (config.forecasters.champion, config.forecasters.first_champion) == ("leader", "blend")
    assert config.sent_forecasters == ("leader",)
    assert config.shown_forecasters == ("rnn", "lstm", "blend")
    assert load_config(None, {}).sent_forecasters == ("blend",)
    with pytest.raises(ConfigError, match="expected several names for champion leader to choose from"):
        load_config(None, {"GATECAST_FORECASTERS__CHAMPION": "leader", "GATECAST_FORECASTERS__NAMES": "rnn"})
    with pytest.raises(ConfigError, match="expected champion to be leader or one of the names"):
        load_config(None, {"GATECAST_FORECASTERS__CHAMPION": "gru"})
    with pytest.raises(ConfigError, match=r"forecasts.forecasters: expected some of forecasters.names"):
        load_config(None, {"GATECAST_FORECASTS__FORECASTERS": "leader"})
