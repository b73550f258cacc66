"""What was said of followed series some steps before, against the results that said it."""

from __future__ import annotations

import numpy as np
import pytest

from forecasters.recall import recall
from pipeline.live.snapshots import take_bank
from pipeline.ports import Partition
from tests.unit.live.conftest import NAMES, SHOWN, START_MS, STEP_MS, STEPS, TOPIC

AT = Partition(TOPIC, 0)
SERIES = ("a", "b", "c", "d", "e", "f")


def course(stage, series, step=2):
    return stage.view.tracks.course(AT, series, step)


def test_forecasts_stand_at_the_times_that_they_were_about(stage, monkeypatch):
    said = {}
    see = stage.view.see

    def listen(partition, stepped):
        lstm = NAMES.index("lstm")
        for row, series in enumerate(stepped.series):
            result = stepped.wave.result
            issued_ms = int(stepped.wave.event_time_ms[row])
            for h in STEPS:
                about = series, h, issued_ms + h * STEP_MS
                said[about] = [float(x[row, lstm, h - 1]) for x in (result.mean, result.lower, result.upper)]
        see(partition, stepped)

    monkeypatch.setattr(stage.view, "see", listen)
    stage.step(SERIES[:2], 12)
    for h in STEPS:
        found = course(stage, "b", h)
        assert found.event_time_ms.tolist() == [START_MS + k * STEP_MS for k in range(12 + h)]
        assert found.is_past.tolist() == [True] * 12 + [False] * h
        assert np.isnan(found.value[12:]).all()
        assert np.isnan(found.mean[:h]).all()
        for at in range(h, 12 + h):
            expected = said["b", h, int(found.event_time_ms[at])]
            got = [x[at, SHOWN.index("lstm")] for x in (found.mean, found.lower, found.upper)]
            assert got == pytest.approx(expected, rel=1e-5, abs=1e-6), (h, at)
        np.testing.assert_allclose(found.naive[h:], found.value[:12], rtol=1e-6)


def test_only_the_newest_steps_are_kept(stage):
    stage.step(SERIES[:1], 33)
    found = course(stage, "a", 1)
    assert found.event_time_ms.tolist() == [START_MS + k * STEP_MS for k in range(13, 34)]
    assert np.isfinite(found.mean[1:]).all()


def test_a_masked_step_has_no_value_and_its_forecasts_stay(stage):
    stage.step(SERIES[:1], 6)
    stage.step(SERIES[:1], 1, fault=2)
    stage.step(SERIES[:1], 2)
    found = course(stage, "a", 1)
    assert np.isnan(found.value[:9]).tolist() == [False] * 6 + [True] + [False] * 2
    assert found.base[6] == pytest.approx(found.value[5])
    assert np.isfinite(found.mean[6:9]).all()


def test_what_was_said_about_a_gap_stands_in_it_without_a_value(stage):
    stage.step(SERIES[:1], 6)
    stage.made += 100
    stage.step(SERIES[:1], 6)
    found = course(stage, "a", 2)
    steps = (found.event_time_ms - START_MS) // STEP_MS
    assert steps.tolist() == [*range(8), *range(106, 114)]
    assert np.isnan(found.value).tolist() == [False] * 6 + [True] * 2 + [False] * 6 + [True] * 2
    assert np.isfinite(found.mean[:, 0]).tolist() == [False] * 2 + [True] * 6 + [False] * 2 + [True] * 6
    assert found.base[6:8] == pytest.approx(found.value[5])


def test_room_is_bounded_and_who_is_asked_for_gets_it(stage):
    stage.step(SERIES, 8)
    assert course(stage, "d") is not None
    assert course(stage, "f") is None
    stage.view.tracks.want(AT, "a")
    stage.view.tracks.want(AT, "f")
    stage.look()
    found = course(stage, "f")
    assert found.is_past.sum() == 8, "from what the bank remembers"
    assert course(stage, "a") is not None
    assert course(stage, "b") is None, "asked for least lately"
    stage.step(SERIES, 1)
    assert course(stage, "f").is_past.sum() == 9


def test_what_the_bank_remembers_equals_what_was_followed(stage):
    stage.step(SERIES, 14, value=lambda row, k: 1e4 + 3.0 * np.sin(k) + row)
    bank = take_bank(stage.holdings[AT])
    found = recall(bank, bank.ids.index("a"), SHOWN, STEPS)
    tracks = stage.view.tracks
    place, order = tracks._places[AT, "a"], slice(14 - found.value.size, 14)
    assert found.event_time_ms.tolist() == tracks._time_TM[order, place].tolist()
    np.testing.assert_allclose(found.value, tracks._value_TM[order, place], rtol=1e-6)
    said_T2EL = tracks._said_TM2EL[order, place]
    for column, h in enumerate(STEPS):
        kept_T2E = said_T2EL[-h:, :, :, column]  # the others have met their reading, and are forgotten
        np.testing.assert_allclose(found.departure[-h:, :, column], kept_T2E[:, 0], rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(found.half[-h:, :, column], kept_T2E[:, 1], rtol=2e-3, atol=2e-3)
        assert np.isnan(found.departure[:-h, :, column]).all()


def test_a_filled_step_is_remembered_without_value_and_forecast(stage):
    stage.step(SERIES[:1], 8)
    stage.made += 2
    stage.step(SERIES[:1], 1)
    found = recall(take_bank(stage.holdings[AT]), 0, SHOWN, STEPS)
    assert np.isnan(found.value[-3:]).tolist() == [True, True, False]
    assert np.isnan(found.departure[-3:-1]).all()
    assert np.isfinite(found.departure[-1]).all()


def test_nothing_is_remembered_from_before_a_restart(stage):
    stage.step(SERIES[:1], 10)
    stage.made += 100
    stage.step(SERIES[:1], 3)
    bank = take_bank(stage.holdings[AT])
    assert recall(bank, 0, SHOWN, STEPS).event_time_ms.tolist() == [
        START_MS + (110 + k) * STEP_MS for k in range(3)
    ]


def test_recall_refuses_what_the_bank_does_not_keep(stage):
    stage.step(SERIES[:1], 3)
    bank = take_bank(stage.holdings[AT])
    with pytest.raises(ValueError, match=r"expected forecasters of .* got"):
        recall(bank, 0, ("gru",), STEPS)
    with pytest.raises(ValueError, match=r"steps of \(1, 2, 3, 4\)"):
        recall(bank, 0, SHOWN, (5,))


def test_a_retired_series_leaves_its_slot_to_another_without_a_trace(stage):
    stage.step(SERIES[:1], 8)
    shard = stage.holdings[AT].shard
    list(shard._forget([shard.intake.table.find("a")], shard.clock_ms))
    stage.step(("new",), 2)
    assert course(stage, "a") is None
    assert course(stage, "new").is_past.sum() == 2


def test_a_partition_that_goes_takes_its_courses_along(stage):
    stage.step(SERIES[:1], 8)
    stage.holdings.clear()
    stage.look()
    assert course(stage, "a") is None


def test_a_flood_of_questions_is_taken_up_a_few_at_a_time(stage):
    names = tuple(f"s{n}" for n in range(40))
    stage.step(names, 3)
    for name in names:
        stage.view.tracks.want(AT, name)
    stage.look()
    assert sum(course(stage, name) is not None for name in names) <= stage.most
    assert course(stage, names[-1]) is not None


def test_an_alert_has_its_series_followed(stage):
    stage.step(SERIES, 12)
    stage.step(SERIES[5:], 2, fault=2)
    assert course(stage, "f") is None
    stage.look()
    assert course(stage, "f") is not None
