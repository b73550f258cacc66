"""Files of history as one stream of readings in time order, with the marks that a backtest sets in them."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.sources.tables import Table, TableError, TableOptions, read_table

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Readings of all files, sorted by time (stable: within one time by file, then as in the file)."""

    files: tuple[str, ...]
    series: tuple[str, ...]
    series_index: npt.NDArray[np.int32]  # [N]
    event_time_ms: Int64Array  # [N]
    value: Float64Array  # [N]
    warmup_until_ms: Int64Array  # [S] warm-up readings lie before it
    scored_origin_ms: Int64Array  # [S] origins from here on are scored
    scored_from_ms: int  # time of the first row that is a scored target, the earliest of all files
    counts: Mapping[str, int]  # of the reader, over all files
    assumed: tuple[str, ...]

    def cut(self, num_times: int) -> Iterator[slice]:
        """Slices of the readings that hold ``num_times`` different times each."""
        first = np.flatnonzero(np.diff(self.event_time_ms, prepend=self.event_time_ms[:1] - 1))
        bounds = [*first[::num_times].tolist(), len(self.event_time_ms)]
        for start, stop in itertools.pairwise(bounds):
            yield slice(start, stop)

    def find_scales(self) -> Float64Array:
        """``[S]`` population standard deviation of the warm-up part, as the literature standardises.

        1 for a series that was constant there, NaN for one without a value there.
        """
        early = np.isfinite(self.value) & (self.event_time_ms < self.warmup_until_ms[self.series_index])
        index, value, size = self.series_index[early], self.value[early], len(self.series)
        count = np.bincount(index, minlength=size).astype(np.float64)
        count[count == 0] = np.nan
        mean = np.bincount(index, value, size) / count
        scale = np.sqrt(np.bincount(index, (value - mean[index]) ** 2, size) / count)
        scale[scale <= 1e-12 * np.abs(mean)] = 1.0
        return scale


def read_history(
    files: Sequence[str], options: TableOptions, *, rows: int | None, warmup: float, score_from: float
) -> History:
    """Read the files and merge them by time; ``warmup`` and ``score_from`` are shares of each file's rows.

    A series id found in several files gets the file's stem in front. Raises TableError.
    """
    paths = [str(Path(name).resolve()) for name in files]
    if repeated := [name for name, count in Counter(paths).items() if count > 1]:
        raise TableError(f"{repeated[0]}: expected each file once, but it is given several times")
    tables = [read_table(name, options, rows=rows) for name in files]
    names = _name_series(tables)
    starts = np.cumsum([0, *(len(table.series) for table in tables)])
    index = np.concatenate([t.series_index + at for t, at in zip(tables, starts, strict=False)])
    times = np.concatenate([table.event_time_ms for table in tables])
    values = np.concatenate([table.value for table in tables])
    if len(tables) > 1:
        order = np.argsort(times, kind="stable")
        index, times, values = index[order], times[order], values[order]
    widths = [len(table.series) for table in tables]
    marks = [(_find_time(t, warmup), _find_time(t, score_from)) for t in tables]
    origins = [_find_origin(t, mark) for t, (_, mark) in zip(tables, marks, strict=True)]
    return History(
        files=tuple(files),
        series=names,
        series_index=index.astype(np.int32),
        event_time_ms=times,
        value=values,
        warmup_until_ms=np.repeat(np.array([until for until, _ in marks], np.int64), widths),
        scored_origin_ms=np.repeat(np.array(origins, np.int64), widths),
        scored_from_ms=min(mark for _, mark in marks),
        counts=dict(sum((Counter(table.counts) for table in tables), Counter())),
        assumed=tuple(f"{Path(t.path).name}: {note}" for t in tables for note in t.assumed),
    )


def _find_time(table: Table, share: float) -> int:
    """Time of the row that stands at this share of the rows."""
    width = len(table.event_time_ms) // table.num_rows
    row = min(int(share * table.num_rows + 1e-9), table.num_rows - 1)  # 0.29 · 100 is 28.999…
    return int(table.event_time_ms[row * width])


def _find_origin(table: Table, mark_ms: int) -> int:
    """The last time before the mark: an origin there has its first target at the mark."""
    before = int(np.searchsorted(table.event_time_ms, mark_ms))
    return int(table.event_time_ms[before - 1]) if before else mark_ms


def _name_series(tables: Sequence[Table]) -> tuple[str, ...]:
    seen = Counter(name for table in tables for name in table.series)
    for prefix in (lambda table: Path(table.path).stem, lambda table: table.path):
        names = [
            f"{prefix(table)}/{name}" if seen[name] > 1 else name for table in tables for name in table.series
        ]
        if len(set(names)) == len(names):
            break
    return tuple(names)
