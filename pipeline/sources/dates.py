"""Dates as people, databases and historians write them, to milliseconds since 1970.

Vectorised over distinct texts: a regular expression takes them apart, calendar arithmetic joins them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.sources.zones import DAY_MS, BoolArray, Int64Array

_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
_ZONE = r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*(?P<zone>[Zz]|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?$"
# 2021-10-24T02:30:00.123+02:00, 24.10.2021 02:30, 10/24/21 2:30 PM, 24-Oct-2021 02:30:00
DATE = (
    r"^(?P<a>\d{1,4})[-/. ](?P<b>\d{1,2}|[A-Za-z]{3,9})\.?[-/. ](?P<c>\d{1,4})"
    r"(?:(?:[Tt]|,?\s+)" + _CLOCK + ")?" + _ZONE
)
# 20211024, 202110240230, 20211024T023000.123Z; the year keeps it apart from numbers of seconds.
COMPACT = (
    r"^(?P<a>(?:19|20)\d{2})(?P<b>0[1-9]|1[0-2])(?P<c>0[1-9]|[12]\d|3[01])"
    r"(?:[Tt ]?(?P<hour>[01]\d|2[0-4])(?P<minute>[0-5]\d)"
    r"(?:(?P<second>[0-5]\d)(?:[.,](?P<fraction>\d{1,9}))?)?)?" + _ZONE
)
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Times [N] in milliseconds: UTC where ``zoned``, else by the wall clock; 0 where not ``ok``."""

    time_ms: Int64Array
    ok: BoolArray
    zoned: BoolArray
    assumed: tuple[str, ...]


def read_flags(mask: Any) -> BoolArray:
    """Arrow booleans as numpy booleans, null being false."""
    return np.array(mask.fill_null(False).to_numpy(zero_copy_only=False), dtype=bool)


def part_reader(parts: Any) -> Callable[[str, str], Int64Array]:
    """Return a reader of the named group as integers, with a default where the group did not take part."""

    def read(name: str, default: str) -> Int64Array:
        field = pc.struct_field(parts, name).fill_null("")
        filled = pc.if_else(pc.equal(field, ""), default, field)
        return np.asarray(filled.cast(pa.int64()).to_numpy(), np.int64)

    return read


def read_fraction(parts: Any) -> Int64Array:
    """Read the digits behind the seconds as whole milliseconds; what is finer is cut off."""
    digits = pc.utf8_rpad(pc.struct_field(parts, "fraction").fill_null(""), 3, "0")
    return np.asarray(pc.utf8_slice_codeunits(digits, 0, 3).cast(pa.int64()).to_numpy(), np.int64)


def parse_dates(texts: Any, pattern: str) -> Times:
    """Parse texts [N] by ``DATE`` or ``COMPACT``; what does not fit, or is on no calendar, is not ``ok``."""
    parts = pc.extract_regex(texts, pattern)
    part = part_reader(parts)
    first, last = part("a", "0"), part("c", "0")
    middle, is_name = _read_month(pc.struct_field(parts, "b").fill_null(""))
    width_first, width_last = (pc.utf8_length(pc.struct_field(parts, name)) for name in "ac")
    year_first = read_flags(pc.equal(width_first, 4))
    ok = read_flags(pc.is_valid(parts)) & (
        year_first | read_flags(pc.is_in(width_last, pa.array([2, 4], pa.int32())))
    )
    year = np.where(year_first, first, last)
    short = ~year_first & (year < 100)
    year = np.where(short, year + np.where(year < 69, 2000, 1900), year)  # the pivot of POSIX
    halves = _read_halves(parts)
    is_open = ok & ~year_first & ~is_name
    month_first, assumed = _find_order(
        texts, first, middle, year, is_open, bool(halves[0].any() or halves[1].any())
    )
    swapped = is_open & month_first
    days, valid = _count_days(
        year, np.where(swapped, first, middle), np.where(year_first, last, np.where(swapped, middle, first))
    )
    clock_ms, valid_clock = _read_clock(part, parts, halves)
    offset_ms, zoned = _read_offset(pc.struct_field(parts, "zone").fill_null(""))
    ok &= valid & valid_clock & (np.abs(offset_ms) < DAY_MS)
    return Times(
        time_ms=np.where(ok, days * DAY_MS + clock_ms - offset_ms, 0), ok=ok, zoned=zoned, assumed=assumed
    )


