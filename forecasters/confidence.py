"""An asymptotic confidence sequence for a mean: an interval that may be watched for ever.

A 95 % interval looked at after every reading excludes zero sooner or later for nearly every pair of equal
forecasters. A confidence sequence holds at all times together: with probability 1 - α it never excludes the
mean. Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), theorem 2.2.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FIRST_BLOCKS = 20
"""Fewer blocks say nothing: the theorem is asymptotic, and a deviation of ten blocks is itself a guess."""
SHARPEST_AT = 100
"""Blocks at which the interval is narrowest for its level; it is within 12 % of that from 20 to 3 000."""
ALPHA = 0.05


def mixture_rate(sharpest_at: float, alpha: float = ALPHA) -> float:
    """ρ of the Gaussian mixture that makes the interval narrowest at that time (ibid.)."""
    wanted = -2.0 * math.log(alpha)
    return math.sqrt((wanted + math.log(wanted + 1.0)) / sharpest_at)


def margin(
    count: npt.ArrayLike, deviation: npt.ArrayLike, alpha: float = ALPHA, sharpest_at: float = SHARPEST_AT
) -> Floats:
    """Half width after `count` values of that standard deviation; infinite below FIRST_BLOCKS values.

    σ √(2 (tρ² + 1) / (t²ρ²) · log(√(tρ² + 1) / α)) (ibid., theorem 2.2).
    """
    t = np.asarray(count, np.float64)
    square = mixture_rate(sharpest_at, alpha) ** 2
    inside = np.maximum(t, 1.0) * square + 1.0
    unit = np.sqrt(2.0 * inside / (np.maximum(t, 1.0) ** 2 * square) * np.log(np.sqrt(inside) / alpha))
    half: Floats = np.where(t >= FIRST_BLOCKS, unit * np.asarray(deviation, np.float64), np.inf)
    return half


def count_needed(deviation: float, half_width: float, at_least: int, alpha: float = ALPHA) -> int | None:
    """The first count, not below `at_least`, whose margin is at most `half_width`; None beyond 10 million.

    To about 1 %. It answers "how much longer, if the figures stay as they are".
    """
    if not half_width > 0 or not math.isfinite(deviation):
        return None
    count = max(at_least, FIRST_BLOCKS)
    while margin(count, deviation, alpha) > half_width:
        count = max(count + 1, math.ceil(count * 1.01))
        if count > 10_000_000:
            return None
    return count


def running(first: Floats, values: Floats) -> Floats:
    """`[N, …]` sums of `first` and the first 1, 2 … N values, one after the other: however many come at once,
    they round alike."""
    sums: Floats = np.add.accumulate(np.concatenate([first[None], values]), 0)[1:]
    return sums


class BlockMeans:
    """Running mean and deviation of values that come in order, for `[P, C]` sequences.

    The deviation counts the covariance of neighbours as well where that is positive: blocks of four times
    the step still share the forecasts at their edges.
    """

    FIELDS = ("count", "sum", "square", "cross", "first", "last")

    def __init__(self, *shape: int) -> None:
        self.state: dict[str, Floats] = {name: np.zeros(shape) for name in self.FIELDS}

    def extend(self, values_NP: Floats, column: int) -> BlockMeans:
        """Take N values of the sequences of a column; returns how these stood after each, as `[N, P]`."""
        old = {name: part[:, column] for name, part in self.state.items()}
        before = np.concatenate([old["last"][None], values_NP[:-1]])  # 0 before the first value
        then = BlockMeans()
        then.state = {
            "count": running(old["count"], np.ones_like(values_NP)),
            "sum": running(old["sum"], values_NP),
            "square": running(old["square"], values_NP**2),
            "cross": running(old["cross"], before * values_NP),
            "first": np.broadcast_to(np.where(old["count"] > 0, old["first"], values_NP[0]), values_NP.shape),
            "last": values_NP,
        }
        for name, part in self.state.items():
            part[:, column] = then.state[name][-1]
        return then

    @property
    def count(self) -> Floats:
        return self.state["count"]

    @property
    def mean(self) -> Floats:
        """NaN before the first value."""
        with np.errstate(invalid="ignore"):
            return self.state["sum"] / self.state["count"]

    @property
    def deviation(self) -> Floats:
        """√(γ_0 + 2 max(γ_1, 0)); NaN before the second value."""
        s = self.state
        n = np.where(s["count"] > 1, s["count"], np.nan)
        mean = s["sum"] / n
        variance = (s["square"] - n * mean**2) / (n - 1.0)
        # Σ (x_t - m)(x_{t-1} - m) over the n - 1 neighbours
        cross = s["cross"] - mean * (2.0 * s["sum"] - s["first"] - s["last"]) + (n - 1.0) * mean**2
        root: Floats = np.sqrt(np.maximum(variance, 0.0) + 2.0 * np.maximum(cross / (n - 1.0), 0.0))
        return root
