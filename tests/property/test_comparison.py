"""The comparison of one shard against a slow reference, and that it depends on the log alone.

Letters: N rows, E forecasters, Q scored steps.
"""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasters.buckets import OPEN, UNIT
from forecasters.comparison import CLIP, SERIES_MEMORY, Comparison, pairs_of_interest
from forecasters.diebold_mariano import diebold_mariano
from forecasters.verdict import TIE

NAMES = ("naive", "rnn", "lstm")
PAIRS = pairs_of_interest(NAMES)
HORIZON = 3
STEPS = 3
MINUTE = 60_000
START = 1_700_000_040_000
"""A whole number of minutes."""


@dataclass(frozen=True, slots=True)
class Log:
    """Readings in the order of the log; every `tick` of them shared state may change."""

    series: npt.NDArray[np.int64]
    time_ms: npt.NDArray[np.int64]
    error_EQN: npt.NDArray[np.float32]
    scored_QN: npt.NDArray[np.bool_]
    tick: int


def make_log(
    num_series: int, rounds: int, seed: int, *, jitter: bool = False, batch: int = 1, masked: float = 0.1
) -> Log:
    """`rounds` readings a minute apart of each series, `batch` of one series at a time in the log."""
    generator = np.random.default_rng(seed)
    order = [
        (k, r)
        for start in range(0, rounds, batch)
        for k in generator.permutation(num_series)
        for r in range(start, min(start + batch, rounds))
    ]
    series = np.array([k for k, _ in order], np.int64)
    rounds_of = np.array([r for _, r in order], np.int64)
    lag = generator.integers(0, MINUTE, num_series) if jitter else np.zeros(num_series, np.int64)
    error = generator.standard_t(3, size=(len(order), len(NAMES), STEPS)) * 1.5
    return Log(
        series=series,
        time_ms=START + rounds_of * MINUTE + lag[series],
        error_EQN=error.astype(np.float32).transpose(1, 2, 0),
        scored_QN=(generator.random((len(order), STEPS)) >= masked).T,
        tick=num_series,
    )


def waves(log: Log, generator: np.random.Generator | None) -> Iterator[npt.NDArray[np.int64] | None]:
    """Rows of each wave, None at a tick. With a generator polls are cut at random, and the k-th reading of
    each series in a poll forms wave k; without one every reading is a wave."""
    for start in range(0, len(log.series), log.tick):
        rows = np.arange(start, min(start + log.tick, len(log.series)))
        cuts = range(1, rows.size)
        if generator is not None:
            cuts = sorted(set(generator.integers(1, rows.size, 2).tolist())) if rows.size > 1 else []
        for poll in np.split(rows, cuts):
            left = poll
            while left.size:
                _, first = np.unique(log.series[left], return_index=True)
                wave = first if generator is None else generator.permutation(first)
                yield left[wave]
                left = np.delete(left, first)
        if rows.size == log.tick:
            yield None


def fresh(num_series: int, cadence_ms: int | npt.NDArray[np.int64] = MINUTE) -> Comparison:
    comparison = Comparison(NAMES, PAIRS, horizon=HORIZON)
    comparison.fields.grow(num_series)
    comparison.add(np.arange(num_series), np.broadcast_to(np.asarray(cadence_ms), (num_series,)))
    return comparison


def feed(
    comparison: Comparison, log: Log, seed: int | None, until: int | None = None, since: int = 0
) -> None:
    generator = None if seed is None else np.random.default_rng(seed)
    ticks = 0
    for rows in waves(log, generator):
        if rows is None:
            ticks += 1
            if until is not None and ticks > until:
                return
            if ticks > since:
                comparison.close()
        elif ticks >= since and (until is None or ticks < until):
            errors, scored = log.error_EQN[..., rows], log.scored_QN[:, rows]
            comparison.observe(log.series[rows], log.time_ms[rows], errors, scored)


def state(comparison: Comparison, num_series: int) -> dict[str, torch.Tensor]:
    fields = comparison.fields.save("fields", num_series)
    return {**dict(comparison.save(num_series)), **dict(fields)}


def assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value.nan_to_num(nan=-7.0), right[name].nan_to_num(nan=-7.0)), name


