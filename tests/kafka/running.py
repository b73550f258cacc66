"""A whole worker on a thread of its own, with small banks, and readings for it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Any

import torch
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from pipeline.app import Worker
from pipeline.config import Config
from pipeline.ports import Partition
from tests.kafka.workers import WAIT_S

MINUTE_MS = 60_000
START_MS = int(time.time() // 60) * MINUTE_MS - 24 * 60 * MINUTE_MS
"""A day ago: old enough to be past, young enough for the broker to keep."""
SERIES = ("boiler/1", "boiler/2", "pump/3")
NAMES = ("naive", "linear", "rnn", "blend")

State = dict[str, torch.Tensor]


def build_config(bootstrap: str, topic: str, folder: Path, **sections: dict[str, Any]) -> Config:
    """Names of group and outputs follow the topic; sections are taken over key by key."""
    base: dict[str, dict[str, Any]] = {
        "kafka": {
            "bootstrap": (bootstrap,),
            "topics": (topic,),
            "group": f"{topic}-group",
            "session_timeout_ms": 6_000,
            "forecasts_topic": f"{topic}-forecasts",
            "alerts_topic": f"{topic}-alerts",
        },
        "readings": {"cadence_ms": MINUTE_MS, "season_ms": 10 * MINUTE_MS},
        "forecasters": {"names": NAMES, "horizon": 2, "hidden": 4, "device": "cpu"},
        "learning": {"chunk": 4, "replay": 2},
        "checkpoints": {"url": str(folder)},
        "server": {"port": 0},
    }
    return Config(**{name: base.get(name, {}) | sections.get(name, {}) for name in {*base, *sections}})  # type: ignore[arg-type]


def send_minutes(
    producer: KafkaProducer, topic: str, minutes: range, partitions: Sequence[int] = (0,)
) -> None:
    """A reading of every series for every minute, the same ones for each partition; then all is delivered."""
    for minute in minutes:
        for at, series in enumerate(SERIES):
            time_ms = START_MS + minute * MINUTE_MS
            value = 20.0 * at + (minute * (7 + at)) % 10 + minute / 50
            reading = {"series": series, "time": time_ms, "value": value}
            for partition in partitions:
                producer.send(topic, json.dumps(reading).encode(), partition=partition, timestamp_ms=time_ms)
    producer.flush()


class Running:
    """Runs from `with` to its end, which saves and commits; what the worker raised is raised there."""

    def __init__(self, config: Config, now: Callable[[], float] = time.time) -> None:
        self.worker = Worker(config, now=now)
        self.topic = config.kafka.topics[0]
        self._over = Event()
        self._failure: BaseException | None = None
        self._thread = Thread(target=self._run, name="worker")

    def _run(self) -> None:
        try:
            self.worker.run(self._over.is_set)
        except BaseException as error:
            self._failure = error

    def __enter__(self) -> Running:
        self._thread.start()
        while not self.worker.server.port and self._thread.is_alive():
            time.sleep(0.01)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        self._over.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive(), "the worker does not end"
        if self._failure is not None and kind is None:
            raise self._failure

    def wait_until(self, is_so: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_so():
            if self._failure is not None:
                raise self._failure
            assert time.monotonic() < deadline, f"not so within {timeout_s:.0f} s; {self.readyz()}"
            time.sleep(0.05)

    def wait_for_offset(self, offset: int, *partitions: int, timeout_s: float = WAIT_S) -> None:
        """Until all readings below the offset are learnt."""
        self.wait_until(
            lambda: all(self.next_offset(partition) >= offset for partition in partitions or (0,)), timeout_s
        )

    def next_offset(self, partition: int = 0) -> int:
        """-1 while it is not served."""
        holding = self.worker.runner.holdings.get(Partition(self.topic, partition))
        return -1 if holding is None else holding.next_offset

    def count(self, fate: str, partition: int = 0) -> int:
        return int(self.worker.runner.holdings[Partition(self.topic, partition)].shard.counts.get(fate, 0))

    def state(self, partition: int = 0) -> State:
        """To be asked when it has ended. Without what depends on the wall clock."""
        state = self.worker.runner.holdings[Partition(self.topic, partition)].shard.save()
        return {name: column for name, column in state.items() if not name.startswith("silence.")}

    def readyz(self) -> dict[int | None, str]:
        """What `/readyz` says: reasons by partition, that of the whole worker under None; none: ready."""
        try:
            answer = urllib.request.urlopen(f"{self.worker.server.url}/readyz", timeout=10)
            status, body = answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                status, body = error.code, json.loads(error.read())
        assert status == (200 if body["ready"] else 503)
        assert body["ready"] == (not body["obstacles"])
        return {each["partition"]: each["reason"] for each in body["obstacles"]}

    def metric(self, name: str, **labels: str) -> float:
        value = self.worker.registry.get_sample_value(name, labels)
        assert value is not None, f"no metric {name} {labels}"
        return value


def assert_equal(one: State, other: State) -> None:
    """Bit for bit."""
    assert one.keys() == other.keys()
    unequal = [
        name
        for name, column in one.items()
        if column.shape != other[name].shape or column.numpy().tobytes() != other[name].numpy().tobytes()
    ]
    assert unequal == []


def read_all(bootstrap: str, topic: str) -> list[dict[str, Any]]:
    """All messages of a topic of outputs, decoded, in the order of each partition."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + WAIT_S
        while any(consumer.position(each) < end for each, end in ends.items()):
            assert time.monotonic() < deadline
            for records in consumer.poll(timeout_ms=200).values():
                found += [json.loads(record.value) for record in records]
        return found
    finally:
        consumer.close()
