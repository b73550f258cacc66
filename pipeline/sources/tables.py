"""The reader of files of sensor data: CSV or Parquet, wide or long, as historians export them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.sources.columns import (
    Notes,
    encode_series,
    find_event_times,
    note_ragged,
    parse_times,
    parse_values,
)
from pipeline.sources.dialect import TableError, TableOptions
from pipeline.sources.grids import Grid, read_grid
from pipeline.sources.layouts import find_layout, find_units
from pipeline.sources.values import Float64Array
from pipeline.sources.zones import Int64Array, find_zone

__all__ = ["Table", "TableError", "TableOptions", "read_table"]

_DEFAULTS = TableOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Readings of one file, sorted by time (stable); within one time as columns (wide) or rows (long) stand.

    ``counts`` has only what is not zero:

    - cells without a usable value, which are NaN readings: ``missing`` (empty, NaN, NA, N/A, #N/A, null,
      none, dashes), ``text`` (all other text, such as Bad or 1.234,5), ``infinite``;
    - rows left out: ``ragged`` (too many or too few cells), ``unparsed_time``, ``bad_series`` (no valid id);
    - rows kept, counted per series in the long form: ``unsorted`` (before the time of a row above),
      ``duplicate_time`` (the time of another row), ``dst_repeated`` and ``dst_skipped`` (in an hour that
      local time has twice, or never);
    - ``quoted_lines``: line breaks inside quotes.
    """

    path: str
    series: tuple[str, ...]  # in column order (wide) or order of first appearance in the file (long)
    units: Mapping[str, str]  # by id, from the row of units
    series_index: npt.NDArray[np.int32]  # [N] into series
    event_time_ms: Int64Array  # [N] UTC
    value: Float64Array  # [N] NaN where there was no usable value
    num_rows: int  # rows that gave readings
    counts: Mapping[str, int]
    assumed: tuple[str, ...]  # short sentences for people


def read_table(
    path: str | os.PathLike[str], options: TableOptions = _DEFAULTS, *, rows: int | None = None
) -> Table:
    """Read a CSV (plain or gzip) or Parquet file; its kind is told by its first bytes.

    ``rows`` takes only the first so many data rows of the file, before sorting; rows that are then left out
    count, blank ones and the row of units do not. What ``options`` leaves open is sniffed and reported in
    ``assumed``. Raises TableError if the file can't be read, has no column of times or not one numeric value.
    """
    zone = find_zone(options.time_zone) if options.time_zone else None
    grid = read_grid(os.fspath(path), options)
    layout = find_layout(grid, options)
    notes = Notes(assumed=[*grid.assumed, *layout.assumed])
    units = find_units(grid, layout, options)
    if units is not None:
        grid = grid.slice(1, grid.num_rows)
        shown = ", ".join(f"{name} in {unit}" for name, unit in list(units.items())[:4])
        notes.assumed.append(f"units in the row under the header{f': {shown}' if shown else ''}")
    if rows is not None:
        grid = grid.limit(rows)
    if grid.num_rows == 0:
        raise TableError(f"{grid.path}: expected rows of data, but there are none to take below the header")
    note_ragged(grid, notes)
    times = parse_times(grid, layout, options, notes)
    kept = times.ok
    codes: Int64Array | None = None
    series = layout.ids
    if layout.series_column is not None:
        series, codes, kept = encode_series(grid, layout.series_column, times.ok, notes)
    event_time_ms = find_event_times(times, kept, codes, zone, notes)
    values = parse_values(grid, layout, options, kept, notes)
    if codes is None:
        return _assemble(grid, series, units, np.zeros_like(event_time_ms), event_time_ms, values, notes)
    return _assemble(grid, series, units, codes, event_time_ms, values, notes)


def _assemble(
    grid: Grid,
    series: tuple[str, ...],
    units: Mapping[str, str] | None,
    codes: Int64Array,
    event_time_ms: Int64Array,
    values: Float64Array,
    notes: Notes,
) -> Table:
    """Sort rows [R] by time and lay their values [R, W] out as readings."""
    _note_order(codes, event_time_ms, notes)
    if (np.diff(event_time_ms) < 0).any():
        order = np.argsort(event_time_ms, kind="stable")
        codes, event_time_ms, values = codes[order], event_time_ms[order], values[order]
    num_rows, width = values.shape
    index = codes if width == 1 else np.tile(np.arange(width), num_rows)
    return Table(
        path=grid.path,
        series=series,
        units=dict(units or {}),
        series_index=index.astype(np.int32),
        event_time_ms=np.repeat(event_time_ms, width),
        value=values.ravel(),
        num_rows=num_rows,
        counts=notes.counts,
        assumed=tuple(notes.assumed),
    )


def _note_order(codes: Int64Array, event_time_ms: Int64Array, notes: Notes) -> None:
    """Count rows before an earlier row's time, and rows at another's time, within each series."""
    offset_ms = event_time_ms - event_time_ms.min()
    span = int(offset_ms.max()) + 1
    if span * (int(codes.max()) + 1) >= 2**62:  # would not fit beside the series: ranks do
        offset_ms = np.unique(offset_ms, return_inverse=True)[1]
        span = int(offset_ms.max()) + 1
    key = codes * span + offset_ms  # orders by series, then time
    if codes.any():
        key = key[np.argsort(codes, kind="stable")]
    # A later series has larger keys throughout, so one running maximum serves all.
    notes.count("unsorted", int((key < np.maximum.accumulate(key)).sum()))
    notes.count("duplicate_time", int((np.diff(np.sort(key, kind="stable")) == 0).sum()))
