"""Work that waits: in its order, once, whoever asks first; and nothing that comes of it depends on when."""

from __future__ import annotations

import numpy as np
import pytest

from forecasters import Bank, build
from forecasters.anomaly import Alarms, AlertOptions
from forecasters.backlog import MOST_READINGS, MOST_WAVES, Backlog
from forecasters.bank import ALERTS, COMPARISON
from forecasters.champion import LEADER
from forecasters.columns import add_up

HOUR_MS = 3_600_000


def test_tasks_are_done_in_order_and_once() -> None:
    seconds, done = {"a": 0.0, "b": 0.0}, []
    backlog = Backlog(seconds)
    first, second, third = (backlog.put("ab"[k % 2], lambda k=k: done.append(k) or k) for k in range(3))
    assert done == []
    assert second.find() == 1
    assert done == [0, 1, 2], "what came later goes with it"
    assert (first.find(), third.find()) == (0, 2)
    assert done == [0, 1, 2]
    assert min(seconds.values()) > 0


@pytest.mark.parametrize(("readings", "waves"), [(1, MOST_WAVES), (MOST_READINGS, 1)])
def test_it_is_worked_off_once_there_is_enough(readings: int, waves: int) -> None:
    done: list[int] = []
    backlog = Backlog({"a": 0.0})
    for wave in range(waves):
        assert done == []
        backlog.put("a", done.append, wave)
        backlog.end_wave(readings)
    assert done == list(range(waves))


def test_after_a_failure_nothing_is_found_and_nothing_saved() -> None:
    backlog = Backlog({"a": 0.0})
    first, bad, last = backlog.put("a", int, "1"), backlog.put("a", int, "x"), backlog.put("a", int, "3")
    with pytest.raises(ValueError, match="'x'"):
        last.find()
    assert first.find() == 1
    for task in (bad, last):
        with pytest.raises(RuntimeError, match="one failed"):
            task.find()
    bank = make("rnn")
    bank._to_judge.put(ALERTS, int, "x")
    with pytest.raises(ValueError, match="'x'"):
        bank.save()
    with pytest.raises(RuntimeError, match="one failed"):
        bank.save()


def make(champion: str) -> Bank:
    alerts = AlertOptions(champion=champion, episodes_per_day=0.5, grid_ms=HOUR_MS, hold=5)
    bank = build(("naive", "rnn", "lstm"), horizon=4, hidden=4, seed=1, device="cpu", alerts=alerts)
    bank.add(["a", "b", "c"], cadence_ms=HOUR_MS)
    return bank


def play(bank: Bank, *, asks: bool) -> list[Alarms]:
    """Alarms of 200 waves, asked for after each, or all at the end; the caller uses its arrays again."""
    rng, slots, times, found = np.random.default_rng(0), np.arange(3), np.zeros(3, np.int64), []
    values, mask = np.zeros(3), np.zeros(3, bool)
    for t in range(200):
        slots[:], times[:], values[:], mask[:] = rng.permutation(3), t * HOUR_MS, rng.normal(size=3), False
        values[0] += 30.0 * (t > 150 and t % 20 == 0)
        mask[1] = t % 7 == 0
        find_alarms = bank.step(slots, times, values, mask).find_alarms
        assert find_alarms is not None
        if asks:
            find_alarms()
            assert bank.evidence() is not None
        found.append(find_alarms)
    return [find_alarms() for find_alarms in found]


@pytest.mark.parametrize("champion", ["rnn", LEADER])
def test_it_makes_no_difference_when_alarms_are_asked_for(champion: str) -> None:
    banks = make(champion), make(champion)
    for at_once, later in zip(play(banks[0], asks=True), play(banks[1], asks=False), strict=True):
        for name in ("score", "exceeds", "event", "sticks"):
            np.testing.assert_array_equal(getattr(at_once, name), getattr(later, name))
        np.testing.assert_array_equal(at_once.told.rows, later.told.rows)
        np.testing.assert_array_equal(at_once.told.expected, later.told.expected)
    states = [bank.save() for bank in banks]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        np.testing.assert_array_equal(value.numpy(), states[1][name].numpy(), err_msg=name)
    assert all(bank.seconds(part) > 0 for bank in banks for part in (COMPARISON, ALERTS))


@pytest.mark.parametrize("shape", [(1,), (2,), (7,), (1000,), (2, 1), (3, 5), (3, 1000)])
@pytest.mark.parametrize("order", ["rows in one piece", "a view", "picked", "rows innermost"])
def test_rows_are_added_one_after_the_other(shape: tuple[int, ...], order: str) -> None:
    """Bit for bit, however they lie in memory."""
    rows = np.random.default_rng(0).lognormal(size=(72, *shape[:-1], shape[-1] + 3)).astype(np.float32)
    rows = {
        "rows in one piece": lambda: np.ascontiguousarray(rows[..., : shape[-1]]),
        "a view": lambda: rows[..., : shape[-1]],
        "picked": lambda: rows[..., np.arange(shape[-1])[::-1] + 1],
        "rows innermost": lambda: np.asfortranarray(rows[..., : shape[-1]]),
    }[order]()
    total = rows[0].copy()
    for row in rows[1:]:
        total = total + row
    np.testing.assert_array_equal(add_up(rows), total)