@settings(deadline=None, max_examples=25)
@given(
    num_series=st.integers(1, 12),
    rounds=st.integers(2, 40),
    batch=st.sampled_from([1, 1, 4, 30]),
    jitter=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_state_does_not_depend_on_how_the_log_is_cut(
    num_series: int, rounds: int, batch: int, jitter: bool, seed: int
) -> None:
    log = make_log(num_series, rounds, seed, jitter=jitter, batch=batch)
    one_by_one, cut = fresh(num_series), fresh(num_series)
    feed(one_by_one, log, None)
    feed(cut, log, seed)
    assert_same(state(one_by_one, num_series), state(cut, num_series))


@settings(deadline=None, max_examples=15)
@given(num_series=st.integers(1, 9), stop=st.integers(0, 40), seed=st.integers(0, 10_000))
def test_save_load_continue_equals_never_stopping(num_series: int, stop: int, seed: int) -> None:
    log = make_log(num_series, 40, seed, batch=3)
    straight, first, second = fresh(num_series), fresh(num_series), Comparison(NAMES, PAIRS, horizon=HORIZON)
    feed(straight, log, 1)
    feed(first, log, 1, until=stop)
    saved = {name: value.clone() for name, value in state(first, num_series).items()}
    second.fields.grow(num_series)
    second.fields.load("fields", saved, num_series)
    second.load(saved)
    feed(second, log, 1, since=stop)
    assert_same(state(straight, num_series), state(second, num_series))


def test_it_makes_no_difference_when_somebody_asks() -> None:
    """Closed buckets wait for that: they are worked in one at a time here, and there 300 at once."""
    asked, left_alone = fresh(4), fresh(4)
    log = make_log(4, 600, 3)
    for rows in waves(log, np.random.default_rng(1)):
        for comparison in (asked, left_alone):
            if rows is None:
                comparison.close()
            else:
                errors, scored = log.error_EQN[..., rows], log.scored_QN[:, rows]
                comparison.observe(log.series[rows], log.time_ms[rows], errors, scored)
        if rows is None:
            asked.summary()
    assert_same(state(asked, 4), state(left_alone, 4))


def test_a_copy_is_only_read() -> None:
    """As by the threads that answer the page."""
    comparison = fresh(4)
    feed(comparison, make_log(4, 100, 3), 1)
    copied = comparison.copy()
    before = copy.deepcopy(copied.standings.__dict__)
    copied.summary()
    copied.recent(1)
    assert pickle.dumps(before) == pickle.dumps(copied.standings.__dict__)


def test_slots_do_not_matter() -> None:
    log = make_log(8, 60, 3)
    moved = np.random.default_rng(4).permutation(8)
    left, right = fresh(8), fresh(8)
    feed(left, log, 1)
    feed(right, Log(moved[log.series], log.time_ms, log.error_EQN, log.scored_QN, log.tick), 2)
    assert left.summary() == right.summary()


def slow_means(log: Log) -> dict[int, npt.NDArray[np.float64]]:
    """By minute: mean over the readings with a target `[Q, E]`, NaN without any."""
    loss = np.minimum(np.abs(log.error_EQN.astype(np.float64)), CLIP)
    means = {}
    for minute in np.unique(log.time_ms // MINUTE):
        here = log.time_ms // MINUTE == minute
        mean = np.full((STEPS, len(NAMES)), np.nan)
        for q in range(STEPS):
            rows = here & log.scored_QN[q]
            if rows.any():
                mean[q] = loss[:, q, rows].mean(1)
        means[int(minute)] = mean
    return means


@pytest.mark.parametrize(("jitter", "batch"), [(False, 1), (True, 1), (False, 7)])
def test_windows_and_tests_equal_a_slow_reference(jitter: bool, batch: int) -> None:
    log = make_log(12, 400, 11, jitter=jitter, batch=batch, masked=0.6)
    comparison = fresh(12)
    feed(comparison, log, 5)
    evidence = comparison.summary()
    assert evidence.left_out <= 12 * batch  # before the first look
    means = slow_means(log)
    last = comparison.buckets.closed_through
    for q, step in enumerate(comparison.standings.steps):
        closed = [m[q] for minute, m in sorted(means.items()) if minute <= last and np.isfinite(m[q, 0])]
        window = np.array(closed[-240:])
        np.testing.assert_allclose(comparison.standings.window(q), window, rtol=1e-5)
        for a, b in PAIRS:
            figures = evidence.pairs[a, b][q]
            d = window[:, NAMES.index(a)] - window[:, NAMES.index(b)]
            statistic, p = diebold_mariano(d, 4 * step)
            assert figures.statistic == pytest.approx(float(statistic), rel=1e-4, abs=1e-5)
            assert figures.p == pytest.approx(float(p), rel=1e-3, abs=1e-5)
            assert figures.blocks == figures.buckets // (4 * step)
            if batch > 1:
                continue  # the first round came in part before the first look
            blocks = np.array(closed[-figures.buckets :])
            blocks = blocks[: figures.blocks * 4 * step].reshape(figures.blocks, -1, len(NAMES)).mean(1)
            mean = blocks.mean(0)
            relative = (mean[NAMES.index(a)] - mean[NAMES.index(b)]) / mean[NAMES.index(b)]
            assert figures.difference == pytest.approx(relative, rel=1e-4, abs=1e-6)
    assert evidence.span_ms == comparison.standings.spanned * MINUTE


def test_series_won_equal_a_slow_reference() -> None:
    log = make_log(30, 50, 2)
    comparison = fresh(30)
    feed(comparison, log, 1)
    loss = np.minimum(np.abs(log.error_EQN.astype(np.float64)), CLIP)
    for a, b in PAIRS:
        for q in range(STEPS):
            won = lost = tied = 0
            for k in range(30):
                rows = (log.series == k) & log.scored_QN[q]
                assert rows.sum() < SERIES_MEMORY
                first, second = (loss[NAMES.index(n), q, rows].mean() for n in (a, b))
                close = abs(first - second) <= TIE * second
                won, lost, tied = (
                    won + (not close and first < second),
                    lost + (not close and first > second),
                    tied + close,
                )
            figures = comparison.summary().pairs[a, b][q]
            assert (figures.won, figures.lost, figures.tied) == (won, lost, tied)


def test_a_target_counts_for_all_or_for_none() -> None:
    log = make_log(4, 60, 9, masked=0.0)
    broken = log.error_EQN.copy()
    broken[1, 2, 50] = np.nan
    broken[0, 0, 70] = np.inf
    masked = log.scored_QN.copy()
    masked[2, 50] = masked[0, 70] = False
    left, right = fresh(4), fresh(4)
    feed(left, Log(log.series, log.time_ms, broken, log.scored_QN, log.tick), 1)
    feed(right, Log(log.series, log.time_ms, log.error_EQN, masked, log.tick), 1)
    assert_same(state(left, 4), state(right, 4))


def test_memory_is_constant() -> None:
    sizes = []
    for rounds in (30, 300, 900):
        comparison = fresh(5)
        feed(comparison, make_log(5, rounds, 1), 1)
        saved = state(comparison, 5)
        sizes.append(sum(v.numel() * v.element_size() for n, v in saved.items() if not n.startswith("open_")))
        assert saved["open_at"].numel() <= 3
    assert len(set(sizes)) == 1


def test_a_silent_series_delays_but_does_not_stop() -> None:
    log = make_log(5, 2 * OPEN, 4)
    spoken = (log.series != 2) | (log.time_ms < START + 50 * MINUTE)
    comparison = fresh(5)
    feed(
        comparison,
        Log(log.series[spoken], log.time_ms[spoken], log.error_EQN[..., spoken], log.scored_QN[:, spoken], 4),
        1,
    )
    newest = START // MINUTE + 2 * OPEN - 1
    assert comparison.buckets.closed_through >= newest - 3
    assert comparison.summary().left_out <= 20


def test_a_wrong_clock_does_not_close_what_others_still_report() -> None:
    log = make_log(20, 100, 4)
    ahead = np.where(log.series == 3, log.time_ms + 10_000 * MINUTE, log.time_ms)
    comparison = fresh(20)
    feed(comparison, Log(log.series, ahead, log.error_EQN, log.scored_QN, log.tick), 1)
    assert comparison.summary().pairs["lstm", "rnn"][0].buckets >= 95
    assert comparison.summary().left_out <= 120  # the readings of the one, and the first round


def test_a_fast_series_counts_as_one() -> None:
    """Nine of ten series report each minute, one each second: in a minute's mean it has one share of ten."""
    cadence = np.full(10, MINUTE)
    cadence[9] = 1000
    comparison = fresh(10, cadence)
    for minute in range(8):
        for second in range(60):
            slots = np.array([9]) if second else np.arange(10)
            error = np.broadcast_to(
                np.where(slots == 9, np.float32(3.0), np.float32(1.0)), (len(NAMES), STEPS, slots.size)
            )
            times = np.full(slots.size, START + minute * MINUTE + second * 1000)
            comparison.observe(slots, times, error, np.ones((STEPS, slots.size), bool))
        comparison.close()
    assert comparison.buckets.bucket_ms == MINUTE
    np.testing.assert_allclose(comparison.standings.window(0), 1.2, rtol=1e-4)


def test_another_cadence_starts_anew() -> None:
    comparison = fresh(4)
    feed(comparison, make_log(4, 30, 1), 1)
    assert comparison.summary().pairs["lstm", "rnn"][0].buckets > 20
    comparison.add(np.arange(4), np.full(4, 10 * MINUTE))
    later = make_log(4, 1, 1)
    feed(comparison, Log(later.series, later.time_ms + 10**9, later.error_EQN, later.scored_QN, 4), 1)
    assert comparison.restarts == 1
    assert comparison.summary().pairs["lstm", "rnn"][0].buckets == 0


def test_removed_series_are_forgotten() -> None:
    log = make_log(4, 30, 1)
    comparison = fresh(4)
    feed(comparison, log, 1)
    comparison.remove(np.array([1]))
    evidence = comparison.summary()
    figures = evidence.pairs["lstm", "rnn"][0]
    assert evidence.series == figures.won + figures.lost + figures.tied == 3


def test_losses_are_summed_exactly() -> None:
    """The promise behind UNIT: the largest loss is a whole number that float32 holds."""
    assert CLIP * UNIT == 2**23
    assert float(torch.tensor(CLIP * UNIT - 1, dtype=torch.float32)) == CLIP * UNIT - 1


def test_errors_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match="pairs: expected two of naive, rnn, lstm, got lstm and gru"):
        Comparison(NAMES, [("lstm", "gru")], horizon=3)
    saved = state(fresh(1), 1)
    other = Comparison(NAMES, PAIRS, horizon=4)
    with pytest.raises(ValueError, match=r"comparison ring: expected .* steps \(1, 2, 3, 4\), found"):
        other.load(saved)


def test_pairs_of_interest() -> None:
    names = ["naive", "seasonal_naive", "rnn", "lstm"]
    assert pairs_of_interest(names) == [
        ("lstm", "rnn"), ("seasonal_naive", "naive"), ("rnn", "naive"), ("lstm", "naive"),
    ]  # fmt: skip
    assert pairs_of_interest(["rnn", "lstm"]) == [("lstm", "rnn")]


@pytest.mark.slow
def test_two_equal_forecasters_are_not_told_apart() -> None:
    """100 runs of 20 series over 300 minutes, the verdict asked for after every hundred: at most 5 say
    better, at any step or for the path."""
    generator = torch.Generator().manual_seed(1)
    num, rounds, better = 20, 300, 0
    everyone, scored = np.arange(num), np.ones((STEPS, num), bool)
    for _ in range(100):
        comparison = Comparison(("rnn", "lstm"), [("lstm", "rnn")], horizon=HORIZON)
        comparison.fields.grow(num)
        comparison.add(everyone, np.full(num, MINUTE))
        said = set()
        for minute in range(rounds):
            shared = torch.randn(1, 1, STEPS, generator=generator)
            own = torch.randn(num, 2, STEPS, generator=generator)
            error = (shared + 0.5 * own).permute(1, 2, 0).numpy()
            comparison.observe(everyone, np.full(num, START + minute * MINUTE), error, scored)
            comparison.close()
            if minute % 100 == 99:
                said |= {f.verdict for f in comparison.summary().pairs["lstm", "rnn"]}
        better += "better" in said
    assert better <= 5


def test_a_better_forecaster_is_found() -> None:
    """The counterpart: a verdict that never comes would pass the test above."""
    generator = torch.Generator().manual_seed(1)
    num = 20
    comparison = Comparison(("rnn", "lstm"), [("lstm", "rnn")], horizon=HORIZON)
    comparison.fields.grow(num)
    comparison.add(np.arange(num), np.full(num, MINUTE))
    for minute in range(600):
        error = torch.randn(num, 2, STEPS, generator=generator) * torch.tensor([0.9, 1.0])[:, None]
        comparison.observe(
            np.arange(num), np.full(num, START + minute * MINUTE), error.permute(1, 2, 0).numpy(),
            np.ones((STEPS, num), bool),
        )  # fmt: skip
        comparison.close()
        first = comparison.summary().pairs["lstm", "rnn"][0] if minute == 50 else None
        if first:
            assert (first.verdict, first.leader, first.p) == ("undecided", None, None)
            assert first.needed == 80 - first.buckets
            assert math.isinf(first.high)
    for figures in comparison.summary().pairs["lstm", "rnn"]:
        assert figures.verdict == "better"
        assert figures.leader == "rnn"
        assert figures.low < 0.1 / 0.9 < figures.high
        assert figures.p is not None
        assert figures.p < 0.001
        assert figures.lost > figures.won
