"""Scores, episodes and the cut: on series in which something happens, in whatever cut and order."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from forecasters import Bank, build
from forecasters.anomaly import Alarms, AlertOptions, Told, join_surprises
from forecasters.budget import Budget, Cut
from forecasters.episodes import BEGINS, NOTHING, RECOVERS, SHIFTS, STICKS
from forecasters.ranks import ABOVE, ERROR, REFRESH, TOTAL, UNIT, Ranks, Sides

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
IDS = tuple("abcde")
SLOT = np.array([0])


def make_bank(budget: float = 3.0) -> Bank:
    alerts = AlertOptions(champion="naive", episodes_per_day=budget, grid_ms=HOUR_MS, hold=5)
    return build(("naive",), horizon=2, device="cpu", alerts=alerts)


def make_values(steps: int = 220) -> np.ndarray:
    """`[T, S]` with a spike, a shift, a rest and readings that are missing."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(steps, len(IDS))).cumsum(0) * 0.1 + rng.normal(size=(steps, len(IDS)))
    values[120, 0] += 30
    values[130:, 1] += 40
    values[90:, 2] = values[90, 2]
    values[150:155, 3] = np.nan
    return values


def play(bank: Bank, order: tuple[str, ...], cut: int, first: int = 0, last: int = 220) -> list[bytes]:
    """What each reading of each series brought, in the order of IDS; calls of `cut` series."""
    values, told = make_values(), []
    for t in range(first, last):
        said: dict[str, bytes] = {}
        for start in range(0, len(IDS), cut):
            names = IDS[start : start + cut]
            slots = np.array([order.index(name) for name in names])
            column = values[t, start : start + cut]
            result = bank.step(slots, np.full(len(names), t * HOUR_MS), column, np.isnan(column))
            assert result.alarms is not None
            for k, name in enumerate(names):
                said[name] = b"".join(number.tobytes() for number in list_of_row(result.alarms, k))
        told.append(b"".join(said[name] for name in IDS))
    return told


def list_of_row(alarms: Alarms, k: int) -> list[np.ndarray]:
    """All that it says of one row."""
    own = alarms.told.rows == k
    told = [getattr(alarms.told, name)[own] for name in Told.__slots__ if name != "rows"]
    return [alarms.score[k], alarms.exceeds[k], alarms.event[k], alarms.sticks[k], *told]


def add(bank: Bank, order: tuple[str, ...]) -> None:
    bank.add(order, cadence_ms=HOUR_MS)


def test_alarms_depend_on_the_log_alone() -> None:
    whole = make_bank()
    add(whole, IDS)
    expected = play(whole, IDS, len(IDS))
    for order, cut in ((IDS, 1), (IDS[::-1], 2)):
        other = make_bank()
        add(other, order)
        assert play(other, order, cut) == expected


def test_a_resumed_run_goes_on_with_the_same_alarms() -> None:
    whole = make_bank()
    add(whole, IDS)
    play(whole, IDS, 5, 0, 133)
    resumed = make_bank()
    resumed.load(whole.save())
    assert play(resumed, IDS, 5, 133) == play(whole, IDS, 5, 133)
    one, other = whole.save(), resumed.save()
    assert all(torch.equal(one[k], other[k]) for k in one if k.startswith("alerts."))


def test_each_kind_of_event_happens_where_it_should() -> None:
    bank, values = make_bank(0.01), make_values()
    add(bank, IDS)
    events: dict[tuple[str, int], list[int]] = {}
    for t in range(len(values)):
        column = values[t]
        alarms = bank.step(np.arange(5), np.full(5, t * HOUR_MS), column, np.isnan(column)).alarms
        assert alarms is not None
        for k in range(5):
            for code in (int(alarms.event[k]), 100 * int(alarms.sticks[k])):
                events.setdefault((IDS[k], code), []).append(t)
    assert 120 in events["a", BEGINS]
    assert 130 in events["b", BEGINS]
    assert [t for t in events["a", RECOVERS] if 120 < t < 150]
    assert [t for t in events["b", SHIFTS] if t >= 130 + 5 * 10]
    assert len(events["c", 100 * STICKS]) == 1


