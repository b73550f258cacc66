from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pipeline.engine.settings import SeriesSettings
from pipeline.placement import find_partition
from pipeline.records import MISSING, Rejected

START_MS = 1_795_415_880_000
MINUTE_MS, HOUR_MS, HOUR = 60_000, 3_600_000, 60
YEAR_2099 = 38_000_000  # in minutes from START_MS


def list_rejected(outcomes: list[Any]) -> list[Rejected]:
    return [bad for outcome in outcomes for bad in outcome.rejected]


def test_a_wave_names_its_series_and_their_cadence(make_feed) -> None:
    feed = make_feed()
    (outcome,) = feed.outcomes("p", 0, 2.5)
    assert outcome.stepped.series == ["p"]
    assert outcome.stepped.step_ms.tolist() == [MINUTE_MS]
    assert outcome.stepped.wave.event_time_ms.tolist() == [START_MS]
    assert outcome.stepped.wave.result.mean.flatten().tolist() == [2.5, 2.5]


def test_a_reading_from_2099_is_rejected_and_makes_none_late(make_feed) -> None:
    feed = make_feed()
    feed.warm("p")
    found = list_rejected(feed.outcomes("p", YEAR_2099, clock=3))
    assert found == [Rejected(message=7, reasons=("too_far_ahead",), indices=(3,))]
    assert list_rejected(feed.outcomes("new", YEAR_2099, clock=3)) == found
    feed.send("p", 3)
    assert feed.shard.counts["accepted"] == 4
    assert feed.shard.counts["dropped_late"] == 0
    assert feed.shard.intake.series == ("p",)
    assert feed.shard.clock_ms == START_MS + 3 * MINUTE_MS


def test_up_to_max_ahead_of_the_shard_clock_a_reading_is_taken(make_feed) -> None:
    feed = make_feed(max_ahead_ms=5 * MINUTE_MS)
    assert list_rejected(feed.outcomes("p", 5, clock=0)) == []
    # The clock never goes back.
    assert list_rejected(feed.outcomes("q", 6, clock=1)) == []
    assert list_rejected(feed.outcomes("r", 6, clock=-9)) == []
    assert len(list_rejected(feed.outcomes("s", 6.1, clock=-9))) == 1


def test_series_of_other_partitions_are_misplaced(make_feed) -> None:
    here = next(name for name in "abcdefgh" if find_partition(name, 2) == 0)
    away = next(name for name in "abcdefgh" if find_partition(name, 2) == 1)
    feed = make_feed(placement="murmur2")
    assert list_rejected(feed.outcomes(here, 0)) == []
    (bad,) = list_rejected(feed.outcomes(away, 0))
    assert bad.reasons == ("misplaced",)
    feed = make_feed()
    assert list_rejected(feed.outcomes(away, 0)) == []


def test_a_flood_of_ids_evicts_nobody(make_feed) -> None:
    feed = make_feed(max_series=2)
    feed.warm("p")
    for k in range(5):
        feed.outcomes(f"invented/{k}", 3)
    assert feed.shard.intake.series == ("p", "invented/0")
    assert feed.shard.counts["rejected_too_many_series"] == 4


def test_states_of_life_and_readings_that_are_still_needed(make_feed) -> None:
    feed = make_feed(cadence_ms=None, cadence_readings=3, life={"warm_readings": 5})
    assert feed.shard.count_states() == dict.fromkeys(("cold", "warming", "live", "stale", "retired"), 0)
    feed.warm("p", until=2)
    assert feed.shard.count_states()["cold"] == 1
    assert feed.shard.lives.count_needed() == {"p": 3}
    feed.send("p", 2)
    assert feed.shard.count_states()["warming"] == 1
    assert feed.shard.lives.count_needed() == {"p": 2}
    feed.send("p", 3, math.nan, MISSING)
    assert feed.shard.lives.count_needed() == {"p": 2}
    for minute in (4, 5):
        feed.send("p", minute)
    assert feed.shard.count_states()["live"] == 1
    assert feed.shard.lives.count_needed() == {}
    feed.send("q", 20)
    assert feed.shard.count_states() == {"cold": 1, "warming": 0, "live": 0, "stale": 1, "retired": 0}


