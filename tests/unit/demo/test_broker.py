"""Source and emitter on the in-memory broker, which the demo runs on."""

from __future__ import annotations

import time

import numpy as np

from pipeline.demo.broker import API_VERSION, run_broker
from pipeline.exporters.kafka import KafkaEmitter
from pipeline.kafka_options import EmitterOptions, KafkaOptions
from pipeline.ports import Partition, Position
from pipeline.records import Forecasts
from pipeline.sources.kafka import KafkaSource
from tests.kafka.workers import Handler, Reader, wait_until


def test_what_is_sent_is_read_and_committed() -> None:
    wave = np.ones((5, 1, 3), dtype=np.float32)
    forecasts = Forecasts(
        series=[f"s{n}" for n in range(5)],
        event_time_ms=np.zeros(5, dtype=np.int64),
        step_ms=np.ones(5, dtype=np.int64),
        forecasters=("lstm",),
        mean=wave,
        lower=wave,
        upper=wave,
    )
    version = ".".join(map(str, API_VERSION))
    with run_broker() as bootstrap:
        # The emitter's output is read as if it were readings: one topic is enough here.
        sender = KafkaOptions(
            bootstrap=(bootstrap,), api_version=version, makes_topics=True, forecasts_topic="there"
        )
        emitter = KafkaEmitter(sender, EmitterOptions())
        emitter.prepare()
        emitter.forecasts(forecasts)
        emitter.flush(20.0)
        emitter.close(1.0)

        source = KafkaSource(
            KafkaOptions(bootstrap=(bootstrap,), api_version=version, makes_topics=True, topics=("there",)),
            Handler(),
        )
        reader = Reader(source)
        wait_until(lambda: len(reader.values) == 5, reader)
        partition = next(iter(reader.owned))
        assert isinstance(partition, Partition)
        wait_until(lambda: bool(source.commit({partition: Position(offset=2, metadata="name")}).done), reader)
        assert source.committed(partition) == Position(offset=2, metadata="name")
        begun = time.monotonic()
        source.close(2.0)
        assert time.monotonic() - begun < 4
