"""Files to grids: named Arrow columns, with the line each row stands in; CSV (plain or gzip) and Parquet."""

import gzip
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from pipeline.sources.dates import read_flags
from pipeline.sources.dialect import Dialect, TableError, TableOptions, decode, find_dialect, shorten
from pipeline.sources.zones import BoolArray, Int64Array

# Longest row believed; also how much is parsed at a time.
MAX_ROW_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Rows and columns of a file before their meaning is known. Columns of CSV are text, empty cells null."""

    path: str
    names: tuple[str, ...]
    columns: tuple[Any, ...]  # pyarrow.ChunkedArray [N] each
    delimiter: str | None  # None: Parquet
    header_line: int
    lines: Int64Array | None  # [N] 1-based, of CSV
    ragged_lines: Int64Array  # where the number of cells was not that of the header
    ragged_example: str
    quoted_lines: int  # line breaks inside quotes
    assumed: tuple[str, ...]

    @property
    def num_rows(self) -> int:
        """Rows that have as many cells as the header."""
        return len(self.columns[0])

    def where(self, row: int) -> str:
        """Name the place of a row for a message."""
        return f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}"

    def slice(self, start: int, stop: int) -> "Grid":
        """Return rows ``start`` to ``stop``, ragged ones being kept."""
        return replace(
            self,
            columns=tuple(column.slice(start, stop - start) for column in self.columns),
            lines=None if self.lines is None else self.lines[start:stop],
        )

    def limit(self, num_rows: int) -> "Grid":
        """Return the first data rows of the file; a ragged row counts as one."""
        if self.lines is None:
            return self.slice(0, num_rows)
        lines = np.sort(np.concatenate([self.lines, self.ragged_lines]))[:num_rows]
        last = lines[-1] if lines.size else 0
        kept = self.slice(0, int(np.searchsorted(self.lines, last, side="right")))
        return replace(kept, ragged_lines=self.ragged_lines[self.ragged_lines <= last])


def read_grid(path: str, options: TableOptions) -> Grid:
    """Read a file, its kind being told by its first bytes. Raises TableError where it can't be read."""
    if os.path.isdir(path):
        raise TableError(f"{path}: expected a CSV or Parquet file, but this is a folder; name a file in it")
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
            if magic == b"PAR1":
                return _read_parquet(path)
            data = magic + file.read()
    except FileNotFoundError:
        raise TableError(f"{path}: there is no such file; check the path") from None
    except OSError as error:
        raise TableError(f"{path}: can't be read: {error.strerror or error}") from None
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise TableError(f"{path}: is gzip, but damaged or cut off: {error}") from None
    if not data.strip():
        raise TableError(f"{path}: expected a header and rows, but the file is empty")
    data, assumed = decode(data, path, options.encoding)
    dialect = find_dialect(data, path, options)
    grid = _read_csv(data, dialect, path)
    return replace(grid, assumed=(*assumed, *dialect.assumed))


def _read_parquet(path: str) -> Grid:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        reason = shorten(str(error).splitlines()[0], 120)
        raise TableError(f"{path}: begins as Parquet, but can't be read as such: {reason}") from None
    if table.num_columns < 2 or table.num_rows == 0:
        raise TableError(
            f"{path}: expected a time column, at least one more, and rows, "
            f"but there are {table.num_columns} columns and {table.num_rows} rows"
        )
    return Grid(
        path=path,
        names=tuple(name.strip() for name in table.column_names),
        columns=tuple(table.columns),
        delimiter=None,
        header_line=0,
        lines=None,
        ragged_lines=np.zeros(0, np.int64),
        ragged_example="",
        quoted_lines=0,
        assumed=(),
    )


def _read_csv(data: bytes, dialect: Dialect, path: str) -> Grid:
    if not data[dialect.body_offset :].strip():
        raise TableError(f"{path}: expected rows, but there is only a header (line {dialect.header_line})")
    ragged: dict[int, str] = {}
    blank: list[int] = []

    def skip(row: Any) -> str:
        if row.text.strip():
            ragged[row.number] = f"{row.actual_columns} cells instead of {row.expected_columns}"
        else:
            blank.append(row.number)
        return "skip"

    columns = _parse(data, dialect, path, skip)
    num_lines = len(columns[0]) + len(ragged) + len(blank)
    if len(columns[0]) == 0:
        number = next(iter(ragged))
        raise TableError(
            f"{path}: no row has as many cells as the header in line {dialect.header_line}; line "
            f"{dialect.header_line + number} has {ragged[number]}; check --delimiter and --decimal"
        )
    num_breaks = max(data.count(b"\n", dialect.body_offset), data.count(b"\r", dialect.body_offset))
    num_breaks += not data.endswith((b"\n", b"\r"))
    lines = np.arange(1, num_lines + 1)
    lines = np.delete(lines, np.array([*ragged, *blank], np.int64) - 1) + dialect.header_line
    filled = _find_filled(columns)
    if not filled.all():
        columns, lines = [column.filter(pa.array(filled)) for column in columns], lines[filled]
    if lines.size == 0:
        raise TableError(
            f"{path}: expected rows, but all below the header (line {dialect.header_line}) are empty"
        )
    return Grid(
        path=path,
        names=dialect.header,
        columns=tuple(columns),
        delimiter=dialect.delimiter,
        header_line=dialect.header_line,
        lines=lines,
        ragged_lines=np.array(list(ragged), np.int64) + dialect.header_line,
        ragged_example=next(iter(ragged.values()), ""),
        quoted_lines=max(0, num_breaks - num_lines),
        assumed=(),
    )


def _parse(data: bytes, dialect: Dialect, path: str, skip: Callable[[Any], str]) -> list[Any]:
    names = [str(index) for index in range(len(dialect.header))]
    has_quotes = data.find(b'"', dialect.body_offset) >= 0
    try:
        table = pyarrow.csv.read_csv(
            pa.py_buffer(data).slice(dialect.body_offset),
            # One thread, since only then the rows that don't fit come with their numbers.
            read_options=pyarrow.csv.ReadOptions(
                column_names=names, use_threads=False, block_size=MAX_ROW_BYTES
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char='"' if has_quotes else False,
                newlines_in_values=has_quotes,
                ignore_empty_lines=False,  # they count as lines; those of nothing are left out afterwards
                invalid_row_handler=skip,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        if "straddling" in reason:
            reason = f"a row is longer than {MAX_ROW_BYTES >> 20} MB (perhaps a quote is never closed)"
        raise TableError(f"{path}: can't be read as rows: {shorten(reason, 120)}") from None
    return list(table.columns)


def _find_filled(columns: list[Any]) -> BoolArray:
    """Mark the rows [N] in which any cell holds something."""
    filled = read_flags(pc.is_valid(columns[0]))
    for column in columns[1:]:
        if filled.all():
            break
        filled |= read_flags(pc.is_valid(column))
    return filled
