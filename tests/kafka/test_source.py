from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from pipeline.demo.kafka_server import PASSWORD, USER, KafkaServer
from pipeline.kafka_options import KafkaOptions
from pipeline.ports import Commit, Partition, Position, SourceError, TopicFacts
from pipeline.sources.kafka import KafkaSource
from tests.kafka.workers import Handler, Reader, wait_until

MakeTopic = Callable[..., str]


@pytest.fixture
def source(options: KafkaOptions) -> Iterator[KafkaSource]:
    source = KafkaSource(options, Handler())
    yield source
    source.close(5.0)


def test_messages_come_by_partition_in_order(
    options: KafkaOptions, source: KafkaSource, make_topic: MakeTopic, producer: KafkaProducer
) -> None:
    topic = make_topic(options.topics[0], partitions=2)
    for n in range(300):
        producer.send(topic, b"%d" % n, key=b"k%d" % n, partition=n % 2, headers=[("n", b"%d" % n)])
    producer.send(topic, None, key=b"gone", partition=0)
    producer.flush()
    reader = Reader(source)

    wait_until(lambda: len(reader.values) == 301, reader)

    assert reader.owned == {Partition(topic, 0), Partition(topic, 1)}
    for number in (0, 1):
        mine = [messages for messages in reader.messages if messages.partition == number]
        offsets = [offset for messages in mine for offset in messages.offset.tolist()]
        assert offsets == list(range(151 - number))
        values = [value for messages in mine for value in messages.value]
        assert values[:150] == [b"%d" % n for n in range(number, 300, 2)]
        first = mine[0]
        assert first.key[0] == b"k%d" % number
        assert list(first.headers[0]) == [("n", b"%d" % number)]
        assert abs(first.timestamp_ms[0] / 1000 - time.time()) < 600
    assert values[150:] == []
    tombstones = [m.key[-1] for m in reader.messages if m.value[-1] is None]
    assert tombstones == [b"gone"]


def test_aborted_and_open_transactions_are_not_seen(
    options: KafkaOptions, source: KafkaSource, make_topic: MakeTopic, bootstrap: str
) -> None:
    topic = make_topic(options.topics[0])
    partition = Partition(topic, 0)
    reader = Reader(source)
    with KafkaProducer(bootstrap_servers=bootstrap, transactional_id=topic) as writer:
        writer.init_transactions()
        for value, ending in ((b"good", "commit"), (b"bad", "abort"), (b"fine", "commit")):
            writer.begin_transaction()
            writer.send(topic, value)
            writer.flush()
            writer.commit_transaction() if ending == "commit" else writer.abort_transaction()
        wait_until(lambda: len(reader.values) == 2, reader)
        wait_until(lambda: source.read_to_end(partition), reader)

        writer.begin_transaction()
        writer.send(topic, b"open")
        writer.flush()
        deadline = time.monotonic() + 2.5
        while time.monotonic() < deadline:
            reader.poll()
        # The end of what may be read lies before the open transaction, so there is no lag.
        assert source.read_to_end(partition)
        assert reader.values == [b"good", b"fine"]

        writer.commit_transaction()
        wait_until(lambda: reader.values == [b"good", b"fine", b"open"], reader)


def test_commit_keeps_metadata_and_is_read_back(
    options: KafkaOptions, source: KafkaSource, make_topic: MakeTopic, producer: KafkaProducer
) -> None:
    topic = make_topic(options.topics[0], partitions=2)
    first, second, foreign = Partition(topic, 0), Partition(topic, 1), Partition("elsewhere", 0)
    reader = Reader(source)
    wait_until(lambda: len(reader.owned) == 2, reader)
    assert source.committed(first) is None

    position = Position(offset=7, metadata="1b2c:" + "9f" * 32)
    done = source.commit({first: position, foreign: position})

    assert done == Commit(done=frozenset({first}), refused={foreign: "not_owned"})
    assert source.committed(first) == position
    assert source.committed(second) is None


