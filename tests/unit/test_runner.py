"""The loop of a worker: what comes before what, and what becomes of readings when something is in the way."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from threading import Event

import pytest

from pipeline.engine.settings import DEFAULT, SeriesSettings
from pipeline.ports import Partition, Position
from pipeline.runner import FEWEST, POLL_AGAIN_S, POLL_S, TURN_S
from tests.unit.doubles import MINUTE_MS, START_MS, TOPIC, make_reading
from tests.unit.rig import INTERVAL_S, Rig

PLACE = Partition(TOPIC, 0)
SLICE = 8
FULL_DISK = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr("pipeline.runner.FEWEST", SLICE)
    monkeypatch.setattr("pipeline.runner.MOST", SLICE)
    return Rig()


def minutes(first: int, last: int) -> Iterator[bytes]:
    return (make_reading(minute, value=minute % 7) for minute in range(first, last))


def warm(rig: Rig, partition: int = 0) -> None:
    """Ten minutes of readings, as they come."""
    for minute, reading in enumerate(minutes(0, 10)):
        rig.clock.now_s = START_MS / 1000 + minute * 60
        rig.source.send(reading, partition=partition)
        rig.turn()


def count_learnt(rig: Rig, partition: int = 0) -> int:
    return rig.holding(partition).shard.counts["accepted"]


# -- the order of things ---------------------------------------------------------------------------------


def test_a_fresh_start_is_committed_before_the_first_reading(rig: Rig) -> None:
    rig.source.send(*minutes(0, 3))
    rig.source.refuses = "rebalance"
    rig.assign(0)
    assert rig.obstacles[-1] == "readings[0]: its shard is loading"
    rig.source.refuses = None
    rig.turn()
    assert rig.journal == [
        "commit 0 at 0 refused: rebalance",
        "commit 0 at 0, fresh",
        "start 0 at 0",
        *["forecasts"] * 3,
    ]
    assert rig.obstacles == []


def test_forecasts_leave_and_state_is_written_before_the_commit(rig: Rig) -> None:
    rig.assign(0)
    rig.source.send(*minutes(0, 3))
    rig.turn()
    rig.clock.now_s += INTERVAL_S
    rig.settle()
    assert rig.journal[2:] == [*["forecasts"] * 3, "write 0 at 3", "flush", "commit 0 at 3, checkpoint"]
    assert rig.observer.counts["checkpoint"] == 1
    rig.clock.now_s += INTERVAL_S
    rig.settle()
    assert rig.journal[-1] == "commit 0 at 3, checkpoint", "nothing new, nothing written"


def test_nothing_is_committed_while_forecasts_are_on_their_way(rig: Rig) -> None:
    rig.assign(0)
    rig.source.send(*minutes(0, 3))
    rig.turn()
    rig.emitter.is_stuck = True
    rig.clock.now_s += INTERVAL_S
    rig.settle()
    rig.source.send(*minutes(3, 5))
    rig.settle()
    assert rig.source.group[PLACE].metadata == "fresh"
    rig.emitter.is_stuck = False
    rig.settle()
    assert rig.source.group[PLACE].offset == 3, "what was written, not what was learnt since"


# -- partitions come and go ------------------------------------------------------------------------------


def test_partition_that_goes_while_it_loads(rig: Rig) -> None:
    may_go_on = Event()
    rig.before_choice = lambda: may_go_on.wait(10) or None
    rig.source.send(*minutes(0, 3))
    rig.source.assign(0)
    rig.turn()
    loading = rig.holding().loading
    rig.source.revoke(0)
    rig.turn()
    assert rig.runner.holdings == {}
    assert rig.obstacles == []
    rig.source.assign(0)  # and it comes back while the first load still lasts
    rig.turn()
    may_go_on.set()
    assert loading is not None
    loading.result(10)
    assert rig.holding().loading is not loading
    rig.holding().loading.result(10)  # type: ignore[union-attr]
    rig.turn(2)
    assert count_learnt(rig) == 3
    assert rig.journal.count("start 0 at 0") == 1


def test_partition_that_goes_is_saved_up_to_what_was_worked_off(rig: Rig) -> None:
    rig.assign(0, 1)
    for partition in (0, 1):
        rig.source.send(*minutes(0, 5), partition=partition)
    rig.turn()
    rig.source.revoke(0)
    rig.source.send(*minutes(5, 8), partition=1)
    rig.turn()
    assert rig.source.group[PLACE].offset == 5
    assert list(rig.runner.holdings) == [Partition(TOPIC, 1)]
    assert count_learnt(rig, 1) == 8
    assert rig.observer.counts["revoked"] == 1


def test_an_expelled_worker_gives_its_checkpoint_up(rig: Rig) -> None:
    rig.assign(0)
    rig.source.send(*minutes(0, 3))
    rig.turn()
    rig.source.refuses = "fenced"
    rig.clock.now_s += INTERVAL_S
    rig.settle()
    assert rig.observer.counts["checkpoint_failed"] == 1
    assert rig.holding().writing is None
    rig.source.expel(0)
    rig.turn()
    assert rig.runner.holdings == {}
    assert rig.source.group[PLACE] == Position(offset=0, metadata="fresh")


@pytest.mark.parametrize("reason", ["rebalance", "unavailable"])
def test_commit_is_tried_again(rig: Rig, reason: str) -> None:
    rig.assign(0)
    rig.source.send(*minutes(0, 3))
    rig.turn()
    rig.source.refuses = reason
    rig.clock.now_s += INTERVAL_S
    rig.settle()
    rig.source.refuses = None
    rig.settle()
    assert rig.source.group[PLACE].offset == 3
    assert [line for line in rig.journal if line.startswith("write")] == ["write 0 at 3"]
    assert "checkpoint_failed" not in rig.observer.counts


def test_refused_partition_stays_unserved_and_says_why(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.source.num_partitions = 2
    rig.source.group[PLACE] = Position(offset=7)
    for partition in (0, 1):
        rig.source.send(*minutes(0, 3), partition=partition)
    rig.assign(0, 1)
    rig.turn(3)
    assert len(rig.obstacles) == 1
    assert rig.obstacles[0].startswith(
        "readings[0]: partition 0 of topic readings: the committed offset 7 names no checkpoint"
    )
    assert [r.getMessage()[:27] for r in caplog.records] == ["readings/0 is not served: p"], "said once"
    assert count_learnt(rig, 1) == 3
    rig.stop()
    assert rig.source.group[PLACE] == Position(offset=7)
    assert rig.source.group[Partition(TOPIC, 1)].offset == 3


def test_says_what_a_load_waits_for(rig: Rig) -> None:
    rig.source.assign(0)
    rig.source.is_away = True
    rig.turn()
    loading = rig.holding().loading
    assert loading is not None
    for _ in range(500):
        rig.turn()
        if rig.holding().waits_for:
            break
        Event().wait(0.01)
    rig.turn()
    assert rig.obstacles == [
        "kafka:9092 does not answer",
        "readings[0]: its shard can't be loaded yet: kafka:9092 does not answer",
    ]
    rig.source.is_away = False
    loading.result(10)
    rig.clock.now_s += 2
    rig.turn()
    assert rig.obstacles == []


def test_bug_stops_the_worker_and_commits_nothing(rig: Rig) -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    rig.before_choice = fail
    rig.source.send(*minutes(0, 3))
    rig.source.assign(0)
    with pytest.raises(RuntimeError, match="a bug"):
        rig.runner.run(rig.source, lambda: False)
    assert rig.journal == ["close"]


# -- the backlog -----------------------------------------------------------------------------------------


def test_backlog_is_worked_off_over_several_turns(rig: Rig) -> None:
    """A slice takes the whole turn; polls go on, the source rests."""
    rig.assign(0)
    rig.source.send(*minutes(0, 4 * SLICE))
    rig.clock.tick_s = TURN_S
    rig.turn()
    assert rig.holding().next_offset == SLICE
    rig.turn()
    assert rig.holding().next_offset == 2 * SLICE
    assert rig.source.paused == {PLACE}
    assert rig.source.waits[-1] == 0.0
    rig.turn(3)
    assert rig.holding().next_offset == 4 * SLICE
    assert rig.source.paused == set()
    assert rig.source.waits[-1] > 0
    assert count_learnt(rig) == 4 * SLICE


def test_backlog_of_a_partition_that_goes_is_dropped_and_that_of_others_is_not(rig: Rig) -> None:
    rig.assign(0, 1)
    for partition in (0, 1):
        rig.source.send(*minutes(0, 2 * SLICE), partition=partition)
    rig.clock.tick_s = TURN_S
    rig.turn()
    assert (rig.holding(0).next_offset, rig.holding(1).next_offset) == (SLICE, 0)
    rig.source.revoke(0)
    rig.turn(3)
    assert rig.source.group[PLACE].offset == SLICE
    assert count_learnt(rig, 1) == 2 * SLICE
    assert len(rig.emitter.said) == 3 * SLICE


def test_backlog_of_a_partition_that_goes_and_comes_back_is_read_again_from_its_offset(rig: Rig) -> None:
    rig.assign(0, 1)
    for partition in (1, 0):
        rig.source.send(*minutes(0, 4 * SLICE), partition=partition)
    rig.clock.tick_s = TURN_S
    rig.turn()
    rig.source.expel(0)
    rig.turn()
    rig.assign(0)
    rig.turn(9)
    assert [rig.holding(p).next_offset for p in (0, 1)] == [4 * SLICE] * 2
    assert rig.state(0) == rig.state(1)
    assert rig.holding(0).shard.counts["dropped_duplicate"] == 0


def test_partition_that_comes_while_the_source_rests_rests_as_well(rig: Rig) -> None:
    rig.assign(0)
    rig.source.send(*minutes(0, 4 * SLICE))
    rig.clock.tick_s = TURN_S
    rig.source.send(*minutes(0, 5), partition=1)
    rig.turn()
    rig.assign(1)
    assert rig.source.paused == {PLACE, Partition(TOPIC, 1)}
    rig.turn(4)
    assert rig.source.paused == set()
    assert count_learnt(rig, 1) == 5


def test_source_rests_while_the_emitter_has_no_room(rig: Rig) -> None:
    rig.assign(0)
    rig.emitter.room = 5
    rig.source.send(*minutes(0, 5))
    rig.turn()
    assert count_learnt(rig) == 5
    rig.source.send(*minutes(5, 9))
    rig.turn(3)
    assert count_learnt(rig) == 5
    assert rig.source.paused == {PLACE}
    assert rig.source.waits[-1] > 0, "it does not spin"
    rig.emitter.room = 100
    rig.turn(2)
    assert count_learnt(rig) == 9


def test_polls_go_on_while_a_batch_waits_for_room(rig: Rig) -> None:
    rig.assign(0)
    rig.emitter.room = 2
    rig.source.send(*minutes(0, 5))
    rig.source.events = [lambda: None] * 4
    rig.source.events.append(lambda: setattr(rig.emitter, "room", 100))
    rig.turn()
    assert rig.source.waits[-4:] == [POLL_S] * 4
    assert count_learnt(rig) == 5
    assert len(rig.emitter.said) == 5


def test_stop_ends_a_worker_that_waits_for_room(rig: Rig) -> None:
    rig.assign(0)
    rig.emitter.room = 2
    rig.source.send(*minutes(0, 5))
    polls = len(rig.source.waits) + 9

    def is_over() -> bool:
        rig.clock.now_s += 1.0
        return len(rig.source.waits) > polls

    rig.runner.run(rig.source, is_over)
    assert rig.journal[-1] == "close"


def test_stop_amid_a_backlog_saves_what_was_worked_off(rig: Rig) -> None:
    whole = Rig()
    for each in (whole, rig):
        each.assign(0)
        each.source.send(*minutes(0, 3 * SLICE))
    whole.turn(3)
    asked = iter([False, False, True])
    rig.clock.tick_s = TURN_S / 1000
    rig.runner.run(rig.source, lambda: next(asked, True))
    assert rig.source.group[PLACE].offset == rig.holding().next_offset == SLICE
    again = rig.follow()
    again.assign(0)
    again.turn(3)
    assert again.state() == whole.state()
    assert [*rig.emitter.said, *again.emitter.said] == whole.emitter.said, "each once"


# -- readings that wait for their tick -------------------------------------------------------------------

GATHER_S = 0.1


def make_round(minute: int, series: range = range(4)) -> list[bytes]:
    return [make_reading(minute, f"pump/{k}", value=float((minute + k) % 7)) for k in series]


@pytest.fixture
def patient() -> Rig:
    """Four series have been heard, so that a round of four readings is a tick."""
    rig = Rig(gather_s=GATHER_S)
    rig.assign(0)
    for minute in range(10):
        rig.source.send(*make_round(minute))
        rig.turn()
        rig.clock.now_s += GATHER_S
        rig.turn()
    assert rig.holding().next_offset == 40
    assert rig.holding().shard.readings_to_ticks == (4, 4)
    return rig


def test_a_round_is_waited_for_and_worked_off_whole(patient: Rig) -> None:
    waves = len(patient.emitter.said)
    patient.source.send(*make_round(10, range(3)))
    patient.turn()
    assert patient.holding().next_offset == 40
    assert patient.source.paused == set(), "its others are to come"
    patient.source.send(*make_round(10, range(3, 4)), *make_round(11, range(2)))
    patient.turn()
    assert patient.holding().next_offset == 44, "as far as the tick"
    assert len(patient.emitter.said) == waves + 4
    patient.turn()
    assert patient.holding().next_offset == 44
    assert 0.0 < patient.source.waits[-1] <= POLL_S


def test_a_round_whose_rest_does_not_come_is_worked_off_all_the_same(patient: Rig) -> None:
    patient.source.send(*make_round(10, range(3)))
    patient.turn(3)
    assert patient.holding().next_offset == 40
    patient.clock.now_s += GATHER_S
    patient.turn()
    assert patient.holding().next_offset == 43


def test_what_waits_is_lag(patient: Rig) -> None:
    patient.source.send(*make_round(10, range(3)))
    patient.clock.now_s += 60.0
    patient.turn()
    assert patient.holding().next_offset == 40
    assert patient.holding().lag == 3


def test_results_do_not_depend_on_how_long_readings_wait(patient: Rig) -> None:
    hasty = Rig()
    hasty.assign(0)
    stamps = [stamp for stamp, _ in patient.source.logs[PLACE]]
    for minute in range(10):
        hasty.source.send(*make_round(minute), at_ms=stamps[4 * minute])
        hasty.turn()
    for minute in range(10, 20):
        for series in (range(1), range(1, 4)):
            for rig in (patient, hasty):
                rig.source.send(*make_round(minute, series), at_ms=stamps[-1])
                rig.turn()
    assert patient.state() == hasty.state()
    assert sorted(map(str, patient.emitter.said)) == sorted(map(str, hasty.emitter.said))


def make_long_message(first: int, last: int) -> bytes:
    """One message, a wave for each of its readings."""
    return b"[" + b",".join(minutes(first, last)) + b"]"


def test_polls_go_on_amid_a_message_with_a_lot_of_work(rig: Rig) -> None:
    rig.assign(0)
    rig.source.send(make_long_message(0, 60), *minutes(60, 62))
    rig.turn()
    assert len(rig.source.waits) == 3
    rig.source.send(make_long_message(62, 182))
    rig.clock.tick_s = POLL_AGAIN_S / 20
    rig.turn()
    assert len(rig.source.waits) > 10
    assert rig.holding().next_offset == 4
    assert count_learnt(rig) == 182
    assert not rig.holding().is_amid


@pytest.mark.parametrize("how", ["revoked", "expelled", "stopped"])
def test_shard_left_amid_a_message_is_never_saved(rig: Rig, how: str) -> None:
    """Half of a message is at no offset; its next owner takes the whole one."""
    rig.assign(0)
    rig.source.send(*minutes(0, 2))
    rig.turn()
    rig.source.send(make_long_message(2, 62))
    rig.clock.tick_s = POLL_AGAIN_S / 20
    rig.source.events.append(lambda: None)  # the poll of the turn itself
    if how == "stopped":
        polls = len(rig.source.waits) + 3
        rig.runner.run(rig.source, lambda: len(rig.source.waits) >= polls)
        assert rig.holding().is_amid
    else:
        (rig.source.revoke if how == "revoked" else rig.source.expel)(0)
        rig.turn()
        assert rig.runner.holdings == {}
    assert 2 < len(rig.emitter.said) < 62
    assert rig.source.group[PLACE] == Position(offset=0, metadata="fresh")
    assert not any(line.startswith("write") for line in rig.journal)

    rig.clock.tick_s = 0.0
    again = rig.follow()
    again.assign(0)
    again.turn(2)
    assert count_learnt(again) == 62
    assert again.emitter.said[: len(rig.emitter.said)] == rig.emitter.said


def test_a_turn_takes_as_many_messages_as_it_has_time_for() -> None:
    rig = Rig()
    rig.assign(0)
    rig.source.send(*minutes(0, 600))

    def work_off(wave_s: float) -> int:
        def pass_time(*_: object) -> None:
            rig.clock.now_s += wave_s

        rig.observer.on_wave = pass_time  # type: ignore[method-assign]
        rig.turn(3)
        before = rig.holding().next_offset
        rig.turn()
        return rig.holding().next_offset - before

    assert 30 <= work_off(TURN_S / 50) <= 100
    assert work_off(TURN_S) == FEWEST
    assert work_off(0.0) == 0, "all was worked off by the turn before"
    assert rig.holding().next_offset == 600


# -- what goes wrong -------------------------------------------------------------------------------------


def test_full_disk_is_counted_and_learning_goes_on(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.assign(0)
    rig.store.error = FULL_DISK
    for interval in range(3):
        rig.source.send(*minutes(interval * 3, interval * 3 + 3))
        rig.clock.now_s += INTERVAL_S
        rig.settle()
    assert rig.observer.counts["checkpoint_failed"] == 3
    assert "checkpoint" not in rig.observer.counts
    assert "readings/0: the checkpoint can't be written, learning goes on" in caplog.text
    assert "No space left on device" in caplog.text
    assert count_learnt(rig) == 9
    assert rig.source.group[PLACE].metadata == "fresh"
    rig.store.error = None
    rig.clock.now_s += INTERVAL_S
    rig.settle()
    assert rig.source.group[PLACE].offset == 9


def test_full_disk_at_the_end_ends_the_worker_all_the_same(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.assign(0)
    rig.source.send(*minutes(0, 3))
    rig.turn()
    rig.store.error = FULL_DISK
    rig.stop()
    assert "readings/0: no last checkpoint" in caplog.text
    rig.store.error = None
    again = rig.follow()
    again.assign(0)
    again.turn()
    assert again.state() == rig.state()


def test_partition_that_can_not_be_read_on_is_told(rig: Rig) -> None:
    rig.assign(0)
    rig.source.stopped[PLACE] = "offset 9 is behind its end 2"
    rig.source.lost[PLACE] = 4
    rig.clock.now_s += 2
    rig.turn()
    assert rig.obstacles == ["readings[0]: offset 9 is behind its end 2"]
    assert rig.observer.counts["lost"] == 4


def test_bad_messages_are_letters_and_their_offsets_advance(rig: Rig) -> None:
    rig.assign(0)
    rig.source.send(b"{", make_reading(0), b'[{"series": "boiler/1"}, 7]')
    rig.turn()
    assert [(letter.message, len(letter.reasons)) for letter in rig.emitter.letters] == [(0, 1), (2, 2)]
    assert rig.holding().next_offset == 3
    assert rig.observer.counts["learned"] == 1
    assert rig.observer.counts["rejected not_decodable"] == 1


# -- silence ---------------------------------------------------------------------------------------------


def watch(rig: Rig, seconds: int) -> None:
    """Turns, five seconds apart."""
    for _ in range(seconds // 5):
        rig.clock.now_s += 5
        rig.turn()


def test_series_falls_silent_only_where_all_is_read(rig: Rig) -> None:
    rig.assign(0)
    warm(rig)
    rig.source.pause = lambda _: None  # type: ignore[method-assign]
    rig.source.most = 0  # readings have come, and are not handed out
    rig.source.send(make_reading(10))
    watch(rig, 900)
    assert rig.emitter.alerted == []
    rig.source.most = 10
    watch(rig, 200)
    assert rig.emitter.alerted == []
    watch(rig, 200)
    assert [(a.kind, a.state, a.series) for a in rig.emitter.alerted] == [("silent", "firing", "boiler/1")]
    rig.source.send(make_reading(40))
    rig.turn()
    assert [a.state for a in rig.emitter.alerted] == ["firing", "resolved"]
    assert len({a.id for a in rig.emitter.alerted}) == 1


def test_two_hours_without_the_broker_silence_nobody_and_lose_nothing(rig: Rig) -> None:
    whole = Rig()
    for each in (whole, rig):
        each.assign(0)
        warm(each)
    rig.source.is_away = True
    watch(rig, 7200)
    assert "kafka:9092 does not answer" in rig.obstacles
    rig.source.is_away = False
    for each in (whole, rig):  # what the plant has kept meanwhile
        for minute, reading in enumerate(minutes(10, 135), 10):
            each.source.send(reading, at_ms=START_MS + minute * MINUTE_MS)
    rig.source.most = 20  # over several polls
    watch(rig, 60)
    whole.turn()
    assert rig.obstacles == []
    assert rig.emitter.alerted == []
    assert count_learnt(rig) == 135
    assert rig.state() == whole.state()
    assert rig.emitter.said == whole.emitter.said
    watch(rig, 400)
    assert [a.kind for a in rig.emitter.alerted] == ["silent"], "but after that, silence is silence"


# -- declarations ----------------------------------------------------------------------------------------


def declare_cadence(_: str) -> SeriesSettings:
    return SeriesSettings(cadence_ms=2 * MINUTE_MS)


def send_bad(rig: Rig, first: int, number: int) -> None:
    for minute in range(first, first + number):
        time_ms = START_MS + minute * MINUTE_MS
        rig.source.send(json.dumps({"series": "boiler/1", "time": time_ms, "value": None}).encode())


def test_declarations_enter_with_a_checkpoint_at_once(rig: Rig) -> None:
    rig.assign(0)
    warm(rig)
    send_bad(rig, 10, 2)
    rig.turn()
    assert [(a.kind, a.state) for a in rig.emitter.alerted] == [("bad_quality", "firing")]
    rig.runner.declare(declare_cadence)
    rig.settle()
    assert rig.journal[-3:] == ["write 0 at 12", "flush", "commit 0 at 12, checkpoint"]
    assert rig.emitter.alerted[-1].state == "resolved"
    assert rig.emitter.alerted[-1].resolution == "retired"
    written = len(rig.journal)
    rig.settle()
    assert len(rig.journal) == written, "once"
    again = rig.follow(declare_cadence)
    again.assign(0)
    assert again.state() == rig.state()


def test_declarations_that_changed_while_nobody_ran_resolve_alerts(rig: Rig) -> None:
    rig.assign(0)
    warm(rig)
    send_bad(rig, 10, 2)
    rig.turn()
    rig.stop()
    again = rig.follow(declare_cadence)
    again.assign(0)
    assert [(a.kind, a.state) for a in again.emitter.alerted] == [("bad_quality", "resolved")]
    assert again.emitter.alerted[0].id == rig.emitter.alerted[0].id


def test_declarations_that_change_while_a_shard_loads_reach_it(rig: Rig) -> None:
    rig.assign(0)
    warm(rig)
    rig.stop()
    again = rig.follow()
    again.source.assign(0)
    again.turn()
    assert again.holding().loading is not None
    again.holding().loading.result(10)  # type: ignore[union-attr]
    real, again.source.start = again.source.start, lambda *_: False  # type: ignore[method-assign]
    again.runner.declare(declare_cadence)
    again.turn()  # what is declared is taken over by all that run
    again.source.start = real  # type: ignore[method-assign]
    again.turn()
    again.source.send(make_reading(10))
    again.turn()
    described = again.holding().shard.describe("boiler/1")
    assert described is not None
    assert described["cadence_ms"] == 2 * MINUTE_MS
    assert DEFAULT.cadence_ms is None
