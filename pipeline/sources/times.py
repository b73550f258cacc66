"""Time cells to milliseconds since 1970: numbers, ISO, dates as spreadsheets and historians write them.

Everything is vectorised over the distinct texts of a column; there is no loop over rows.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.sources.dates import COMPACT, DATE, Times, parse_dates, part_reader, read_flags, read_fraction
from pipeline.sources.dialect import TableError, TableOptions
from pipeline.sources.zones import DAY_MS, BoolArray, Int64Array

EPOCH = r"^(?P<sign>[+-]?)(?P<whole>\d{1,18}|[1-8]\d{18})(?:[.,](?P<fraction>\d{1,9}))?$"
# Seconds stay below 1e11 until the year 5138, milliseconds are above it since 1973, and so on by thousands.
EPOCH_UNITS = ((1e11, "s"), (1e14, "ms"), (1e17, "us"), (np.inf, "ns"))
# A nameless or first column of smaller numbers is a row counter, no time (1e8 seconds are March 1973).
SMALLEST_EPOCH = 1e8
MAX_TIME_MS = 253_402_300_800_000  # the year 10 000


def is_text(kind: Any) -> bool:
    """Whether an Arrow type is a string, plain or as a dictionary."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def read_times(column: Any, options: TableOptions) -> Times:
    """Read an Arrow column of text, timestamps, dates or numbers. Raises TableError for another type."""
    kind = column.type
    if is_text(kind):
        return _read_text(column, options.time_format)
    if pa.types.is_timestamp(kind):
        # Through the integers: a cast to milliseconds refuses times with a finer part.
        ticks, ok = _to_numpy(column.cast(pa.int64()), 0, np.int64)
        return _checked(_scale_epoch(ticks, kind.unit), ok, zoned=kind.tz is not None)
    if pa.types.is_date(kind):
        days, ok = _to_numpy(column.cast(pa.date32()).cast(pa.int32()), 0, np.int64)
        return _checked(days * DAY_MS, ok, zoned=False)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _read_numbers(column)
    raise TableError(f"expected timestamps, dates, text or numbers as time, but its type is {kind}")


def looks_like_time(column: Any, options: TableOptions, *, named: bool) -> bool:
    """Whether the filled cells at the top are times: half of them, or any at all if ``named`` as such.

    Small numbers, which count rows more often than seconds, are times only if ``named``.
    """
    head = column.slice(0, 500).drop_null()
    kind = column.type
    if len(head) == 0:
        return named
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return True
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return named or _are_large(head.cast(pa.float64(), safe=False))
    if not is_text(kind):
        return False
    if not named and options.time_format is None and _find_shape(_trim(head)) == EPOCH:
        texts = _trim(head)
        texts = texts.filter(pc.match_substring_regex(texts, EPOCH))
        if not _are_large(pc.replace_substring(texts, ",", ".").cast(pa.float64())):
            return False
    share = float(_read_text(head, options.time_format).ok.mean())
    return share > 0 if named else share >= 0.5


def _are_large(numbers: Any) -> bool:
    return float(np.median(np.abs(numbers.to_numpy()))) >= SMALLEST_EPOCH


def _trim(column: Any) -> Any:
    return pc.utf8_trim_whitespace(column.cast(pa.string()))


def _find_shape(texts: Any) -> str:
    """Return the pattern that most texts match; eight digits are a date rather than a number."""
    shares = {
        pattern: pc.mean(pc.match_substring_regex(texts, pattern)).as_py() or 0.0
        for pattern in (DATE, COMPACT, EPOCH)
    }
    return max(shares, key=lambda pattern: shares[pattern])


def _read_numbers(column: Any) -> Times:
    numbers, ok = _to_numpy(column.cast(pa.float64(), safe=False), 0, np.float64)
    ok &= np.isfinite(numbers)
    unit = _find_unit(numbers[ok])
    if pa.types.is_integer(column.type):
        ticks, _ = _to_numpy(column.cast(pa.int64(), safe=False), 0, np.int64)
        time_ms = _scale_epoch(ticks, unit)
    else:
        scaled = numbers * 1000 if unit == "s" else numbers / _TICKS_PER_MS[unit]
        scaled = np.where(ok & (np.abs(scaled) < MAX_TIME_MS), scaled, MAX_TIME_MS)
        # Rounded for seconds, whose thousandths a double holds only nearly; finer units are cut as elsewhere.
        time_ms = (np.rint(scaled) if unit == "s" else np.floor(scaled)).astype(np.int64)
    return _checked(time_ms, ok, zoned=True, assumed=_say_epoch(unit, time_ms, ok))


