"""`gatecast bench ingest`: from a topic to columns of readings, by the worker's own source and codec.

The yardstick is a consumer of kafka-python with `json.loads` for each record of the same topic of one-reading
messages. What another client would be worth is a case of its own: confluent-kafka in place of our source,
with the same codec; it fetches ahead on threads of its own, before the clock starts too. All read the whole
topic, one after the other. The clock runs from the first records in hand to the last: nobody is charged for
connecting, nor we for joining a group.
"""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial

import confluent_kafka
import numpy as np
from kafka import KafkaConsumer, TopicPartition

from pipeline.benches.readings import Load, fill
from pipeline.benches.rows import Pace, Row, make_rows, measure
from pipeline.codec import CodecOptions, build_codec
from pipeline.kafka_options import KafkaOptions
from pipeline.ports import Partition, Position
from pipeline.records import Messages
from pipeline.sources.kafka import KafkaSource

SERIES = 1_000
YARDSTICK = "kafka-python"
DESCRIBED = "kafka-python + json.loads, one reading a message"
WAIT_S = 120.0
AT_ONCE = 4_096  # messages that confluent-kafka is asked for at a time, of one reading each

CASES: Mapping[str, tuple[str, int, int]] = {
    "json": ("json", 1, 200),
    "columns": ("columns", 100, 1_000),
    "arrow": ("arrow", 1_000, 4_000),
}
"""By case: format, readings in a message, rounds of all series."""


class _Owner:
    """Saves nothing and keeps nothing: a source asks it when partitions go."""

    def freeze(self, partition: Partition) -> Future[Position] | None:
        return None

    def drop(self, partitions: Sequence[Partition], committed: Mapping[Partition, Position]) -> None:
        return


def run_ingest(bootstrap: str, runs: int, scale: float = 1.0) -> list[Row]:
    """scale: of the number of readings, for quick looks."""
    run = uuid.uuid4().hex[:8]
    works = {}
    for case, (format, batch, rounds) in CASES.items():
        load = Load(series=SERIES, rounds=max(round(rounds * scale), 1), format=format, batch=batch)
        topic = f"bench-{run}-{case}"
        fill(bootstrap, topic, load)
        works[case] = partial(read, bootstrap, topic, load)
        works[f"{case}, confluent-kafka"] = partial(read_with_confluent, bootstrap, topic, load)
        if case == "json":
            works[YARDSTICK] = partial(read_plainly, bootstrap, topic, load)
    rates = measure(works, runs)
    return make_rows(rates, YARDSTICK, DESCRIBED, series=SERIES, unit="readings/s", runs=runs)


def read(bootstrap: str, topic: str, load: Load) -> float:
    """The whole topic as the worker reads it; readings per second."""
    options = KafkaOptions(bootstrap=(bootstrap,), topics=(topic,), group=f"bench-{uuid.uuid4().hex}")
    source = KafkaSource(options, _Owner())
    codec = build_codec(CodecOptions(format=load.format))
    pace, deadline = Pace(), time.monotonic() + WAIT_S
    try:
        while pace.done < load.num_readings:
            for messages in source.poll(0.1):
                pace.add(len(codec.decode(messages).readings))
            for partition in source.take_assigned():
                source.start(partition, 0)
            _check(pace.done, load, deadline)
    finally:
        source.close(5.0)
    return pace.rate


def read_with_confluent(bootstrap: str, topic: str, load: Load) -> float:
    """The whole topic by confluent-kafka (librdkafka) and our codec."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"bench-{uuid.uuid4().hex}",
            "client.id": socket.gethostname(),
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.assign([confluent_kafka.TopicPartition(topic, 0, 0)])
    codec = build_codec(CodecOptions(format=load.format))
    pace, deadline = Pace(), time.monotonic() + WAIT_S
    try:
        while pace.done < load.num_readings:
            found = consumer.consume(max(AT_ONCE // load.batch, 16), 0.1)
            if found:
                pace.add(len(codec.decode(_gather(topic, found)).readings))
            _check(pace.done, load, deadline)
    finally:
        consumer.close()
    return pace.rate


def _gather(topic: str, found: Sequence[confluent_kafka.Message]) -> Messages:
    return Messages(
        topic=topic,
        partition=0,
        offset=np.array([one.offset() for one in found], np.int64),
        timestamp_ms=np.array([one.timestamp()[1] for one in found], np.int64),
        key=[one.key() for one in found],
        value=[one.value() for one in found],
        headers=[()] * len(found),
    )


def read_plainly(bootstrap: str, topic: str, load: Load) -> float:
    """The same topic by the yardstick."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topic, 0)])
    pace, deadline = Pace(), time.monotonic() + WAIT_S
    series: list[str] = []
    times: list[int] = []
    values: list[float] = []
    try:
        while pace.done < load.num_readings:
            before = len(values)
            for records in consumer.poll(timeout_ms=100).values():
                for record in records:
                    reading = json.loads(record.value)
                    series.append(reading["series"])
                    times.append(reading["time"])
                    values.append(reading["value"])
            pace.add(len(values) - before)
            _check(pace.done, load, deadline)
    finally:
        consumer.close()
    return pace.rate


def _check(done: int, load: Load, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError(
            f"expected {load.num_readings} readings within {WAIT_S:.0f} s, got {done}; is the broker well?"
        )