def test_a_partition_is_paused_until_it_is_started(
    options: KafkaOptions, source: KafkaSource, make_topic: MakeTopic, producer: KafkaProducer
) -> None:
    topic = make_topic(options.topics[0])
    partition = Partition(topic, 0)
    for n in range(10):
        producer.send(topic, b"%d" % n)
    producer.flush()
    assigned: list[Partition] = []
    seen = []
    deadline = time.monotonic() + 20
    while not assigned and time.monotonic() < deadline:
        seen += source.poll(0.1)
        assigned = source.take_assigned()
    for _ in range(5):
        seen += source.poll(0.1)
    assert assigned == [partition]
    assert seen == []
    assert source.bounds(partition) == (0, 10)

    assert source.start(partition, 4)
    reader = Reader(source)
    wait_until(lambda: len(reader.values) == 6, reader)
    assert reader.values[0] == b"4"

    source.pause(partition)
    producer.send(topic, b"later").get(10)
    for _ in range(5):
        assert source.poll(0.1) == []
    wait_until(lambda: source.lag(partition) == 1, reader)
    assert not source.read_to_end(partition)
    source.resume(partition)
    wait_until(lambda: reader.values[-1] == b"later", reader)
    assert not source.start(Partition(topic, 5), 0)


def test_offset_below_the_start_is_counted_and_left_behind(
    options: KafkaOptions, source: KafkaSource, make_topic: MakeTopic, producer: KafkaProducer, bootstrap: str
) -> None:
    topic = make_topic(options.topics[0])
    for n in range(20):
        producer.send(topic, b"%d" % n)
    producer.flush()
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.delete_records({TopicPartition(topic, 0): 12})
    admin.close()
    partition = Partition(topic, 0)
    reader = Reader(source)

    wait_until(lambda: len(reader.values) == 8, reader)

    assert reader.values[0] == b"12"
    assert source.take_lost() == {partition: 12}
    assert source.take_lost() == {}
    assert source.stopped == {}


def test_offset_behind_the_end_stops_that_partition_alone(
    options: KafkaOptions, source: KafkaSource, make_topic: MakeTopic, producer: KafkaProducer
) -> None:
    topic = make_topic(options.topics[0], partitions=2)
    bad = Partition(topic, 0)
    reader = Reader(source)
    wait_until(lambda: len(reader.owned) == 2, reader)
    source.start(bad, 1_000)

    wait_until(lambda: bad in source.stopped, reader)

    assert source.stopped[bad] == (
        "offset 1000 is behind its end 0: the topic was made anew, or its log lost"
    )
    producer.send(topic, b"other", partition=1).get(10)
    wait_until(lambda: reader.values == [b"other"], reader)
    source.resume(bad)  # somebody's memory is free again; the partition stays stopped
    assert bad in source.stopped
    assert source.start(bad, 0)
    assert source.stopped == {}


def test_missing_topic_is_named_and_read_once_it_is_there(
    options: KafkaOptions, source: KafkaSource, make_topic: MakeTopic, producer: KafkaProducer
) -> None:
    reader = Reader(source)
    topic = options.topics[0]
    wait_until(lambda: source.trouble is not None and topic in source.trouble.reason, reader)
    assert source.trouble is not None
    assert source.trouble.reason == (
        f"{options.servers} has no topic {topic}: make it with `gatecast topics create`, "
        "or correct kafka.topics"
    )
    assert list(source.missing_topics) == [topic]
    with pytest.raises(SourceError, match=f"has no topic {topic}: make it with `gatecast topics create`"):
        source.topic_facts(topic)

    make_topic(topic)
    producer.send(topic, b"first").get(10)

    wait_until(lambda: reader.values == [b"first"], reader)
    assert source.trouble is None
    assert list(source.missing_topics) == []


def test_assignment_is_applied_however_short_the_polls_are(
    options: KafkaOptions, source: KafkaSource, make_topic: MakeTopic
) -> None:
    """kafka-python 3.0.12 forgets a rebalance that began with new metadata and ended between two polls: the
    member stayed in it for ever, without heartbeats."""
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        source.poll(0.0)
    topic = make_topic(options.topics[0], partitions=2)
    assigned: list[Partition] = []
    deadline = time.monotonic() + 20
    while len(assigned) < 2 and time.monotonic() < deadline:
        source.poll(0.0)
        assigned += source.take_assigned()
        time.sleep(0.02)  # somebody works between polls
    assert assigned == [Partition(topic, 0), Partition(topic, 1)]


