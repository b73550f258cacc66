from __future__ import annotations

import time
from pathlib import Path

from kafka import KafkaAdminClient, KafkaProducer

from pipeline.demo.kafka_server import KafkaServer
from pipeline.ports import Partition, Position
from pipeline.sources.kafka import KafkaSource
from tests.kafka.conftest import make_options
from tests.kafka.workers import Handler, Reader, wait_until

SESSION_S = 6.0  # of make_options


def make_topic(server: KafkaServer, name: str) -> str:
    admin = KafkaAdminClient(bootstrap_servers=server.bootstrap)
    admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    admin.close()
    return name


def send(server: KafkaServer, topic: str, *values: bytes) -> None:
    with KafkaProducer(bootstrap_servers=server.bootstrap) as producer:
        for value in values:
            producer.send(topic, value)
        producer.flush()


def poll_for(reader: Reader, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        reader.poll(0.1)


def test_broker_away_for_longer_than_the_session(server: KafkaServer) -> None:
    topic = make_topic(server, "readings")
    partition = Partition(topic, 0)
    send(server, topic, b"before")
    handler = Handler()
    now = [1_000.0]
    source = KafkaSource(make_options(server.bootstrap, topic), handler, clock=lambda: now[0])
    reader = Reader(source)
    wait_until(lambda: reader.values == [b"before"], reader)
    assert source.trouble is None

    server.kill()
    now[0] = 2_000.0
    wait_until(lambda: source.trouble is not None, reader)
    now[0] = 2_100.0
    poll_for(reader, SESSION_S + 2)
    assert source.trouble is not None
    assert source.trouble.since_s == 2_000.0
    assert f"{server.bootstrap}: no connection to the group's broker" in source.trouble.reason
    assert "refused" in source.trouble.reason.lower() or "REFUSED" in source.trouble.reason
    assert not source.read_to_end(partition)  # nobody knows what lies there by now
    begun = time.monotonic()
    refused = source.commit({partition: Position(offset=1)})
    assert refused.refused == {partition: "unavailable"}
    assert time.monotonic() - begun < 10

    server.start()
    send(server, topic, b"after")
    wait_until(lambda: reader.values[-1] == b"after", reader, timeout_s=60)
    wait_until(lambda: source.trouble is None, reader)
    wait_until(lambda: source.read_to_end(partition), reader)
    wait_until(lambda: bool(source.commit({partition: Position(offset=2, metadata="m")}).done), reader)
    # Whether the group forgot this member or not, each message came once: nothing was committed before, so a
    # lost partition would have started at 0 again.
    assert reader.values == (
        [b"before", b"after"] if not handler.dropped else [b"before", b"before", b"after"]
    )
    source.close(5.0)


def test_broker_that_is_away_at_the_start(server: KafkaServer) -> None:
    topic = make_topic(server, "readings")
    server.stop()
    source = KafkaSource(make_options(server.bootstrap, topic), Handler())
    reader = Reader(source)
    reader.poll(0.1)
    assert source.trouble is not None
    assert source.trouble.reason.startswith(f"{server.bootstrap}: KafkaConnectionError")
    server.start()
    send(server, topic, b"first")
    wait_until(lambda: reader.values == [b"first"], reader, timeout_s=60)
    source.close(5.0)


def test_close_is_quick_while_the_broker_stands_still(server: KafkaServer) -> None:
    topic = make_topic(server, "readings")
    source = KafkaSource(make_options(server.bootstrap, topic), Handler())
    reader = Reader(source)
    wait_until(lambda: len(reader.owned) == 1, reader)
    server.freeze()
    begun = time.monotonic()
    source.close(2.0)
    assert time.monotonic() - begun < 4
    server.thaw()


def test_topic_made_anew_stops_its_partition(server: KafkaServer, tmp_path: Path) -> None:
    topic = make_topic(server, "readings")
    send(server, topic, *[b"old"] * 10)
    source = KafkaSource(make_options(server.bootstrap, topic), Handler())
    reader = Reader(source)
    wait_until(lambda: len(reader.values) == 10, reader)
    partition = Partition(topic, 0)
    assert source.commit({partition: Position(offset=10)}).done
    source.close(5.0)
    admin = KafkaAdminClient(bootstrap_servers=server.bootstrap)
    admin.delete_topics([topic])
    wait_until(lambda: topic not in admin.list_topics())
    admin.close()
    make_topic(server, topic)
    send(server, topic, b"new")

    again = KafkaSource(make_options(server.bootstrap, topic), Handler())
    late = Reader(again)
    # Deleting a topic deletes its committed offsets as well, as Kafka does; who holds an older position finds
    # out at once.
    wait_until(lambda: late.owned == {partition}, late)
    again.start(partition, 10)
    wait_until(lambda: partition in again.stopped, late)
    assert "offset 10 is behind its end 1" in again.stopped[partition]
    again.close(5.0)
