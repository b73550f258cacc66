from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from kafka import KafkaProducer

from pipeline.kafka_options import KafkaOptions
from pipeline.ports import Partition, Position
from pipeline.sources.kafka import KafkaSource
from pipeline.sources.kafka_rebalance import FREEZE_S
from tests.kafka.workers import Handler, Reader, wait_until

MakeTopic = Callable[..., str]
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def run_reader(options: KafkaOptions) -> Iterator[tuple[Reader, Handler]]:
    handler = Handler()
    source = KafkaSource(options, handler)
    try:
        yield Reader(source), handler
    finally:
        source.close(5.0)


@pytest.fixture
def filled(options: KafkaOptions, make_topic: MakeTopic, producer: KafkaProducer) -> str:
    """A topic of four partitions with 50 messages in each."""
    topic = make_topic(options.topics[0], partitions=4)
    for n in range(200):
        producer.send(topic, b"%d" % n, partition=n % 4)
    producer.flush()
    return topic


def set_positions(reader: Reader, handler: Handler) -> None:
    """What a runner would write for each partition: how far it has read."""
    for partition in reader.owned:
        offset = reader.next_offset(partition)
        handler.positions[partition] = Position(offset=offset, metadata=f"checkpoint-{offset}")


def test_second_worker_starts_where_the_first_was_frozen(options: KafkaOptions, filled: str) -> None:
    with run_reader(options) as (first, kept), run_reader(options) as (second, _):
        wait_until(lambda: len(first.values) == 200, first)
        set_positions(first, kept)

        wait_until(lambda: len(second.owned) == 2, first, second)

        moved = second.owned
        assert set(kept.frozen) == set(kept.dropped) == moved
        assert kept.committed == {each: kept.positions[each] for each in moved}
        assert second.started_at == {each: kept.positions[each] for each in moved}
        assert second.values == []  # nothing is read twice
        retained = first.owned - moved
        # At once, or after the poll that ends the follow-up rebalance.
        wait_until(lambda: first.source.commit(kept.positions).done == frozenset(retained), first, second)
        refused = first.source.commit(kept.positions).refused
        assert refused == dict.fromkeys(moved, "not_owned")


def test_what_was_not_frozen_is_read_again_by_the_next_owner(options: KafkaOptions, filled: str) -> None:
    with run_reader(options) as (first, kept), run_reader(options) as (second, _):
        wait_until(lambda: len(first.values) == 200, first)
        set_positions(first, kept)
        kept.never_done = True  # the disk is slow

        wait_until(lambda: len(second.values) == 100, first, second)

        assert kept.committed == {}
        assert set(kept.dropped) == second.owned
        assert all(position == Position(offset=0) for position in second.started_at.values())


def test_slow_freeze_holds_poll_for_its_limit_and_keeps_the_membership(
    options: KafkaOptions, filled: str
) -> None:
    with run_reader(options) as (first, kept), run_reader(options) as (second, _):
        wait_until(lambda: len(first.values) == 200, first)
        set_positions(first, kept)
        kept.never_done = True
        longest = 0.0
        deadline = time.monotonic() + 40
        while len(second.owned) < 2:
            assert time.monotonic() < deadline
            second.poll(0.05)
            begun = time.monotonic()
            first.poll(0.05)
            longest = max(longest, time.monotonic() - begun)
        assert FREEZE_S <= longest < FREEZE_S + 2
        assert set(kept.dropped) == second.owned
        retained = sorted(first.owned - second.owned)
        outcomes = []

        def is_committed() -> bool:
            outcomes.append(first.source.commit({each: kept.positions[each] for each in retained}))
            return outcomes[-1].done == frozenset(retained)

        # A commit during the follow-up rebalance says so, and is done after the polls that end it.
        wait_until(is_committed, first, second)
        assert all(set(each.refused.values()) == {"rebalance"} for each in outcomes[:-1])


