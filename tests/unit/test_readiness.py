"""What `/readyz` answers from."""

from __future__ import annotations

import pytest

from pipeline.readiness import Readiness


@pytest.fixture
def clock():
    return [100.0]


@pytest.fixture
def readiness(clock):
    return Readiness(stalled_after_s=60, clock=lambda: clock[0])


def texts(readiness):
    return [str(obstacle) for obstacle in readiness.obstacles()]


def test_a_worker_that_starts_is_not_ready(readiness):
    assert texts(readiness) == ["the worker is starting"]


def test_a_worker_without_partitions_is_ready(readiness):
    readiness.hinder(None)
    assert readiness.obstacles() == ()


def test_says_why_by_partition_in_order(readiness):
    readiness.hinder("broker kafka:9092 does not answer")
    readiness.hinder_partition("plant", 10, "loading its checkpoint")
    readiness.hinder_partition("plant", 2, "stopped: its position is above the log's end")
    assert texts(readiness) == [
        "broker kafka:9092 does not answer",
        "plant[2]: stopped: its position is above the log's end",
        "plant[10]: loading its checkpoint",
    ]
    readiness.hinder(None)
    readiness.hinder_partition("plant", 2, None)
    readiness.hinder_partition("plant", 7, None)
    assert texts(readiness) == ["plant[10]: loading its checkpoint"]


def test_a_loop_that_stands_still_is_an_obstacle(readiness, clock):
    readiness.hinder(None)
    clock[0] += 1000
    assert readiness.obstacles() == ()  # it has not begun to beat
    readiness.beat()
    clock[0] += 60
    assert readiness.obstacles() == ()
    clock[0] += 13
    assert texts(readiness) == ["stalled: no poll has ended for 73 s"]
    readiness.beat()
    assert readiness.obstacles() == ()
