"""How good the forecasts are, as sums and counts over the series of the assigned shards.

Letters: S slots, N rows of a wave, E forecasters, Q scored steps, L steps that are labels, B buckets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.exporters import catalogue
from pipeline.exporters.samples import Frozen, Table
from pipeline.records import BoolArray, Float64Array, Int64Array, Scores

Float32Array = npt.NDArray[np.float32]
Shard = tuple[str, int]

WINDOW = 1_000
"""Readings: until so many a plain mean, from then on each new one weighs a thousandth."""
LARGEST_ERROR = 1e3
"""In naive one-step errors; what is larger, or not a number, counts as this. A sensor that rested from its
first reading on has a scale of next to nothing when it moves at last: unbounded, that one error outweighs all
other series of the worker for a thousand readings."""
FLOAT32_MANTISSA_BITS, FLOAT32_BIAS = 23, 127


def label_steps(scored: Sequence[int]) -> tuple[int, ...]:
    """Of the scored steps, those that become labels: powers of two and the last, as 1, 2, 4, 8, 16, 24."""
    return tuple(step for step in scored if step & (step - 1) == 0 or step == scored[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityFigures:
    """The quality metrics as numbers, for who shows them otherwise; copies.

    error_EL is the sum over the series of all shards of each one's windowed mean |error|, series_L over how
    many; scored_EL and missed_EL count forecasts since the start. by_shard has the windows themselves: means
    `[S, E, L]` by slot, and over how many readings, `[S, L]`.
    """

    forecasters: tuple[str, ...]
    steps: tuple[int, ...]
    error_EL: Float64Array
    series_L: Float64Array
    scored_EL: Float64Array
    missed_EL: Float64Array
    by_shard: Mapping[Shard, tuple[Float32Array, Float32Array]]


class Windows:
    """Windowed mean of |error| of each series of a shard, by forecaster and step; 4 E L bytes a slot and
    4 L for how many readings it has."""

    def __init__(self, num_forecasters: int, num_steps: int) -> None:
        self._mean_SEL: Float32Array = np.zeros((0, num_forecasters, num_steps), np.float32)
        self._count_SL: Float32Array = np.zeros((0, num_steps), np.float32)

    def add(self, slots: Int64Array, scored_NL: BoolArray, size_NEL: Float32Array) -> None:
        self._grow(int(slots.max(initial=-1)) + 1)
        count_NL = np.minimum(self._count_SL[slots] + scored_NL, WINDOW)
        weight_NL = (scored_NL / np.maximum(count_NL, 1)).astype(np.float32)
        mean_NEL = self._mean_SEL[slots]
        self._mean_SEL[slots] = mean_NEL + weight_NL[:, None, :] * (size_NEL - mean_NEL)
        self._count_SL[slots] = count_NL

    def forget(self, slots: Int64Array) -> None:
        slots = slots[slots < len(self._count_SL)]
        self._mean_SEL[slots] = 0.0
        self._count_SL[slots] = 0.0

    def copy(self) -> tuple[Float32Array, Float32Array]:
        return self._mean_SEL.copy(), self._count_SL.copy()

    def sums(self) -> tuple[Float64Array, Int64Array]:
        """`[E, L]` sum over series of their means, `[L]` how many have one."""
        return self._mean_SEL.sum(axis=0, dtype=np.float64), np.count_nonzero(self._count_SL, axis=0)

    def _grow(self, slots: int) -> None:
        more = slots - len(self._count_SL)
        if more > 0:
            more = max(more, len(self._count_SL))  # doubling: a slot is copied twice on average
            self._mean_SEL = np.pad(self._mean_SEL, ((0, more), (0, 0), (0, 0)))
            self._count_SL = np.pad(self._count_SL, ((0, more), (0, 0)))


class Quality:
    """The quality metrics. Counters go on over rebalances; gauges are of the shards that are here."""

    METRICS = (
        catalogue.FORECASTS_SCORED, catalogue.FORECASTS_REPLACED, catalogue.ERROR_OVER_SERIES,
        catalogue.SCORED_SERIES, catalogue.INTERVAL_MISSES, catalogue.INTERVAL_WIDTH, catalogue.SCALED_ERROR,
    )  # fmt: skip

    def __init__(self, forecasters: Sequence[str], scored: Sequence[int]) -> None:
        """scored: the Q steps of `Scores`, ascending."""
        self.forecasters, self.steps = tuple(forecasters), label_steps(scored)
        self._at_L = np.array([list(scored).index(step) for step in self.steps])
        self._shape = (len(forecasters), len(self.steps))
        self._shards: dict[Shard, Windows] = {}
        known = {"forecaster": tuple(forecasters), "step": tuple(map(str, self.steps))}
        self._tables = tuple(Table(metric, known) for metric in self.METRICS)
        (
            self._scored, self._replaced, self._error_over_series, self._scored_series, self._misses,
            self._width, self._error,
        ) = self._tables  # fmt: skip

    def assign(self, shard: Shard) -> None:
        self._shards[shard] = Windows(*self._shape)

    def revoke(self, shard: Shard) -> None:
        self._shards.pop(shard, None)

    def forget(self, shard: Shard, slots: Int64Array) -> None:
        if shard in self._shards:
            self._shards[shard].forget(slots)

    def add(self, shard: Shard, scores: Scores) -> None:
        """Take one wave."""
        self._replaced.values[:, 0] += scores.replaced
        scored_NL = scores.scored[:, self._at_L]
        if not scored_NL.any():
            return
        error_NEL = np.take(scores.error, self._at_L, axis=2)
        valid_NEL = np.broadcast_to(scored_NL[:, None, :], error_NEL.shape)
        size_NEL = np.fmin(np.abs(error_NEL), np.float32(LARGEST_ERROR))  # fmin: the limit for NaN
        size_NEL = np.where(valid_NEL, size_NEL, np.float32(0.0))
        if shard in self._shards:
            self._shards[shard].add(scores.slots, scored_NL, size_NEL)
        count_L = scored_NL.sum(axis=0)
        self._scored.values.reshape(self._shape)[:] += count_L
        self._add_errors(size_NEL, valid_NEL)
        self._add_misses(np.take(scores.missed, self._at_L, axis=2) & valid_NEL, error_NEL < 0)
        width_NEL = np.fmin(np.take(scores.width, self._at_L, axis=2), np.float32(LARGEST_ERROR))
        widths_EL2 = self._width.values.reshape(*self._shape, 2)
        widths_EL2[..., 0] += _sum_rows(np.where(valid_NEL, width_NEL, np.float32(0.0)))
        widths_EL2[..., 1] += count_L

    def _add_errors(self, size_NEL: Float32Array, valid_NEL: BoolArray) -> None:
        """A float's exponent tells between which powers of two it lies; one bit less, and a power of two
        belongs to the bucket that it bounds."""
        low, high = catalogue.ERROR_EXPONENTS
        bits = np.ascontiguousarray(size_NEL, np.float32).view(np.int32) - 1
        bucket = (bits >> FLOAT32_MANTISSA_BITS) - (FLOAT32_BIAS - 1 + low)
        num, cells = high - low + 2, self._shape[0] * self._shape[1]
        first_EL = np.arange(cells, dtype=np.int32).reshape(self._shape) * np.int32(num)
        place = np.where(valid_NEL, np.clip(bucket, 0, num - 1) + first_EL, cells * num)
        counts = np.bincount(place.reshape(-1), minlength=cells * num + 1)[:-1]  # the last: not scored
        self._error.values[:, :-1] += counts.reshape(cells, num)
        self._error.values[:, -1] += _sum_rows(size_NEL).reshape(-1)

    def _add_misses(self, missed_NEL: BoolArray, low_NEL: BoolArray) -> None:
        misses_EL2 = self._misses.values.reshape(*self._shape, 2)
        below_EL = _sum_rows(missed_NEL & low_NEL)
        misses_EL2[..., 0] += below_EL
        misses_EL2[..., 1] += _sum_rows(missed_NEL) - below_EL

    def figures(self) -> QualityFigures:
        error_EL, series_L = self._sum_shards()
        misses_EL2 = self._misses.values.reshape(*self._shape, 2)
        return QualityFigures(
            forecasters=self.forecasters,
            steps=self.steps,
            error_EL=error_EL,
            series_L=series_L,
            scored_EL=self._scored.values.reshape(self._shape).copy(),
            missed_EL=misses_EL2.sum(-1),
            by_shard={shard: windows.copy() for shard, windows in self._shards.items()},
        )

    def _sum_shards(self) -> tuple[Float64Array, Float64Array]:
        error_EL, count_L = np.zeros(self._shape), np.zeros(self._shape[1])
        for windows in self._shards.values():
            sums_EL, counts_L = windows.sums()
            error_EL += sums_EL
            count_L += counts_L
        return error_EL, count_L

    def freeze(self) -> list[Frozen]:
        error_EL, count_L = self._sum_shards()
        self._error_over_series.values[:, 0] = error_EL.reshape(-1)
        self._scored_series.values[:, 0] = count_L
        return [table.freeze() for table in self._tables]


def _sum_rows(values_NEL: Float32Array | BoolArray) -> Float64Array:
    """`[E, L]` sums over rows, as a product with ones: five times as fast as `sum`. float32 within a wave,
    and exact for whole numbers below 2 ** 24."""
    flat = values_NEL.reshape(len(values_NEL), -1).astype(np.float32, copy=False)
    sums = np.ones(len(flat), np.float32) @ flat
    return sums.astype(np.float64).reshape(values_NEL.shape[1:])
