"""The series file: what a plant knows about its sensors, as CSV with a row per sensor or group of them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config.errors import ConfigError, suggest
from pipeline.globs import Globs
from pipeline.profiles import SeriesProfile
from pipeline.series_columns import COLUMNS, MATCH
from pipeline.sources.dialect import TableError, decode, shorten

VERSION = 1
_DELIMITERS = (",", ";", "\t")
_NO_HEADER = re.compile(r"\s*$|#|sep=", re.IGNORECASE)  # blank, a comment, or a spreadsheet's hint
# Ids that share their rows share a profile; a flood of invented ids must not fill the memory.
_MAX_CACHED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow:
    """A row: its glob, and its values by the fields of SeriesProfile. `texts` are its cells as they stand."""

    match: str
    settings: Mapping[str, Any]
    texts: Mapping[str, str]


@dataclass(slots=True)
class SeriesFile:
    """Rows of a series file. For each column the first row that fits an id and has a value there wins."""

    rows: tuple[SeriesRow, ...] = ()
    _globs: Globs = field(init=False, repr=False, compare=False)
    _profiles: dict[tuple[int, ...], SeriesProfile] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        self._globs = Globs([row.match for row in self.rows])

    def profile(self, series_id: str) -> SeriesProfile:
        """What is known of a series.

        Where rows contradict each other so that min lies above max, the limit of the upper row holds alone.
        """
        fitting = self._globs.find(series_id)
        known = self._profiles.get(fitting)
        if known is None:
            known = self._join(fitting)
            if len(self._profiles) >= _MAX_CACHED:
                self._profiles.clear()
            self._profiles[fitting] = known
        return known

    def unmatched(self, ids: Iterable[str]) -> list[str]:
        """The ids that no row fits, in their order."""
        return [series_id for series_id in ids if not self._globs.find(series_id)]

    def to_bytes(self) -> bytes:
        """The content, such that `from_bytes` gives the same profiles; equal content gives equal bytes."""
        rows = [{MATCH: row.match, **row.texts} for row in self.rows]
        text = json.dumps({"version": VERSION, "rows": rows}, ensure_ascii=False, sort_keys=True)
        return text.encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> SeriesFile:
        """Raises ConfigError for what `to_bytes` can't have written."""
        place = "series file in the checkpoint"
        try:
            content = json.loads(data)
            version, rows = content["version"], content["rows"]
        except (ValueError, KeyError, TypeError):
            raise ConfigError(
                f"{place}: expected JSON with version and rows, found {data[:40]!r}; it is damaged"
            ) from None
        if version != VERSION:
            raise ConfigError(
                f"{place}: expected version {VERSION}, found {version!r}; it was written by a newer gatecast"
            )
        try:
            return cls(tuple(_read_row(place, number, row) for number, row in enumerate(rows, start=1)))
        except (KeyError, TypeError, AttributeError):
            raise ConfigError(
                f"{place}: expected rows of known columns, found others; it is damaged"
            ) from None

    def _join(self, fitting: Sequence[int]) -> SeriesProfile:
        settings: dict[str, Any] = {}
        for number in fitting:
            row = self.rows[number].settings
            if row.get("minimum", -float("inf")) > settings.get("maximum", float("inf")):
                row = {key: value for key, value in row.items() if key != "minimum"}
            if row.get("maximum", float("inf")) < settings.get("minimum", -float("inf")):
                row = {key: value for key, value in row.items() if key != "maximum"}
            settings = {**row, **settings}
        return SeriesProfile(**settings)


def read_series_file(path: str | os.PathLike[str]) -> SeriesFile:
    """Read a CSV file with delimiter `,`, `;` or tab; lines above the header that begin with # are skipped.

    Raises ConfigError if it can't be read, and for an unknown column or a wrong cell.
    """
    name = os.fspath(path)
    try:
        text = decode(Path(name).read_bytes(), name, None)[0].decode("utf-8", "replace")
    except OSError as error:
        raise ConfigError(f"{name}: expected a readable series file ({error.strerror})") from error
    except TableError as error:
        raise ConfigError(str(error).replace("name its --encoding", "save it as UTF-8")) from error
    lines = text.splitlines(keepends=True)
    above = next((n for n, line in enumerate(lines) if not _NO_HEADER.match(line)), None)
    if above is None:
        raise ConfigError(f"{name}: expected a header such as match,name,unit, but the file holds no row")
    delimiter = max(_DELIMITERS, key=lambda sign: _count_known(lines[above].split(sign)))
    # strict: an open quote would swallow the rows behind it.
    reader = csv.reader(io.StringIO("".join(lines[above:]), newline=""), delimiter=delimiter, strict=True)
    try:
        header = _read_header(name, next(reader), delimiter)
        rows = [
            row
            for number, cells in enumerate(reader, start=above + 2)
            if (row := _split_row(name, number, header, cells, delimiter)) is not None
        ]
    except csv.Error as error:
        raise ConfigError(
            f"{name}: line {above + reader.line_num}: expected cells with closed quotes ({error})"
        ) from error
    return SeriesFile(tuple(rows))


def _count_known(cells: Sequence[str]) -> int:
    names = [cell.strip().strip('"') for cell in cells]
    return sum(name == MATCH or name in COLUMNS for name in names)


def _read_header(path: str, cells: Sequence[str], delimiter: str) -> list[str]:
    """Names of the columns; those without a name are empty."""
    header = [cell.strip() for cell in cells]
    known = (MATCH, *COLUMNS)
    for name in header:
        if name and name not in known:
            raise ConfigError(f"{path}: unknown column {name!r}; {suggest(name, known)}")
        if name and header.count(name) > 1:
            raise ConfigError(
                f"{path}: expected each column once, but {name!r} is there {header.count(name)} times"
            )
    if MATCH not in header:
        raise ConfigError(f"{path}: expected a column {MATCH!r}, found {', '.join(header)}")
    return header


def _split_row(
    path: str, number: int, header: Sequence[str], cells: Sequence[str], delimiter: str
) -> SeriesRow | None:
    """None for a row without content."""
    given = [cell.strip() for cell in cells]
    if not any(given):
        return None
    extra = next((n for n, cell in enumerate(given) if cell and (n >= len(header) or not header[n])), None)
    if extra is not None:
        raise ConfigError(
            f"{path}: row {number}: expected {sum(map(bool, header))} cells as in the header, "
            f"found {shorten(given[extra])!r} in cell {extra + 1}; put cells with {delimiter!r} in quotes"
        )
    texts = {name: cell for name, cell in zip(header, given, strict=False) if cell}
    return _read_row(path, number, texts)


def _read_row(path: str, number: int, texts: Mapping[str, str]) -> SeriesRow:
    """Raises ConfigError that names file, row and column."""
    if not texts.get(MATCH):
        raise ConfigError(
            f"{path}: row {number}: expected a glob in column {MATCH}, found none; * fits all series"
        )
    settings: dict[str, Any] = {}
    for name, text in texts.items():
        if name == MATCH:
            continue
        try:
            settings[COLUMNS[name].field] = COLUMNS[name].read(text)
        except ValueError as error:
            raise ConfigError(
                f"{path}: row {number}, column {name}: expected {error}, found {shorten(text)!r}; "
                "or leave it empty"
            ) from None
    low, high = settings.get("minimum"), settings.get("maximum")
    if low is not None and high is not None and low > high:
        raise ConfigError(
            f"{path}: row {number}, column min: expected at most max, which is {high:g}, found {low:g}"
        )
    return SeriesRow(
        match=texts[MATCH], settings=settings, texts={k: v for k, v in texts.items() if k != MATCH}
    )
