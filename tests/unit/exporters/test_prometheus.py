"""Every other metric of the catalogue, asserted on what is exported."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import threading

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from pipeline.exporters import catalogue
from pipeline.exporters.active_alerts import ENDED_FOR_S, MOST
from pipeline.exporters.catalogue import CATALOGUE, SECONDS_BUCKETS
from pipeline.exporters.exposition import render
from pipeline.exporters.prometheus import MetricsExporter, register_process
from pipeline.records import Alert

SHARD = ("plant", 3)


def alert(series: str = "TI-1", *, state: str = "firing", id: str = "", kind: str = "silent") -> Alert:
    return Alert(
        id=id or f"{series}/{kind}/1",
        kind=kind,
        state=state,
        severity="page",
        series=series,
        name="",
        unit="",
        labels={"site": "Nord", "area": 'R"2', "equipment": "pump", "owner": "ops"},
        started=0,
        ended=None,
        time=0,
        value=None,
        expected=None,
        lower=None,
        upper=None,
        score=None,
        reason="no reading",
        forecaster=None,
        resolution=None,
    )


# -- the catalogue -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda m: m.name)
def test_names_keep_the_rules_of_promtool(metric):
    """Those of `promtool check metrics` (Prometheus's util/promlint) that can be broken here."""
    words = metric.name.split("_")
    assert metric.name.startswith("gatecast_")
    assert metric.name == metric.name.lower()
    assert metric.help.endswith(".")
    assert (words[-1] == "total") == (metric.kind == "counter")
    assert words[-1] not in ("count", "sum", "bucket")
    assert not {"gauge", "counter", "histogram", "summary", "info"} & set(words) or words[-1] == "info"
    units = {
        "milliseconds",
        "minutes",
        "hours",
        "days",
        "kilobytes",
        "bits",
        "percent",
        "ms",
        "s",
        "sec",
        "b",
    }
    assert not units & set(words)
    assert not {"le", "quantile"} & set(metric.labels)
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert list(metric.buckets) == sorted(metric.buckets)


def test_promtool_finds_nothing(exported):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus), so names are held by our own test alone")
    register_process(exported.registry)
    exported.exporter.on_alerts(*SHARD, [alert('Öl "2" \\ a\nb')])
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=render(exported.registry), capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_names_are_unique_and_each_metric_is_exported(exported):
    names = [metric.name for metric in CATALOGUE]
    assert len(set(names)) == len(names)
    heads = [line.split()[2] for line in render(exported.registry).decode().splitlines() if "# TYPE" in line]
    assert heads == names


def test_closed_label_sets_start_at_0(exported):
    scraped = exported.scrape()
    for metric in CATALOGUE:
        if metric is catalogue.SERIES_QUALITY:
            continue  # of series that are shown
        for label, words in metric.known.items():
            suffix = {"histogram": "_count", "summary": "_count"}.get(metric.kind, "")
            shown = {
                dict(labels)[label]: value
                for (name, labels), value in scraped.items()
                if name == metric.name + suffix
            }
            assert shown == dict.fromkeys(words, 0), metric.name
    assert exported.value("readings_learned_total") == 0
    assert exported.value("partitions_assigned", topic="plant") == 0
    assert exported.value("training_steps_total", forecaster="lstm", result="skipped") == 0
    assert exported.value("training_steps_total", forecaster="naive", result="skipped") is None


def test_two_exporters_do_not_share_a_registry(exported):
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        MetricsExporter(exported.registry, forecasters=("naive",), scored_steps=(1,))


def test_process_metrics_stand_beside_ours(exported):
    register_process(exported.registry)
    names = {name for name, _ in exported.scrape()}
    assert {"process_resident_memory_bytes", "python_gc_collections_total", "python_info"} <= names
    assert "gatecast_readings_learned_total" in names


# -- partitions and readings -------------------------------------------------------------------------------


def test_partitions_are_counted_by_topic(exported):
    exporter = exported.exporter
    exporter.on_topic("plant", 12)
    exporter.on_assigned("plant", 0)
    exporter.on_assigned("plant", 3)
    exporter.on_assigned("lab", 0)
    assert exported.value("topic_partitions", topic="plant") == 12
    assert exported.value("partitions_assigned", topic="plant") == 2
    assert exported.value("partitions_assigned", topic="lab") == 1
    exporter.on_revoked("plant", 0)
    exporter.on_revoked("lab", 0)
    assert exported.value("partitions_assigned", topic="plant") == 1
    assert exported.value("partitions_assigned", topic="lab") == 0


def test_a_topic_that_nobody_serves_yet_has_0_assigned(exported):
    exported.exporter.on_topic("lab", 4)
    assert exported.value("partitions_assigned", topic="lab") == 0


