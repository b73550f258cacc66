"""Small plants for tests of this folder: what they say, the settings of who reads it, and what came of it."""

from __future__ import annotations

import json
import math
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from pipeline import adoption
from pipeline.store import Load, choose, open_store
from tests.kafka.processes import Workers

CADENCE_MS = 10_000
MakeTopic = Callable[..., str]


class Plant:
    """Sends readings of a few series to each partition: with gaps, repeats, bad values and rubbish."""

    def __init__(self, producer: KafkaProducer, topic: str, partitions: int, series: int) -> None:
        """series: in each partition."""
        self._producer, self.topic, self.partitions, self._series = producer, topic, partitions, series
        self._random = random.Random(7)
        self._begin_ms = int(time.time()) // 10 * 10_000 - 86_400_000
        self._step = 0
        self.readings: Counter[int] = Counter()
        """Sent so far, by partition."""
        self.messages: Counter[int] = Counter()

    def run(self, steps: int, period_s: float = 0.0) -> None:
        """So many readings of each series, one step every `period_s`; all are in the log on return."""
        for _ in range(steps):
            until = time.monotonic() + period_s
            for partition in range(self.partitions):
                self._say(partition)
            self._step += 1
            self._producer.flush()
            time.sleep(max(0.0, until - time.monotonic()))

    @property
    def last_ms(self) -> int:
        """Event time of the last readings."""
        return self._begin_ms + (self._step - 1) * CADENCE_MS

    def _say(self, partition: int) -> None:
        for number in range(self._series):
            chance = self._random.random()
            if chance < 0.01:
                continue
            value: float | str = 20.0 + number + 3.0 * math.sin(self._step / 7.0 + number + partition)
            value += self._random.gauss(0.0, 0.2)
            if 0.01 <= chance < 0.02 or (self._step % 50 in (20, 21, 22, 23) and number == 0):
                value = "Bad"
            reading = {
                "series": f"p{partition}/s{number}",
                "time": self._begin_ms + self._step * CADENCE_MS,
                "value": value,
            }
            for _ in range(2 if 0.02 <= chance < 0.03 else 1):
                self._send(partition, json.dumps(reading).encode())
                self.readings[partition] += 1
        if self._random.random() < 0.02:
            self._send(partition, b"\xff rubbish")

    def _send(self, partition: int, value: bytes) -> None:
        self._producer.send(self.topic, value, partition=partition)
        self.messages[partition] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A group of workers, with topics and a folder of its own."""

    bootstrap: str
    topic: str
    group: str
    folder: Path

    @property
    def forecasts_topic(self) -> str:
        return f"{self.group}-forecasts"

    @property
    def alerts_topic(self) -> str:
        return f"{self.group}-alerts"

    @property
    def rejected_suffix(self) -> str:
        return f".{self.group.rpartition('-')[2]}-rejected"

    def settings(self, **more: str) -> dict[str, str]:
        """Variables of a worker; more: such as kafka__session_timeout_ms="6000"."""
        chosen = {
            "kafka__bootstrap": self.bootstrap,
            "kafka__topics": self.topic,
            "kafka__group": self.group,
            "kafka__forecasts_topic": self.forecasts_topic,
            "kafka__alerts_topic": self.alerts_topic,
            "kafka__rejected_suffix": self.rejected_suffix,
            "forecasters__names": "naive,rnn,blend",
            "forecasters__horizon": "3",
            "forecasters__hidden": "8",
            "forecasters__device": "cpu",
            "learning__chunk": "8",
            "checkpoints__url": str(self.folder),
            "checkpoints__interval_s": "1",
            "server__port": "0",
            "log__format": "json",
        } | more
        return {f"GATECAST_{name.upper()}": text for name, text in chosen.items()}

    def read_committed(self) -> dict[int, int]:
        """The group's offsets by partition."""
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            found = adoption.read_committed(admin, self.group)
        finally:
            admin.close()
        return {at: position.offset for (topic, at), position in found.items() if topic == self.topic}

    def wait_until_committed(self, plant: Plant, timeout_s: float = 300.0) -> None:
        """Until all that the plant has said is in committed checkpoints."""
        deadline = time.monotonic() + timeout_s
        while (committed := self.read_committed()) != dict(plant.messages):
            assert time.monotonic() < deadline, f"expected {dict(plant.messages)}, committed is {committed}"
            time.sleep(0.1)

    def wait_until_forecast(self, plant: Plant, timeout_s: float = 120.0) -> None:
        """Until there are forecasts from the last readings of every partition, whether committed or not."""
        deadline = time.monotonic() + timeout_s
        while (said := len(self._find_said(plant.last_ms))) < plant.partitions:
            assert time.monotonic() < deadline, f"forecasts of {said} of {plant.partitions} partitions"
            time.sleep(0.2)

    def _find_said(self, time_ms: int) -> set[str]:
        """Partitions with forecasts from this time on, by the names of their series."""
        forecasts = map(json.loads, self.read_forecasts())
        return {each["series"].partition("/")[0] for each in forecasts if each["time"] >= time_ms}

    def finish(self, workers: Workers, settings: Mapping[str, str], plant: Plant) -> None:
        """A worker that nothing happens to works the log off and is stopped."""
        worker = workers.start(settings)
        self.wait_until_committed(plant)
        worker.stop()

    def read_states(self, plant: Plant) -> dict[int, dict[str, torch.Tensor]]:
        """By partition, what the next owner would begin with: it must be at the end of the log."""
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            about = adoption.describe_topic(admin, self.topic)
            committed = adoption.read_committed(admin, self.group)
        finally:
            admin.close()
        store, states = open_store(str(self.folder), self.group, self.topic), {}
        for partition in range(plant.partitions):
            position = committed[self.topic, partition]
            choice = choose(store, position, about.id, partition, plant.partitions, "earliest")
            assert isinstance(choice, Load), choice
            assert choice.notes == ()
            assert choice.checkpoint.manifest.next_offset == plant.messages[partition]
            states[partition] = choice.checkpoint.state
        return states

    def read_forecasts(self) -> Counter[bytes]:
        """Messages of the forecasts topic by their content."""
        return Counter(value for _, value in read_topic(self.bootstrap, self.forecasts_topic))

    def read_alerts(self) -> set[bytes]:
        """Messages of the alerts topic, but for those that the wall clock raises."""
        found = {value for _, value in read_topic(self.bootstrap, self.alerts_topic)}
        return {value for value in found if b'"silent"' not in value}


