"""A worker in a thread of the test process, and how to see what it did: topics read back, metrics scraped."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from pipeline.app import Worker
from pipeline.config import Config
from pipeline.kafka_options import take_kafka_options
from pipeline.topics_command import create_topics, plan_topics

READ_S = 240.0  # a whole log, on a busy machine
STOP_S = 30.0

Settings = Mapping[str, Mapping[str, Any]]


def make_config(bootstrap: str, name: str, folder: Path, settings: Settings | None = None) -> Config:
    """All defaults, but for names of this test alone, a free port, and what `settings` has by section."""
    base: dict[str, dict[str, Any]] = {
        "kafka": {
            "bootstrap": (bootstrap,),
            "topics": (name,),
            "group": f"{name}-group",
            "forecasts_topic": f"{name}-forecasts",
            "alerts_topic": f"{name}-alerts",
        },
        "checkpoints": {"url": str(folder / "checkpoints")},
        "server": {"port": 0},
    }
    for section, given in (settings or {}).items():
        base.setdefault(section, {}).update(given)
    return Config.model_validate(base)


def make_topics(config: Config) -> None:
    """As `gatecast topics create` makes them."""
    options = take_kafka_options(config.kafka)
    create_topics(options, plan_topics(options))


class LiveWorker:
    """Runs from its entrance to its exit, where it ends as at SIGTERM. What it raises fails the test."""

    def __init__(self, config: Config) -> None:
        self.worker = Worker(config)
        self._topic, self._bootstrap = config.kafka.topics[0], config.kafka.bootstrap
        self._looks = 0
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def __enter__(self) -> LiveWorker:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over.set()
        self._thread.join(STOP_S)
        if kind is None:
            assert not self._thread.is_alive(), f"the worker did not end within {STOP_S:.0f} s"
            self._raise()

    def wait_for(self, is_so: Callable[[], bool], timeout_s: float = READ_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_so():
            self._raise()
            assert time.monotonic() < deadline, (
                f"not so within {timeout_s:.0f} s; {[str(o) for o in self.worker.readiness.obstacles()]}"
            )
            time.sleep(0.05)

    def wait_for_end(self, timeout_s: float = READ_S) -> None:
        """Until all that now is in the topic of readings has gone through the worker."""
        ends = find_ends(self._bootstrap[0], self._topic)

        def is_through() -> bool:
            holdings = {
                each.partition: each.next_offset for each in list(self.worker.runner.holdings.values())
            }
            return all(holdings.get((self._topic, number), -1) >= end for number, end in ends.items())

        self.wait_for(is_through, timeout_s)
        looks = self._looks  # the loop asks between two slices: counters of the last one are told by then
        self.wait_for(lambda: self._looks >= looks + 2)

    def scrape(self) -> Metrics:
        self.wait_for(lambda: self.worker.server.port > 0)  # from then on it listens
        return scrape(self.worker.server.url)

    def _run(self) -> None:
        try:
            self.worker.run(self._is_over)
        except BaseException as error:
            self._error = error

    def _is_over(self) -> bool:
        self._looks += 1
        return self._over.is_set()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


class Metrics:
    """What one scrape gave, as Prometheus' own parser reads it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = list(text_string_to_metric_families(text))
        self._values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """Of one sample, without the prefix; KeyError where there is none."""
        return self._values[f"gatecast_{name}", frozenset(labels.items())]

    def total(self, name: str) -> float:
        """Of all samples of this name, as several workers have them; 0 where there is none."""
        return sum(value for (sample, _), value in self._values.items() if sample == f"gatecast_{name}")

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """Values above 0 by one label, summed over all labels that are not given."""
        found: dict[str, float] = {}
        for (sample, pairs), value in self._values.items():
            here = dict(pairs)
            if sample == f"gatecast_{name}" and labels.items() <= here.items() and value:
                found[here[label]] = found.get(here[label], 0.0) + value
        return found


def scrape(url: str) -> Metrics:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        assert answer.status == 200
        return Metrics(answer.read().decode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A message that was read back."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def find_ends(bootstrap: str, topic: str) -> dict[int, int]:
    with open_reader(bootstrap) as reader:
        partitions = [TopicPartition(topic, number) for number in reader.partitions_for_topic(topic)]
        return {at.partition: end for at, end in reader.end_offsets(partitions).items()}


def read_topic(bootstrap: str, topic: str) -> list[Record]:
    """All messages that are in it now, by partition."""
    found: list[Record] = []
    with open_reader(bootstrap) as reader:
        partitions = [TopicPartition(topic, number) for number in sorted(reader.partitions_for_topic(topic))]
        for partition, end in reader.end_offsets(partitions).items():
            found += _read(reader, partition, end)
    return found


def list_forecast_times(bootstrap: str, topic: str) -> dict[str, list[int]]:
    """Origins of the champion's forecasts in JSON, by series, as they lie in the topic."""
    found: dict[str, list[int]] = {}
    for record in read_topic(bootstrap, topic):
        row = json.loads(record.value or b"")
        assert row["forecaster"] == "blend"
        found.setdefault(row["series"], []).append(row["time"])
    return found


def _read(reader: KafkaConsumer, partition: TopicPartition, end: int) -> Iterator[Record]:
    reader.assign([partition])
    reader.seek_to_beginning(partition)
    while reader.position(partition) < end:
        for message in reader.poll(timeout_ms=1_000, max_records=10_000).get(partition, []):
            yield Record(
                partition=message.partition,
                offset=message.offset,
                timestamp_ms=message.timestamp,
                key=message.key,
                value=message.value,
                headers=[(name, value) for name, value in message.headers],
            )


@contextmanager
def open_reader(bootstrap: str) -> Iterator[KafkaConsumer]:
    reader = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    try:
        yield reader
    finally:
        reader.close()
