"""Errors by share of masked steps: against a slow reference, whatever the cut.

Letters: N rows, E forecasters, Q scored steps.
"""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasters.buckets import Sums
from forecasters.comparison import UNIT
from forecasters.irregular import EDGES, MEMORY, Irregular

NAMES = ("naive", "rnn")
STEPS = (1, 2, 5)
SERIES = 6


def fresh() -> Irregular:
    made = Irregular(NAMES, STEPS, UNIT)
    made.fields.grow(SERIES)
    return made


def make_log(seed: int, rounds: int = 60) -> list[tuple[np.ndarray, ...]]:
    """Per round: masked `[S]`, filled `[S]`, losses `[E, Q, S]` in 1 / UNIT, counted `[Q, S]`;
    series k masks about k / S of its steps."""
    rng = np.random.default_rng(seed)
    log = []
    for _ in range(rounds):
        masked = rng.random(SERIES) < np.arange(SERIES) / SERIES
        filled = np.where(rng.random(SERIES) < 0.05, rng.integers(1, 9, SERIES), 0)
        counted = (rng.random((3, SERIES)) < 0.8) & ~masked
        loss = np.rint(rng.random((2, 3, SERIES)).astype(np.float32) * np.float32(8 * UNIT))
        log.append((masked, filled, np.where(counted, loss, np.float32(0.0)), counted))
    return log


def feed(irregular: Irregular, log: list, rng: np.random.Generator | None) -> None:
    for masked, filled, loss, counted in log:
        order = np.arange(SERIES) if rng is None else rng.permutation(SERIES)
        for part in [order] if rng is None else np.split(order, [int(rng.integers(1, SERIES))]):
            irregular.advance(part, masked[part], filled[part])
            irregular.add(part, loss[..., part], counted[:, part], Sums.of(loss[..., part], counted[:, part]))
        irregular.tick()


def test_it_equals_a_slow_reference() -> None:
    irregular, log = fresh(), make_log(1)
    feed(irregular, log, None)
    share = np.zeros(SERIES)
    losses: dict[tuple[int, int, int], list[float]] = {}
    for masked, filled, loss, counted in log:
        for k in range(SERIES):
            for _ in range(int(filled[k])):
                share[k] += (1 - share[k]) / MEMORY
            share[k] += (float(masked[k]) - share[k]) / MEMORY
            band = sum(share[k] > edge for edge in EDGES)
            for t, q in enumerate((0, 2)):
                if counted[q, k]:
                    for e in range(2):
                        losses.setdefault((band, e, t), []).append(float(loss[e, q, k]) / UNIT)
    told = irregular.summary()
    assert told.steps == (1, 5)
    assert len({band for band, _, _ in losses}) >= 4
    for band in range(len(EDGES) + 1):
        for e in range(2):
            for t in range(2):
                found = losses.get((band, e, t), [])
                assert told.count[band, t] == len(found)
                np.testing.assert_allclose(
                    told.loss[band, e, t], np.mean(found) if found else np.nan, rtol=1e-9
                )


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000))
def test_the_cut_does_not_matter(seed: int) -> None:
    one, cut, log = fresh(), fresh(), make_log(seed, 25)
    feed(one, log, None)
    feed(cut, log, np.random.default_rng(seed))
    for (name, mine), (_, theirs) in zip(one.save(), cut.save(), strict=True):
        assert torch.equal(mine, theirs), name
    assert (one.fields["share"] == cut.fields["share"]).all()


def test_steps_passed_over_count_as_masked_ones() -> None:
    at_once, one_by_one = fresh(), fresh()
    slots, none = np.arange(SERIES), np.zeros(SERIES, np.int64)
    at_once.advance(slots, np.zeros(SERIES, bool), np.full(SERIES, 7))
    for _ in range(7):
        one_by_one.advance(slots, np.ones(SERIES, bool), none)
    one_by_one.advance(slots, np.zeros(SERIES, bool), none)
    assert (at_once.fields["share"] == one_by_one.fields["share"]).all()


def test_full_bands_are_halved_and_go_on() -> None:
    irregular = fresh()
    loss, counted = np.full((2, 3, 1), 2.0 * UNIT, np.float32), np.ones((3, 1), bool)
    irregular.add(np.zeros(1, np.int64), loss, counted, Sums.of(loss, counted))
    state = dict(irregular.save())
    irregular.load({name: column * 2.0**28 for name, column in state.items()})
    irregular.tick()
    told = irregular.summary()
    assert told.count[0].tolist() == [2.0**27, 2.0**27]
    assert told.loss[0].tolist() == [[2.0, 2.0], [2.0, 2.0]]
