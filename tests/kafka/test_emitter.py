from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from pipeline.demo.kafka_server import KafkaServer
from pipeline.exporters.kafka import EmitterError, KafkaEmitter
from pipeline.kafka_options import EmitterOptions, KafkaOptions
from pipeline.placement import find_partition
from pipeline.records import Alert, Forecasts, Messages, Rejected
from tests.kafka.conftest import make_options
from tests.kafka.workers import wait_until

MakeTopic = Callable[..., str]


def make_forecasts(series: int = 20, steps: int = 4) -> Forecasts:
    random = np.random.default_rng(7)
    mean = random.normal(80, 30, (series, 2, steps)).astype(np.float32)
    return Forecasts(
        series=[f"boiler/{n}/°C" for n in range(series)],
        event_time_ms=np.arange(series, dtype=np.int64) * 1_000 + 1_795_415_863_000,
        step_ms=np.full(series, 1_000, dtype=np.int64),
        forecasters=("lstm", "blend"),
        mean=mean,
        lower=mean - np.float32(0.1),
        upper=mean + np.float32(1 / 3),
    )


def make_messages(topic: str, values: list[bytes | None]) -> Messages:
    number = len(values)
    return Messages(
        topic=topic,
        partition=3,
        offset=np.arange(100, 100 + number),
        timestamp_ms=np.zeros(number, dtype=np.int64),
        key=[b"key"] * number,
        value=values,
        headers=[[("trace", b"\x00\xff")]] * number,
    )


def read(bootstrap: str, topic: str, number: int) -> list[Any]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None)
    partitions = [TopicPartition(topic, each) for each in consumer.partitions_for_topic(topic)]
    consumer.assign(partitions)
    found: list[Any] = []
    deadline = time.monotonic() + 30
    while len(found) < number and time.monotonic() < deadline:
        for records in consumer.poll(timeout_ms=200).values():
            found += records
    for records in consumer.poll(timeout_ms=300).values():
        found += records
    consumer.close()
    assert len(found) == number
    return found


@pytest.fixture
def lost() -> list[str]:
    return []


@pytest.fixture
def emit(
    options: KafkaOptions, make_topic: MakeTopic, lost: list[str]
) -> Iterator[Callable[..., KafkaEmitter]]:
    made = []

    def make(**settings: Any) -> KafkaEmitter:
        made.append(KafkaEmitter(options, EmitterOptions(**settings), lost.append))
        return made[-1]

    make_topic(options.forecasts_topic, partitions=3)
    make_topic(options.alerts_topic)
    yield make
    for emitter in made:
        emitter.close(1.0)


def test_json_forecasts_read_back_equal(
    options: KafkaOptions, emit: Callable[..., KafkaEmitter], bootstrap: str
) -> None:
    forecasts = make_forecasts()
    emitter = emit()
    emitter.prepare()
    emitter.forecasts(forecasts)
    emitter.flush(20.0)

    records = read(bootstrap, options.forecasts_topic, 40)

    seen = set()
    for record in records:
        found = json.loads(record.value)
        n = forecasts.series.index(found["series"])
        e = forecasts.forecasters.index(found["forecaster"])
        seen.add((n, e))
        assert record.key == found["series"].encode()
        assert record.partition == find_partition(found["series"], 3)
        assert list(found) == [
            "version", "series", "time", "forecaster", "step_ms", "steps", "mean", "lower", "upper"
        ]  # fmt: skip
        assert (found["version"], found["step_ms"]) == (1, 1_000)
        assert found["time"] == forecasts.event_time_ms[n]
        assert found["steps"] == [1, 2, 3, 4]
        for name in ("mean", "lower", "upper"):
            there = np.array(found[name], dtype=np.float32)
            assert there.tobytes() == getattr(forecasts, name)[n, e].tobytes()
    assert len(seen) == 40