def test_readings_by_partition(exported):
    exporter = exported.exporter
    exporter.on_assigned(*SHARD)
    labels = {"topic": "plant", "partition": "3"}
    assert exported.value("readings_consumed_total", **labels) == 0
    assert exported.value("readings_lost_total", **labels) == 0
    assert exported.value("last_reading_timestamp_seconds") is None
    exporter.on_consumed(*SHARD, 100, 1_795_000_000_500)
    exporter.on_consumed("plant", 4, 10, 1_794_000_000_000)  # older: another shard's clock
    exporter.on_lost(*SHARD, 7)
    assert exported.value("readings_consumed_total", **labels) == 100
    assert exported.value("readings_lost_total", **labels) == 7
    assert exported.value("last_reading_timestamp_seconds") == 1_795_000_000.5


def test_counters_of_a_revoked_partition_stay_and_its_lag_goes(exported):
    exporter = exported.exporter
    exporter.on_assigned(*SHARD)
    exporter.on_consumed(*SHARD, 5, 0)
    exporter.on_lag(*SHARD, 42)
    labels = {"topic": "plant", "partition": "3"}
    assert exported.value("consumer_lag_records", **labels) == 42
    exporter.on_revoked(*SHARD)
    exporter.on_lag(*SHARD, 43)  # told late, by a thread that did not know yet
    assert exported.value("consumer_lag_records", **labels) is None
    assert exported.value("readings_consumed_total", **labels) == 5


@pytest.mark.parametrize(
    ("tell", "metric"),
    [
        ("on_masked", catalogue.READINGS_MASKED),
        ("on_dropped", catalogue.READINGS_DROPPED),
        ("on_rejected", catalogue.READINGS_REJECTED),
    ],
)
def test_fates_by_reason(exported, tell, metric):
    name = metric.name.removeprefix("gatecast_")
    first, second = metric.known["reason"][:2]
    getattr(exported.exporter, tell)({first: 3, second: 1})
    getattr(exported.exporter, tell)({first: 2})
    assert exported.value(name, reason=first) == 5
    assert exported.value(name, reason=second) == 1


def test_a_word_that_the_catalogue_does_not_know_is_counted_all_the_same(exported):
    exported.exporter.on_rejected({"brand_new": 2})
    assert exported.value("readings_rejected_total", reason="brand_new") == 2


def test_learned_and_failed_dead_letters(exported):
    exported.exporter.on_learned(900)
    exported.exporter.on_learned(100)
    exported.exporter.on_dead_letters_failed(2)
    assert exported.value("readings_learned_total") == 1000
    assert exported.value("dead_letters_failed_total") == 2


# -- series and alerts -------------------------------------------------------------------------------------


def test_series_by_state_add_up_over_shards_and_leave_with_them(exported):
    exporter = exported.exporter
    exporter.on_assigned("plant", 0)
    exporter.on_assigned("plant", 1)
    exporter.on_series("plant", 0, {"live": 10, "cold": 2})
    exporter.on_series("plant", 1, {"live": 5, "stale": 1})
    exporter.on_series("plant", 0, {"live": 12})
    shown = [exported.value("series", state=state) for state in catalogue.SERIES_STATES]
    assert shown == [0, 0, 17, 1, 0]
    exporter.on_revoked("plant", 1)
    exporter.on_series("plant", 1, {"live": 99})
    assert exported.value("series", state="live") == 12
    assert exported.value("series", state="stale") == 0


def test_a_paging_episode_is_shown_for_three_minutes_at_least(exported):
    labels = {"site": "Nord", "area": 'R"2', "owner": "ops", "severity": "page", "series": "TI-1"}
    exported.exporter.on_alerts(*SHARD, [alert(state="noted")])
    assert exported.rows("alert_active") == []
    exported.exporter.on_alerts(*SHARD, [alert()])
    exported.clock_s = 100
    exported.exporter.on_alerts(*SHARD, [alert(state="resolved")])
    exported.clock_s = 179
    assert exported.value("alert_active", kind="silent", **labels) == 1
    exported.clock_s = 180
    assert exported.rows("alert_active") == []
    assert exported.value("alerts_total", kind="silent") == 1


def test_a_long_episode_vanishes_when_it_is_resolved(exported):
    exported.exporter.on_alerts(*SHARD, [alert()])
    exported.clock_s = 10_000
    assert len(exported.rows("alert_active")) == 1
    exported.exporter.on_alerts(*SHARD, [alert(state="resolved", id="an older one")])
    assert len(exported.rows("alert_active")) == 1
    exported.exporter.on_alerts(*SHARD, [alert(state="resolved")])
    exported.clock_s += ENDED_FOR_S
    assert exported.rows("alert_active") == []