def make_ranks(sizes: np.ndarray) -> Ranks:
    """Of one slot that has learnt these mean errors, and no deviation of its value."""
    ranks = Ranks()
    ranks.fields.grow(1)
    yes, no = np.array([True]), np.array([False])
    for k, size in enumerate(sizes):
        ranks.learn(look(ranks, float(size)), yes, no)
        if k % REFRESH == REFRESH - 1:
            ranks.refresh(SLOT)
    return ranks


def look(ranks: Ranks, size: float, away: float = 0.0) -> Sides:
    return ranks.look(SLOT, SLOT, np.array([size], np.float32), np.array([away], np.float32))


def find_surprise(ranks: Ranks, size: float) -> float:
    return float(ranks.surprise(look(ranks, size))[0, 0])


def find_tail(ranks: Ranks) -> float:
    return float(ranks.tail_start(SLOT, np.array([ERROR]))[0])


@pytest.mark.filterwarnings("error")
def test_sizes_out_of_all_proportion_have_a_place_in_the_histogram() -> None:
    """Of a series that was 0 for long, or whose unit is far from what comes: no warning, no NaN."""
    for sizes in ([0.0] * 40, [1e-38] * 40, [1e30] * 40):
        ranks = make_ranks(np.array(sizes))
        told = [find_surprise(ranks, size) for size in (0.0, 1e-38, 1.0, 1e37)]
        assert np.isfinite(told).all()
        assert told == sorted(told)
        endless = find_surprise(ranks, math.inf)  # as a sum of many may be
        assert endless >= told[-1] if sizes[0] else math.isfinite(endless)


def test_surprise_is_the_rank_within_what_was_learnt() -> None:
    """Against sorting: within the histogram's bins, and beyond them further the further out."""
    sizes = np.exp(np.random.default_rng(1).normal(0, 0.7, 4000)).astype(np.float32)
    ranks = make_ranks(sizes)
    for p in (0.5, 0.15, 0.05, 0.02):
        assert find_surprise(ranks, float(np.quantile(sizes, 1 - p))) == pytest.approx(-math.log(p), abs=0.25)
    far = [find_surprise(ranks, size) for size in (8.0, 20.0, 80.0)]
    assert -math.log(0.02) < far[0] < far[1] < far[2]
    assert find_tail(ranks) == pytest.approx(np.quantile(sizes, 0.98), rel=0.15)
    untouched = ranks.fields["bins"][ABOVE]
    assert float(untouched.sum()) == 0.0


def test_a_unit_that_no_longer_fits_is_moved_and_nothing_is_lost() -> None:
    sizes = np.full(40 * REFRESH, 1000.0)
    sizes[:REFRESH] = 1.0
    ranks = make_ranks(sizes)
    bins, total = ranks.fields["bins"][ERROR], ranks.fields["heads"][ERROR, TOTAL, 0]
    assert float(bins.sum()) == pytest.approx(float(total), rel=1e-4)
    assert find_tail(ranks) == pytest.approx(1000.0, rel=0.15)


def test_a_unit_stays_where_too_few_values_say_what_it_should_be() -> None:
    """Lowered time and again it came to 0; until then a deviation like those before was out of all bounds."""
    ranks = Ranks()
    ranks.fields.grow(1)
    yes, no = np.array([True]), np.array([False])
    for k in range(100 * REFRESH):
        ranks.learn(look(ranks, 1.0, away=2.0 if k % 100 == 0 else -3.0), no, yes)
        if k % REFRESH == REFRESH - 1:
            ranks.refresh(SLOT)
    assert ranks.fields["heads"][ABOVE, UNIT, 0] == 2.0
    seen, far = (float(ranks.surprise(look(ranks, 1.0, away=away))[1, 0]) for away in (2.0, 200.0))
    assert -math.log(0.02) < seen < -math.log(0.001) < far


def test_a_value_is_learnt_on_its_side_and_counted_on_both() -> None:
    ranks = Ranks()
    ranks.fields.grow(1)
    yes, no = np.array([True]), np.array([False])
    ranks.learn(look(ranks, 1.0, away=-3.0), no, yes)
    ranks.learn(look(ranks, 1.0, away=2.0), no, yes)
    ranks.learn(look(ranks, 1.0, away=2.0), no, yes)
    bins, heads = ranks.fields["bins"][..., 0], ranks.fields["heads"][..., 0]
    assert bins.sum(1).tolist() == [0.0, 2.0, 1.0]
    assert heads[:, UNIT].tolist() == [0.0, 2.0, 3.0]
    assert heads[:, TOTAL].tolist() == [0.0, 3.0, 3.0]


