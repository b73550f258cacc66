"""What a scrape costs with many series: bounded, off the hot path, and nothing of who has left."""

from __future__ import annotations

import statistics
import threading
import time

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from forecasters.steps import scored_steps
from forecasters.verdict import Evidence, Figures
from pipeline.exporters.active_alerts import MOST
from pipeline.exporters.exposition import render
from pipeline.exporters.prometheus import MetricsExporter, register_process
from pipeline.records import Alert, Profile, Scores, Shown

FORECASTERS = ("naive", "seasonal_naive", "linear", "rnn", "lstm", "blend")
STEPS = scored_steps(24)
PAIRS = (("lstm", "rnn"), *((name, "naive") for name in FORECASTERS[1:]))
PARTITIONS, SERIES, SHOWN = 4, 10_000, 50
"""Partitions as by default. What is compared is told by partition: each adds 210 samples."""
MOST_SAMPLES = 5_000
SCRAPE_S, HELD_S = 0.05, 0.005
ROUNDS = 21


def make_alert(number: int, *, state: str = "firing") -> Alert:
    return Alert(
        id=str(number), kind="anomaly", state=state, severity="page", series=f"Nord/Reactor/{number}",
        name=f"TI-{number}", unit="°C", labels={"site": "Nord", "area": "Reactor", "owner": "process"},
        started=0, ended=None, time=0, value=1.0, expected=2.0, lower=1.5, upper=2.5, score=1.1, reason="",
        forecaster="blend", resolution=None, readings_learned=1_000,
    )  # fmt: skip


def make_scores(size: int) -> Scores:
    shape = (len(FORECASTERS), len(STEPS), size)
    return Scores(
        slots=np.arange(size),
        scored=np.ones((len(STEPS), size), bool),
        error=np.ones(shape, np.float32),
        missed=np.zeros(shape, bool),
        width=np.ones(shape, np.float32),
        replaced=np.zeros(len(FORECASTERS), np.int64),
    )


def make_evidence() -> Evidence:
    """All that can be known, of every pair at every step."""
    figures = tuple(
        Figures(
            step=step, buckets=9_000, blocks=30, difference=-0.03, low=-0.04, high=-0.02, verdict="better",
            needed=0, statistic=-3.2, p=0.001, leader="lstm", won=5, lost=3, tied=1, standard_error=0.004,
        )
        for step in (*STEPS, None)
    )  # fmt: skip
    return Evidence(
        names=FORECASTERS,
        steps=STEPS,
        pairs=dict.fromkeys(PAIRS, figures),
        loss={},
        series=SERIES // PARTITIONS,
        span_ms=0,
        bucket_ms=60_000,
        left_out=0,
    )


class Full:
    """An exporter with 10 000 series, and with as many alerts and shown series as there are ever shown."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        register_process(self.registry)
        nets = ("lstm", "rnn")
        self.clock_s = 0.0
        self.exporter = MetricsExporter(
            self.registry,
            forecasters=FORECASTERS,
            scored_steps=STEPS,
            trained=nets,
            pairs=PAIRS,
            shown_forecasters=nets,
            shown_steps=(1, 24),
            champion="blend",
            topics=("plant",),
            clock=lambda: self.clock_s,
        )
        self.scores = make_scores(SERIES // PARTITIONS)
        self.exporter.on_topic("plant", PARTITIONS)
        for partition in range(PARTITIONS):
            shard = ("plant", partition)
            self.exporter.on_assigned(*shard)
            self.exporter.on_lag(*shard, 0)
            self.exporter.on_series(*shard, {"live": SERIES // PARTITIONS})
            self.exporter.on_wave(*shard, self.scores)
            self.exporter.on_evidence(*shard, make_evidence())
        self.show(SHOWN)
        self.exporter.on_alerts("plant", 0, [make_alert(number) for number in range(MOST + 50)])

    def show(self, number: int) -> None:
        names = [f"Nord/Reactor 2/TI-{at}" for at in range(number)]
        profiles = [Profile(series=name, name=name, unit="°C", labels={"site": "Nord"}) for name in names]
        self.exporter.on_shown_series("plant", 0, profiles)
        shown = Shown(
            places=np.arange(number),
            value=np.ones(number),
            fault=np.zeros(number, np.int64),
            said=np.ones((number, 2, 2, 3)),
            readings_learned=np.ones(number, np.int64),
        )
        self.exporter.on_shown("plant", 0, shown)

    def samples(self) -> list[str]:
        return [line for line in render(self.registry).decode().splitlines() if not line.startswith("#")]


@pytest.fixture(scope="module")
def full() -> Full:
    return Full()


def test_samples_are_bounded(full: Full) -> None:
    samples = full.samples()
    assert sum("gatecast_alert_active{" in line for line in samples) == MOST
    assert sum("gatecast_series_value{" in line for line in samples) == SHOWN
    print(f"{len(samples)} samples with {SERIES} series, {MOST} alerts and {SHOWN} shown series")
    assert len(samples) <= MOST_SAMPLES


def test_a_scrape_is_quick(full: Full) -> None:
    """In processor time: what it takes when nobody else has the processor."""
    full.samples()
    spent = []
    for _ in range(ROUNDS):
        full.exporter.on_wave("plant", 0, full.scores)  # figures change, texts are made anew
        begun = time.thread_time()
        render(full.registry)
        spent.append(time.thread_time() - begun)
    middle = statistics.median(spent)
    print(f"a scrape takes {1e3 * middle:.1f} ms")
    assert middle <= SCRAPE_S


def test_a_scrape_holds_the_engine_up_for_moments(full: Full) -> None:
    """The exporter's lock is held up to the first family, while numbers are copied; text is made after."""
    spent = []
    for _ in range(ROUNDS):
        full.exporter.on_wave("plant", 0, full.scores)
        families = full.exporter.collect()
        begun = time.thread_time()
        next(families)
        spent.append(time.thread_time() - begun)
    engine = threading.Thread(target=full.exporter.on_learned, args=(1,), daemon=True)
    engine.start()
    engine.join(60)
    assert not engine.is_alive(), "it waits for a scrape that is not read to its end"
    middle = statistics.median(spent)
    print(f"it holds the lock for {1e3 * middle:.2f} ms at most")
    assert middle <= HELD_S


def test_who_leaves_is_gone_at_the_next_scrape() -> None:
    full = Full()
    full.show(1)
    assert sum("gatecast_series_value{" in line for line in full.samples()) == 1
    full.exporter.on_alerts("plant", 0, [make_alert(number, state="resolved") for number in range(MOST)])
    full.clock_s += 1_000
    assert not [line for line in full.samples() if "gatecast_alert_" in line and "{" in line]
    for partition in range(PARTITIONS):
        full.exporter.on_revoked("plant", partition)
    left = [line for line in full.samples() if "TI-" in line or "Nord" in line]
    assert left == []
