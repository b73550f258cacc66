"""What the columns of a grid mean: which holds the time, and whether series stand side by side or below."""

import os
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.codec.texts import BAD_TEXTS, FALSE_TEXTS, MISSING_TEXTS, TRUE_TEXTS
from pipeline.sources.dialect import TableError, TableOptions, shorten
from pipeline.sources.grids import Grid
from pipeline.sources.times import is_text, looks_like_time
from pipeline.sources.values import is_value_type

# Compared in lower case, without blanks and punctuation.
TIME_NAMES = (
    "time",
    "timestamp",
    "date",
    "datetime",
    "ts",
    "eventtime",
    "zeit",
    "zeitstempel",
    "datum",
    "datumzeit",
)
SERIES_NAMES = (
    *("series", "seriesid", "tag", "tagname", "tagid", "sensor", "sensorid", "sensorname"),
    *("id", "point", "pointname", "pointid", "name"),
)
VALUE_NAMES = ("value", "val", "wert")
DAY_NAMES, CLOCK_NAMES = ("date", "datum"), ("time", "zeit", "uhrzeit")

MAX_ID_BYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which columns, by index, mean what. In the wide form ``ids`` name ``values``; else it is empty."""

    times: tuple[int, ...]  # two where date and clock stand apart
    series_column: int | None  # None in the wide form
    values: tuple[int, ...]
    ids: tuple[str, ...]
    assumed: tuple[str, ...]


def find_layout(grid: Grid, options: TableOptions) -> Layout:
    """Tell columns apart by their names, types and content. Raises TableError where that fails."""
    times = _find_times(grid, options)
    time_name = " and ".join(repr(grid.names[index]) for index in times)
    others = [index for index in range(len(grid.names)) if index not in times]
    series = _find_named(grid, others, SERIES_NAMES)
    value = _find_named(grid, others, VALUE_NAMES)
    if series is not None and value is None and _holds_words(grid.columns[series]):
        rest = [index for index in others if index != series]
        if len(rest) != 1:
            raise TableError(
                f"{grid.path}: column {grid.names[series]!r} names series, but none of {_quote(grid, rest)} "
                "is called 'value'; rename the one that holds the values"
            )
        value = rest[0]
    if series is not None and value is not None:
        aside = [index for index in others if index not in (series, value)]
        said = [
            f"long: time in {time_name}, series in {grid.names[series]!r}, value in {grid.names[value]!r}"
        ]
        said += [f"left aside: {_quote(grid, aside)}"] if aside else []
        return Layout(times=times, series_column=series, values=(value,), ids=(), assumed=tuple(said))
    values, aside = _find_wide_values(grid, others)
    if not values:
        raise TableError(
            f"{grid.path}: expected columns of values besides the time in {time_name}, but there is none"
        )
    ids = tuple(grid.names[index] for index in values)
    is_sole = len(ids) == 1 and _plain(ids[0]) in VALUE_NAMES
    if is_sole:
        ids = (_stem(grid.path),)
    _check_ids(grid, () if is_sole else times, ids)
    said = [
        f"wide: time in {time_name}, {f'{len(ids)} series' if len(ids) > 1 else f'one series {ids[0]!r}'}"
    ]
    said += [f"left aside: {_quote(grid, aside)}"] if aside else []
    return Layout(times=times, series_column=None, values=tuple(values), ids=ids, assumed=tuple(said))


def find_units(grid: Grid, layout: Layout, options: TableOptions) -> dict[str, str] | None:
    """Return the units by id if the first row holds units (and no readings), else None."""
    if options.units_row is False or grid.delimiter is None:
        return None
    cells = [(grid.columns[index][0].as_py() or "").strip() for index in layout.values]
    if options.units_row is None:
        if grid.num_rows == 1:
            return None
        if layout.series_column is not None or not any(cells) or not all(map(_may_be_unit, cells)):
            return None
        if any(
            looks_like_time(grid.columns[index].slice(0, 1), options, named=False) for index in layout.times
        ):
            return None
    return {name: cell for name, cell in zip(layout.ids, cells, strict=False) if cell}


def is_valid_id(name: str) -> bool:
    """Whether a series may be called so: 1 to 256 bytes of UTF-8 without control characters."""
    size = len(name.encode("utf-8", "replace"))
    return 1 <= size <= MAX_ID_BYTES and not any(unicodedata.category(char) == "Cc" for char in name)


def _find_times(grid: Grid, options: TableOptions) -> tuple[int, ...]:
    if options.time_column is not None:
        return (_find_told(grid, options.time_column),)
    named = [index for index, name in enumerate(grid.names) if _plain(name) in TIME_NAMES]
    if pair := _find_pair(grid):
        return pair
    typed = [index for index, column in enumerate(grid.columns) if pa.types.is_timestamp(column.type)]
    for index in dict.fromkeys([*named, 0, *typed]):
        if looks_like_time(grid.columns[index], options, named=index in named):
            _refuse_data_as_header(grid, index, options)
            return (index,)
    if named:  # what is wrong with it is said where its times are read
        return (named[0],)
    place = f" in line {grid.header_line}" if grid.header_line else ""
    raise TableError(
        f"{grid.path}: expected a column of times, but none of {_quote(grid, range(len(grid.names)))}{place} "
        "looks like one; name it with --time-column, and how it is written with --time-format"
    )


def _find_told(grid: Grid, name: str) -> int:
    if name in grid.names:
        return grid.names.index(name)
    lowered = [known.lower() for known in grid.names]
    if name.strip().lower() in lowered:
        return lowered.index(name.strip().lower())
    raise TableError(
        f"{grid.path}: there is no column {name!r} (--time-column) among "
        f"{_quote(grid, range(len(grid.names)))}"
    )


def _find_pair(grid: Grid) -> tuple[int, int] | None:
    """Find a column of dates and one of clock times that only together are a time."""
    days = [index for index, name in enumerate(grid.names) if _plain(name) in DAY_NAMES]
    clocks = [index for index, name in enumerate(grid.names) if _plain(name) in CLOCK_NAMES]
    for day, clock in zip(days, clocks, strict=False):
        columns = grid.columns[day], grid.columns[clock]
        if not all(is_text(column.type) for column in columns):
            continue
        heads = [column.slice(0, 200).cast(pa.string()) for column in columns]
        has_clock = [
            pc.mean(pc.match_substring_regex(head, r"^\s*\d{1,2}:\d{2}")).as_py() or 0 for head in heads
        ]
        with_colon = pc.any(pc.match_substring(heads[0].slice(1), ":")).as_py()
        if has_clock[1] > 0.5 and not with_colon:
            return day, clock
    return None


def _refuse_data_as_header(grid: Grid, index: int, options: TableOptions) -> None:
    if grid.delimiter is not None and looks_like_time(pa.array([grid.names[index]]), options, named=False):
        raise TableError(
            f"{grid.path}: expected a header with the names of the columns, but line {grid.header_line} "
            f"holds data, {shorten(grid.delimiter.join(grid.names))!r}; put a line such as "
            "'time,temperature' above it"
        )


def _find_wide_values(grid: Grid, others: list[int]) -> tuple[list[int], list[int]]:
    """Return the columns that are series, and those left aside, whose type or name says they are none."""
    values, aside = [], []
    for index in others:
        column, name = grid.columns[index], grid.names[index]
        if not name and column.null_count == len(column):
            continue  # a delimiter at the end of every row
        if (
            not is_value_type(column.type)
            or name.startswith("__index_level_")
            or (not name and _counts_rows(column))
        ):
            aside.append(index)
        elif not name:
            raise TableError(
                f"{grid.path}: column {index + 1} holds values but has no name; name it in the header"
            )
        else:
            values.append(index)
    return values, aside


def _check_ids(grid: Grid, times: tuple[int, ...], ids: tuple[str, ...]) -> None:
    seen: set[str] = {grid.names[index] for index in times}
    for name in ids:
        if not is_valid_id(name):
            raise TableError(
                f"{grid.path}: expected names of 1 to {MAX_ID_BYTES} bytes without control characters, but "
                f"one is called {shorten(name)!r} ({len(name.encode('utf-8', 'replace'))} bytes); rename it"
            )
        if name in seen:
            raise TableError(f"{grid.path}: two columns are called {name!r}; rename one of them")
        seen.add(name)


def _counts_rows(column: Any) -> bool:
    """Whether a column is the row number that data frames write out in front."""
    head = [str(cell) for cell in column.slice(0, 3).to_pylist()]
    return head in ([str(start + step) for step in range(len(head))] for start in (0, 1))


def _holds_words(column: Any) -> bool:
    if not is_text(column.type):
        return False
    numbers = pc.match_substring_regex(column.slice(0, 500).cast(pa.string()), r"^\s*[+-]?[0-9.,]+\s*$")
    return (pc.mean(numbers).as_py() or 0) < 0.5


def _may_be_unit(cell: str) -> bool:
    known = (*BAD_TEXTS, *TRUE_TEXTS, *FALSE_TEXTS, *MISSING_TEXTS)
    lowered = cell.lower()
    if not cell or lowered == "-":  # the unit of what has none
        return True
    if lowered in known or re.fullmatch(r"[-=_]+|\[-\d+\].*", cell):  # a ruled line, or a historian's code
        return False
    # Neither a number nor a date.
    return re.fullmatch(r"[+-]?[\d.,' ]*\d[\d.,' ]*([eE][+-]?\d+)?|\d+[-/.]\d+[-/.]\d.*", cell) is None


def _find_named(grid: Grid, among: list[int], names: tuple[str, ...]) -> int | None:
    return next((index for index in among if _plain(grid.names[index]) in names), None)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def _quote(grid: Grid, indices: "range | list[int]") -> str:
    names = [repr(shorten(grid.names[index])) for index in indices]
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _stem(path: str) -> str:
    name = os.path.basename(path)
    if name.lower().endswith(".gz") and len(name) > len(".gz"):
        name = name[: -len(".gz")]
    return os.path.splitext(name)[0]
