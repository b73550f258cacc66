"""How good the forecasts are, as sums and counts over the series of the assigned shards.

Letters: S slots, N rows of a wave, E forecasters, Q scored steps, L steps that are labels, B buckets.
"""

from __future__ import annotations

import math
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
_LIMIT = np.float32(LARGEST_ERROR)
_LOW, _HIGH = catalogue.ERROR_EXPONENTS
_BITS_BELOW = np.int32(1 + (FLOAT32_BIAS - 1 + _LOW << FLOAT32_MANTISSA_BITS))
"""Taken from the bits of a float, its exponent is the number of its bucket."""


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
        self._mean_ELS: Float32Array = np.zeros((num_forecasters, num_steps, 0), np.float32)
        self._count_LS: Float32Array = np.zeros((num_steps, 0), np.float32)

    def add(self, slots: Int64Array, scored_LN: BoolArray, size_ELN: Float32Array) -> None:
        """size_ELN: 0 where nothing was scored."""
        self._grow(int(slots.max(initial=-1)) + 1)
        at = _find_place(slots)
        count_LN = self._count_LS[:, at]
        more_LN = np.minimum(count_LN + scored_LN, WINDOW)
        weight_LN = scored_LN / np.maximum(more_LN, 1)
        mean_ELN = self._mean_ELS[:, :, at]
        change_ELN = size_ELN - mean_ELN
        change_ELN *= weight_LN
        change_ELN += mean_ELN
        self._mean_ELS[:, :, at] = change_ELN
        self._count_LS[:, at] = more_LN

    def forget(self, slots: Int64Array) -> None:
        slots = slots[slots < self._count_LS.shape[1]]
        self._mean_ELS[:, :, slots] = 0.0
        self._count_LS[:, slots] = 0.0

    def copy(self) -> tuple[Float32Array, Float32Array]:
        """`[S, E, L]` and `[S, L]`."""
        return self._mean_ELS.copy().transpose(2, 0, 1), self._count_LS.copy().T

    def sums(self) -> tuple[Float64Array, Int64Array]:
        """`[E, L]` sum over series of their means, `[L]` how many have one."""
        return self._mean_ELS.sum(axis=2, dtype=np.float64), np.count_nonzero(self._count_LS, axis=1)

    def _grow(self, slots: int) -> None:
        there = self._count_LS.shape[1]
        if slots > there:
            more = max(slots - there, there)  # doubling: a slot is copied twice on average
            self._mean_ELS = np.pad(self._mean_ELS, ((0, 0), (0, 0), (0, more)))
            self._count_LS = np.pad(self._count_LS, ((0, 0), (0, more)))


def _find_place(slots: Int64Array) -> slice | Int64Array:
    """Slots that follow one another as a slice, which is read and written without a copy of the indices."""
    if slots.size and slots[-1] - slots[0] == slots.size - 1:
        first, end = int(slots[0]), int(slots[-1]) + 1
        if np.array_equal(slots, np.arange(first, end)):
            return slice(first, end)
    return slots