class _Latin1(str):
    """A header's name as a C client may send it."""

    def encode(self, *_: object, **__: object) -> bytes:
        return b"Ger\xe4t"


def test_header_whose_name_is_not_utf8_stops_nothing(
    options: KafkaOptions, source: KafkaSource, make_topic: MakeTopic, producer: KafkaProducer
) -> None:
    """It made poll of kafka-python 3.0.12 spin for ever."""
    topic = make_topic(options.topics[0])
    producer.send(topic, b"1")
    producer.send(topic, b"2", headers=[(_Latin1("x"), b"\x00"), ("plain", b"")])
    producer.send(topic, b"3").get(10)
    reader = Reader(source)
    wait_until(lambda: reader.values == [b"1", b"2", b"3"], reader)
    headers = [list(each) for messages in reader.messages for each in messages.headers]
    assert headers == [[], [("Ger\ufffdt", b"\x00"), ("plain", b"")], []]


def test_pattern_reads_whole_names_and_none_of_our_outputs(
    options: KafkaOptions, make_topic: MakeTopic, producer: KafkaProducer
) -> None:
    name = options.topics[0]
    patterned = replace(options, topics=(f"re:{name}.*",))
    make_topic(name)
    for unread in (options.forecasts_topic, options.alerts_topic, f"{name}.rejected", f"x-{name}"):
        producer.send(make_topic(unread), b"unread").get(10)
    producer.send(name, b"read").get(10)
    source = KafkaSource(patterned, Handler())
    reader = Reader(source)
    try:
        wait_until(lambda: reader.values == [b"read"], reader)
        assert reader.owned == {Partition(name, 0)}
        producer.send(make_topic(f"{name}.late"), b"late").get(10)
        wait_until(lambda: reader.values == [b"read", b"late"], reader, timeout_s=60)
    finally:
        source.close(5.0)


def test_topic_facts(
    source: KafkaSource, options: KafkaOptions, make_topic: MakeTopic, bootstrap: str
) -> None:
    topic = make_topic(options.topics[0], partitions=3, message_timestamp_type="LogAppendTime")
    facts = source.topic_facts(topic)
    assert facts == TopicFacts(topic_id=facts.topic_id, partitions=3, timestamp_type="LogAppendTime")

    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.delete_topics([topic])
    admin.close()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            make_topic(topic)
            break
        except Exception:
            time.sleep(0.2)
    again = source.topic_facts(topic)
    assert again.timestamp_type == "CreateTime"
    assert again.topic_id != facts.topic_id


def test_wrong_password_is_one_sentence(options: KafkaOptions, own_server: KafkaServer) -> None:
    login = replace(
        options,
        bootstrap=(own_server.sasl_bootstrap,),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username=USER,
        sasl_password="wrong",
    )
    refused = KafkaSource(login, Handler())
    # The broker says no and hangs up; kafka-python may notice the second before it has read the first.
    with pytest.raises(
        SourceError, match=f"refused the login of '{USER}' by PLAIN: check kafka.sasl_username"
    ):
        wait_until(lambda: refused.poll(1.0) != [])
    refused.close(1.0)

    welcome = KafkaSource(replace(login, sasl_password=PASSWORD), Handler())
    reader = Reader(welcome)
    wait_until(lambda: welcome.trouble is not None and "has no topic" in welcome.trouble.reason, reader)
    welcome.close(5.0)


def test_a_start_warns_of_nothing(
    options: KafkaOptions, source: KafkaSource, make_topic: MakeTopic, caplog: pytest.LogCaptureFixture
) -> None:
    """The first poll ends before the group's broker is found: it warned of a lost connection."""
    topic = make_topic(options.topics[0])
    reader = Reader(source)
    with caplog.at_level("INFO", logger="pipeline"):
        source.poll(0.0)
        wait_until(lambda: reader.owned == {Partition(topic, 0)} and source.trouble is None, reader)
    ours = [record for record in caplog.records if record.name.startswith("pipeline")]
    assert [record.getMessage() for record in ours if record.levelname != "INFO"] == []
