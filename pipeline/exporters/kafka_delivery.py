"""A producer whose memory is bounded and whose failures are known.

kafka-python 3.0.12 buffers without limit, and its `flush(timeout)` takes up to the timeout for *every* batch;
so what is out is counted here, and waited for here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kafka import KafkaProducer, errors

from pipeline.kafka_client import build_client, list_settings
from pipeline.kafka_options import KafkaOptions

RECORD_BYTES = 100  # of a record beside its key, value and headers, in the buffer
NEVER_MS = 2**31 - 1  # 24 days: what can't be delivered now waits, and sending waits behind it
OVERFLOW = 3  # buffers full: what looks for room between waves need not wait amid one of 100 000 series
_WAKE_S = 0.5  # a waiting thread looks so often whether it shall stop
_GIVE_UP_S = 1.0  # for the sender to end, which it does within its current poll
_BATCH_BYTES = 512 << 10  # a request for each message of 100 kB waits for the broker most of the time
_BLOCK_MS = 1_000  # for metadata of a topic

log = logging.getLogger(__name__)

Failed = Callable[[BaseException], None]


class Closed(Exception):  # noqa: N818 - an answer to somebody who waits, no error
    """The delivery was closed while somebody waited for room or for delivery."""


class Delivery:
    """A producer, connected when it is first used. An idempotent one keeps the order and sends nothing twice,
    but nothing at all any more once a message was refused."""

    def __init__(
        self,
        options: KafkaOptions,
        *,
        linger_ms: int,
        buffer_bytes: int,
        timeout_ms: int = NEVER_MS,
        is_idempotent: bool = True,
    ) -> None:
        self._options = options
        self._settings = list_settings(options) | {
            "acks": "all",
            "enable_idempotence": is_idempotent,
            "compression_type": None if options.compression == "none" else options.compression,
            "linger_ms": linger_ms,
            "batch_size": _BATCH_BYTES,
            "delivery_timeout_ms": timeout_ms,
            "max_block_ms": _BLOCK_MS,
            "allow_auto_create_topics": options.makes_topics,
            "metrics_enabled": False,
        }
        self._buffer_bytes = buffer_bytes
        self._producer: Any = None
        self._changed = threading.Condition()
        self._out_bytes = 0
        self._out = 0
        self._closed = False

    @property
    def is_connected(self) -> bool:
        """Whether a broker was found; it may be away by now."""
        return self._producer is not None

    @property
    def has_room(self) -> bool:
        """Whether the buffer is not full; `send` waits only when that is far behind."""
        return self._out_bytes < self._buffer_bytes

    def count_partitions(self, topic: str) -> int:
        """Raises KafkaTimeoutError if a broker is there and does not know the topic within a second, and
        KafkaConnectionError if there is none."""
        return len(self._connect().partitions_for(topic))

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: list[tuple[str, bytes]] | None = None,
        partition: int | None = None,
        failed: Failed,
    ) -> None:
        """Waits for room, then hands over; `failed` hears later, on another thread, if it was not delivered.

        Raises Closed, and what kafka-python raises at once: KafkaTimeoutError for an unknown topic,
        MessageSizeTooLargeError.
        """
        size = RECORD_BYTES + len(value or b"") + len(key or b"")
        size += sum(len(name) + len(text) for name, text in headers or ())
        self._wait(lambda: self._out_bytes < OVERFLOW * self._buffer_bytes, None)
        future = self._connect().send(topic, value, key=key, headers=headers, partition=partition)
        with self._changed:
            self._out_bytes += size
            self._out += 1

        def finish(error: BaseException | None) -> None:
            if error is not None:
                failed(error)
            with self._changed:
                self._out_bytes -= size
                self._out -= 1
                self._changed.notify_all()

        future.add_callback(lambda _: finish(None))
        future.add_errback(finish)

    def flush(self, timeout_s: float) -> bool:
        """Whether all that was sent is delivered or has failed within the time. Raises Closed."""
        return self._wait(lambda: self._out == 0, timeout_s)

    def close(self, timeout_s: float) -> None:
        """Gives what is out the time to be delivered; wakes those who wait."""
        if self._producer is not None and not self._closed:
            self.flush(timeout_s)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._producer is not None:
            self._give_up(self._producer)

    def _give_up(self, producer: Any) -> None:
        """What is still out is failed first: while anything is, kafka-python's `close` raises and closes
        nothing, and its sender goes on."""
        producer._sender.force_close()
        producer._sender.join(_GIVE_UP_S)
        with suppress(errors.KafkaTimeoutError):  # the sender hangs; it is a daemon
            producer.close(timeout=0)

    def _connect(self) -> Any:
        if self._producer is None:
            self._producer = build_client(KafkaProducer, self._settings)
        return self._producer

    def _wait(self, is_so: Callable[[], bool], timeout_s: float | None) -> bool:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not is_so():
                if self._closed:
                    raise Closed("the producer was closed")
                left = _WAKE_S if deadline is None else min(_WAKE_S, deadline - time.monotonic())
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True


def is_too_large(error: BaseException) -> bool:
    return isinstance(error, errors.MessageSizeTooLargeError | errors.RecordListTooLargeError)
