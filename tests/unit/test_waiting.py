"""Messages wait for a tick, for a while, and are cut where ticks fall."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.ports import Partition
from pipeline.records import Messages
from pipeline.waiting import AT_ONCE, Pace, Waiting
from tests.unit.doubles import Clock

GATHER_S = 0.1
FIRST, SECOND = Partition("topic", 0), Partition("topic", 1)


class Board:
    """Where ticks are, as a shard would say it."""

    def __init__(self) -> None:
        self.paces: dict[Partition, Pace] = {}

    def __call__(self, partition: Partition) -> Pace:
        return self.paces.get(partition, AT_ONCE)


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
def clock() -> Clock:
    return Clock(now_s=0.0)


@pytest.fixture
def waiting(board: Board, clock: Clock) -> Waiting:
    return Waiting(board, GATHER_S, clock)


def make(first: int, stop: int, partition: Partition = FIRST) -> Messages:
    offset = np.arange(first, stop)
    return Messages(
        topic=partition.topic,
        partition=partition.partition,
        offset=offset,
        timestamp_ms=offset + 1_000,
        key=[b"%d" % n for n in offset],
        value=[b"value %d" % n for n in offset],
        headers=[[("name", b"%d" % n)] for n in offset],
    )


def test_nothing_is_due_before_the_tick_or_the_deadline(waiting: Waiting, board: Board, clock: Clock) -> None:
    board.paces[FIRST] = Pace(5, 5)
    waiting.add([make(0, 3)])
    assert waiting.take(100) is None
    assert waiting.due_in_s == pytest.approx(GATHER_S)
    clock.now_s += 0.75 * GATHER_S
    waiting.add([make(3, 4)])
    assert waiting.take(100) is None
    assert waiting.due_in_s == pytest.approx(0.25 * GATHER_S), "of the one that came first"
    clock.now_s += 0.25 * GATHER_S
    assert waiting.due_in_s == 0.0
    taken = waiting.take(100)
    assert taken is not None
    assert taken.offset.tolist() == [0, 1, 2, 3]
    assert waiting.due_in_s == float("inf")


def test_what_came_in_parts_is_one_batch(waiting: Waiting, board: Board) -> None:
    board.paces[FIRST] = Pace(5, 5)
    for first, stop in ((0, 2), (2, 3), (3, 5)):
        waiting.add([make(first, stop)])
    taken, whole = waiting.take(100), make(0, 5)
    assert taken is not None
    for name in ("offset", "timestamp_ms"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(whole, name))
    for name in ("topic", "partition", "key", "value", "headers"):
        assert getattr(taken, name) == getattr(whole, name)


@pytest.mark.parametrize(("most", "expected"), [(100, 18), (17, 13), (3, 3), (2, 2)])
def test_it_is_cut_where_a_tick_falls(waiting: Waiting, board: Board, most: int, expected: int) -> None:
    board.paces[FIRST] = Pace(3, 5)
    waiting.add([make(0, 11), make(11, 20)])
    taken = waiting.take(most)
    assert taken is not None
    assert taken.offset.tolist() == list(range(expected))
    assert waiting.count(FIRST) == 20 - expected


def test_what_is_left_behind_a_cut_has_its_own_deadline(waiting: Waiting, board: Board, clock: Clock) -> None:
    board.paces[FIRST] = Pace(3, 3)
    waiting.add([make(0, 2)])
    clock.now_s += 0.5 * GATHER_S
    waiting.add([make(2, 4)])
    assert len(waiting.take(100) or ()) == 3
    assert waiting.take(100) is None
    assert waiting.due_in_s == pytest.approx(GATHER_S)


def test_partitions_wait_by_themselves_and_the_oldest_is_first(
    waiting: Waiting, board: Board, clock: Clock
) -> None:
    board.paces |= {FIRST: Pace(9, 9), SECOND: Pace(2, 2)}
    waiting.add([make(0, 3), make(0, 2, SECOND)])
    taken = waiting.take(100)
    assert taken is not None
    assert taken.partition == SECOND.partition
    assert waiting.take(100) is None
    clock.now_s += GATHER_S
    waiting.add([make(2, 4, SECOND)])
    assert [(waiting.take(100) or make(0, 0)).partition for _ in range(2)] == [0, 1]


def test_those_of_a_partition_that_goes_are_forgotten(waiting: Waiting) -> None:
    waiting.add([make(0, 3), make(0, 2, SECOND)])
    waiting.drop([FIRST])
    assert (waiting.count(FIRST), waiting.count(SECOND)) == (0, 2)
    taken = waiting.take(100)
    assert taken is not None
    assert taken.partition == SECOND.partition
    assert waiting.take(100) is None