def test_close_leaves_at_once_and_commits_nothing(options: KafkaOptions, filled: str) -> None:
    with run_reader(options) as (first, kept), run_reader(options) as (second, _):
        wait_until(lambda: len(first.values) == 200, first)
        set_positions(first, kept)
        begun = time.monotonic()
        first.source.close(5.0)
        assert time.monotonic() - begun < 2
        wait_until(lambda: len(second.owned) == 4, second, timeout_s=5.0)  # below the session's 6 s
        assert kept.frozen == kept.dropped == []
        assert len(second.started_at) == 4
        assert all(position == Position(offset=0) for position in second.started_at.values())


def test_static_member_comes_back_without_a_rebalance(options: KafkaOptions, filled: str) -> None:
    static = replace(options, instance_id="worker-1", session_timeout_ms=20_000)
    other = replace(options, instance_id="worker-2", session_timeout_ms=20_000)
    with run_reader(other) as (second, kept):
        with run_reader(static) as (first, _):
            wait_until(lambda: len(first.owned) == 2, first, second)
            mine = first.owned
        kept.frozen.clear()
        kept.dropped.clear()
        with run_reader(static) as (again, _):
            wait_until(lambda: len(again.owned) == 2, again, second)
            assert again.owned == mine
        assert kept.frozen == kept.dropped == []


SLEEPER = """
import sys
from pipeline.kafka_options import KafkaOptions
from pipeline.ports import Position
from pipeline.sources.kafka import KafkaSource
from tests.kafka.workers import Handler, Reader
options = KafkaOptions(bootstrap=(sys.argv[1],), topics=(sys.argv[2],), group=sys.argv[3],
                       session_timeout_ms=2000)
handler = Handler()
reader = Reader(KafkaSource(options, handler))
while len(reader.values) < 200:
    reader.poll()
owned = sorted(reader.owned)
print("ready", flush=True)
sys.stdin.readline()
# The first thing after the sleep: a commit of what was learnt before it.
done = reader.source.commit({each: Position(offset=50, metadata="sleeper") for each in owned})
print(sorted(set(done.refused.values())), len(done.done), flush=True)
while not handler.dropped:
    reader.poll()
print(sorted(handler.dropped) == owned, handler.frozen, handler.committed, flush=True)
"""


def test_sleeper_commits_nothing_and_loses_its_partitions(
    options: KafkaOptions, filled: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", SLEEPER, options.servers, filled, options.group]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    sleeper = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    )
    assert sleeper.stdin is not None
    assert sleeper.stdout is not None
    try:
        assert sleeper.stdout.readline() == "ready\n"
        sleeper.send_signal(signal.SIGSTOP)
        with run_reader(replace(options, session_timeout_ms=2_000)) as (heir, _):
            wait_until(lambda: len(heir.values) == 200, heir)
            truth = {each: Position(offset=50, metadata="heir") for each in heir.owned}
            assert heir.source.commit(truth).done == frozenset(truth)
            # Written before the sleeper wakes, so that it is the first thing it reads.
            sleeper.stdin.write("go\n")
            sleeper.stdin.flush()
            sleeper.send_signal(signal.SIGCONT)
            assert sleeper.stdout.readline() == "['fenced'] 0\n"
            answers: list[str] = []
            os.set_blocking(sleeper.stdout.fileno(), False)

            def has_answered() -> bool:
                answers.append(sleeper.stdout.readline() if sleeper.stdout else "")
                return bool(answers[-1])

            wait_until(has_answered, heir)
            assert answers[-1] == "True [] {}\n"
            assert {each: heir.source.committed(each) for each in truth} == truth
    finally:
        sleeper.kill()
        sleeper.wait()
        sleeper.stdin.close()
        sleeper.stdout.close()


def test_partition_that_was_not_taken_yet_goes_without_a_word(options: KafkaOptions, filled: str) -> None:
    with run_reader(options) as (first, kept), run_reader(options) as (second, _):
        deadline = time.monotonic() + 30
        while len(second.owned) < 2:
            assert time.monotonic() < deadline
            first.source.poll(0.1)  # takes nothing, as a runner that is busy
            second.poll(0.1)
        assert kept.frozen == kept.dropped == []
        left = first.source.take_assigned()
        assert set(left) == {Partition(filled, n) for n in range(4)} - second.owned