_TICKS_PER_MS = {"ms": 1, "us": 1000, "ns": 1_000_000}


def _scale_epoch(ticks: Int64Array, unit: str) -> Int64Array:
    """Return milliseconds, cut downwards."""
    if unit == "s":
        # Clipped to keep the product inside int64; what is out of range is refused afterwards.
        return np.clip(ticks, -MAX_TIME_MS, MAX_TIME_MS) * 1000
    return ticks // _TICKS_PER_MS[unit]


def _find_unit(numbers: npt.NDArray[np.float64]) -> str:
    typical = float(np.median(np.abs(numbers))) if numbers.size else 0.0
    return next(unit for limit, unit in EPOCH_UNITS if typical < limit)


def _say_epoch(unit: str, time_ms: Int64Array, ok: BoolArray) -> tuple[str, ...]:
    if not ok.any():
        return ()
    first = np.datetime64(int(np.clip(time_ms[ok][0], -MAX_TIME_MS, MAX_TIME_MS)), "ms")
    return (f"times are numbers of {unit} since 1970, the first being {first}Z",)


def _checked(time_ms: Int64Array, ok: BoolArray, *, zoned: bool, assumed: tuple[str, ...] = ()) -> Times:
    good = ok & (np.abs(time_ms) < MAX_TIME_MS)
    return Times(
        time_ms=np.where(good, time_ms, 0), ok=good, zoned=np.full(time_ms.size, zoned), assumed=assumed
    )


def _to_numpy(column: Any, missing: float, dtype: type[np.generic]) -> tuple[Any, BoolArray]:
    ok = read_flags(pc.is_valid(column))
    return column.fill_null(missing).to_numpy().astype(dtype), ok


def _read_text(column: Any, time_format: str | None) -> Times:
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    codes, present = _to_numpy(encoded.indices, 0, np.int64)
    texts = _trim(encoded.dictionary).fill_null("")
    if len(texts) == 0:
        return _checked(np.zeros(codes.size, np.int64), present & False, zoned=False)
    parsed = _parse_with(texts, time_format) if time_format is not None else _parse_any(texts)
    return Times(
        time_ms=np.where(present, parsed.time_ms[codes], 0),
        ok=parsed.ok[codes] & present,
        zoned=parsed.zoned[codes],
        assumed=parsed.assumed,
    )


def _parse_with(texts: Any, time_format: str) -> Times:
    import pandas as pd  # only here, and slow to import

    if "%" not in time_format:
        raise TableError(
            f"expected a strptime format such as '%d.%m.%Y %H:%M' as --time-format, but got {time_format!r}"
        )
    zoned = "%z" in time_format or "%Z" in time_format
    try:
        parsed = pd.to_datetime(pd.Series(texts.to_pylist()), format=time_format, errors="coerce", utc=zoned)
    except ValueError as error:
        raise TableError(f"--time-format {time_format!r} is no strptime format: {error}") from None
    plain = (parsed.dt.tz_localize(None) if zoned else parsed).to_numpy()
    ok = ~np.isnat(plain)
    time_ms = np.where(ok, plain.astype("datetime64[ms]").astype(np.int64), 0)
    return _checked(time_ms, ok, zoned=zoned)


def _parse_any(texts: Any) -> Times:
    """Parse distinct texts by the one of the known shapes that most of them have."""
    shape = _find_shape(texts)
    return _parse_epoch(texts) if shape == EPOCH else parse_dates(texts, shape)


def _parse_epoch(texts: Any) -> Times:
    parts = pc.extract_regex(texts, EPOCH)
    ok = read_flags(pc.is_valid(parts))
    part = part_reader(parts)
    whole = part("whole", "0")
    unit = _find_unit(whole[ok].astype(np.float64))
    time_ms = _scale_epoch(whole, unit)
    if unit == "s":
        time_ms = time_ms + read_fraction(parts)
    time_ms = np.where(read_flags(pc.equal(pc.struct_field(parts, "sign"), "-")), -time_ms, time_ms)
    return _checked(time_ms, ok, zoned=True, assumed=_say_epoch(unit, time_ms, ok))
