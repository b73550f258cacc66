"""Event times to milliseconds since 1970, UTC. What is finer is cut off, towards the past."""

from __future__ import annotations

import datetime
import functools
import math
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.codec.reasons import Reason
from pipeline.records import BoolArray, Int64Array

MIN_TIME_MS = -62_135_596_800_000
MAX_TIME_MS = 253_402_300_799_999
"""The years 1 to 9999. Sums and differences of such times can't overflow."""

PER_MS = {"s": (1000, 1), "ms": (1, 1), "us": (1, 1000), "ns": (1, 1_000_000)}
"""Unit: milliseconds in so many units."""

AUTO_LIMITS = ((10**11, "s"), (10**14, "ms"), (10**17, "us"))
"""Below which size a number without a unit is what; above all it is ns. Right for 1973 to 5138."""

# Decimals of seconds are off by up to 1e-4 ms: 1.001 s must not become 1 000 ms.
_DECIMAL_SLACK_MS = 1e-3

# Far beyond the year 9999 in any unit, and small enough to be multiplied.
_LARGEST_NUMBER = 1e25

_LONGEST_TEXT = 40
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]*)?")
_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))"
)
_EPOCH_DAY = datetime.date(1970, 1, 1).toordinal()


def read_time(raw: object, unit: str, clock_ms: int) -> int | Reason:
    """The time of one reading. Nothing (None) is the broker's timestamp, unless that is -1 for none."""
    if raw is None:
        return clock_ms if clock_ms >= 0 else Reason.NO_TIME
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return Reason.WRONG_TYPE
    if isinstance(raw, str):
        text = raw.strip() if len(raw) <= 2 * _LONGEST_TEXT else raw
        if len(text) > _LONGEST_TEXT:
            return Reason.BAD_TIME
        number = _NUMBER.fullmatch(text)
        if number is None:
            return _read_rfc3339(text)
        raw = float(text) if number[1] else int(text)
    return _scale(raw, unit)


def read_times(
    raw: Sequence[object], unit: str, clock_ms: Int64Array
) -> tuple[Int64Array, npt.NDArray[np.int8]]:
    """As `read_time` for each [N]; returns times, and numbers of reasons (0 for none)."""
    kinds = set(map(type, raw))
    if kinds == {int} and unit != "rfc3339":
        try:
            time_ms, usable = scale_times(np.array(raw, dtype=np.int64), unit)
        except OverflowError:
            pass
        else:
            return time_ms, np.where(usable, 0, Reason.BAD_TIME.value).astype(np.int8)
    if kinds == {type(None)}:
        return clock_ms.copy(), np.where(clock_ms >= 0, 0, Reason.NO_TIME.value).astype(np.int8)
    found = [read_time(time, unit, clock) for time, clock in zip(raw, clock_ms.tolist(), strict=True)]
    times = np.array([0 if isinstance(time, Reason) else time for time in found], dtype=np.int64)
    reasons = np.array([time.value if isinstance(time, Reason) else 0 for time in found], dtype=np.int8)
    return times, reasons


def scale_times(number: Int64Array, unit: str) -> tuple[Int64Array, BoolArray]:
    """Whole numbers of a unit (not rfc3339) to milliseconds, and which of them are usable; others are 0."""
    if unit == "auto":
        return _scale_by_size(number)
    times_by, divided_by = PER_MS[unit]
    lowest, highest = -(-MIN_TIME_MS // times_by) * divided_by, (MAX_TIME_MS // times_by + 1) * divided_by - 1
    scale = (lambda part: part // divided_by) if divided_by > 1 else (lambda part: part * times_by)
    if lowest <= int(number.min(initial=0)) and int(number.max(initial=0)) <= highest:
        return scale(number), np.ones(number.shape, dtype=np.bool_)
    # Beyond int64 for ns: then each number is usable, and the line above has returned.
    usable = (number >= lowest) & (number <= highest)
    return scale(np.where(usable, number, 0)), usable


def _scale_by_size(number: Int64Array) -> tuple[Int64Array, BoolArray]:
    # Not abs, which leaves the smallest int64 negative.
    size = np.where(number < 0, -(number + 1), number)
    bounds = [0, *(limit for limit, _ in AUTO_LIMITS), 2**63]
    units = [*(unit for _, unit in AUTO_LIMITS), "ns"]
    least, most = int(size.min(initial=2**62)), int(size.max(initial=0))
    for unit, low, high in zip(units, bounds[:-1], bounds[1:], strict=True):
        if low <= least and most < high:  # one unit for all, as a rule
            return scale_times(number, unit)
    time_ms, usable = np.zeros_like(number), np.zeros(number.shape, dtype=np.bool_)
    for unit, low, high in zip(units, bounds[:-1], bounds[1:], strict=True):
        rows = (size >= low) & (size <= high - 1)
        time_ms[rows], usable[rows] = scale_times(number[rows], unit)
    return time_ms, usable


def _scale(number: int | float, unit: str) -> int | Reason:
    if unit == "rfc3339" or not abs(number) <= _LARGEST_NUMBER:  # NaN, too
        return Reason.BAD_TIME
    if unit == "auto":
        # As in scale_times, where -1 has the size 0.
        size = -(number + 1) if number < 0 else number
        unit = next((name for limit, name in AUTO_LIMITS if size < limit), "ns")
    times_by, divided_by = PER_MS[unit]
    if isinstance(number, int):
        time_ms = number * times_by // divided_by
    else:
        time_ms = math.floor(number * times_by / divided_by + _DECIMAL_SLACK_MS)
    return time_ms if MIN_TIME_MS <= time_ms <= MAX_TIME_MS else Reason.BAD_TIME


@functools.lru_cache(maxsize=4096)  # many sensors share a time; the texts are short
def _read_rfc3339(text: str) -> int | Reason:
    match = _RFC3339.fullmatch(text)
    if match is None:
        return Reason.BAD_TIME
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, _, sign, offset_hour, offset_minute = match.groups()[6:]
    try:
        days = datetime.date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        return Reason.BAD_TIME
    offset = int(offset_hour or 0) * 60 + int(offset_minute or 0)
    # The 60th second is a leap second, counted as the one after.
    if hour > 23 or minute > 59 or second > 60 or int(offset_minute or 0) > 59 or offset >= 24 * 60:
        return Reason.BAD_TIME
    minutes = (days * 24 + hour) * 60 + minute - (-offset if sign == "-" else offset)
    time_ms = (minutes * 60 + second) * 1000 + int((fraction or "")[:3].ljust(3, "0"))
    return time_ms if MIN_TIME_MS <= time_ms <= MAX_TIME_MS else Reason.BAD_TIME
