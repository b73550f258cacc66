"""When series report: their cadence, how steady it is, and whether they sample or send by exception.

Arrays are [N] readings or [S] series; what can't be said of a series is NaN.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

SAMPLED, BY_EXCEPTION, UNKNOWN = "sampled", "by_exception", "unknown"
MIN_GAPS = 5  # fewer say nothing about a series
_STEADY = 0.1  # a gap within this share of the median is as the others are
_REGULAR_SHARE = 0.7  # of steady gaps, from which on a series samples
# Who sends on change alone never repeats itself, but for signs of life.
_REPEATED_SHARE = 0.3
_MOST_SCANS = 20  # in a short gap, for a cycle to be believed
_MAX_GAP = 24  # steps that are filled: the default of readings.max_gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythms:
    """What was found of each series, from its readings with a usable value."""

    readings: Int64Array  # [S] with or without a value
    usable: Int64Array
    first_ms: Int64Array
    last_ms: Int64Array
    cadence_ms: Float64Array  # median gap; of who sends by exception the scan
    short_ms: Float64Array  # tenth and ninetieth percentile of the gaps
    long_ms: Float64Array
    regular: Float64Array  # share of gaps as long as the median
    repeated: Float64Array  # share of values that equal the one before
    lowest: Float64Array
    highest: Float64Array
    mode: tuple[str, ...]
    counts: Mapping[str, int]  # dropped duplicates and late readings, masked steps in gaps, restarts


def find_rhythms(
    num_series: int, series_index: npt.NDArray[np.integer], event_time_ms: Int64Array, value: Float64Array
) -> Rhythms:
    """From columns in log order. NaN is no usable value."""
    order = np.lexsort((event_time_ms, series_index))  # stable, so equal times keep their order
    index, times, values = series_index[order], event_time_ms[order], value[order]
    same = np.diff(index) == 0
    duplicate = np.append(False, same & (np.diff(times) == 0))
    counts = {"duplicate": int(duplicate.sum()), "late": _count_late(series_index, event_time_ms)}
    readings = np.bincount(index, minlength=num_series)
    kept = np.isfinite(values) & ~duplicate
    index, times, values = index[kept], times[kept], values[kept]
    bounds = np.searchsorted(index, np.arange(num_series + 1))
    columns = np.full((7, num_series), np.nan)
    scans = np.full(num_series, np.nan)
    span = np.zeros((2, num_series), np.int64)
    modes, gap_steps, restarts = [], 0, 0
    for series in range(num_series):
        rows = slice(bounds[series], bounds[series + 1])
        found = _describe(times[rows], values[rows])
        columns[:, series] = found
        if rows.stop > rows.start:
            span[:, series] = times[rows.start], times[rows.stop - 1]
        modes.append(_find_mode(found, rows.stop - rows.start))
        if modes[-1] == BY_EXCEPTION:
            scans[series] = _find_scan(np.diff(times[rows]), found[1])
        if modes[-1] == SAMPLED:
            steps = np.rint(np.diff(times[rows]) / found[0]).astype(np.int64) - 1
            gap_steps += int(steps[(steps > 0) & (steps <= _MAX_GAP)].sum())
            restarts += int((steps > _MAX_GAP).sum())
    cadence, short, long, regular, repeated, lowest, highest = columns
    by_exception = np.array(modes) == BY_EXCEPTION
    return Rhythms(
        readings=readings,
        usable=np.diff(bounds),
        first_ms=span[0],
        last_ms=span[1],
        cadence_ms=np.where(by_exception, scans, cadence),
        short_ms=short,
        long_ms=long,
        regular=regular,
        repeated=repeated,
        lowest=lowest,
        highest=highest,
        mode=tuple(modes),
        counts={**counts, "gap": gap_steps, "restart": restarts},
    )


def find_shared_cadence(rhythms: Rhythms) -> int | None:
    """The cadence that nine of ten series have, in milliseconds, if there is one."""
    known = rhythms.cadence_ms[np.isfinite(rhythms.cadence_ms)]
    if known.size == 0:
        return None
    typical = float(np.median(known))
    near = np.abs(known - typical) <= _STEADY * typical
    return round(typical) if near.mean() >= 0.9 and typical >= 1 else None


def _describe(times: Int64Array, values: Float64Array) -> list[float]:
    """Median, short and long gap, shares of regular gaps and of repeated values, lowest and highest value."""
    if times.size == 0:
        return [np.nan] * 7
    lowest, highest = float(values.min()), float(values.max())
    gaps = np.diff(times)
    if gaps.size == 0:
        return [np.nan] * 5 + [lowest, highest]
    short, median, long = np.percentile(gaps, (10, 50, 90))
    regular = float((np.abs(gaps - median) <= _STEADY * median).mean())
    repeated = float((np.diff(values) == 0).mean())
    return [float(median), float(short), float(long), regular, repeated, lowest, highest]


def _find_mode(found: list[float], usable: int) -> str:
    regular, repeated = found[3:5]
    if usable <= MIN_GAPS or np.isnan(regular):
        return UNKNOWN
    return BY_EXCEPTION if regular < _REGULAR_SHARE and repeated < _REPEATED_SHARE else SAMPLED


def _find_scan(gaps: Int64Array, short_ms: float) -> float:
    """The cycle at which a sender by exception looks for changes: all its gaps are multiples of it.

    With times that jitter there is no such cycle, and the short gaps have to do.
    """
    cycle = float(np.gcd.reduce(gaps))
    return cycle if cycle >= short_ms / _MOST_SCANS else short_ms


def _count_late(series_index: npt.NDArray[np.integer], event_time_ms: Int64Array) -> int:
    """Readings before the time of an earlier one of their series."""
    order = np.argsort(series_index, kind="stable")
    index, times = series_index[order].astype(np.int64), event_time_ms[order]
    if times.size == 0:
        return 0
    ranks = np.unique(times, return_inverse=True)[1].ravel()
    key = index * (int(ranks.max()) + 1) + ranks  # a later series has larger keys throughout
    return int((key < np.maximum.accumulate(key)).sum())