class Quality:
    """The quality metrics. Counters go on over rebalances; gauges are of the shards that are here.

    A wave is added to few arrays, of which tables are made when somebody asks: an operation costs the same
    for a wave of one row and of a hundred.
    """

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
        self._replaced_E = np.zeros(len(forecasters), np.int64)
        self._count_L = np.zeros(
            len(self.steps), np.int64
        )  # of scored forecasts, the same for each forecaster
        self._sum_4EL = np.zeros((4, *self._shape))  # of |error|, widths, misses, misses below the interval
        cells, self._num_buckets = math.prod(self._shape), _HIGH - _LOW + 2
        self._bucket_count = np.zeros(cells * self._num_buckets, np.int64)
        first = np.arange(cells, dtype=np.int32) * np.int32(self._num_buckets)
        self._first_bucket_EL1 = first.reshape(*self._shape, 1)

    def assign(self, shard: Shard) -> None:
        self._shards[shard] = Windows(*self._shape)

    def revoke(self, shard: Shard) -> None:
        self._shards.pop(shard, None)

    def forget(self, shard: Shard, slots: Int64Array) -> None:
        if shard in self._shards:
            self._shards[shard].forget(slots)

    def add(self, shard: Shard, scores: Scores) -> None:
        """Take one wave."""
        self._replaced_E += scores.replaced
        scored_LN = scores.scored.take(self._at_L, 0)
        count_L = np.count_nonzero(scored_LN, axis=1)
        num_scored = int(count_L.sum())
        if not num_scored:
            return
        is_whole = num_scored == scored_LN.size  # as nearly always: then nothing is left out
        error_ELN = scores.error.take(self._at_L, 1)
        part_4ELN = np.empty((4, *error_ELN.shape), np.float32)
        size_ELN, width_ELN, missed_ELN, below_ELN = part_4ELN
        np.abs(error_ELN, out=size_ELN)
        scores.width.take(self._at_L, 1, out=width_ELN, mode="clip")  # not "raise", which would copy
        sizes_2ELN = part_4ELN[:2]
        if not sizes_2ELN.max() <= _LIMIT:
            np.fmin(sizes_2ELN, _LIMIT, out=sizes_2ELN)  # the limit for NaN; five times as slow as to look
        missed_ELN[...] = scores.missed.take(self._at_L, 1)
        np.multiply(missed_ELN, error_ELN < 0, out=below_ELN)
        if not is_whole:
            part_4ELN *= scored_LN
        if shard in self._shards:
            self._shards[shard].add(scores.slots, scored_LN, size_ELN)
        self._count_L += count_L
        self._sum_4EL += _sum_rows(part_4ELN)
        self._add_buckets(size_ELN, None if is_whole else scored_LN)

    def _add_buckets(self, size_ELN: Float32Array, scored_LN: BoolArray | None) -> None:
        """A float's exponent tells between which powers of two it lies; one bit less, and a power of two
        belongs to the bucket that it bounds. scored_LN: None where all are."""
        bucket_ELN = size_ELN.view(np.int32) - _BITS_BELOW
        bucket_ELN >>= FLOAT32_MANTISSA_BITS
        np.clip(bucket_ELN, 0, self._num_buckets - 1, out=bucket_ELN)
        bucket_ELN += self._first_bucket_EL1
        place = bucket_ELN.reshape(-1) if scored_LN is None else bucket_ELN[:, scored_LN].reshape(-1)
        self._bucket_count += np.bincount(place.astype(np.int64), minlength=self._bucket_count.size)

    def figures(self) -> QualityFigures:
        error_EL, series_L = self._sum_shards()
        return QualityFigures(
            forecasters=self.forecasters,
            steps=self.steps,
            error_EL=error_EL,
            series_L=series_L,
            scored_EL=np.tile(self._count_L.astype(np.float64), (self._shape[0], 1)),
            missed_EL=self._sum_4EL[2].copy(),
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
        size_EL, width_EL, missed_EL, below_EL = self._sum_4EL
        self._replaced.values[:, 0] = self._replaced_E
        self._error_over_series.values[:, 0] = error_EL.reshape(-1)
        self._scored_series.values[:, 0] = count_L
        self._scored.values.reshape(self._shape)[:] = self._count_L
        misses_EL2 = self._misses.values.reshape(*self._shape, 2)
        misses_EL2[..., 0], misses_EL2[..., 1] = below_EL, missed_EL - below_EL
        widths_EL2 = self._width.values.reshape(*self._shape, 2)
        widths_EL2[..., 0], widths_EL2[..., 1] = width_EL, self._count_L
        self._error.values[:, :-1] = self._bucket_count.reshape(-1, self._num_buckets)
        self._error.values[:, -1] = size_EL.reshape(-1)
        return [table.freeze() for table in self._tables]


def _sum_rows(values_4ELN: Float32Array) -> Float32Array:
    """`[4, E, L]` sums over rows, as a product with ones: faster than `sum`. float32 within a wave, and exact
    for whole numbers below 2 ** 24."""
    num = values_4ELN.shape[-1]
    sums: Float32Array = values_4ELN.reshape(-1, num) @ np.ones(num, np.float32)
    return sums.reshape(values_4ELN.shape[:-1])
