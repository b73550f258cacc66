"""Steps without a reading: passed over at once as they would be one by one, with nothing forecast at them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from forecasters import Bank, build
from forecasters.registry import NAMES

SERIES = 70  # more than a tile
CADENCE_MS = 60_000
SEASON_STEPS = 10
KEPT = ("timetable.", "series.", "rings.", "forecaster.")


def make_bank() -> Bank:
    """Seasons of 10 steps, rings of 14: shorter than some of the stretches below."""
    bank = build(NAMES, horizon=6, device="cpu", chunk=4, replay=8, pool=32, hidden=8)
    bank.add([f"s{k}" for k in range(SERIES)], cadence_ms=CADENCE_MS, season_ms=SEASON_STEPS * CADENCE_MS)
    rng = np.random.default_rng(3)
    for t in range(25):
        bank.step(np.arange(SERIES), np.full(SERIES, t * CADENCE_MS), np.sin(t / 3) + rng.normal(size=SERIES))
    return bank


def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    """Names of what differs; a gain of -0.0 is that of 0.0."""
    assert one.keys() == other.keys()
    is_real = {name: column.is_floating_point() for name, column in one.items()}
    return [n for n in one if not np.array_equal(one[n].numpy(), other[n].numpy(), equal_nan=is_real[n])]


def test_what_is_remembered_is_that_of_masked_steps() -> None:
    at_once, one_by_one = make_bank(), make_bank()
    filled = np.random.default_rng(4).choice([0, 1, 3, 13, 14, 15, 40], SERIES)
    slots, nothing = np.arange(SERIES), np.zeros(SERIES)
    last_ms = 24 * CADENCE_MS
    for nth in range(1, 41):
        rest = slots[filled >= nth]
        one_by_one.step(rest, last_ms + nth * np.full(rest.size, CADENCE_MS), nothing[rest], rest >= 0)
    times = last_ms + (filled + 1) * CADENCE_MS
    for bank, given in ((at_once, filled), (one_by_one, None)):
        bank.step(slots, times, nothing, slots >= 0, given)
    unlike = differing(at_once.save(), one_by_one.save())
    assert [name for name in unlike if name.startswith(KEPT)] == []
    assert "pending.said" in unlike


def test_many_steps_in_parts_are_those_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = make_bank(), make_bank()
    filled = np.random.default_rng(5).integers(0, 60, SERIES)
    times = (25 + filled) * CADENCE_MS
    given = (np.arange(SERIES), times, np.cos(times / 1e5), np.zeros(SERIES, bool), filled)
    expected = whole.step(*given)
    monkeypatch.setattr("forecasters.bank.MOST_FILLED", 7 * SERIES)
    assert torch.equal(parts.step(*given).mean, expected.mean)
    assert differing(whole.save(), parts.save()) == []


def test_only_forecasts_that_were_made_are_scored() -> None:
    bank = make_bank()
    filled = np.arange(SERIES) % 8
    result = bank.step(
        np.arange(SERIES), (25 + filled) * CADENCE_MS, np.ones(SERIES), np.zeros(SERIES, bool), filled
    )
    steps = np.array(bank.scored)
    assert result.scored.numpy().tolist() == (steps > filled[:, None]).tolist()
    again = bank.step(np.arange(SERIES), (26 + filled) * CADENCE_MS, np.ones(SERIES))
    made = (steps == 1) | (steps > filled[:, None] + 1)
    assert again.scored.numpy().tolist() == made.tolist()
    assert torch.isfinite(again.error).all()


@pytest.mark.parametrize(
    ("filled", "said"),
    [
        ([0, 2], r"filled\[1\] of series 's1': expected a time for each of 2 steps between its last one"),
        ([-1, 0], "filled: expected 2 whole numbers of at least 0"),
        ([0], "filled: expected 2 whole numbers of at least 0"),
    ],
    ids=["no room in time", "negative", "one too few"],
)
def test_refuses_and_changes_nothing(filled: list[int], said: str) -> None:
    bank = make_bank()
    before = bank.save()
    with pytest.raises(ValueError, match=said):
        bank.step(np.arange(2), np.full(2, 26 * CADENCE_MS), np.ones(2), np.zeros(2, bool), np.array(filled))
    assert differing(before, bank.save()) == []


def test_a_series_without_a_reading_has_no_step_to_fill() -> None:
    bank = build(["naive"], horizon=2, device="cpu")
    bank.add(["a"], cadence_ms=CADENCE_MS)
    with pytest.raises(ValueError, match="filled\\[0\\] of series 'a'"):
        bank.step(np.zeros(1, int), np.zeros(1, int), np.ones(1), np.zeros(1, bool), np.ones(1, int))
