"""The Diebold–Mariano test against slow references, and its size on equal forecasters.

Letters: T buckets, S series.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.sandwich_covariance import S_hac_simple

from forecasters.diebold_mariano import bartlett_variance, critical_value, diebold_mariano, p_value

Floats = npt.NDArray[np.float64]

# Kiefer & Vogelsang (2005), table 1, Bartlett kernel: a0 + a1 b + a2 b² + a3 b³ by upper tail.
PUBLISHED = {
    0.100: (1.2816, 1.3040, 0.5135, -0.3386),
    0.050: (1.6449, 2.1859, 0.3142, -0.3427),
    0.025: (1.9600, 2.9694, 0.4160, -0.5324),
    0.010: (2.3263, 4.1618, 0.5368, -0.9060),
}


def slow_statistic(differences: Floats, bandwidth: int) -> float:
    """Written out: autocovariances lag by lag, Bartlett weights 1 - j / M."""
    n = len(differences)
    mean = sum(differences) / n
    total = 0.0
    for lag in range(bandwidth):
        covariance = sum((differences[t] - mean) * (differences[t - lag] - mean) for t in range(lag, n)) / n
        total += (1.0 if lag == 0 else 2.0) * (1.0 - lag / bandwidth) * covariance
    return float(mean / math.sqrt(total / n))


@settings(deadline=None, max_examples=60)
@given(
    length=st.integers(8, 120),
    share=st.floats(0.0, 1.0),
    smooth=st.floats(0.0, 0.95),
    seed=st.integers(0, 10_000),
)
def test_statistic_equals_slow_reference_and_statsmodels(
    length: int, share: float, smooth: float, seed: int
) -> None:
    noise = np.random.default_rng(seed).standard_t(4, size=length) + 0.1
    series = np.array([noise[0]] * length)
    for t in range(1, length):
        series[t] = smooth * series[t - 1] + noise[t]
    bandwidth = 1 + int(share * (length - 1))
    statistic, _ = diebold_mariano(series, bandwidth)
    assert float(statistic) == pytest.approx(slow_statistic(series, bandwidth), rel=1e-7)
    around = (series - series.mean())[:, None]
    theirs = S_hac_simple(around, nlags=bandwidth - 1)[0, 0] / length
    assert float(bartlett_variance(series, bandwidth)) == pytest.approx(theirs, rel=1e-7, abs=1e-12)


@pytest.mark.data
@pytest.mark.parametrize("step", [1, 24, 48])
def test_statistic_on_real_errors(data_folder: Path, step: int) -> None:
    """Last value against that of a week ago on ETTh1, seven channels in one mean."""
    values = pd.read_csv(data_folder / "ett" / "ETTh1.csv").iloc[: 41 * step + 600, 1:].to_numpy()
    values = (values - values.mean(0)) / values.std(0)
    last = np.abs(values[168:] - values[168 - step : -step]).clip(max=8)
    week_ago = np.abs(values[168:] - values[:-168]).clip(max=8)
    differences = (last - week_ago).mean(1)[-max(40 * step, 240) :]
    statistic, p = diebold_mariano(differences, 4 * step)
    expected = slow_statistic(differences, 4 * step)
    assert float(statistic) == pytest.approx(expected, rel=1e-9)
    b = 4 * step / len(differences)
    assert float(p) == pytest.approx(simulated_p(abs(expected), b), abs=0.02)


def simulated_p(x: float, b: float, draws: int = 4000, length: int = 400) -> float:
    """Share of simulated independent streams whose statistic is larger: the limit by brute force."""
    streams = np.random.default_rng(1).standard_normal((draws, length))
    statistic, _ = diebold_mariano(streams, max(1, round(b * length)))
    return float((np.abs(statistic) >= x).mean())


@pytest.mark.parametrize("b", [0.02, 0.1, 0.5, 1.0])
def test_p_values_equal_simulation(b: float) -> None:
    for x in (0.5, 1.0, 2.0, 3.0):
        assert float(p_value(x, b)) == pytest.approx(simulated_p(x, b), abs=0.02)


@pytest.mark.parametrize("b", [0.02, 0.1, 0.3, 0.6, 1.0])
def test_critical_values_are_those_published(b: float) -> None:
    for tail, coefficients in PUBLISHED.items():
        published = sum(a * b**k for k, a in enumerate(coefficients))
        assert critical_value(2 * tail, b) == pytest.approx(published, rel=0.02)


def test_critical_value_of_full_bandwidth() -> None:
    """4.771 for b = 1, as Kiefer & Vogelsang (2002, table 1) have it."""
    assert critical_value(0.05, 1.0) == pytest.approx(4.771, abs=0.01)


@settings(deadline=None, max_examples=20)
@given(level=st.floats(1e-6, 0.9), b=st.sampled_from([0.01, 0.1, 0.4, 1.0]))
def test_p_value_turns_critical_value_round(level: float, b: float) -> None:
    assert float(p_value(critical_value(level, b), b)) == pytest.approx(level, rel=1e-5)


def test_small_b_is_normal() -> None:
    assert critical_value(0.05, 1e-3) == pytest.approx(1.96, abs=0.01)


def test_differences_without_variance() -> None:
    statistic, p = diebold_mariano(np.array([[0.0] * 9, [0.1] * 9, [-3e7] * 9]), 2)
    assert statistic.tolist() == [0.0, math.inf, -math.inf]
    assert p.tolist() == [1.0, 0.0, 0.0]


def test_errors_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"bandwidth: expected 1 … 5 for 5 values, got 6"):
        diebold_mariano(np.zeros(5), 6)
    with pytest.raises(ValueError, match=r"b: expected bandwidth / length in \(0, 1\], got 1.5"):
        p_value(1.0, 1.5)
    with pytest.raises(ValueError, match="level: expected a number between 0 and 1, got 1"):
        critical_value(1, 0.1)


def equal_forecasters(step: int, length: int, runs: int, series: int = 200) -> Floats:
    """`[runs, T]` mean loss differences of two forecasters that are equally good on correlated series.

    A target's error at step h is the sum of h shocks, common to the series and their own; each forecaster
    adds a disagreement of its own, which overlaps likewise and is common in part, as shared weights make it.
    """
    g = torch.Generator().manual_seed(step)

    def overlap(shocks: torch.Tensor) -> torch.Tensor:
        total = torch.cumsum(shocks, 0)
        return (total[step:] - total[:-step]) / step**0.5

    out = np.zeros((runs, length))
    for run in range(runs):
        common = torch.randn(length + step, 3, generator=g)
        own = torch.randn(length + step, series, generator=g)
        error = overlap(0.8 * common[:, :1] + 0.6 * own)
        first, second = (overlap(0.4 * common[:, [k]] + 0.3 * own.roll(7 * k, 1)) for k in (1, 2))
        loss = [(error + said).abs().clamp(max=8) for said in (first, second)]
        out[run] = (loss[0] - loss[1]).mean(1).numpy()
    return out


@pytest.mark.slow
@pytest.mark.parametrize(("step", "runs"), [(1, 4000), (24, 2000), (48, 1500)])
def test_size_on_equal_forecasters(step: int, runs: int) -> None:
    """At 5 % no more than 6.5 % of equal pairs of 200 correlated series are told apart.

    Measured over 10 000, 6 000 and 6 000 runs: .050, .056 and .065 (standard errors .002, .003, .003).
    """
    differences = equal_forecasters(step, max(40 * step, 240), runs)
    _, p = diebold_mariano(differences, 4 * step)
    assert 0.02 < (p < 0.05).mean() <= 0.065
