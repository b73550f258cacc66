"""Which series are shown, and that what was said about a reading is what was sent before it."""

from __future__ import annotations

import numpy as np
import pytest

from forecasters import build
from pipeline.engine.options import DAY_MS, IntakeOptions, ShardOptions
from pipeline.engine.settings import SeriesSettings
from pipeline.engine.shard import Shard
from pipeline.issued import Selection
from pipeline.ports import Partition
from pipeline.records import Readings
from pipeline.showcase import AFTER_ALERT_S, Showcase, ShowcaseOptions
from tests.unit.doubles import Clock
from tests.unit.exporters.test_prometheus import alert

MINUTE_MS = 60_000
PLACE = Partition("plant", 0)
FORECASTERS = ("naive", "linear", "blend")
OPTIONS = ShowcaseOptions(
    forecasters=("linear",), steps=(1, 3), max_series=2, is_watched=lambda series: series == "watched",
    champion="linear",
)  # fmt: skip


@pytest.fixture
def shard() -> Shard:
    intake = IntakeOptions(cadence_ms=MINUTE_MS, max_ahead_ms=30 * DAY_MS)
    bank = build(FORECASTERS, horizon=4, device="cpu")
    return Shard(bank, ShardOptions(intake=intake), lambda name: SeriesSettings(name=name.upper()), 0, 1)


def feed(shard: Shard, values: dict[str, list[float]], first: int = 0):
    """A round of all series a minute; outcomes with a wave."""
    names, length = tuple(values), len(next(iter(values.values())))
    readings = Readings(
        series=names,
        series_index=np.tile(np.arange(len(names), dtype=np.int32), length),
        event_time_ms=np.repeat((first + np.arange(length)) * MINUTE_MS, len(names)),
        value=np.array(list(values.values())).T.reshape(-1),
    )
    return [outcome.stepped for outcome in shard.process(readings) if outcome.stepped is not None]


def make_values(length: int) -> dict[str, list[float]]:
    draw = np.random.default_rng(0)
    sizes = {"calm": 0.1, "wild": 0.1, "watched": 0.1, "plain": 0.1}
    values = {name: (10 + size * draw.standard_normal(length)).tolist() for name, size in sizes.items()}
    values["wild"][-20:] = (10 + 5 * draw.standard_normal(20)).tolist()
    return values


def test_watched_first_then_with_an_alert_then_the_worst(shard: Shard) -> None:
    clock = Clock()
    showcase = Showcase(OPTIONS, FORECASTERS, clock)
    feed(shard, make_values(100))
    assert [p.series for p in showcase.choose(PLACE, shard)][-2:] == ["watched", "wild"]
    showcase.hear([alert("plain"), alert("calm")])
    profiles = showcase.choose(PLACE, shard)
    assert [(p.series, p.name) for p in profiles] == [
        ("calm", "CALM"), ("plain", "PLAIN"), ("watched", "WATCHED"),
    ]  # fmt: skip
    showcase.hear([alert("plain", state="resolved"), alert("calm", state="resolved")])
    clock.now_s += AFTER_ALERT_S - 1
    assert "plain" in [p.series for p in showcase.choose(PLACE, shard)]
    clock.now_s += 2
    assert "wild" in [p.series for p in showcase.choose(PLACE, shard)]


def test_shards_share_the_room_and_watched_series_need_none(shard: Shard) -> None:
    showcase = Showcase(OPTIONS, FORECASTERS, Clock())
    feed(shard, make_values(100))
    assert len(showcase.choose(PLACE, shard)) == 3
    assert [p.series for p in showcase.choose(Partition("plant", 1), shard)] == ["watched"]
    showcase.forget(PLACE)
    assert len(showcase.choose(Partition("plant", 1), shard)) == 3


def test_said_is_what_was_sent_so_many_steps_before(shard: Shard) -> None:
    showcase = Showcase(OPTIONS, FORECASTERS, Clock())
    selection = Selection(FORECASTERS, ("linear",))
    values = make_values(140)
    feed(shard, {name: row[:100] for name, row in values.items()})
    showcase.choose(PLACE, shard)
    sent: dict[tuple[str, int, int], list[float]] = {}
    checked = 0
    for stepped in feed(shard, {name: row[100:] for name, row in values.items()}, first=100):
        find_shown = showcase.take(PLACE, stepped)
        assert find_shown is not None
        shown = find_shown()
        names = ["calm", "watched", "wild"]
        rows = [k for k, name in enumerate(stepped.series) if name in names]
        assert [names[place] for place in shown.places] == [stepped.series[k] for k in rows]
        np.testing.assert_array_equal(shown.value, stepped.wave.value[rows])
        for k, row in enumerate(rows):
            name, now_ms = stepped.series[row], int(stepped.wave.event_time_ms[row])
            for at, step in enumerate(OPTIONS.steps):
                expected = sent.get((name, step, now_ms), [np.nan] * 3)
                np.testing.assert_array_equal(shown.said[k, at, 0], expected)
                checked += not np.isnan(expected[0])
        forecasts = selection.take(stepped)
        for row, name in enumerate(stepped.series):
            for step in OPTIONS.steps:
                target_ms = int(forecasts.event_time_ms[row]) + step * MINUTE_MS
                sent[name, step, target_ms] = [
                    part[row, 0, step - 1] for part in (forecasts.mean, forecasts.lower, forecasts.upper)
                ]
    assert checked == 3 * (39 + 37)


def test_a_new_choice_keeps_what_was_said_and_a_freed_slot_shows_nobody(shard: Shard) -> None:
    showcase = Showcase(OPTIONS, FORECASTERS, Clock())
    values = make_values(104)
    feed(shard, {name: row[:100] for name, row in values.items()})
    showcase.choose(PLACE, shard)
    one, two, three, _ = ({name: row[k : k + 1] for name, row in values.items()} for k in range(100, 104))
    showcase.take(PLACE, feed(shard, one, first=100)[0])
    showcase.hear([alert("plain")])
    assert "plain" in [p.series for p in showcase.choose(PLACE, shard)]
    find_shown = showcase.take(PLACE, feed(shard, two, first=101)[0])
    assert find_shown is not None
    shown = find_shown()
    known = ~np.isnan(shown.said[np.argsort(shown.places), 0, 0, 0])
    assert known.tolist() == [False, True, True], "plain was not shown when it was said"
    showcase.leave(PLACE, np.array(list(shard.list_slots().values())))
    assert showcase.take(PLACE, feed(shard, three, first=102)[0]) is None


def test_a_masked_step_shows_what_was_measured_last(shard: Shard) -> None:
    showcase = Showcase(OPTIONS, FORECASTERS, Clock())
    values = make_values(101)
    feed(shard, {name: row[:100] for name, row in values.items()})
    showcase.choose(PLACE, shard)
    (stepped,) = feed(shard, {name: [np.nan] for name in values}, first=100)
    find_shown = showcase.take(PLACE, stepped)
    assert find_shown is not None
    shown = find_shown()
    names = sorted(["calm", "watched", "wild"])
    last = {names[place]: value for place, value in zip(shown.places, shown.value, strict=True)}
    assert last == pytest.approx({name: values[name][99] for name in names}, rel=1e-6)  # kept as float32
    assert (shown.fault != 0).all()
