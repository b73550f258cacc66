"""Lays readings on the grids of their series: a step for each cell that has one, and how many were missing.

Columns are [N] readings or steps in log order. A cell reaches from half a cadence before its time to half a
cadence after it.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from pipeline.engine.columns import Columns
from pipeline.engine.rows import FATE_OF_FAULT, GAP, Rows, Steps
from pipeline.engine.series import NO_ANCHOR, NO_CELL
from pipeline.records import GOOD, Int64Array

MAX_HELD_STEPS = 1440
"""Most steps over which a by-exception series holds its value: a day of minutes. They are taken all at once
when its next reading comes, and the shard does nothing else meanwhile."""
_MAX_KEY = 2**62


def find_fill_limit(columns: Columns, place: int, max_gap: int) -> int:
    """How many missing steps are filled before a gap restarts the series.

    By exception: as many as fit into silent_after and into a season, at most MAX_HELD_STEPS and at least
    max_gap; beyond that nobody knows whether the value still holds.
    """
    if not columns["by_exception"][place]:
        return max_gap
    cadence_ms = int(columns["cadence_ms"][place])
    limits = [int(columns[name][place]) for name in ("silent_after_ms", "season_ms")]
    steps = [limit // cadence_ms for limit in limits if limit]
    return max(max_gap, min([MAX_HELD_STEPS, *steps]))


def anchor(columns: Columns, rows: Rows) -> None:
    """Anchor the grids of series that have none at the first of their rows."""
    fresh = np.flatnonzero(columns["anchor_ms"][rows.series] == NO_ANCHOR)
    series, first = np.unique(rows.series[fresh], return_index=True)
    columns["anchor_ms"][series] = rows.event_time_ms[fresh[first]]


def find_cells(columns: Columns, series: Int64Array, time_ms: Int64Array) -> Int64Array:
    """The cell of each time; the anchor is the time of cell 0."""
    cadence_ms = columns["cadence_ms"][series]
    cells: Int64Array = (time_ms - columns["anchor_ms"][series] + cadence_ms // 2) // cadence_ms
    return cells


def place(columns: Columns, rows: Rows, counts: Counter[str]) -> Steps:
    """Find the cell of each row, which rows win theirs, and fill the gaps before them.

    The first row of a cell wins. All rows need a series with a cadence, an anchor and a slot.
    """
    order = np.argsort(rows.series, kind="stable")
    series, time_ms = rows.series[order], rows.event_time_ms[order]
    row = np.arange(series.size)
    is_first = np.ones(series.size, np.bool_)
    is_first[1:] = series[1:] != series[:-1]
    start = np.maximum.accumulate(np.where(is_first, row, 0))
    cell = find_cells(columns, series, time_ms)

    last_cell = columns["last_cell"][series]
    highest = _accumulate_maximum(np.maximum(cell, last_cell), np.cumsum(is_first) - 1)
    before = np.where(is_first, last_cell, np.roll(highest, 1))
    wins = cell > before
    # The reading that has the highest cell so far: a row of this batch, or the last of those before.
    holder = np.maximum.accumulate(np.where(wins, row, -1))
    holder_time_ms = np.where(holder >= start, time_ms[holder], columns["last_time_ms"][series])
    shares = cell == before
    repeats = shares & (time_ms == holder_time_ms)
    counts["dropped_duplicate"] += int(repeats.sum())
    counts["dropped_merged"] += int((shares & ~repeats).sum())
    counts["dropped_late"] += int((cell < before).sum())
    ends = np.append(np.flatnonzero(is_first)[1:], series.size)[: is_first.sum()] - 1
    columns["last_cell"][series[ends]] = highest[ends]
    columns["last_time_ms"][series[ends]] = holder_time_ms[ends]

    won = np.flatnonzero(wins)
    won = won[np.argsort(order[won])]  # back in log order
    num_missing = np.where(before == NO_CELL, 0, cell - before - 1)[won]
    return _make_steps(columns, rows.take(order[won]), cell[won], num_missing, counts)


def _make_steps(
    columns: Columns, rows: Rows, cell: Int64Array, num_missing: Int64Array, counts: Counter[str]
) -> Steps:
    """A step for each row, which says how many missing cells before it are filled."""
    restart = num_missing > columns["max_gap"][rows.series]
    filled = np.where(restart, 0, num_missing)
    for code, number in enumerate(np.bincount(rows.fault, minlength=len(FATE_OF_FAULT)).tolist()):
        counts[FATE_OF_FAULT[code]] += number
    counts[GAP] += int(filled.sum())
    masked = rows.fault != GOOD
    return Steps(
        series=rows.series,
        slot=columns["slot"][rows.series],
        event_time_ms=columns["anchor_ms"][rows.series] + cell * columns["cadence_ms"][rows.series],
        value=np.where(masked, 0.0, rows.value),
        masked=masked,
        restart=restart,
        filled=filled,
        reading=rows.reading,
        fault=rows.fault,
        reported=rows.value,
        clock_ms=rows.clock_ms,
    )


def _accumulate_maximum(cell: Int64Array, group: Int64Array) -> Int64Array:
    """The running maximum within each group; groups are numbered from 0, ascending."""
    if not cell.size:
        return cell
    low = int(cell.min())
    span = int(cell.max()) - low + 1
    if span * (int(group[-1]) + 1) < _MAX_KEY:
        offset = group * span - low
        return np.maximum.accumulate(cell + offset) - offset
    # Times too far apart for one key: ranks take the place of cells.
    levels, rank = np.unique(cell, return_inverse=True)
    offset = group * levels.size
    return levels[np.maximum.accumulate(rank + offset) - offset]
