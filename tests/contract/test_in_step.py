"""Series in step take a shorter way through the rings and the season, and in a large shard settled ones learn
several readings at once; what a series gets is the same however the log is cut and whenever it is saved."""

from __future__ import annotations

import numpy as np
import pytest

from forecasters import Bank, build, chunks, linear, pace

NAMES = ("naive", "seasonal_naive", "linear", "rnn", "blend")
SERIES, ROUNDS, CADENCE_MS = 70, 90, 60_000


def build_bank() -> Bank:
    return build(NAMES, horizon=6, device="cpu", chunk=4, hidden=8, replay=4, pool=8)


def make_bank(season: int) -> tuple[Bank, np.ndarray]:
    bank = build_bank()
    ids = [f"s{k}" for k in range(SERIES)]
    return bank, bank.add(ids, cadence_ms=CADENCE_MS, season_ms=season * CADENCE_MS)


@pytest.fixture(params=[False, True], ids=["small", "large"])
def is_large(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether what holds for large shards holds for these."""
    monkeypatch.setattr(linear, "ROWS", 48)  # several blocks of rows
    if request.param:
        monkeypatch.setattr(chunks, "LARGE", 8)
        monkeypatch.setattr(chunks, "YOUNG", 20)
    return bool(request.param)


@pytest.mark.usefixtures("is_large")
@pytest.mark.parametrize("season", [4, 30], ids=["shorter than the horizon", "longer"])
def test_whole_waves_and_scattered_ones_give_the_same(season: int) -> None:
    (whole, slots), (parted, _) = make_bank(season), make_bank(season)
    rng = np.random.default_rng(season)
    values = rng.normal(size=(ROUNDS, SERIES)).cumsum(0)
    odd = np.flatnonzero(np.arange(SERIES) % 2)
    even = np.flatnonzero(np.arange(SERIES) % 2 == 0)[::-1]
    for k, row in enumerate(values):
        times = np.full(SERIES, k * CADENCE_MS)
        result = whole.step(slots, times, row)
        for part in (odd, even):
            said = parted.step(slots[part], times[part], row[part])
            for name in ("departure", "half", "error"):
                ours, theirs = getattr(result, name), getattr(said, name)
                assert (ours[part.tolist()] == theirs).all(), (k, name)
    assert_same(whole, parted)


def test_settled_series_of_a_large_shard_learn_together_whatever_their_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After every fourth tick, in one call on all rows; also after a resume."""
    monkeypatch.setattr(chunks, "LARGE", 8)
    monkeypatch.setattr(chunks, "YOUNG", 20)
    bank, slots = make_bank(30)
    rng = np.random.default_rng(0)
    late = slots >= SERIES // 3  # by so many steps, of which some are no multiple of four
    learnt_at = []
    for k in range(ROUNDS):
        if k == ROUNDS - 15:
            again = build_bank()
            again.load(bank.save())
            bank = again
        here = slots if k > 5 else slots[~late]
        times, values = np.full(here.size, k * CADENCE_MS), rng.normal(size=here.size)
        before, ticks = bank.timetable["learnt"][slots].copy(), bank.ticks
        bank.step(here, times, values)
        moved = bank.timetable["learnt"][slots] != before
        if k >= 40 and moved.any():
            learnt_at.append(ticks)
            assert moved.all(), k
            assert (bank.timetable["learnt"][slots] == bank.timetable["step"][slots]).all()
    assert len(learnt_at) > 8
    assert {ticks % linear.TOGETHER for ticks in learnt_at} == {0}


def test_where_a_round_has_many_ticks_series_still_learn_from_four_readings_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chunks, "LARGE", 8)
    monkeypatch.setattr(chunks, "YOUNG", 20)
    for module in (linear, pace):
        monkeypatch.setattr(module, "MAX_TICK", 16)
    bank, slots = make_bank(30)
    rng = np.random.default_rng(0)
    for k in range(60):
        before = bank.timetable["learnt"][slots].copy()
        bank.step(slots, np.full(SERIES, k * CADENCE_MS), rng.normal(size=SERIES))
        learnt = (bank.timetable["learnt"][slots] - before)[bank.timetable["learnt"][slots] != before]
        if k >= 30:
            assert set(learnt.tolist()) <= {linear.TOGETHER}, k
    assert bank.ticks > 2 * 60
    assert (bank.timetable["step"][slots] - bank.timetable["learnt"][slots] < linear.TOGETHER).all()


@pytest.mark.usefixtures("is_large")
@pytest.mark.parametrize("seed", range(3))
def test_however_a_log_with_gaps_is_cut_and_saved(seed: int) -> None:
    """Readings left out, steps without a usable value, and long gaps after which a series starts again."""
    rng = np.random.default_rng(seed)
    (whole, slots), (parted, _) = make_bank(30), make_bank(30)
    values = rng.normal(size=(ROUNDS, SERIES)).cumsum(0)
    last = np.full(SERIES, -1)
    for k, row in enumerate(values):
        here = np.flatnonzero((rng.random(SERIES) < 0.9) | (k < 3))
        filled = np.where(last[here] < 0, 0, k - last[here] - 1)
        mask = rng.random(here.size) < 0.05 * (k > 3)
        again = here[(rng.random(here.size) < 0.03) & (k > 3)]
        last[here] = k
        times = np.full(here.size, k * CADENCE_MS)
        for bank, cuts in (
            (whole, [np.arange(here.size)]),
            (parted, np.array_split(np.arange(here.size), 3)),
        ):
            bank.restart(slots[again])
            for cut in cuts:
                rows = here[cut]
                bank.step(slots[rows], times[cut], row[rows], mask[cut], filled[cut])
        if k % 13 == 12:
            state = parted.save()
            parted = build_bank()
            parted.load(state)
    assert_same(whole, parted)


def assert_same(ours: Bank, theirs: Bank) -> None:
    mine, others = ours.save(), theirs.save()
    assert mine.keys() == others.keys()
    for name, tensor in mine.items():
        np.testing.assert_array_equal(tensor.numpy(), others[name].numpy(), err_msg=name)
