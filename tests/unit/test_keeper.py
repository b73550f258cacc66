"""When shards are saved, in what order, and what becomes of a checkpoint that is not written or committed."""

from __future__ import annotations

import errno
import logging
from concurrent.futures import Future, wait
from threading import Barrier

import numpy as np
import pytest

from forecasters import build
from pipeline.engine.options import ShardOptions
from pipeline.engine.settings import SeriesSettings
from pipeline.engine.shard import Shard
from pipeline.keeper import WRITERS, count_for_manifest
from pipeline.ports import Partition, Position
from pipeline.records import Readings
from tests.unit.doubles import TOPIC, make_reading
from tests.unit.rig import INTERVAL_S, Rig

PLACE = Partition(TOPIC, 0)


@pytest.fixture
def rig() -> Rig:
    """Three partitions with two readings each, none saved yet."""
    rig = Rig()
    rig.source.num_partitions = 3
    rig.assign(0, 1, 2)
    send(rig)
    return rig


def finish_writing(rig: Rig) -> None:
    """Once each thread has come to the barrier, all that was submitted before is done."""
    barrier = Barrier(WRITERS + 1)
    for _ in range(WRITERS):
        rig.keeper._writers.submit(barrier.wait, 10)
    barrier.wait(10)


def send(rig: Rig, first: int = 0) -> None:
    for partition in (0, 1, 2):
        rig.source.send(make_reading(first), make_reading(first + 1), partition=partition)
    rig.turn()


def begin_one(rig: Rig) -> bool:
    return rig.keeper.begin_one(rig.runner.holdings.values())


def list_writing(rig: Rig) -> set[int]:
    return {each.partition for each, holding in rig.runner.holdings.items() if holding.writing is not None}


def finish(rig: Rig) -> None:
    wait([h.writing for h in rig.runner.holdings.values() if h.writing is not None], 10)
    rig.keeper.finish(rig.source, rig.runner.holdings.values())


def test_one_shard_at_a_time_the_longest_unsaved_first(rig: Rig) -> None:
    """Loaded together, they are due at times of their own."""
    due_s = {p: INTERVAL_S - rig.keeper.stagger(Partition(TOPIC, p)) for p in (0, 1, 2)}
    assert len({round(each) for each in due_s.values()}) == 3
    first, second, third = sorted(due_s, key=due_s.__getitem__)
    rig.clock.now_s += due_s[first] + 0.01
    assert begin_one(rig)
    assert list_writing(rig) == {first}
    assert not begin_one(rig), "the others are not due"
    rig.clock.now_s += INTERVAL_S
    assert begin_one(rig)
    assert list_writing(rig) == {first, second}
    assert begin_one(rig)
    assert list_writing(rig) == {first, second, third}
    assert not begin_one(rig), "none is begun while its last one is on its way"


def test_what_is_saved_already_is_not_written_again(rig: Rig) -> None:
    rig.clock.now_s += INTERVAL_S
    while begin_one(rig):
        pass
    finish(rig)
    rig.clock.now_s += INTERVAL_S
    assert not begin_one(rig)
    assert rig.keeper.freeze(rig.holding(0)) is None
    written = len(rig.journal)
    rig.stop()
    assert rig.journal[written:] == ["close"]


def test_what_was_learnt_while_a_checkpoint_was_written_is_not_in_it(rig: Rig) -> None:
    rig.clock.now_s += INTERVAL_S
    while begin_one(rig):
        pass
    send(rig, 2)
    finish(rig)
    assert {p.partition: position.offset for p, position in rig.source.group.items()} == {0: 2, 1: 2, 2: 2}
    rig.stop()
    assert {p.partition: position.offset for p, position in rig.source.group.items()} == {0: 4, 1: 4, 2: 4}


def test_frozen_shard_is_written_and_its_forecasts_are_delivered(rig: Rig) -> None:
    future = rig.keeper.freeze(rig.holding(0))
    assert future is not None
    position = future.result(10)
    assert position.offset == 2
    assert rig.journal[-2:] == ["write 0 at 2", "flush"]
    assert rig.source.group[PLACE].offset == 0, "its source commits it"
    assert not rig.holding(0).is_running


