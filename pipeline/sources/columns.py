"""The columns of a grid to arrays: times in UTC, series, values; what was counted and assumed on the way."""

import zoneinfo
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.sources.dates import Times
from pipeline.sources.dialect import TableError, TableOptions, shorten
from pipeline.sources.grids import Grid
from pipeline.sources.layouts import MAX_ID_BYTES, Layout, is_valid_id
from pipeline.sources.times import is_text, read_times
from pipeline.sources.values import Float64Array, read_values, sniff_decimal
from pipeline.sources.zones import BoolArray, Int64Array, localize


@dataclass(slots=True)
class Notes:
    """What is counted and said while a file is read."""

    counts: dict[str, int] = field(default_factory=dict)
    assumed: list[str] = field(default_factory=list)

    def count(self, kind: str, number: int) -> None:
        """Add to a counter; one that stays at zero does not appear."""
        if number:
            self.counts[kind] = self.counts.get(kind, 0) + int(number)


def note_ragged(grid: Grid, notes: Notes) -> None:
    """Count and say what of the file fitted no row."""
    notes.count("ragged", grid.ragged_lines.size)
    notes.count("quoted_lines", grid.quoted_lines)
    if grid.ragged_lines.size:
        notes.assumed.append(
            f"{grid.ragged_lines.size} row(s) left out, "
            f"the first in line {grid.ragged_lines[0]}: {grid.ragged_example}"
        )
    if grid.quoted_lines:
        notes.assumed.append(
            f"{grid.quoted_lines} line break(s) inside quotes; is there a quote that is never closed?"
        )


def parse_times(grid: Grid, layout: Layout, options: TableOptions, notes: Notes) -> Times:
    """Read the times [N] of all rows. Raises TableError if not one can be read."""
    name = " and ".join(repr(grid.names[index]) for index in layout.times)
    columns = [grid.columns[index] for index in layout.times]
    if len(columns) == 2:
        columns = [pc.utf8_trim_whitespace(column.cast(pa.string())) for column in columns]
        columns = [pc.binary_join_element_wise(*columns, " ")]
    try:
        times = read_times(columns[0], options)
    except TableError as error:
        raise TableError(f"{grid.path}: column {name}: {error}") from None
    notes.assumed += times.assumed
    num_bad = int((~times.ok).sum())
    if num_bad == 0:
        return times
    first = int(np.argmin(times.ok))
    example = f"{grid.where(first)}: {shorten(str(columns[0][first].as_py() or ''))!r}"
    if num_bad == times.ok.size:
        raise TableError(
            f"{grid.path}: expected times in column {name}, but none of {num_bad} could be read, the first "
            f"in {example}; say how they are written with --time-format"
        )
    notes.count("unparsed_time", num_bad)
    notes.assumed.append(f"{num_bad} row(s) left out whose time can't be read, the first in {example}")
    return times


