"""What has come over a connection, of which kafka-python would lose the last."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from kafka import errors

from pipeline import kafka_client
from pipeline.kafka_client import _receive


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A broker's end, and ours, which does not block."""
    broker, ours = socket.socketpair()
    ours.setblocking(False)
    with broker, ours:
        yield broker, ours


def test_nothing_yet_is_no_failure(ends: tuple[socket.socket, socket.socket]) -> None:
    assert _receive(ends[1]) == (b"", None)


def test_all_that_has_come(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In several pieces; one that fills a piece is not the last."""
    monkeypatch.setattr(kafka_client, "RECEIVE_BYTES", 10)
    for size in (5, 10, 20, 25):
        ends[0].sendall(bytes(range(size)))
        assert _receive(ends[1]) == (bytes(range(size)), None)


def test_what_came_before_the_end_is_handed_out_before_it(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a refused login, right before the broker hangs up."""
    monkeypatch.setattr(kafka_client, "RECEIVE_BYTES", 10)
    ends[0].sendall(b"the answer")
    ends[0].close()
    assert _receive(ends[1]) == (b"the answer", None)
    data, error = _receive(ends[1])
    assert data == b""
    assert isinstance(error, errors.KafkaConnectionError)


def test_a_connection_that_fails(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[1].close()
    data, error = _receive(ends[1])
    assert data == b""
    assert isinstance(error, errors.KafkaConnectionError)
