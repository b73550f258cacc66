"""Local wall-clock time to UTC, vectorised, with both daylight-saving changes resolved.

Letters: N rows. Times are int64 milliseconds; a *wall* time counts them as if the local clock showed UTC.
"""

import difflib
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from pipeline.sources.dialect import TableError

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

DAY_MS = 86_400_000
# Offsets are looked up between these years; before and after, the nearest known one holds.
FIRST_YEAR, LAST_YEAR = 1900, 2100


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTimes:
    """Wall times [N] turned into UTC, and which of them the clock showed twice or never."""

    event_time_ms: Int64Array
    repeated: BoolArray
    skipped: BoolArray


def find_zone(name: str) -> zoneinfo.ZoneInfo:
    """Return the zone called ``name``. Raises TableError that names the nearest known zones."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    zones = sorted(zoneinfo.available_timezones())
    # Cities are known by their last part: 'Berlin' means Europe/Berlin.
    known = {zone.rsplit("/", 1)[-1].lower(): zone for zone in zones} | {zone.lower(): zone for zone in zones}
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = (
        f"; the nearest is {known[near[0]]!r}" if near else "; expected an IANA name such as 'Europe/Berlin'"
    )
    raise TableError(f"unknown time zone {name!r} in --time-zone{hint}")


def localize(wall_ms: Int64Array, series: Int64Array | None, zone: zoneinfo.ZoneInfo) -> LocalTimes:
    """Turn wall times [N], in the order of the file, into UTC.

    The repeated hour in autumn resolves by row order, within each series where ``series`` [N] is given: the
    first pass is summer time. A time in the hour that does not exist in spring moves forward by the length of
    the gap, as if the clock had not been changed yet.
    """
    if wall_ms.size == 0:
        none = np.zeros(0, bool)
        return LocalTimes(event_time_ms=wall_ms, repeated=none, skipped=none)
    changes_ms, offsets_ms = _find_changes(zone, int(wall_ms.min()) - DAY_MS, int(wall_ms.max()) + DAY_MS)
    before, after = changes_ms + offsets_ms[:-1], changes_ms + offsets_ms[1:]
    # Around a change the wall clock reads [before, after) never, or [after, before) twice.
    first = np.searchsorted(np.maximum(before, after), wall_ms, side="right")
    second = np.searchsorted(np.minimum(before, after), wall_ms, side="right")
    differ = first != second
    repeated = differ & (offsets_ms[second] < offsets_ms[first])
    chosen = first.copy()
    if repeated.any():
        is_second = _find_second_pass(wall_ms, repeated, first, series)
        chosen[is_second] = second[is_second]
    return LocalTimes(
        event_time_ms=wall_ms - offsets_ms[chosen], repeated=repeated, skipped=differ & ~repeated
    )


def _find_changes(zone: zoneinfo.ZoneInfo, start_ms: int, stop_ms: int) -> tuple[Int64Array, Int64Array]:
    """Return the UTC instants [T] between two times at which the offset changes, and the offsets [T + 1]."""

    def offset_at(time_s: int) -> int:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time_s)
        offset = moment.astimezone(zone).utcoffset() or timedelta()
        return int(offset.total_seconds() * 1000)

    lowest = int(datetime(FIRST_YEAR, 1, 1, tzinfo=UTC).timestamp())
    highest = int(datetime(LAST_YEAR, 1, 1, tzinfo=UTC).timestamp())
    at = min(max(start_ms // 1000, lowest), highest)
    stop = min(max(stop_ms // 1000, lowest), highest)
    changes, offsets = [], [offset_at(at)]
    while at < stop:
        # No zone has changed twice within a day, so daily probes miss nothing.
        following = at + 86_400
        if offset_at(following) != offsets[-1]:
            low, high = at, following
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset_at(middle) == offsets[-1] else (low, middle)
            changes.append(high * 1000)
            offsets.append(offset_at(high))
        at = following
    return np.array(changes, np.int64), np.array(offsets, np.int64)


def _find_second_pass(
    wall_ms: Int64Array, repeated: BoolArray, change: Int64Array, series: Int64Array | None
) -> BoolArray:
    """Mark the rows [N] of repeated hours that belong to the second pass, in winter time.

    Within one series and one autumn, the second pass begins where the clock jumps back, or, if it never does,
    with the one reading that has the same time as the one before (hourly data). With several jumps or several
    equal times the rows are in another order, and the later of equal times is taken for the second pass.
    """
    rows = np.arange(wall_ms.size)
    by_series = rows if series is None else np.argsort(series, kind="stable")
    same = np.ones(rows.size - 1, bool) if series is None else np.diff(series[by_series]) == 0
    trend = int(np.sign(np.diff(wall_ms[by_series]))[same].sum())
    order = by_series[repeated[by_series]]
    if trend < 0:  # newest first: the passes stand in the file the other way round
        order = order[::-1]
    keys = [change[order]] if series is None else [change[order], series[order]]
    order = order[np.lexsort(keys)]  # stable: row order is kept within series and autumn
    wall = wall_ms[order]
    starts = np.ones(order.size, bool)
    starts[1:] = np.diff(change[order]) != 0
    if series is not None:
        starts[1:] |= np.diff(series[order]) != 0
    group = np.cumsum(starts) - 1
    step = np.ones(order.size, np.int64)
    step[1:] = np.diff(wall)
    step[starts] = 1
    num_back, num_equal = np.bincount(group, step < 0)[group], np.bincount(group, step == 0)[group]
    switches = np.where(num_back > 0, step < 0, step == 0)
    passed = np.cumsum(switches)
    by_jump = passed - passed[starts][group] > 0
    in_order = (num_back == 1) | ((num_back == 0) & (num_equal <= 1))
    second = np.where(in_order, by_jump, _is_later_equal(group, wall))
    marked = np.zeros(wall_ms.size, bool)
    marked[order[second]] = True
    return marked


def _is_later_equal(group: Int64Array, wall_ms: Int64Array) -> BoolArray:
    order = np.lexsort([wall_ms, group])
    later = np.zeros(order.size, bool)
    later[1:] = (np.diff(group[order]) == 0) & (np.diff(wall_ms[order]) == 0)
    marked = np.zeros(order.size, bool)
    marked[order] = later
    return marked
