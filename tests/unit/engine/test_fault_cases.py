"""What goes wrong in plants, and what is heard of it: each case through a shard, from readings to messages.

Readings come every ten minutes, so that a day is 144 of them; the budget is low, so that what pages is the
fault. Times are steps of ten minutes since START_MS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from forecasters import build
from forecasters.anomaly import AlertOptions
from pipeline.engine.options import IntakeOptions, LifeOptions, ShardOptions
from pipeline.engine.settings import SeriesSettings
from pipeline.engine.shard import Shard
from pipeline.records import Alert, Readings

STEP_MS = 600_000
DAY = 144
HOLD = 20
START_MS = 1_795_392_000_000  # 2026-11-23T00:00:00Z
HISTORY = 4 * DAY


def usual(steps: int, seed: int = 0, level: float = 80.0, size: float = 1.0) -> np.ndarray:
    """A sensor in which nothing is wrong: a day's swing, noise that remembers and noise that doesn't."""
    rng = np.random.default_rng(seed)
    walk = np.zeros(steps)
    for k in range(1, steps):
        walk[k] = 0.8 * walk[k - 1] + 0.6 * rng.normal()
    swing = 3 * np.sin(2 * np.pi * np.arange(steps) / DAY)
    return level + size * (swing + walk + 0.5 * rng.normal(size=steps))


@dataclass
class Line:
    """A shard and what it has said."""

    settings: SeriesSettings = field(default_factory=SeriesSettings)
    budget: float = 0.0005
    per_series: bool = True
    shard: Shard[Any] = field(init=False)
    heard: list[Alert] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shard = self.make_shard()

    def make_shard(self) -> Shard[Any]:
        alerts = AlertOptions(
            champion="naive",
            episodes_per_day=self.budget,
            per_series=self.per_series,
            grid_ms=STEP_MS,
            hold=HOLD,
        )
        bank = build(("naive",), horizon=6, device="cpu", alerts=alerts)
        options = ShardOptions(intake=IntakeOptions(cadence_ms=STEP_MS), life=LifeOptions(), champion="naive")
        return Shard(bank, options, lambda name: self.settings, 0, 1)

    def send(
        self, values: Sequence[float] | np.ndarray, start: int, series: str = "boiler/3", offset_ms: int = 0
    ) -> list[Alert]:
        """Readings of one series, a step apart, from step `start` on; the alerts that they bring."""
        value = np.asarray(values, np.float64)
        times = START_MS + offset_ms + (start + np.arange(value.size)) * STEP_MS
        return self.take((series,), np.zeros(value.size, np.int32), times, value)

    def take(self, series: tuple[str, ...], index: np.ndarray, times: Any, value: np.ndarray) -> list[Alert]:
        readings = Readings(
            series=series, series_index=index.astype(np.int32), event_time_ms=np.asarray(times, np.int64),
            value=value,
        )  # fmt: skip
        new = [alert for outcome in self.shard.process(readings) for alert in outcome.alerts]
        self.heard += new
        return new

    def listen(self, start: int, stop: int) -> list[Alert]:
        """Time passes by the wall clock, with everything read."""
        new = []
        for now_ms in range(START_MS + start * STEP_MS, START_MS + stop * STEP_MS, 30_000):
            new += self.shard.check_silence(now_ms, True)
        self.heard += new
        return new

    def restart(self) -> None:
        """Another worker takes over, with the state."""
        state, self.shard = self.shard.save(), self.make_shard()
        self.shard.load(state)


def brief(alerts: Sequence[Alert], *kinds: str) -> list[tuple[str, str, str | None]]:
    """Kind, state and resolution of what is not merely noted."""
    return [
        (a.kind, a.state, a.resolution)
        for a in alerts
        if a.state != "noted" and (not kinds or a.kind in kinds)
    ]


FIRES, RECOVERS = ("anomaly", "firing", None), ("anomaly", "resolved", "recovered")


@pytest.fixture
def line() -> Line:
    """After four days in which nothing was wrong."""
    line = Line()
    assert brief(line.send(usual(HISTORY), 0)) == []
    return line


def go_on(steps: int, after: int = HISTORY) -> np.ndarray:
    """What the sensor would have gone on to say."""
    return usual(after + steps)[after:]


def test_a_spike_fires_at_once_with_its_numbers(line: Line) -> None:
    values = go_on(3 * HOLD)
    values[0] = 110.0
    fired, resolved = [a for a in line.send(values, HISTORY) if a.state != "noted"]
    assert (fired.kind, fired.state, fired.severity, fired.forecaster) == (
        "anomaly",
        "firing",
        "page",
        "naive",
    )
    assert (fired.value, fired.started, fired.time) == (110.0, START_MS + HISTORY * STEP_MS, fired.started)
    assert (fired.score or 0.0) >= 1.0
    assert None not in (fired.lower, fired.expected, fired.upper)
    assert 70 < fired.lower < fired.expected < fired.upper < 90
    assert fired.reason == (
        f"110.0, expected {fired.expected:.1f} ({fired.lower:.1f}–{fired.upper:.1f}), since 00:00 UTC"
    )
    assert (resolved.id, resolved.state, resolved.resolution) == (fired.id, "resolved", "recovered")
    assert "nothing unusual since" in resolved.reason


def test_six_hours_without_readings_are_one_silent_alert_and_none_at_the_return(line: Line) -> None:
    gap = 36
    assert brief(line.listen(HISTORY - 1, HISTORY + gap)) == [("silent", "firing", None)]
    heard = line.send(go_on(2 * DAY)[gap:], HISTORY + gap)
    assert brief(heard) == [("silent", "resolved", "recovered")]


def test_a_drop_to_zero_and_the_recovery_are_one_alert(line: Line) -> None:
    values = go_on(2 * DAY)
    values[:36] *= 0.001
    assert brief(line.send(values, HISTORY), "anomaly") == [FIRES, RECOVERS]


def test_a_restart_with_the_state_changes_nothing(line: Line) -> None:
    values = go_on(DAY)
    values[10:20] += 40
    line.send(values[:15], HISTORY)
    (firing,) = line.shard.list_firing()
    line.restart()
    assert [(a.id, a.state) for a in line.shard.list_firing()] == [(firing.id, "firing")]
    line.send(values[15:], HISTORY + 15)
    assert brief(line.heard) == [FIRES, RECOVERS]
    assert {a.id for a in line.heard if a.state != "noted"} == {firing.id}


def test_a_restart_without_the_state_raises_nothing_before_the_series_is_known_again(line: Line) -> None:
    values = go_on(2 * DAY)
    line.send(values[:10], HISTORY)
    line.shard = line.make_shard()
    values[20] += 40
    assert brief(line.send(values[10:], HISTORY + 10)) == []
    assert line.shard.describe("boiler/3")["readings_needed"] == 0  # type: ignore[index]


def test_a_constant_series_that_moves_by_one_unit_wakes_nobody() -> None:
    line = Line()
    values = np.full(HISTORY + 2 * DAY, 50.0)
    values[HISTORY:] = 51.0
    assert brief(line.send(values, 0)) == []


def test_a_lasting_shift_of_the_level_is_one_alert_that_says_it_is_taken_as_normal(line: Line) -> None:
    values = go_on(8 * DAY) + 30
    heard = line.send(values, HISTORY)
    assert brief(heard) == [FIRES, ("anomaly", "resolved", "shifted")]
    assert "taken as normal" in heard[-1].reason or "taken as normal" in next(
        a.reason for a in heard if a.state == "resolved"
    )


def test_stuck_at_a_fault_value_for_a_week_stays_visible_and_is_not_learnt(line: Line) -> None:
    week = 7 * DAY
    values = go_on(week + 2 * DAY)
    values[:week] = 4.0
    heard = line.send(values[:week], HISTORY)
    assert brief(heard) == [FIRES, ("stuck", "firing", None)]
    assert {a.kind for a in line.shard.list_firing()} == {"anomaly", "stuck"}
    stuck = heard[-1]
    assert stuck.reason.startswith("4 without any change since 00:00 UTC, for ")
    # its return is no alarm, and a second time it is heard again
    heard = line.send(values[week:], HISTORY + week)
    assert brief(heard) == [("stuck", "resolved", "recovered"), RECOVERS]
    assert "7 d without any change" in heard[0].reason
    again = np.full(DAY, 4.0)
    assert ("stuck", "firing", None) in brief(line.send(again, HISTORY + week + 2 * DAY))


def test_a_broken_current_loop_is_heard_as_out_of_range() -> None:
    line = Line(SeriesSettings(minimum=0.0, maximum=200.0))
    line.send(usual(HISTORY), 0)
    values = go_on(DAY)
    values[:10] = -25.0
    assert brief(line.send(values, HISTORY)) == [
        ("out_of_range", "firing", None), ("out_of_range", "resolved", "recovered"),
    ]  # fmt: skip


def test_duplicates_and_late_readings_raise_nothing(line: Line) -> None:
    values = go_on(DAY)
    for at in range(0, DAY, 12):
        part = values[at : at + 12]
        line.send(part, HISTORY + at)
        line.send(part[-3:], HISTORY + at + 9)  # again
        line.send(part[:2] + 500, HISTORY + at, offset_ms=1000)  # late, and nonsense
    assert brief(line.heard) == []


def test_values_below_zero_are_like_all_others() -> None:
    line = Line()
    assert brief(line.send(usual(HISTORY, level=-18.0), 0)) == []
    values = usual(HISTORY + DAY, level=-18.0)[HISTORY:]
    values[:3] += 25
    (fired, *_) = [a for a in line.send(values, HISTORY) if a.state == "firing"]
    assert fired.value == values[0]
    assert -25 < (fired.expected or 0.0) < -10


def test_the_change_to_daylight_saving_time_wakes_nobody() -> None:
    """People and machines begin an hour earlier from one day to the next; the day's shape moves with them."""
    zone, rng = ZoneInfo("Europe/Berlin"), np.random.default_rng(4)
    start = datetime(2027, 3, 15, tzinfo=UTC)  # the clocks change on the 28th
    first = (round(start.timestamp() * 1000) - START_MS) // STEP_MS
    values = []
    for k in range(16 * DAY):
        local = datetime.fromtimestamp(start.timestamp() + k * 600, zone)
        hour = local.hour + local.minute / 60
        values.append(60 + 8 * np.clip((hour - 6) / 2, 0, 1) * np.clip((20 - hour) / 2, 0, 1) + rng.normal())
    line = Line()
    line.send(values[: 12 * DAY], first)
    line.heard.clear()
    assert brief(line.send(values[12 * DAY :], first + 12 * DAY)) == []