def _read_halves(parts: Any) -> tuple[BoolArray, BoolArray]:
    """Return where the text says AM [N] and where PM [N]."""
    letter = pc.utf8_slice_codeunits(pc.utf8_lower(pc.struct_field(parts, "half").fill_null("")), 0, 1)
    return read_flags(pc.equal(letter, "a")), read_flags(pc.equal(letter, "p"))


def _read_month(names: Any) -> tuple[Int64Array, BoolArray]:
    is_name = pc.match_substring_regex(names, "^[A-Za-z]")
    numbers = pc.if_else(is_name, "0", pc.if_else(pc.equal(names, ""), "0", names)).cast(pa.int64())
    short = pc.utf8_slice_codeunits(pc.utf8_lower(names), 0, 3)
    named = pc.index_in(short, value_set=pa.array(MONTHS)).fill_null(-1).cast(pa.int64())
    flags = read_flags(is_name)
    return np.where(flags, named.to_numpy() + 1, numbers.to_numpy()), flags  # month 0 is refused later


def _find_order(
    texts: Any,
    first: Int64Array,
    second: Int64Array,
    year: Int64Array,
    open_order: BoolArray,
    half_days: bool,
) -> tuple[bool, tuple[str, ...]]:
    """Decide whether dates such as 01/02/2021 have the month first, and say why."""
    if not open_order.any():
        return False, ()
    example = texts[int(np.argmax(open_order))].as_py()
    a, b, years = first[open_order], second[open_order], year[open_order]
    days_above, months_above = int((a > 12).sum()), int((b > 12).sum())
    if days_above or months_above:
        month_first = months_above > days_above
        why = f"since {'the second' if month_first else 'the first'} number goes above 12"
    elif "." in example[:3]:
        month_first, why = False, "as is usual with dots; --time-format to change"
    else:
        span_day_first = np.ptp(_count_days(years, b, a)[0])
        span_month_first = np.ptp(_count_days(years, a, b)[0])
        # Records stand close together, so the wrong order spreads a few days over months.
        month_first = bool(
            span_month_first < span_day_first or (span_month_first == span_day_first and half_days)
        )
        why = "a guess, no number being above 12; --time-format to change"
    return month_first, (
        f"dates such as '{example}' have the {'month' if month_first else 'day'} first, {why}",
    )


def _count_days(year: Int64Array, month: Int64Array, day: Int64Array) -> tuple[Int64Array, BoolArray]:
    """Return days since 1970 [N], and whether such a day exists."""
    plausible = (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    months = np.where(plausible, (year - 1970) * 12 + month - 1, 0)
    start = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    end = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return start + day - 1, plausible & (day <= end - start)


def _read_clock(
    part: Callable[[str, str], Int64Array], parts: Any, halves: tuple[BoolArray, BoolArray]
) -> tuple[Int64Array, BoolArray]:
    hour, minute, second = (part(name, "0") for name in ("hour", "minute", "second"))
    is_am, is_pm = halves
    twelve = is_am | is_pm
    valid = np.where(twelve, (hour >= 1) & (hour <= 12), hour <= 24) & (minute < 60) & (second <= 60)
    hour = np.where(twelve, hour % 12 + 12 * is_pm, hour)
    clock_ms = ((hour * 60 + minute) * 60 + second) * 1000 + read_fraction(parts)
    return clock_ms, valid & (clock_ms <= DAY_MS)  # 24:00 is the end of the day


def _read_offset(zones: Any) -> tuple[Int64Array, BoolArray]:
    """Return offsets [N] from UTC in milliseconds, and where the text had one."""
    zoned = read_flags(pc.not_equal(zones, ""))
    parts = pc.extract_regex(zones, r"^(?P<sign>[+-])(?P<hour>\d{2}):?(?P<minute>\d{2})?$")
    part = part_reader(parts)
    sign = np.where(read_flags(pc.equal(pc.struct_field(parts, "sign"), "-")), -1, 1)
    return sign * (part("hour", "0") * 60 + part("minute", "0")) * 60_000, zoned
