"""A worker of a simulated plant on an in-memory broker, for tests of the page and for looking at it.

    python -m tests.page.plant_worker --port 8000 --series 50

The plant's past goes first, as fast as it is taken; from then on its readings come once a cadence.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from confluent_kafka import Producer

from pipeline.app import Worker
from pipeline.config import Config
from pipeline.demo.broker import run_broker
from pipeline.demo.encoding import Encoder
from pipeline.demo.feed import Feed, Outlet, Pacer, open_outlet
from pipeline.demo.papers import write_series_file
from pipeline.demo.plant import Plant, PlantOptions
from pipeline.records import Readings

TOPIC = "plant.readings"
DAY_S = 300
"""A short day, so that seasons are seen."""
HOSTILE = (
    "<script>document.title='broken'</script>",
    '"><img src=x onerror=alert(1)>',
    "plant/area 1/\"quoted\" & 'single'",
    "مضخة/حرارة/٣",
    "‮gnirts desrever",
    "long/" + "ä" * 125,
    "../../etc/passwd?x=1&y=2#z%00",
)
"""Ids that a sensor may have, and that a careless page would run, break at, or mistake for a path."""


def make_config(bootstrap: str, folder: Path, port: int, *, forecasters: tuple[str, ...] | None) -> Config:
    names = {"names": forecasters, "champion": forecasters[0]} if forecasters else {}
    return Config.model_validate(
        {
            "kafka": {
                "bootstrap": tuple(bootstrap.split(",")),
                "topics": (TOPIC,),
                "group": "page",
                "api_version": "2.3",
            },
            "readings": {
                "cadence_ms": 1000,
                "season_ms": DAY_S * 1000,
                "fields": {"quality": "quality", "good": ("good",)},
                "series_file": str(folder / "series.csv"),
            },
            "forecasters": {"hidden": 16, **names},
            "checkpoints": {"url": str(folder / "checkpoints")},
            "server": {"port": port},
        }
    )


def make_topics(bootstrap: str) -> None:
    """The in-memory broker makes a topic, of four partitions, when somebody asks for it."""
    asking = Producer({"bootstrap.servers": bootstrap})
    for topic in (TOPIC, f"{TOPIC}.rejected", "gatecast.forecasts", "gatecast.alerts"):
        asking.list_topics(topic, timeout=10)


def rename(names: tuple[str, ...]) -> tuple[str, ...]:
    """The plant's ids, the last few of them hostile."""
    return (*names[: -len(HOSTILE)], *HOSTILE) if len(names) > 2 * len(HOSTILE) else names


def relabel(steps: Iterator[Readings], names: tuple[str, ...]) -> Iterator[Readings]:
    for step in steps:
        yield Readings(
            series=names,
            series_index=step.series_index,
            event_time_ms=step.event_time_ms,
            value=step.value,
            fault=step.fault,
        )


class OnePartition:
    """An outlet whose readings all go into the first partition: one wave a second costs the least."""

    num_partitions = 1

    def __init__(self, outlet: Outlet) -> None:
        self.send, self.flush, self.close = outlet.send, outlet.flush, outlet.close


def feed(bootstrap: str, plant: Plant, names: tuple[str, ...], is_over: threading.Event) -> None:
    outlet = open_outlet(bootstrap, TOPIC, {"api_version": (2, 3), "allow_auto_create_topics": True})
    readings = Feed(OnePartition(outlet), names, Encoder("json", 100, with_quality=True))
    pacer = Pacer(plant.options.start_ms, 0, live_at_ms=int(time.time() * 1000))
    for step in relabel(iter(plant), names):
        while not pacer.wait_for(int(step.event_time_ms[0]) if len(step) else 0, pacer.elapsed_s + 0.2):
            if is_over.is_set():
                break
        if is_over.is_set():
            break
        readings.send(step)
    outlet.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--series", type=int, default=50)
    parser.add_argument("--past", type=int, default=600, help="seconds of the past that go first")
    parser.add_argument("--faults-per-hour", type=float, default=60)
    parser.add_argument("--forecasters", help="names, joined by commas")
    given = parser.parse_args()
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    now_ms = int(time.time()) * 1000
    plant = Plant(
        PlantOptions(
            num_series=given.series,
            start_ms=now_ms - given.past * 1000,
            cadence_ms=1000,
            day_ms=DAY_S * 1000,
            faults_per_hour=given.faults_per_hour,
        )
    )
    names = rename(plant.layout.series)
    forecasters = tuple(given.forecasters.split(",")) if given.forecasters else None
    with tempfile.TemporaryDirectory() as folder, run_broker() as bootstrap:
        make_topics(bootstrap)
        write_series_file(Path(folder) / "series.csv", plant)
        worker = Worker(make_config(bootstrap, Path(folder), given.port, forecasters=forecasters))
        facts = worker.source.topic_facts  # of a broker without topic ids
        worker.source.topic_facts = lambda topic: replace(facts(topic), topic_id="memory")
        feeder = threading.Thread(target=feed, args=(bootstrap, plant, names, over), daemon=True)
        feeder.start()
        np.seterr(all="ignore")
        worker.run(over.is_set)
        feeder.join(5)


if __name__ == "__main__":
    main()
