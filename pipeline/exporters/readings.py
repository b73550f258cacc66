"""Messages of readings into a Kafka topic, by kafka-python."""

import threading
from collections.abc import Mapping
from typing import Any

from kafka import KafkaProducer  # type: ignore[import-untyped, unused-ignore]
from kafka.errors import KafkaError  # type: ignore[import-untyped, unused-ignore]

from pipeline.clients import BrokerError

# kafka-python 3 has no bound of its own on what waits to be sent, and a plant outruns any broker.
MAX_WAITING_BYTES = 32 << 20
MAX_WAITING_MESSAGES = 50_000
_DEFAULTS: dict[str, Any] = {
    "client_id": "gatecast-feed",
    "compression_type": "lz4",
    "linger_ms": 5,
    "batch_size": 256 << 10,
    "max_request_size": 8 << 20,
    "bootstrap_timeout_ms": 10_000,
    "delivery_timeout_ms": 60_000,
    # A topic made by chance has one partition and keeps what producers call the time.
    "allow_auto_create_topics": False,
}


class ReadingsProducer:
    """Sends in the background, in order within a partition; a failed message shows at the next call.

    Raises BrokerError if the broker can't be reached or has no such topic.
    """

    def __init__(self, bootstrap: str, topic: str, settings: Mapping[str, Any]) -> None:
        self._topic = topic
        self._where = f"{topic} on {bootstrap}"
        self._changed = threading.Condition()
        self._waiting_messages = self._waiting_bytes = 0
        self._failure: Exception | None = None
        try:
            self._client = KafkaProducer(bootstrap_servers=bootstrap, **{**_DEFAULTS, **settings})
        except KafkaError as error:
            raise BrokerError(
                f"expected a Kafka broker at {bootstrap}, but none answered ({_say(error)}); "
                "name it with --bootstrap"
            ) from error
        except (AssertionError, TypeError, ValueError, OSError) as error:
            raise BrokerError(f"the client can't be set up: {_say(error)}; check --client") from error
        self.num_partitions = self._count_partitions()

    def send(self, partition: int, key: bytes | None, value: bytes) -> None:
        """Hand one message over; waits while too many are on their way. Raises BrokerError."""
        size = len(value) + len(key or b"")
        with self._changed:
            while self._waiting_messages and (
                self._waiting_messages >= MAX_WAITING_MESSAGES
                or self._waiting_bytes + size > MAX_WAITING_BYTES
            ):
                self._changed.wait(1.0)
            self._waiting_messages += 1
            self._waiting_bytes += size
        self._raise_failure()
        try:
            future = self._client.send(self._topic, value=value, key=key, partition=partition)
        except (KafkaError, ValueError, AssertionError) as error:
            raise BrokerError(f"{self._where}: a message can't be sent: {_say(error)}") from error
        future.add_both(self._finish, size)

    def flush(self, timeout_s: float) -> None:
        """Wait until all is delivered. Raises BrokerError for what isn't by then."""
        try:
            self._client.flush(timeout=timeout_s)
        except KafkaError as error:
            raise BrokerError(
                f"{self._where}: expected all messages to be delivered within {timeout_s:g} s, but "
                f"{self._waiting_messages:,} are not ({_say(error)})"
            ) from error
        self._raise_failure()

    def close(self) -> None:
        """Leave at once; what was not flushed is lost."""
        self._client.close(timeout=0)

    def _count_partitions(self) -> int:
        try:
            partitions = self._client.partitions_for(self._topic)
        except (KafkaError, ValueError, TypeError) as error:
            self.close()
            raise BrokerError(f"{self._where}: the topic can't be found: {_say(error)}") from error
        if not partitions:
            self.close()
            raise BrokerError(
                f"expected a topic {self._where}, but there is none; make it with gatecast topics create"
            )
        return len(partitions)

    def _finish(self, size: int, outcome: object) -> None:
        """Called by the client's own thread."""
        with self._changed:
            self._waiting_messages -= 1
            self._waiting_bytes -= size
            if isinstance(outcome, Exception) and self._failure is None:
                self._failure = outcome
            self._changed.notify_all()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise BrokerError(f"{self._where}: a message was not delivered: {_say(self._failure)}")


def _say(error: Exception) -> str:
    return str(error) or type(error).__name__
