"""Series in step take a shorter way through the rings and the season; what they get is the same."""

from __future__ import annotations

import numpy as np
import pytest

from forecasters import Bank, build

NAMES = ("naive", "seasonal_naive", "linear", "rnn", "blend")
SERIES, ROUNDS, CADENCE_MS = 70, 90, 60_000


def make_bank(season: int) -> tuple[Bank, np.ndarray]:
    bank = build(NAMES, horizon=6, device="cpu", chunk=4, hidden=8, replay=4, pool=8)
    ids = [f"s{k}" for k in range(SERIES)]
    return bank, bank.add(ids, cadence_ms=CADENCE_MS, season_ms=season * CADENCE_MS)


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
    ours, theirs = whole.save(), parted.save()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        np.testing.assert_array_equal(tensor.numpy(), theirs[name].numpy(), err_msg=name)
