"""The Diebold–Mariano test with a Bartlett long-run variance and fixed-b values.

Letters: T buckets of time, in order; any leading dimensions are tests side by side.

Diebold & Mariano (1995) divide the mean loss difference by its standard error. Forecasts of h steps overlap,
so their errors are correlated over h buckets, and the error of that standard error is not small: Kiefer &
Vogelsang (2005) keep it in the limit (bandwidth over length = b stays fixed), where the statistic is
t_b = W(1) / √Q_b with Q_b = Σ λ_k Z_k², λ the eigenvalues of the Bartlett kernel on the demeaned interval,
independent of W(1).
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import torch

Floats = npt.NDArray[np.float64]

_GRID = 480
"""Points on which the kernel's eigenvalues are found: critical values are within .3 % of those on 1 920."""
_ANGLES = (np.arange(64) + 0.5) * np.pi / 128.0
"""Midpoints of 64 cells on (0, π/2). The integrand is smooth and periodic: the rule is exact to float64."""
_LARGEST = 1e4
"""A statistic beyond this has p = 0 to any digit that is shown."""


def bartlett_variance(values_T: Floats, bandwidth: int) -> Floats:
    """Long-run variance γ_0 + 2 Σ_{0<j<M} (1 - j/M) γ_j of series along the last axis (Newey & West 1987).

    Autocovariances are about the mean and divided by T. By the identity T M s² = Σ_t (sum of M neighbours)²
    it takes two cumulative sums and no loop over lags. Never negative.
    Raises ValueError for a bandwidth outside 1 … T.
    """
    values_T = np.asarray(values_T, np.float64)
    length = values_T.shape[-1]
    if not 1 <= bandwidth <= length:
        raise ValueError(f"bandwidth: expected 1 … {length} for {length} values, got {bandwidth}")
    around = values_T - values_T.mean(-1, keepdims=True)
    edges = [(0, 0)] * (values_T.ndim - 1)
    sums = np.cumsum(np.pad(around, [*edges, (bandwidth, bandwidth - 1)]), -1)
    moving = sums[..., bandwidth:] - sums[..., :-bandwidth]
    variance: Floats = (moving**2).sum(-1) / (length * bandwidth)
    return variance


def diebold_mariano(differences_T: Floats, bandwidth: int) -> tuple[Floats, Floats]:
    """(statistic, two-sided p-value) of "the mean difference is zero", along the last axis.

    Differences that are all alike have no variance: statistic 0 and p 1 where they are zero, else ± inf and
    p 0. Raises ValueError for a bandwidth outside 1 … T.
    """
    differences_T = np.asarray(differences_T, np.float64)
    length = differences_T.shape[-1]
    error = np.sqrt(bartlett_variance(differences_T, bandwidth) / length)
    mean = differences_T.mean(-1)
    tiny = 1e-12 * np.abs(differences_T).max(-1, initial=0.0)  # what rounding leaves of no variance
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(error > tiny, mean / error, np.where(mean == 0, 0.0, np.sign(mean) * np.inf))
    return statistic, p_value(statistic, bandwidth / length)


def p_value(statistic: npt.ArrayLike, b: float) -> Floats:
    """P(|t_b| ≥ |statistic|), two-sided; b = bandwidth / length in (0, 1].

    Given Q, t is normal: p = E[2 Φ(-x √Q)], and with 2 Φ(-z) = 2/π ∫_0^{π/2} exp(-z² / 2 sin²φ) dφ
    (Craig 1991) p = 2/π ∫ Π_k (1 + λ_k x² / sin²φ)^{-1/2} dφ: no table, right far into the tail.
    Raises ValueError for b outside (0, 1].
    """
    x = np.abs(np.asarray(statistic, np.float64))
    size = np.minimum(x, _LARGEST)[..., None, None] / np.sin(_ANGLES)
    product = np.log1p(size**2 * _eigenvalues(b)[:, None]).sum(-2)
    p: Floats = np.where(x >= _LARGEST, 0.0, np.exp(-0.5 * product).mean(-1))
    return p


def critical_value(level: float, b: float) -> float:
    """The x with P(|t_b| ≥ x) = level; by bisection.

    Within 2 % of the cubic that Kiefer & Vogelsang (2005, table 1) fitted to their simulation.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}")
    low, high = 0.0, _LARGEST
    while high - low > 1e-9 * max(high, 1.0):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if p_value(middle, b) > level else (low, middle)
    return high


@functools.lru_cache(maxsize=64)
def _eigenvalues(b: float) -> Floats:
    if not 0 < b <= 1:
        raise ValueError(f"b: expected bandwidth / length in (0, 1], got {b}")
    at = np.arange(_GRID)
    kernel = np.maximum(0.0, 1.0 - np.abs(at[:, None] - at) / (b * _GRID))
    kernel -= kernel.mean(0)
    kernel -= kernel.mean(1)[:, None]
    # by torch, which keeps to the threads it was given: NumPy's took a second beside a busy worker, not 20 ms
    values: Floats = np.clip(torch.linalg.eigvalsh(torch.from_numpy(kernel)).numpy(), 0.0, None) / _GRID
    return values[values > 1e-9]
