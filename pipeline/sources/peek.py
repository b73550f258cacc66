"""The newest messages of a topic, without joining a group and without committing anything."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from kafka import KafkaConsumer, TopicPartition  # type: ignore[import-untyped, unused-ignore]
from kafka.errors import KafkaError  # type: ignore[import-untyped, unused-ignore]

from pipeline.clients import BrokerError
from pipeline.records import Messages

TIMEOUT_S = 20.0  # for all partitions together; a log with holes may never reach its counted end
_POLL_MS = 500
_DEFAULTS: dict[str, Any] = {
    "client_id": "gatecast-inspect",
    "bootstrap_timeout_ms": 10_000,
    "allow_auto_create_topics": False,
    "enable_auto_commit": False,
    "group_id": None,
}


def read_newest(bootstrap: str, topic: str, count: int, settings: Mapping[str, Any]) -> list[Messages]:
    """The last ``count`` messages, evenly over the partitions; one batch for each, some may be empty.

    Raises BrokerError if the broker can't be reached or has no such topic.
    """
    try:
        client = KafkaConsumer(bootstrap_servers=bootstrap, **{**_DEFAULTS, **settings})
    except KafkaError as error:
        raise BrokerError(
            f"expected a Kafka broker at {bootstrap}, but none answered ({error}); name it with --bootstrap"
        ) from error
    except (AssertionError, TypeError, ValueError, OSError) as error:
        raise BrokerError(f"the client can't be set up: {error}; check --client") from error
    try:
        numbers = client.partitions_for_topic(topic)
        if not numbers:
            raise BrokerError(f"expected a topic {topic} on {bootstrap}, but there is none; check --topic")
        return _read(client, topic, sorted(numbers), count)
    except (KafkaError, ValueError, TypeError) as error:
        raise BrokerError(f"{topic} on {bootstrap} can't be read: {error}") from error
    finally:
        client.close(autocommit=False)


def _read(client: Any, topic: str, numbers: list[int], count: int) -> list[Messages]:
    places = [TopicPartition(topic, number) for number in numbers]
    client.assign(places)
    first, end = client.beginning_offsets(places), client.end_offsets(places)
    each = -(-count // len(places))
    for place in places:
        client.seek(place, max(first[place], end[place] - each))
    found: dict[Any, list[Any]] = {place: [] for place in places}
    deadline_s = time.monotonic() + TIMEOUT_S
    while any(client.position(place) < end[place] for place in places) and time.monotonic() < deadline_s:
        for place, records in client.poll(timeout_ms=_POLL_MS).items():
            found[place] += [record for record in records if record.offset < end[place]]
    return [_pack(place, records) for place, records in found.items()]


def _pack(place: Any, records: list[Any]) -> Messages:
    return Messages(
        topic=place.topic,
        partition=place.partition,
        offset=np.array([record.offset for record in records], np.int64),
        timestamp_ms=np.array([record.timestamp for record in records], np.int64),
        key=[record.key for record in records],
        value=[record.value for record in records],
        headers=[record.headers or [] for record in records],
    )