def encode_series(
    grid: Grid, index: int, ok: BoolArray, notes: Notes
) -> tuple[tuple[str, ...], Int64Array, BoolArray]:
    """Return ids in order of first appearance, codes into them of the rows kept, and which rows those are."""
    column = grid.columns[index]
    if not is_text(column.type):
        if not (pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
            raise TableError(
                f"{grid.path}: expected names of series in column {grid.names[index]!r}, "
                f"but its type is {column.type}"
            )
        column = column.cast(pa.string())
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    encoded = encoded.unify_dictionaries().combine_chunks()
    indices = encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy()
    names = [(text or "").strip() for text in encoded.dictionary.cast(pa.string()).to_pylist()]
    valid = np.array([*map(is_valid_id, names), False])  # the last is for null, index -1
    notes.count("bad_series", int((~valid[indices] & ok).sum()))
    kept = ok & valid[indices]
    if not kept.any():
        raise TableError(
            f"{grid.path}: expected ids of 1 to {MAX_ID_BYTES} bytes in column {grid.names[index]!r}, "
            f"but no row has one; the first is {shorten(str(column[0].as_py() or ''))!r} in {grid.where(0)}"
        )
    # Texts that differ only in outer blanks are one series.
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    merged = np.array([numbers[name] for name in names], np.int64)[indices[kept]]
    first_row = np.full(len(numbers), merged.size, np.int64)
    np.minimum.at(first_row, merged, np.arange(merged.size))
    order = np.argsort(first_row, kind="stable")
    order = order[first_row[order] < merged.size]
    rank = np.zeros(len(numbers), np.int64)
    rank[order] = np.arange(order.size)
    distinct = list(numbers)
    return tuple(distinct[number] for number in order), rank[merged], kept


def find_event_times(
    times: Times, kept: BoolArray, codes: Int64Array | None, zone: zoneinfo.ZoneInfo | None, notes: Notes
) -> Int64Array:
    """Return UTC [kept rows]; wall-clock times are those of ``zone``, or UTC without one."""
    time_ms = times.time_ms[kept]
    naive = ~times.zoned[kept]
    if not naive.any():
        return time_ms
    if zone is None:
        notes.assumed.append("times without an offset are taken as UTC (--time-zone to change)")
        return time_ms
    local = localize(time_ms[naive], None if codes is None else codes[naive], zone)
    time_ms[naive] = local.event_time_ms
    notes.count("dst_repeated", int(local.repeated.sum()))
    notes.count("dst_skipped", int(local.skipped.sum()))
    if local.repeated.any():
        notes.assumed.append(
            f"{local.repeated.sum()} row(s) in an hour that comes twice in autumn, told apart by row order"
        )
    if local.skipped.any():
        notes.assumed.append(
            f"{local.skipped.sum()} row(s) in an hour that {zone.key} skips in spring, moved forward"
        )
    return time_ms


def parse_values(
    grid: Grid, layout: Layout, options: TableOptions, kept: BoolArray, notes: Notes
) -> Float64Array:
    """Return the values [kept rows, value columns]. Raises TableError if not one is a number."""
    columns = [grid.columns[index] for index in layout.values]
    decimal = options.decimal
    if decimal not in (None, ".", ","):
        raise TableError(f"expected '.' or ',' as --decimal, but got {decimal!r}")
    if decimal is None:
        texts = [column.cast(pa.string()) for column in columns if is_text(column.type)]
        decimal, said = sniff_decimal(texts, grid.delimiter or "")
        notes.assumed += [said] if said else []
    matrix = np.empty((int(kept.sum()), len(columns)), np.float64)
    names = layout.ids or (grid.names[layout.values[0]],)
    empty: list[str] = []
    booleans: list[str] = []
    words: list[str] = []
    grouped: tuple[int, str] | None = None
    for place, column in enumerate(columns):
        values = read_values(column, decimal)
        matrix[:, place] = values.value[kept]
        notes.count("missing", int(values.missing[kept].sum()))
        notes.count("text", int(values.text[kept].sum()))
        notes.count("infinite", int(values.infinite[kept].sum()))
        if values.is_boolean:
            booleans.append(names[place])
        elif np.isnan(matrix[:, place]).all():
            (empty if values.missing[kept].all() else words).append(names[place])
        if grouped is None and values.first_grouped is not None:
            grouped = values.first_grouped, str(column[values.first_grouped].as_py())
    _note_columns(notes, empty, booleans, words)
    if grouped is not None:
        notes.assumed.append(
            f"thousands separators are not supported: {grouped[1]!r} in {grid.where(grouped[0])} "
            "counts as text"
        )
    if np.isnan(matrix).all():
        first = f"the first is {shorten(str(columns[0][0].as_py() or ''))!r} in {grid.where(0)}"
        raise TableError(
            f"{grid.path}: expected numbers, but none of {matrix.size} values is one, {first}; "
            "check --delimiter and --decimal"
        )
    return matrix


def _note_columns(notes: Notes, empty: list[str], booleans: list[str], words: list[str]) -> None:
    for names, what in (
        (empty, "entirely empty and kept without values"),
        (words, "without a single number and kept without values"),
        (booleans, "read as 1 for true and on, 0 for false and off"),
    ):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            notes.assumed.append(f"{', '.join(map(repr, names[:5]))}{more}: {what}")
