"""`gatecast bench exposition`: the text of a scrape, beside prometheus_client's own.

The yardstick is `generate_latest` of labelled gauges with as many samples.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from pipeline.benches.rows import Row, make_rows, measure
from pipeline.exporters.exposition import render
from pipeline.exporters.prometheus import MetricsExporter
from pipeline.records import Profile, Scores, Shown

SAMPLES = 100_000
YARDSTICK = "generate_latest"
FORECASTERS = ("naive", "seasonal_naive", "linear", "rnn", "lstm", "blend")
STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24)
SHOWN = ("rnn", "lstm", "blend")
ROW_SAMPLES = 1 + 1 + 1 + 6 + 3 * 2 * len(SHOWN)
"""Of one shown series: info, value, readings learnt, qualities, forecasts with their bounds."""
TOPIC, PARTITION = "readings", 0


def run_exposition(runs: int, samples: int = SAMPLES, series: int = 10_000) -> list[Row]:
    """Two cases: as many samples as the yardstick has, all of shown series; and a default scrape, whose value
    is scrapes per second and which shows 50 series of `series`."""
    registry, exporter = make_exporter(
        series=max(samples // ROW_SAMPLES, 1), shown=max(samples // ROW_SAMPLES, 1)
    )
    found = render(registry)
    lines = sum(not line.startswith(b"#") for line in found.splitlines())
    plain = make_gauges(lines)

    def ours() -> int:
        render(registry)
        return lines

    def theirs() -> int:
        generate_latest(plain)
        return lines

    del exporter
    rates = measure({"exposition": ours, YARDSTICK: theirs}, runs)
    rows = make_rows(
        rates, YARDSTICK, "generate_latest of labelled gauges", series=lines // ROW_SAMPLES, unit="samples/s",
        runs=runs,
    )  # fmt: skip
    return [*rows, _default_scrape(series, runs)]


def _default_scrape(series: int, runs: int) -> Row:
    registry, _ = make_exporter(series=series, shown=50)
    size = sum(not line.startswith(b"#") for line in render(registry).splitlines())
    seconds = []
    for _ in range(max(runs, 3) * 5):
        start = time.perf_counter()
        render(registry)
        seconds.append(time.perf_counter() - start)
    middle = statistics.median(seconds)
    return Row(
        case="default scrape", series=series, value=round(1e3 * middle, 2), unit="ms", yardstick="samples",
        yardstick_value=size, ratio=round(1e6 * middle / size, 2), runs=len(seconds), share={},
    )  # fmt: skip


def make_exporter(*, series: int, shown: int) -> tuple[CollectorRegistry, MetricsExporter]:
    """An exporter that has seen some waves of all series, and shows some of them."""
    registry = CollectorRegistry()
    exporter = MetricsExporter(
        registry, forecasters=FORECASTERS, scored_steps=STEPS, trained=("rnn", "lstm"),
        pairs=(("lstm", "rnn"), ("rnn", "naive"), ("lstm", "naive")), shown_forecasters=SHOWN,
        shown_steps=(1, 24), champion="blend", topics=(TOPIC,),
    )  # fmt: skip
    exporter.on_topic(TOPIC, 1)
    exporter.on_assigned(TOPIC, PARTITION)
    draw = np.random.default_rng(0)
    slots = np.arange(series)
    shape = (len(FORECASTERS), len(STEPS), series)
    for _ in range(3):
        exporter.on_wave(
            TOPIC,
            PARTITION,
            Scores(
                slots=slots,
                scored=np.ones((len(STEPS), series), bool),
                error=draw.standard_normal(shape, np.float32),
                missed=draw.random(shape) < 0.1,
                width=np.ones(shape, np.float32),
                replaced=np.zeros(len(FORECASTERS), np.int64),
            ),
        )
    labels = {"site": "Nord", "area": "Kesselhaus", "equipment": "Kessel 3", "owner": "Schicht"}
    profiles = [
        Profile(series=f"plant/unit{k % 20}/sensor{k}", name=f"TI-{k}", unit="°C", labels=labels)
        for k in range(shown)
    ]
    exporter.on_shown_series(TOPIC, PARTITION, profiles)
    exporter.on_shown(
        TOPIC,
        PARTITION,
        Shown(
            places=np.arange(shown),
            value=draw.normal(50, 20, shown),
            fault=np.zeros(shown, np.int8),
            said=draw.normal(50, 20, (shown, 2, len(SHOWN), 3)),
            readings_learned=np.full(shown, 12_345),
        ),
    )
    return registry, exporter


def make_gauges(samples: int) -> CollectorRegistry:
    """As many samples in the ordinary way: labelled gauges, a hundred label sets each."""
    registry = CollectorRegistry()
    draw = np.random.default_rng(0)
    done = 0
    for number in range((samples + 999) // 1_000):
        gauge = Gauge(
            f"plain_{number}", "A gauge as anybody writes it.", ["series", "forecaster"], registry=registry
        )
        for k in range(min(1_000, samples - done)):
            gauge.labels(f"plant/unit{k % 20}/sensor{k}", "rnn").set(float(draw.normal(50, 20)))
            done += 1
    return registry