def test_what_is_sent_is_chosen(
    options: KafkaOptions, emit: Callable[..., KafkaEmitter], bootstrap: str
) -> None:
    forecasts = make_forecasts()
    emitter = emit(forecasters=("blend",), steps=(1, 3, 99), every=5)
    emitter.forecasts(forecasts)
    emitter.flush(20.0)
    found = [json.loads(record.value) for record in read(bootstrap, options.forecasts_topic, 4)]
    # Every fifth step of the grid, whenever this worker was started.
    assert {each["time"] // 1_000 % 5 for each in found} == {0}
    assert {each["forecaster"] for each in found} == {"blend"}
    for each in found:
        n = forecasts.series.index(each["series"])
        assert each["steps"] == [1, 3]
        assert np.array_equal(np.float32(each["mean"]), forecasts.mean[n, 1, [0, 2]])


def test_arrow_forecasts_lie_where_json_ones_would(
    options: KafkaOptions, emit: Callable[..., KafkaEmitter], bootstrap: str
) -> None:
    forecasts = make_forecasts(series=30)
    emitter = emit(format="arrow")
    emitter.forecasts(forecasts)
    emitter.flush(20.0)
    rows = 0
    for record in read(bootstrap, options.forecasts_topic, 6):  # a message per partition and forecaster
        assert record.key is None
        table = pa.ipc.open_stream(BytesIO(record.value)).read_all()
        assert table.column_names == [
            "version", "series", "time", "forecaster", "step_ms", "steps", "mean", "lower", "upper"
        ]  # fmt: skip
        for row in table.to_pylist():
            rows += 1
            n = forecasts.series.index(row["series"])
            e = forecasts.forecasters.index(row["forecaster"])
            assert record.partition == find_partition(row["series"], 3)
            assert int(row["time"].timestamp() * 1000) == forecasts.event_time_ms[n]
            assert np.array_equal(np.float32(row["upper"]), forecasts.upper[n, e])
            assert row["steps"] == [1, 2, 3, 4]
    assert rows == 60


def test_alerts_carry_who_says_so(
    options: KafkaOptions, emit: Callable[..., KafkaEmitter], bootstrap: str
) -> None:
    alert = Alert(
        id="a-1",
        kind="silent",
        state="firing",
        severity="warning",
        series="boiler/3",
        name="Boiler 3",
        unit="°C",
        labels={"site": "Köln", "area": "", "equipment": "", "owner": ""},
        started=1_000,
        ended=None,
        time=2_000,
        value=None,
        expected=None,
        lower=None,
        upper=None,
        score=None,
        reason="no reading for 10 min",
        forecaster=None,
        resolution=None,
    )
    emitter = emit(software="gatecast 0.1", config="c0ffee")
    emitter.alerts([alert])
    emitter.flush(20.0)
    (record,) = read(bootstrap, options.alerts_topic, 1)
    found = json.loads(record.value)
    assert record.key == b"boiler/3"
    assert found["version"] == 1
    assert (found["software"], found["config"]) == ("gatecast 0.1", "c0ffee")
    assert (found["id"], found["state"], found["ended"]) == ("a-1", "firing", None)
    assert found["labels"]["site"] == "Köln"


def test_dead_letters_keep_the_message_and_say_why(
    options: KafkaOptions,
    emit: Callable[..., KafkaEmitter],
    make_topic: MakeTopic,
    lost: list[str],
    bootstrap: str,
) -> None:
    make_topic(options.topics[0] + ".rejected")
    messages = make_messages(options.topics[0], [b"good", b"not json \xff", b"[...]"])
    many = Rejected(message=2, reasons=("no_time",) * 150, indices=tuple(range(150)))
    emitter = emit()
    emitter.rejected(messages, [Rejected(message=1, reasons=("not_decodable",), indices=(-1,)), many])
    emitter.flush(20.0)
    first, second = read(bootstrap, options.topics[0] + ".rejected", 2)
    assert (first.key, first.value) == (b"key", b"not json \xff")
    assert list(first.headers) == [
        ("trace", b"\x00\xff"),
        ("gatecast-reasons", b"not_decodable"),
        ("gatecast-indices", b"-1"),
        ("gatecast-topic", options.topics[0].encode()),
        ("gatecast-partition", b"3"),
        ("gatecast-offset", b"101"),
    ]
    indices = dict(second.headers)["gatecast-indices"].split(b",")
    assert indices == [b"%d" % n for n in range(100)]
    assert lost == []


@pytest.mark.parametrize(
    "limit", ["1048588", "20000"], ids=["beyond the client's limit", "beyond the topic's"]
)
def test_dead_letter_too_large_is_cut(
    options: KafkaOptions,
    emit: Callable[..., KafkaEmitter],
    make_topic: MakeTopic,
    lost: list[str],
    bootstrap: str,
    limit: str,
) -> None:
    topic = make_topic(options.topics[0] + ".rejected", max_message_bytes=limit)
    value = np.random.default_rng(1).bytes(1_200_000 if limit == "1048588" else 100_000)
    emitter = emit()
    refused = Rejected(message=0, reasons=("too_large",), indices=(-1,))
    emitter.rejected(make_messages(options.topics[0], [value]), [refused])
    emitter.flush(20.0)
    (record,) = read(bootstrap, topic, 1)
    assert record.value == value[:1024]
    assert record.headers[-1] == ("gatecast-cut", b"true")
    assert lost == []


def test_missing_dead_letter_topic_is_counted_and_holds_nothing_up(
    options: KafkaOptions, emit: Callable[..., KafkaEmitter], lost: list[str], bootstrap: str
) -> None:
    emitter = emit()
    emitter.prepare()
    messages = make_messages(options.topics[0], [b"bad"] * 50)
    refused = [Rejected(message=n, reasons=("no_time",), indices=(0,)) for n in range(50)]
    begun = time.monotonic()
    emitter.rejected(messages, refused)
    assert time.monotonic() - begun < 8  # a second of asking once, not for each; connecting comes on top
    emitter.forecasts(make_forecasts())
    emitter.flush(20.0)
    assert lost == ["no such topic"] * 50
    assert len(read(bootstrap, options.forecasts_topic, 40)) == 40


def test_missing_forecasts_topic_is_one_sentence(options: KafkaOptions) -> None:
    emitter = KafkaEmitter(options, EmitterOptions())
    with pytest.raises(
        EmitterError,
        match=f"has no topic {options.forecasts_topic}: make it with `gatecast topics create`, "
        "or correct its name in section kafka",
    ):
        emitter.prepare()
    emitter.close(1.0)


def test_forecast_that_can_not_be_delivered_fails_every_flush(
    options: KafkaOptions, make_topic: MakeTopic
) -> None:
    make_topic(options.forecasts_topic, max_message_bytes="300")
    make_topic(options.alerts_topic)
    emitter = KafkaEmitter(replace(options, compression="none"), EmitterOptions())
    emitter.forecasts(make_forecasts(series=1, steps=48))
    for _ in range(2):
        with pytest.raises(EmitterError, match=r"something was not delivered: .*MessageSizeTooLarge"):
            emitter.flush(20.0)
    emitter.close(1.0)


def test_full_buffer_waits_and_loses_nothing(server: KafkaServer) -> None:
    options = make_options(server.bootstrap, "held")
    admin = KafkaAdminClient(bootstrap_servers=server.bootstrap)
    plan = {"num_partitions": 1, "replication_factor": 1}
    admin.create_topics({options.forecasts_topic: plan, options.alerts_topic: plan}, wait_for_metadata=True)
    admin.close()
    emitter = KafkaEmitter(options, EmitterOptions(buffer_bytes=5_000))
    emitter.prepare()
    server.freeze()
    waves = 10  # of 4 messages with a good kilobyte each

    def send_all() -> None:
        for _ in range(waves):
            emitter.forecasts(make_forecasts(series=2, steps=24))

    writer = threading.Thread(target=send_all)
    writer.start()
    wait_until(lambda: not emitter.has_room)
    writer.join(1.0)
    assert writer.is_alive()  # waits for room
    with pytest.raises(TimeoutError, match="has not taken all forecasts within 1 s; they are kept"):
        emitter.flush(1.0)
    server.thaw()
    writer.join(30.0)
    assert not writer.is_alive()
    emitter.flush(30.0)
    assert len(read(server.bootstrap, options.forecasts_topic, waves * 4)) == waves * 4
    emitter.close(1.0)


def test_close_does_not_wait_for_a_broker_that_stands_still(server: KafkaServer) -> None:
    """kafka-python's own `close` raised here, and its sender went on for as long as the process did."""
    options = make_options(server.bootstrap, "still")
    admin = KafkaAdminClient(bootstrap_servers=server.bootstrap)
    plan = {"num_partitions": 1, "replication_factor": 1}
    admin.create_topics({options.forecasts_topic: plan, options.alerts_topic: plan}, wait_for_metadata=True)
    admin.close()
    running = [each.name for each in threading.enumerate() if "network-thread" in each.name]
    emitter = KafkaEmitter(options, EmitterOptions())
    emitter.prepare()
    server.freeze()
    try:
        emitter.forecasts(make_forecasts())
        begun = time.monotonic()
        emitter.close(1.0)
        assert 1.0 <= time.monotonic() - begun < 3.0
        assert [each.name for each in threading.enumerate() if "network-thread" in each.name] == running
    finally:
        server.thaw()
    with pytest.raises(EmitterError, match="something was not delivered"):
        emitter.flush(0.1)
