"""Readings of a made-up plant as Kafka messages, and topics filled with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from pipeline.demo.encoding import Encoder
from pipeline.placement import find_partition
from pipeline.records import Readings

CADENCE_MS = 60_000
START_MS = 1_790_000_000_000
FLUSH_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """So many rounds of readings, one of each series in each, in messages of `batch` readings."""

    series: int
    rounds: int
    format: str
    batch: int

    @property
    def num_readings(self) -> int:
        return self.series * self.rounds


def make_readings(ids: tuple[str, ...], rounds: int) -> Readings:
    """Daily waves with noise, a reading of each series a minute."""
    draw = np.random.default_rng(0)
    minute = np.repeat(np.arange(rounds), len(ids))
    series = np.tile(np.arange(len(ids), dtype=np.int32), rounds)
    value = 20 + 5 * np.sin(2 * np.pi * (minute / 1440 + series / len(ids)))
    return Readings(
        series=ids,
        series_index=series,
        event_time_ms=START_MS + minute * CADENCE_MS,
        value=np.round(value + draw.normal(0, 0.2, minute.size), 3),
    )


def name_series(count: int) -> tuple[str, ...]:
    return tuple(f"plant/unit{k % 20}/sensor{k}" for k in range(count))


def encode(load: Load, partitions: int) -> Iterator[tuple[int, bytes | None, bytes]]:
    """Partition, key and value of each message; a series is always in one partition."""
    ids = name_series(load.series)
    placed = np.array([find_partition(name, partitions) for name in ids])
    encoder = Encoder(load.format, load.batch, with_quality=False)
    for partition in range(partitions):
        own = tuple(name for name, at in zip(ids, placed.tolist(), strict=True) if at == partition)
        if own:
            for key, value in encoder.encode(make_readings(own, load.rounds)):
                yield partition, key, value


def fill(bootstrap: str, topic: str, load: Load, partitions: int = 1) -> None:
    """Makes the topic and writes the load into it."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        settings = {"message.timestamp.type": "LogAppendTime"}
        admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=settings)])
    finally:
        admin.close()
    # uncompressed and in large batches: what is measured is reading, not unpacking
    with KafkaProducer(
        bootstrap_servers=bootstrap, linger_ms=20, batch_size=1 << 20, max_request_size=8 << 20
    ) as producer:
        for count, (partition, key, value) in enumerate(encode(load, partitions)):
            producer.send(topic, value=value, key=key, partition=partition)
            if count % 20_000 == 19_999:  # kafka-python puts no bound on what waits
                producer.flush(FLUSH_S)
        producer.flush(FLUSH_S)