def test_an_episode_told_twice_counts_once_and_the_next_one_again(exported):
    exported.exporter.on_alerts(*SHARD, [alert(), alert()])
    assert exported.value("alerts_total", kind="silent") == 1
    exported.exporter.on_alerts(*SHARD, [alert(state="resolved"), alert(id="second"), alert(kind="stuck")])
    assert exported.value("alerts_total", kind="silent") == 2
    assert exported.value("alerts_total", kind="stuck") == 1
    assert len(exported.rows("alert_active")) == 2


def test_an_episode_says_when_it_began_and_for_a_minute_how_it_ended(exported):
    began = dataclasses.replace(alert(), started=1_795_415_863_500)  # milliseconds
    ended = dataclasses.replace(began, state="resolved", ended=1_795_416_000_000, resolution="shifted")
    exported.exporter.on_alerts(*SHARD, [began])
    shown = {"series": "TI-1", "kind": "silent"}
    assert exported.value("alert_started_timestamp_seconds", **shown) == 1_795_415_863.5
    assert exported.rows("alert_ended_timestamp_seconds") == []
    exported.clock_s += 1_000  # long past the three minutes that it is shown at least
    exported.exporter.on_alerts(*SHARD, [ended])
    exported.clock_s += 59
    how = shown | {"resolution": "shifted"}
    assert exported.value("alert_ended_timestamp_seconds", **how) == 1_795_416_000
    assert len(exported.rows("alert_active")) == 1
    exported.clock_s += 1
    for name in ("alert_active", "alert_started_timestamp_seconds", "alert_ended_timestamp_seconds"):
        assert exported.rows(name) == []


def test_an_episode_has_the_numbers_of_its_alert_and_no_others(exported):
    numbers = {"value": 93.4, "expected": 81.2, "score": 1.31, "readings_learned": 52_341}
    known = dataclasses.replace(alert(), name="Jacket °C", unit="°C", **numbers)
    exported.exporter.on_alerts(*SHARD, [known, alert("a")])
    shown = {"series": "TI-1", "kind": "silent"}
    assert {name: exported.value(f"alert_{name}", **shown) for name in numbers} == numbers
    assert shown | {"name": "Jacket °C", "unit": "°C"} in exported.rows("alert_info")
    assert exported.rows("alert_lower") == exported.rows("alert_upper") == []
    assert exported.rows("alert_value") == [shown]


def test_details_are_those_of_the_first_100_episodes(exported):
    many = [dataclasses.replace(alert(f"s{at:03}"), value=1.0) for at in range(MOST)]
    exported.exporter.on_alerts(*SHARD, many)
    assert len(exported.rows("alert_active")) == MOST
    assert {row["series"] for row in exported.rows("alert_value")} == {f"s{at:03}" for at in range(100)}


def test_episodes_go_with_their_shard_and_go_on_where_it_comes(exported):
    exported.exporter.on_firing(*SHARD, [alert("a"), alert("b")])
    exported.exporter.on_firing("plant", 4, [alert("c")])
    assert exported.value("alerts_total", kind="silent") == 0
    exported.exporter.on_revoked(*SHARD)
    assert [row["series"] for row in exported.rows("alert_active")] == ["c"]


def test_at_most_500_episodes_are_shown_and_the_others_counted(exported):
    exported.exporter.on_alerts(*SHARD, [alert(f"s{at}") for at in range(MOST + 20)])
    assert len(exported.rows("alert_active")) == MOST == 500
    assert exported.value("alerts_dropped_total") == 20
    assert exported.value("alerts_total", kind="silent") == MOST + 20


# -- work --------------------------------------------------------------------------------------------------


def test_training(exported):
    norms = np.array([0.05, 0.5, 2.0, np.nan])
    exported.exporter.on_training("lstm", loss=0.25, norms=norms, applied=2, clipped=1, skipped=1)
    exported.exporter.on_thinned(1_600)
    exported.exporter.on_thinned(400)
    assert exported.value("training_thinned_total") == 2_000
    exported.exporter.on_training("lstm", loss=np.nan, norms=np.zeros(0), applied=0, clipped=0, skipped=1)
    assert exported.value("training_loss", forecaster="lstm") == 0.25
    assert exported.value("training_steps_total", forecaster="lstm", result="applied") == 2
    assert exported.value("training_steps_total", forecaster="lstm", result="clipped") == 1
    assert exported.value("training_steps_total", forecaster="lstm", result="skipped") == 2
    assert exported.value("training_gradient_norm_count", forecaster="lstm") == 3
    assert exported.value("training_gradient_norm_sum", forecaster="lstm") == pytest.approx(2.55)
    assert exported.value("training_gradient_norm_bucket", forecaster="lstm", le="1.0") == 2


