"""`/metrics` of a worker that works: what Prometheus and its linter make of it."""

from __future__ import annotations

import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator

import pytest
from kafka import KafkaProducer

from pipeline.exporters.catalogue import CATALOGUE, PREFIX
from tests.kafka.live import LiveWorker, Metrics, make_config, make_topics
from tests.unit.codec.batches import dump

CADENCE_MS = 1_000
READINGS = 60
SERIES = 2
LATER = 2 * SERIES
"""Readings since the series were chosen that have metrics of their own, two of each: what is shown of the
first is its value, and beside the second stands what was said of it."""


@pytest.fixture(scope="module")
def metrics(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrics]:
    """Scraped after some readings, a bad message, a checkpoint, and readings of series shown by then."""
    name = f"scrape-{uuid.uuid4().hex[:12]}"
    settings = {"readings": {"cadence_ms": CADENCE_MS}, "checkpoints": {"interval_s": 1}}
    config = make_config(bootstrap, name, tmp_path_factory.mktemp("scrape"), settings)
    make_topics(config)
    begin_ms = int(time.time() - READINGS) * 1000
    with KafkaProducer(bootstrap_servers=bootstrap) as producer:
        send(producer, name, begin_ms, range(READINGS))
        producer.send(name, b"no reading")
        producer.flush()
    with LiveWorker(config) as live:
        live.wait_for(lambda: live.scrape().text.count("series_info{") == SERIES)
        with KafkaProducer(bootstrap_servers=bootstrap) as producer:
            send(producer, name, begin_ms, range(READINGS, READINGS + LATER))
            producer.flush()
        live.wait_for_end()
        live.wait_for(lambda: live.scrape().text.count("series_value{") == SERIES)
        # what housekeeping and checkpoints tell comes a little later
        live.wait_for(lambda: f'consumer_lag_records{{topic="{name}"' in live.scrape().text)
        live.wait_for(lambda: live.scrape().value("checkpoints_total") >= 1)
        yield live.scrape()


def send(producer: KafkaProducer, topic: str, begin_ms: int, numbers: range) -> None:
    """Of two series in turn."""
    for n in numbers:
        row = {"series": f"s{n % SERIES}", "time": begin_ms + n // SERIES * CADENCE_MS, "value": n % 7}
        producer.send(topic, key=row["series"].encode(), value=dump(row))


def test_families_are_those_of_the_catalogue(metrics: Metrics) -> None:
    """Each with its kind and help, and samples but for what there is none of here."""
    found = {family.name: family for family in metrics.families if family.name.startswith(PREFIX)}
    declared = {metric.name.removesuffix("_total"): metric for metric in CATALOGUE}
    assert found.keys() <= declared.keys()
    for name, metric in declared.items():
        assert name in found, name
        assert (found[name].type, found[name].documentation) == (metric.kind, metric.help)
    empty = {name for name, family in found.items() if not family.samples}
    # No alert, no GPU, and too few readings to be trained on, to be judged, or to tell who leads.
    young = ("comparison_dm_statistic", "comparison_confidence_half_width", "training_loss")
    young += ("training_gradient_reach_ratio", "training_memory_length_readings")
    young += ("series_score", "comparison_series_difference")
    alerts = {family for family in found if family.startswith(f"{PREFIX}alert_")}
    assert empty <= alerts | {PREFIX + name for name in ("device_memory_bytes", *young)}


def test_a_process_tells_of_itself(metrics: Metrics) -> None:
    names = {family.name for family in metrics.families}
    assert names >= {"process_resident_memory_bytes", "process_cpu_seconds"}


def test_samples_are_unique_and_finite(metrics: Metrics) -> None:
    samples = [sample for family in metrics.families for sample in family.samples]
    assert len({(s.name, frozenset(s.labels.items())) for s in samples}) == len(samples)
    assert all(abs(sample.value) < float("inf") for sample in samples)
    assert metrics.value("readings_learned_total") == READINGS + LATER
    assert metrics.value("readings_rejected_total", reason="not_decodable") == 1
    assert metrics.value("forecast_latency_seconds_count") == READINGS + LATER + 1


def test_promtool_finds_nothing(metrics: Metrics) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: nobody lints the names of the metrics here")
    command = [promtool, "check", "metrics"]
    done = subprocess.run(command, input=metrics.text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