def test_a_pump_that_starts_wakes_nobody() -> None:
    line = Line(SeriesSettings(off_when=("<", 5.0)))
    values = usual(HISTORY + 2 * DAY, level=40.0)
    rests = (np.arange(values.size) // 50) % 3 == 2
    rests[HISTORY : HISTORY + DAY] = True
    values[rests] = 0.3
    assert brief(line.send(values, 0)) == []


def test_a_by_exception_sensor_that_rests_for_a_day_wakes_nobody() -> None:
    line = Line(SeriesSettings(by_exception=True, silent_after_ms=2 * DAY * STEP_MS))
    line.send(usual(HISTORY), 0)
    assert brief(line.listen(HISTORY - 1, HISTORY + DAY)) == []
    assert brief(line.send(go_on(2 * DAY)[DAY:], HISTORY + DAY)) == []


def test_five_hundred_new_series_at_once_wake_nobody() -> None:
    line = Line(budget=5.0, per_series=False)
    names = tuple(f"new/{k}" for k in range(500))
    values = np.stack([usual(DAY, seed=k, level=k, size=1 + k % 7) for k in range(500)], 1)
    index = np.tile(np.arange(500), DAY)
    times = START_MS + np.repeat(np.arange(DAY), 500) * STEP_MS
    fired = brief(line.take(names, index, times, values.reshape(-1)))
    assert len([one for one in fired if one[1] == "firing"]) <= 5


@pytest.mark.parametrize(
    ("settings", "fires"),
    [
        (SeriesSettings(), True),
        (SeriesSettings(min_abs=50.0), False),
        (SeriesSettings(min_rel=0.9), False),
        (SeriesSettings(direction="below"), False),
        (SeriesSettings(direction="above", min_abs=20.0, min_rel=0.2), True),
    ],
)
def test_only_deviations_that_count_fire(settings: SeriesSettings, fires: bool) -> None:
    line = Line(settings)
    line.send(usual(HISTORY), 0)
    values = go_on(HOLD)
    values[:4] += 30
    assert (FIRES in brief(line.send(values, HISTORY))) == fires
