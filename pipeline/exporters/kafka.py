"""Forecasts, alerts and dead letters to Kafka.

Forecasts and alerts wait until they are delivered, however long that takes, and hold up whoever sends more
than fits in memory: what was learnt is never without its forecast. Dead letters have a producer of their own,
and one that can't be written is counted and let go.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
from kafka import errors

from pipeline.clients import BrokerError
from pipeline.exporters.arrow_values import ArrowEncoder
from pipeline.exporters.kafka_delivery import Closed, Delivery, is_too_large
from pipeline.exporters.kafka_values import (
    CUT_BYTES,
    encode_alert,
    encode_json,
    list_letter_headers,
    select,
)
from pipeline.kafka_client import explain_refusal
from pipeline.kafka_options import EmitterOptions, KafkaOptions
from pipeline.placement import find_partition
from pipeline.records import Alert, Forecasts, Messages, Rejected

LETTER_BYTES = 8 << 20  # of dead letters on their way
LETTER_MS = 30_000  # then a dead letter is given up
MISSING_S = 30.0  # a dead-letter topic that is not there is looked for again after so long

log = logging.getLogger(__name__)

LostLetter = Callable[[str], None]
"""Called with the reason for each dead letter that was not written, from any thread."""


class EmitterError(BrokerError):
    """Something can't be sent, and trying again does not help; the text says what to change."""


