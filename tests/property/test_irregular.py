"""Errors by share of masked steps: against a slow reference, whatever the cut.

Letters: N rows, E forecasters, Q scored steps.
"""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasters.comparison import UNIT
from forecasters.irregular import EDGES, MEMORY, Irregular

NAMES = ("naive", "rnn")
STEPS = (1, 2, 5)
SERIES = 6


def fresh() -> Irregular:
    made = Irregular(NAMES, STEPS, UNIT, torch.device("cpu"))
    made.fields.grow(SERIES)
    return made


def make_log(seed: int, rounds: int = 60) -> list[tuple[np.ndarray, np.ndarray, torch.Tensor, torch.Tensor]]:
    """Per round: masked `[S]`, filled `[S]`, losses `[S, E, Q]` in 1 / UNIT, counted `[S, Q]`;
    series k masks about k / S of its steps."""
    rng = np.random.default_rng(seed)
    log = []
    for _ in range(rounds):
        masked = rng.random(SERIES) < np.arange(SERIES) / SERIES
        filled = np.where(rng.random(SERIES) < 0.05, rng.integers(1, 9, SERIES), 0)
        counted = torch.from_numpy((rng.random((SERIES, 3)) < 0.8) & ~masked[:, None])
        loss = torch.from_numpy(rng.random((SERIES, 2, 3)) * 8).float().mul_(UNIT).round_()
        log.append((masked, filled, torch.where(counted[:, None], loss, 0.0), counted))
    return log


def feed(irregular: Irregular, log: list, rng: np.random.Generator | None) -> None:
    for masked, filled, loss, counted in log:
        order = np.arange(SERIES) if rng is None else rng.permutation(SERIES)
        for part in [order] if rng is None else np.split(order, [int(rng.integers(1, SERIES))]):
            irregular.advance(part, masked[part], filled[part])
            rows = torch.from_numpy(part)
            irregular.add(rows, loss[rows], counted[rows])
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
                if counted[k, q]:
                    for e in range(2):
                        losses.setdefault((band, e, t), []).append(float(loss[k, e, q]) / UNIT)
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
    assert torch.equal(one.fields["share"], cut.fields["share"])


def test_steps_passed_over_count_as_masked_ones() -> None:
    at_once, one_by_one = fresh(), fresh()
    slots, none = np.arange(SERIES), np.zeros(SERIES, np.int64)
    at_once.advance(slots, np.zeros(SERIES, bool), np.full(SERIES, 7))
    for _ in range(7):
        one_by_one.advance(slots, np.ones(SERIES, bool), none)
    one_by_one.advance(slots, np.zeros(SERIES, bool), none)
    assert torch.equal(at_once.fields["share"], one_by_one.fields["share"])


def test_full_bands_are_halved_and_go_on() -> None:
    irregular = fresh()
    rows = torch.zeros(1, dtype=torch.int64)
    loss = torch.full((1, 2, 3), 2.0 * UNIT)
    irregular.add(rows, loss, torch.ones(1, 3) > 0)
    state = dict(irregular.save())
    irregular.load({name: column * 2.0**28 for name, column in state.items()})
    irregular.tick()
    told = irregular.summary()
    assert told.count[0].tolist() == [2.0**27, 2.0**27]
    assert told.loss[0].tolist() == [[2.0, 2.0], [2.0, 2.0]]