def test_frozen_shard_whose_forecasts_can_not_be_delivered_has_no_position(rig: Rig) -> None:
    rig.emitter.is_stuck = True
    future = rig.keeper.freeze(rig.holding(0))
    assert future is not None
    assert isinstance(future.exception(10), TimeoutError)


def test_last_checkpoints_are_not_committed_without_their_forecasts(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.emitter.is_stuck = True
    rig.stop()
    assert "nothing is committed: forecasts were not delivered in time: kafka:9092 has not" in caplog.text
    assert {position.metadata for position in rig.source.group.values()} == {"fresh"}


def test_shard_without_a_last_checkpoint_does_not_keep_the_others_from_theirs(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rig.keeper.begin

    def begin(holding: object, flush_s: float | None = None) -> Future[Position]:
        return Future() if holding is rig.holding(1) else real(holding, flush_s)  # type: ignore[arg-type]

    monkeypatch.setattr(rig.keeper, "begin", begin)
    monkeypatch.setattr("pipeline.runner.STOP_S", 1.0)
    rig.stop()
    assert "readings/1: no last checkpoint (no time left)" in caplog.text
    assert {p.partition: position.offset for p, position in rig.source.group.items()} == {0: 2, 1: 0, 2: 2}


def test_expelled_and_disowned_partitions_give_up_and_others_go_on(rig: Rig) -> None:
    rig.clock.now_s += INTERVAL_S
    while begin_one(rig):
        pass
    rig.source.owned.discard(PLACE)
    finish(rig)
    assert list_writing(rig) == set()
    assert {p.partition: position.offset for p, position in rig.source.group.items()} == {0: 0, 1: 2, 2: 2}
    assert rig.observer.counts["checkpoint_failed"] == 1
    assert rig.observer.counts["checkpoint"] == 2


def test_old_checkpoints_that_stay_harm_nothing(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.clock.now_s += INTERVAL_S
    assert begin_one(rig)
    (partition,) = list_writing(rig)
    wait([rig.holding(partition).writing], 10)  # type: ignore[list-item]
    rig.store.error = OSError(errno.EIO, "Input/output error")
    with caplog.at_level(logging.WARNING):
        finish(rig)
        finish_writing(rig)
    assert f"readings/{partition}: old checkpoints stay: [Errno 5] Input/output error" in caplog.text
    assert rig.source.group[Partition(TOPIC, partition)].offset == 2


def test_old_checkpoints_are_taken_away_after_the_commit() -> None:
    rig = Rig()
    rig.assign(0)
    for first in range(0, 12, 2):
        rig.source.send(make_reading(first), make_reading(first + 1))
        rig.clock.now_s += INTERVAL_S
        rig.settle()
    finish_writing(rig)
    offsets = [folder.next_offset for folder in rig.store.real.list_folders("topicId", 0)]
    assert offsets[-3:] == [8, 10, 12]
    assert len(offsets) <= 4, "the newest three, and the one of the day"


def test_counts_are_those_that_the_list_of_checkpoints_shows() -> None:
    """`gatecast checkpoints list` had a dash where series and readings learnt should stand."""
    shard = Shard(build(["naive"]), ShardOptions(), lambda _: SeriesSettings(cadence_ms=60_000), 0, 1)
    time_ms = np.array([0, 0, 60_000, 60_000], np.int64) + 1_700_000_040_000
    readings = Readings(
        series=("a", "b"),
        series_index=np.array([0, 1, 0, 0], np.int32),
        event_time_ms=time_ms,
        value=np.array([1.0, 2.0, 3.0, 3.0]),
    )
    list(shard.process(readings))
    counts = count_for_manifest(shard)
    assert (counts["series"], counts["readings_learned"], counts["dropped_duplicate"]) == (2, 3, 1)