class KafkaEmitter:
    """An `Emitter`. Used by one thread, but for `close`."""

    def __init__(
        self, options: KafkaOptions, emitted: EmitterOptions, lost_letter: LostLetter = lambda _: None
    ) -> None:
        self._options = options
        self._emitted = emitted
        self._lost_letter = lost_letter
        self._delivery = Delivery(options, linger_ms=emitted.linger_ms, buffer_bytes=emitted.buffer_bytes)
        # Without idempotence: kafka-python's idempotent producer sends nothing more once a batch was refused.
        self._letters = Delivery(
            options,
            linger_ms=emitted.linger_ms,
            buffer_bytes=LETTER_BYTES,
            timeout_ms=LETTER_MS,
            is_idempotent=False,
        )
        self._failure: BaseException | None = None
        self._arrow = ArrowEncoder()
        self._placed: dict[str, int] = {}
        self._placed_in = 0
        self._missing_until: dict[str, float] = {}
        self._too_large: deque[tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]]]] = deque()

    @property
    def has_room(self) -> bool:
        """Whether the buffer has room; if not, let the source rest. Two buffers more, and sending waits."""
        return self._delivery.has_room

    def prepare(self) -> None:
        """Connects and looks for the topics. To be called before the first reading is learnt, and again after
        a TimeoutError (broker away). Raises EmitterError if a topic is missing or may not be written."""
        for topic in (self._options.forecasts_topic, self._options.alerts_topic):
            self._count_partitions(topic)

    def forecasts(self, forecasts: Forecasts) -> None:
        """Waits while far more than the buffer is on its way. Raises EmitterError."""
        chosen = select(forecasts, self._emitted)
        if chosen.is_empty:
            return
        topic = self._options.forecasts_topic
        partitions = self._count_partitions(topic)
        if self._emitted.format == "json":
            placed = self._place(partitions, forecasts.series).tolist()
            for row, value in encode_json(forecasts, chosen):
                self._send(topic, value, key=forecasts.series[row].encode(), partition=placed[row])
        else:
            place = partial(self._place, partitions, forecasts.series)
            for partition, value in self._arrow.encode(forecasts, chosen, partitions, place):
                self._send(topic, value, partition=partition)

    def alerts(self, alerts: Sequence[Alert]) -> None:
        """As `forecasts`."""
        for alert in alerts:
            self._send(
                self._options.alerts_topic, encode_alert(alert, self._emitted), key=alert.series.encode()
            )

    def rejected(self, messages: Messages, rejected: Sequence[Rejected]) -> None:
        """Raises nothing for a letter that can't be written."""
        topic = messages.topic + self._options.rejected_suffix
        for refused in rejected:
            key, value = messages.key[refused.message], messages.value[refused.message]
            self._write(topic, key, value, list_letter_headers(messages, refused))

    def flush(self, timeout_s: float) -> None:
        """Returns when all is delivered, but for dead letters that could not be written.

        Raises TimeoutError if that takes longer, and EmitterError for ever once a forecast or an alert has
        failed: its reading is learnt, so only starting again from the last checkpoint brings it back.
        """
        deadline = time.monotonic() + timeout_s
        done = self._delivery.flush(timeout_s)
        self._raise_failure()
        if not done:
            raise TimeoutError(
                f"{self._options.servers} has not taken all forecasts within {timeout_s:.0f} s; they are kept"
            )
        self._letters.flush(max(0.0, deadline - time.monotonic()))
        while self._too_large:
            self._cut_letters()
            self._letters.flush(max(0.0, deadline - time.monotonic()))

    def close(self, timeout_s: float) -> None:
        """Gives what is on its way the time; wakes and fails whoever waits to send."""
        self._delivery.close(timeout_s)
        self._letters.close(min(1.0, timeout_s))

    def _send(
        self, topic: str, value: bytes, *, key: bytes | None = None, partition: int | None = None
    ) -> None:
        self._raise_failure()
        if not self._delivery.is_connected:
            self.prepare()
        try:
            self._delivery.send(topic, value, key=key, partition=partition, failed=self._fail)
        except errors.KafkaError as error:
            raise EmitterError(self._explain(error, topic)) from error

    def _count_partitions(self, topic: str) -> int:
        try:
            return self._delivery.count_partitions(topic)
        except errors.KafkaTimeoutError as error:
            raise EmitterError(self._explain(error, topic)) from error
        except errors.KafkaError as error:
            if sentence := explain_refusal(error, self._options):
                raise EmitterError(sentence) from error
            raise TimeoutError(f"{self._options.servers}: {error}") from error

    def _explain(self, error: BaseException, topic: str) -> str:
        if isinstance(error, errors.KafkaTimeoutError):
            return (
                f"{self._options.servers} has no topic {topic}: make it with `gatecast topics create`, "
                "or correct its name in section kafka"
            )
        return explain_refusal(error, self._options) or f"{topic}: {error}"

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            sentence = self._explain(self._failure, "forecasts or alerts")
            raise EmitterError(f"something was not delivered: {sentence}") from self._failure

    def _place(self, partitions: int, series: Sequence[str]) -> npt.NDArray[np.int64]:
        """Of so many partitions those of series, as Kafka's default partitioner chooses them by their key:
        remembered, because kafka-python computes them in Python for every message."""
        if partitions != self._placed_in:
            self._placed, self._placed_in = {}, partitions
        placed = self._placed
        for name in series:
            if name not in placed:
                placed[name] = find_partition(name, partitions)
        return np.array([placed[name] for name in series], dtype=np.int64)

    # Dead letters

    def _write(
        self, topic: str, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
    ) -> None:
        self._cut_letters()
        self._write_once(topic, key, value, headers, cut=False)

    def _cut_letters(self) -> None:
        while self._too_large:
            topic, key, value, headers = self._too_large.popleft()
            cut = (value or b"")[:CUT_BYTES], [*headers, ("gatecast-cut", b"true")]
            self._write_once(topic, key and key[:CUT_BYTES], *cut, cut=True)

    def _write_once(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes]],
        *,
        cut: bool,
    ) -> None:
        def fail(error: BaseException) -> None:
            if is_too_large(error) and not cut:
                self._too_large.append((topic, key, value, headers))
            else:
                self._let_go(topic, str(error))

        if time.monotonic() < self._missing_until.get(topic, 0.0):
            self._let_go(topic, "no such topic")
        elif not self._letters.has_room:
            self._let_go(topic, "too many on their way")
        else:
            try:
                self._letters.send(topic, value, key=key, headers=headers, failed=fail)
            except errors.KafkaTimeoutError:
                self._missing_until[topic] = time.monotonic() + MISSING_S
                log.warning("no topic %s for dead letters: make it with `gatecast topics create`", topic)
                self._let_go(topic, "no such topic")
            except (errors.KafkaError, ValueError, Closed) as error:
                fail(error)

    def _let_go(self, topic: str, reason: str) -> None:
        log.debug("dead letter for %s not written: %s", topic, reason)
        self._lost_letter(reason)