def build_plant(producer: KafkaProducer, make_topic: MakeTopic, *, partitions: int, series: int) -> Plant:
    """With a topic of its own; series: in each partition."""
    topic = make_topic(f"t-{uuid.uuid4().hex[:12]}", partitions=partitions)
    return Plant(producer, topic, partitions, series)


def deploy(bootstrap: str, make_topic: MakeTopic, topic: str, name: str, folder: Path) -> Deployment:
    """A deployment of that name with the topics that it sends to."""
    made = Deployment(bootstrap=bootstrap, topic=topic, group=f"{topic}-{name}", folder=folder / name)
    for each in (made.forecasts_topic, made.alerts_topic, topic + made.rejected_suffix):
        make_topic(each)
    return made


def read_topic(bootstrap: str, topic: str) -> list[tuple[float, bytes]]:
    """All messages of a topic of one partition: when they came (seconds since the epoch), and their value."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    place = TopicPartition(topic, 0)
    consumer.assign([place])
    consumer.seek_to_beginning(place)
    end = consumer.end_offsets([place])[place]
    found: list[tuple[float, bytes]] = []
    try:
        while consumer.position(place) < end:
            for records in consumer.poll(timeout_ms=500).values():
                found += [(record.timestamp / 1000.0, record.value) for record in records]
    finally:
        consumer.close()
    return found


def check_equal(plant: Plant, found: Deployment, expected: Deployment) -> None:
    """Same states bit for bit, every reading counted once; all forecasts and alerts, and no others."""
    states, truths = found.read_states(plant), expected.read_states(plant)
    for partition, truth in truths.items():
        state = states[partition]
        assert state.keys() == truth.keys()
        differing = [
            name
            for name in truth
            if not name.startswith("silence.") and not is_same(state[name], truth[name])
        ]
        assert differing == [], f"partition {partition}"
        assert int(state["intake.clock"][0]) == plant.readings[partition]
    once = expected.read_forecasts()
    assert once
    assert set(once.values()) == {1}  # nothing interrupted it
    assert set(found.read_forecasts()) == set(once)
    assert found.read_alerts() == expected.read_alerts()


def is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Bit for bit."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return one.contiguous().numpy().tobytes() == other.contiguous().numpy().tobytes()