def test_retired_where_the_shard_clock_crosses_an_hour(make_feed) -> None:
    feed = make_feed(
        {"p": SeriesSettings(maximum=5.0)}, life={"retire_after_ms": 90 * MINUTE_MS}, max_series=2
    )
    feed.warm("p")
    feed.warm("q")
    for minute in (3, 4, 5):
        fired = feed.send("p", minute, 9.0)
    # 06:38 + 97 min: silent for more than 90 min, but no hour is crossed since 08:00.
    for minute in (83, 97):
        assert feed.send("q", minute) == []
    assert feed.shard.intake.series == ("p", "q")
    (resolved,) = feed.send("q", 142)
    assert (resolved.id, resolved.resolution) == (fired[0].id, "retired")
    assert (resolved.ended, resolved.reason) == (
        START_MS + 142 * MINUTE_MS, "The series was retired after a long silence.",
    )  # fmt: skip
    assert feed.shard.intake.series == ("q",)
    assert feed.shard.bank.ids[0] not in ("p", "q")
    assert feed.shard.count_states()["retired"] == 1

    assert list_rejected(feed.outcomes("new", 143)) == []
    assert feed.shard.bank.ids == ["new", "q"]
    assert feed.shard.lives.count_needed() == {"new": 2}


def test_a_retired_series_that_returns_is_new(make_feed) -> None:
    feed = make_feed(life={"retire_after_ms": HOUR_MS})
    feed.warm("p", until=9)
    assert feed.send("p", 10 * HOUR + 0.3) == []
    assert feed.shard.lives.count_needed() == {"p": 2}
    assert feed.shard.count_states()["retired"] == 1
    fresh = make_feed(life={"retire_after_ms": HOUR_MS})
    fresh.send("p", 10 * HOUR + 0.3)
    for name, tensor in fresh.shard.bank.save().items():
        if not name.startswith("bank.counts"):
            assert np.array_equal(tensor.numpy(), feed.shard.bank.save()[name].numpy(), equal_nan=True), name


def test_without_retire_after_none_is_retired(make_feed) -> None:
    feed = make_feed(life={"retire_after_ms": None})
    feed.warm("p")
    feed.send("q", 10_000 * HOUR)
    assert feed.shard.count_states()["stale"] == 1


def test_a_silent_series_that_is_retired_resolves_without_recovering(make_feed) -> None:
    feed = make_feed(life={"retire_after_ms": HOUR_MS})
    feed.warm("p")
    fired = [a for s in range(0, 600, 10) for a in feed.shard.check_silence(START_MS + s * 1000, True)]
    assert [alert.kind for alert in fired] == ["silent"]
    assert [(a.id, a.resolution) for a in feed.send("q", 2 * HOUR)] == [(fired[0].id, "retired")]
    assert feed.send("p", 2 * HOUR) == []


def test_by_exception_holds_the_last_value_as_long_as_it_may_be_silent(make_feed) -> None:
    declared = {"p": SeriesSettings(by_exception=True, silent_after_ms=30 * MINUTE_MS)}
    for minute, fills in ((31, 30), (32, 0)):
        feed = make_feed(declared, max_gap=2)
        feed.send("p", 0)
        (wave,) = (outcome.stepped.wave for outcome in feed.outcomes("p", minute))
        assert wave.masked.tolist() == [False]  # nobody hears forecasts of steps whose time has passed
        assert feed.shard.counts["masked_gap"] == fills
        assert feed.shard.bank.timetable["step"][0] == fills + 1


def test_what_is_declared_anew_holds_from_there_on(make_feed) -> None:
    feed = make_feed()
    feed.warm("p")
    assert feed.shard.declare(lambda name: SeriesSettings(maximum=5.0)) == []
    assert feed.shard.lives.count_needed() == {}
    feed.send("p", 3, 9.0)
    assert feed.shard.counts["masked_out_of_range"] == 1
    assert feed.shard.declare(lambda name: SeriesSettings(cadence_ms=30_000)) == []
    assert feed.shard.intake.series == ()


def test_state_of_another_make_is_refused(make_feed) -> None:
    feed = make_feed()
    feed.warm("p")
    state = feed.shard.save()
    for name, other in (
        ("intake.slot", state["intake.minimum"]),
        ("lives.heard_ms", state["lives.accepted"][:0]),
    ):
        fresh = make_feed().shard
        with pytest.raises(ValueError, match="expected"):
            fresh.load({**state, name: other})
    with pytest.raises(KeyError):
        make_feed().shard.load({key: state[key] for key in state if key != "intake.clock"})