def test_the_joined_surprise_is_the_tail_of_a_sum_of_two() -> None:
    """Against counting: of independent surprises a share e^-s exceeds s."""
    rng = np.random.default_rng(5)
    joined = join_surprises(*rng.exponential(size=(2, 2_000_000)))
    for s in (0.1, 1.0, 3.0, 6.0):
        assert float((joined > s).mean()) == pytest.approx(math.exp(-s), rel=0.06)


@pytest.mark.parametrize("true_rate", [0.2, 5.0])
def test_the_cut_ends_where_episodes_come_as_often_as_the_budget_says(true_rate: float) -> None:
    """Episodes that are `true_rate` times as frequent as a rank would say, and rarer by e for each unit."""
    rng, cut, live, pages = np.random.default_rng(2), Cut(Budget(5.0, per_series=False)), 200, []
    for _ in range(60 * 24):
        expected = live * 60 * true_rate * math.exp(-cut.value)
        pages.append(int(rng.poisson(expected)))
        cut.count(live * 60, live * HOUR_MS, live * HOUR_MS, pages[-1])
        cut.tick(live)
    assert sum(pages[-30 * 24 :]) == pytest.approx(5.0 * 30, rel=0.2)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"episodes_per_day": 0.0}, "above 0"),
        ({"hold": 0}, "hold of at least 1"),
        ({"grid_ms": 0}, "grid_ms"),
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AlertOptions(champion="naive", **wrong)  # type: ignore[arg-type]


def test_a_champion_that_does_not_run_is_refused() -> None:
    with pytest.raises(ValueError, match="champion: expected leader or one of naive, got 'lstm'"):
        build(("naive",), device="cpu", alerts=AlertOptions(champion="lstm"))


def test_state_stays_within_its_budget_of_memory() -> None:
    parts = make_bank().bytes_per_series()
    assert sum(size for name, size in parts.items() if name.startswith("alerts.")) <= 1229


@pytest.mark.parametrize(("factor", "offset"), [(1000.0, 0.0), (-1.0, 0.0), (-0.03, 5000.0)])
def test_alarms_do_not_depend_on_units(factor: float, offset: float) -> None:
    """Scaled, upside down, moved: the same readings page, with the same scores."""
    told = []
    for values in (make_values(), factor * make_values() + offset):
        bank = make_bank(0.5)
        add(bank, IDS)
        alarms = [
            bank.step(np.arange(5), np.full(5, t * HOUR_MS), row, np.isnan(row)).alarms
            for t, row in enumerate(values)
        ]
        told.append(Alarms.join([one for one in alarms if one is not None]))
    first, second = told
    assert (first.event == BEGINS).sum() >= 2
    np.testing.assert_array_equal(first.event, second.event)
    np.testing.assert_array_equal(first.sticks, second.sticks)
    np.testing.assert_allclose(first.score, second.score, rtol=2e-3, atol=2e-3)
    events = np.flatnonzero((first.event != NOTHING) | (first.sticks > 0))
    np.testing.assert_array_equal(first.told.rows, events, "rows of joined parts")
    np.testing.assert_array_equal(first.told.began_ms, second.told.began_ms)
    begins = first.event[first.told.rows] == BEGINS
    assert np.isfinite(first.told.expected[begins]).all()


def test_no_series_pages_more_often_in_an_hour_than_its_cap_allows() -> None:
    """Spikes every twelve minutes, each an episode of its own: one an hour begins, or two."""
    begun = {}
    for cap in (1, 2):
        alerts = AlertOptions(
            champion="naive", episodes_per_day=24.0, grid_ms=MINUTE_MS, hold=2, per_hour=cap
        )
        bank = build(("naive",), horizon=1, device="cpu", alerts=alerts)
        bank.add(["a"], cadence_ms=MINUTE_MS)
        values = np.random.default_rng(0).normal(size=9 * 60)
        values[8 * 60 + 5 :: 12] += 1e4
        events = []
        for t, value in enumerate(values):
            alarms = bank.step(np.array([0]), np.array([t * MINUTE_MS]), np.array([value])).alarms
            assert alarms is not None
            events.append(int(alarms.event[0]))
        begun[cap] = events[8 * 60 :].count(BEGINS)
    assert begun == {1: 1, 2: 2}
