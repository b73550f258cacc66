"""Whom a series follows: against a slow reference, whatever the cut, and across saving and loading.

Letters: E forecasters, Q scored steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasters import Bank, build
from forecasters.anomaly import AlertOptions
from forecasters.champion import FEWEST, LEADER, Champion
from forecasters.comparison import CLIP, SERIES_MEMORY, Comparison
from forecasters.verdict import MATERIAL

NAMES = ("naive", "seasonal_naive", "linear")
FIRST = NAMES.index("linear")
HORIZON = 3
CADENCE_MS = 60_000
SEASON = 8


def make(champion: str = LEADER, names: Sequence[str] = NAMES) -> Bank:
    alerts = AlertOptions(champion=champion, episodes_per_day=20.0, hold=2)
    return build(names, horizon=HORIZON, device="cpu", alerts=alerts)


def add(bank: Bank, num: int) -> np.ndarray:
    return bank.add([f"s{k}" for k in range(num)], cadence_ms=CADENCE_MS, season_ms=SEASON * CADENCE_MS)


def values(num: int, steps: int) -> np.ndarray:
    """`[T, S]`: walks, seasons, and walks that turn into seasons half-way, by thirds."""
    rng = np.random.default_rng(5)
    walk = rng.normal(size=(steps, num)).cumsum(0)
    season = 20 * np.sin(2 * np.pi * np.arange(steps)[:, None] * 3 / SEASON) + rng.normal(size=(steps, num))
    kind = np.arange(num) % 3
    late = np.arange(steps)[:, None] >= steps // 2
    return np.where(kind == 0, walk, np.where((kind == 1) | late, season, walk))


def make_leaders(num: int) -> tuple[Bank, np.ndarray]:
    """A bank whose series have found their leaders, and their slots."""
    bank = make()
    slots = add(bank, num)
    for t, row in enumerate(values(num, 300)):
        bank.step(slots, np.full(num, t * CADENCE_MS), row)
    return bank, slots


def test_a_leader_is_found_and_a_series_that_changes_changes_it() -> None:
    bank, num = make(), 6
    slots, table = add(bank, num), values(6, 640)
    followed = []
    for t, row in enumerate(table):
        result = bank.step(slots, np.full(num, t * CADENCE_MS), row)
        assert result.champion is not None
        followed.append(result.champion.numpy().copy())
    names = np.array(NAMES)[np.stack(followed)]
    assert (names[: FEWEST - 10] == "linear").all()  # the first champion, until enough is known
    assert set(names[-1, [1, 4]]) <= {"linear", "seasonal_naive"}
    assert set(names[310, [0, 3]]) <= {"naive", "linear"}
    changes = (names[1:] != names[:-1]).sum(0)
    assert changes.max() <= 6  # the name does not flicker
    assert bank.champion is not None
    assert sum(bank.champion.count(slots).values()) == num
    assert bank.champion.list_names(slots) == names[-1].tolist()


def test_it_equals_a_slow_reference() -> None:
    """Running means of clipped errors, weighed over the path; challengers must be materially better."""
    bank = make()
    slots, table = add(bank, 3), values(3, 260)
    assert bank.comparison is not None
    weights = bank.comparison.standings.path_Q
    mean, count = np.zeros((3, 3, len(weights))), np.zeros((3, len(weights)))
    held = np.full(3, FIRST)
    for t, row in enumerate(table):
        result = bank.step(slots, np.full(3, t * CADENCE_MS), row)
        error, scored = result.error.abs().clamp(max=CLIP).numpy(), result.scored.numpy()
        assert result.alarms is not None
        assert result.champion is not None
        told = result.alarms.told
        assert (told.champion == held[told.rows]).all()  # judged by whom it followed before
        for k in range(3):
            for q in range(len(weights)):
                if scored[k, q]:
                    count[k, q] += 1
                    mean[k, :, q] += (error[k, :, q] - mean[k, :, q]) / min(count[k, q], SERIES_MEMORY)
            path = mean[k] @ weights
            best = int(path.argmin())
            if count[k].min() >= FEWEST and path[best] < (1 - MATERIAL) * path[held[k]]:
                held[k] = best
        assert result.champion.tolist() == held.tolist(), t


@settings(deadline=None, max_examples=4)
@given(seed=st.integers(0, 1000), stop=st.integers(1, 149))
def test_neither_cut_nor_a_restart_matters(seed: int, stop: int) -> None:
    num, table = 4, values(4, 150)
    rng = np.random.default_rng(seed)
    straight, cut, other = make(), make(), make()
    slots = add(straight, num)
    add(cut, num)
    for t, row in enumerate(table):
        times = np.full(num, t * CADENCE_MS)
        expected = straight.step(slots, times, row)
        if t == stop:
            other.load(cut.save(), cut.signatures())
            cut = other
        order = rng.permutation(num)
        parts = np.split(order, [int(rng.integers(1, num))])
        got = [cut.step(slots[p], times[p], row[p]) for p in parts]
        assert expected.champion is not None
        where = np.concatenate(parts)
        told = torch.cat([r.champion for r in got if r.champion is not None])
        assert told.tolist() == expected.champion[torch.from_numpy(where)].tolist()
    mine, theirs = straight.save(), cut.save()
    assert all(torch.equal(mine[k].nan_to_num(), theirs[k].nan_to_num()) for k in mine)


def test_a_fixed_champion_keeps_nothing() -> None:
    bank = make("naive")
    assert not any(key.startswith("alerts.champion") for key in bank.save())
    slots = add(bank, 2)
    result = bank.step(slots, np.zeros(2, np.int64), np.ones(2))
    assert result.champion is not None
    assert result.champion.tolist() == [0, 0]


def test_leaders_go_over_by_name() -> None:
    """Another set of forecasters: who is still there is still followed; one that is gone gives way."""
    bank, slots = make_leaders(6)
    assert bank.champion is not None
    before = bank.champion.list_names(slots)
    assert len(set(before)) > 1
    fewer = make(names=("naive", "seasonal_naive"))
    fewer.load(bank.save(), bank.signatures())
    assert fewer.champion is not None
    expected = [name if name != "linear" else "seasonal_naive" for name in before]
    assert fewer.champion.list_names(slots) == expected
    fixed = make("linear")
    fixed.load(bank.save(), bank.signatures())
    again = make()
    again.load(fixed.save(), fixed.signatures())  # back to leaders: all begin with the first champion
    assert again.champion is not None
    assert again.champion.list_names(slots) == ["linear"] * 6


def test_a_new_series_in_an_old_slot_begins_anew() -> None:
    bank, slots = make_leaders(3)
    assert bank.champion is not None
    moved = [k for k, name in enumerate(bank.champion.list_names(slots)) if name != NAMES[FIRST]]
    assert moved
    bank.remove(slots[moved[:1]])
    assert bank.add(["new"], cadence_ms=CADENCE_MS).tolist() == slots[moved[:1]].tolist()
    assert bank.champion.list_names(slots[moved[:1]]) == [NAMES[FIRST]]


def test_errors_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"champion: expected leader or one of naive, rnn, got 'lstm'"):
        Champion(("naive", "rnn"), "lstm")
    with pytest.raises(ValueError, match=r"champion leader: expected naive beside another forecaster"):
        build(["linear", "seasonal_naive"], alerts=AlertOptions(champion=LEADER), device="cpu")


def test_a_tie_changes_nothing() -> None:
    comparison = Comparison(("naive", "rnn"), [("rnn", "naive")], horizon=1)
    comparison.fields.grow(2)
    comparison.add(np.arange(2), np.full(2, CADENCE_MS))
    champion = Champion(("naive", "rnn"), LEADER)
    champion.fields.grow(2)
    for t in range(2 * FEWEST):
        error = np.array([[[1.0, 1.0]], [[1.0, 1.0 - MATERIAL / 2]]], np.float32)
        comparison.observe(np.arange(2), np.full(2, t * CADENCE_MS), error, np.ones((1, 2), bool))
        champion.follow(np.arange(2), comparison)
    assert champion.list_names(np.arange(2)) == ["rnn", "rnn"]
