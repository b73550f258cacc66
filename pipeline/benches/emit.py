"""`gatecast bench emit`: forecasts into a topic by the worker's emitter, beside a send for each record.

The yardstick is kafka-python's `send` of `json.dumps` for each forecast of 24 steps. Both wait until all is
delivered.
"""

from __future__ import annotations

import json
import uuid
from functools import partial

import numpy as np
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from pipeline.benches.readings import CADENCE_MS, START_MS, name_series
from pipeline.benches.rows import Row, make_rows, measure
from pipeline.exporters.kafka import KafkaEmitter
from pipeline.kafka_options import EmitterOptions, KafkaOptions
from pipeline.records import Forecasts

SERIES = 1_000
HORIZON = 24
WAVES = {"emit json": 40, "emit": 800, "per-record sends": 10}
"""Waves of all series in one run, a second or two each; `emit` sends Arrow batches."""
YARDSTICK = "per-record sends"
DELIVERED_S = 120.0


def run_emit(bootstrap: str, runs: int, scale: float = 1.0) -> list[Row]:
    topic = f"bench-{uuid.uuid4().hex[:8]}-forecasts"
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics([NewTopic(name, 4, 1) for name in (topic, f"{topic}-alerts")])
    finally:
        admin.close()
    wave = make_wave()
    waves = {case: max(round(count * scale), 1) for case, count in WAVES.items()}
    works = {
        "emit": partial(emit, bootstrap, topic, "arrow", wave, waves["emit"]),
        "emit json": partial(emit, bootstrap, topic, "json", wave, waves["emit json"]),
        YARDSTICK: partial(send_plainly, bootstrap, topic, wave, waves[YARDSTICK]),
    }
    rates = measure(works, runs)
    described = f"kafka-python send of json.dumps, {HORIZON} steps a forecast"
    return make_rows(rates, YARDSTICK, described, series=SERIES, unit="forecasts/s", runs=runs)


def make_wave() -> Forecasts:
    """One forecast of each series."""
    draw = np.random.default_rng(0)
    mean = draw.normal(50, 10, (SERIES, 1, HORIZON)).astype(np.float32)
    return Forecasts(
        series=name_series(SERIES),
        event_time_ms=np.full(SERIES, START_MS),
        step_ms=np.full(SERIES, CADENCE_MS),
        forecasters=("blend",),
        mean=mean,
        lower=mean - 1,
        upper=mean + 1,
    )


def emit(bootstrap: str, topic: str, format: str, wave: Forecasts, count: int) -> int:
    options = KafkaOptions(
        bootstrap=(bootstrap,),
        topics=("bench-readings",),
        forecasts_topic=topic,
        alerts_topic=f"{topic}-alerts",
    )
    emitter = KafkaEmitter(options, EmitterOptions(format=format))
    try:
        emitter.prepare()
        for _ in range(count):
            emitter.forecasts(wave)
        emitter.flush(DELIVERED_S)
    finally:
        emitter.close(5.0)
    return count * SERIES


def send_plainly(bootstrap: str, topic: str, wave: Forecasts, count: int) -> int:
    with KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5) as producer:
        for _ in range(count):
            for row, series in enumerate(wave.series):
                value = {
                    "version": 1,
                    "series": series,
                    "time": int(wave.event_time_ms[row]),
                    "forecaster": "blend",
                    "step_ms": int(wave.step_ms[row]),
                    "steps": list(range(1, HORIZON + 1)),
                    "mean": wave.mean[row, 0].tolist(),
                    "lower": wave.lower[row, 0].tolist(),
                    "upper": wave.upper[row, 0].tolist(),
                }
                producer.send(topic, json.dumps(value).encode(), key=series.encode())
            producer.flush(DELIVERED_S)
    return count * SERIES