def test_loss_is_absent_before_the_first_step(exported):
    assert exported.rows("training_loss") == []


def test_stages_and_latency(exported):
    exported.exporter.on_stage("decode", 0.25)
    exported.exporter.on_stage("decode", 0.3)
    exported.exporter.on_forecast_latency(np.array([0.01, 0.2, 400.0]))
    exported.exporter.on_forecast_latency(np.zeros(0))
    assert 0.25 in SECONDS_BUCKETS
    assert exported.value("stage_duration_seconds_bucket", stage="decode", le="0.25") == 1
    assert exported.value("stage_duration_seconds_count", stage="decode") == 2
    assert exported.value("stage_duration_seconds_sum", stage="decode") == pytest.approx(0.55)
    assert exported.value("forecast_latency_seconds_bucket", le="0.25") == 2
    assert exported.value("forecast_latency_seconds_bucket", le="300.0") == 2
    assert exported.value("forecast_latency_seconds_count") == 3


def test_checkpoint_age_is_that_of_the_partition_saved_longest_ago(exported):
    exporter = exported.exporter
    assert exported.rows("checkpoint_timestamp_seconds") == []
    exporter.on_assigned("plant", 0)
    exported.now_s += 50
    exporter.on_assigned("plant", 1)
    exported.now_s += 50
    exporter.on_checkpoint("plant", 0, 1_000)
    assert exported.value("checkpoint_timestamp_seconds") == 1_000_050
    exporter.on_checkpoint("plant", 1, 500)
    exporter.on_checkpoint("plant", 1, 700)
    assert exported.value("checkpoint_timestamp_seconds") == 1_000_100
    assert exported.value("checkpoint_bytes") == 1_700
    exporter.on_checkpoint_failed("plant", 0)
    assert exported.value("checkpoint_failures_total") == 1
    assert exported.value("checkpoints_total") == 4
    exporter.on_revoked("plant", 0)
    exporter.on_checkpoint("plant", 0, 9_999)  # its writer ended after the partition had gone
    assert exported.value("checkpoint_bytes") == 700
    exporter.on_revoked("plant", 1)
    assert exported.rows("checkpoint_timestamp_seconds") == []
    assert exported.value("checkpoint_bytes") == 0


def test_build_and_device(exported):
    assert exported.value("build_info", version="1.2", python="3.11", torch="2.13") == 1
    assert exported.rows("device_memory_bytes") == []
    exported.memory["cuda:0"] = 1_024
    assert exported.value("device_memory_bytes", device="cuda:0") == 1_024
    exported.memory.clear()
    assert exported.rows("device_memory_bytes") == []


def test_samples_do_not_grow_with_the_series(exported, scores):
    exported.exporter.on_assigned(*SHARD)
    exported.exporter.on_wave(*SHARD, scores([0], 1.0))
    few = len(exported.scrape())
    exported.exporter.on_wave(*SHARD, scores(range(10_000), 1.0))
    assert exported.value("forecast_scored_series", step="1") == 10_000
    assert len(exported.scrape()) == few < 5_000


# -- while it is fed ---------------------------------------------------------------------------------------


def test_scrapes_while_waves_come_in_are_consistent(exported, scores):
    """In every scrape, the histogram's count equals the forecasts scored, and each series has error 1."""
    exporter = exported.exporter
    exporter.on_assigned(*SHARD)
    done = threading.Event()

    def feed() -> None:
        for at in range(400):
            exporter.on_wave(*SHARD, scores([2 * at, 2 * at + 1], 1.0))
        done.set()

    thread = threading.Thread(target=feed)
    thread.start()
    seen = set()
    while True:
        last = done.is_set()
        scraped = exported.scrape()
        for step in ("1", "4"):
            labels = frozenset({("forecaster", "lstm"), ("step", step)})
            count = scraped["gatecast_forecasts_scored_total", labels]
            assert scraped["gatecast_forecast_scaled_error_count", labels] == count
            assert scraped["gatecast_forecast_error_over_series", labels] == count
            assert scraped["gatecast_forecast_scored_series", frozenset({("step", step)})] == count
            seen.add(count)
        if last:
            break
    thread.join()
    assert max(seen) == 800


def test_the_exporter_is_a_collector_like_any_other(exported):
    collector: Collector = exported.exporter
    other = CollectorRegistry()
    other.register(collector)
    assert render(other) == render(exported.registry)
