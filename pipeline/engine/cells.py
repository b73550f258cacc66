"""Cells that are held open for late readings and for those that share them.

Used where a cell's value is not simply that of the reading that arrives first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, fields

import numpy as np
import torch

from pipeline.engine.columns import Columns
from pipeline.engine.grid import find_cells
from pipeline.engine.rows import Rows, build_rows, list_rows
from pipeline.records import GOOD

WITHIN_STEP = ("first", "last", "mean")
_KINDS = {"int": np.int64, "float": np.float64}


@dataclass(slots=True)
class _Cell:
    """The reading that has the cell, and the sum of the good ones."""

    time_ms: int
    value: float
    fault: int
    reading: int
    total: float
    num_good: int


class OpenCells:
    """Gives each cell of a series one reading, once no other can come: when a reading of the same series lies
    beyond the cell's end by the tolerated lateness. A series that falls silent keeps its last cells open.

    A good reading goes before one without a usable value; among those, `first` takes the earliest event time,
    `last` the latest, `mean` the mean of the good ones at the latest. The time that has the cell makes
    another reading of that time a duplicate; all others that share the cell are merged.
    """

    def __init__(self, within_step: str, lateness_ms: int, columns: Columns, counts: Counter[str]) -> None:
        self.within_step, self.lateness_ms = within_step, lateness_ms
        self._columns, self._counts = columns, counts
        self._open: dict[int, dict[int, _Cell]] = {}  # series: cell

    def __len__(self) -> int:
        """Cells that are open."""
        return sum(map(len, self._open.values()))

    def close(self, rows: Rows) -> Rows:
        """Put the rows into their cells; returns a row for each cell that this closes, in log order.

        Within a series the returned rows are in order of time, each in a cell of its own.
        """
        closed: list[tuple[int, int, float, int, int, int]] = []
        cells = find_cells(self._columns, rows.series, rows.event_time_ms).tolist()
        newest_ms, anchors_ms = self._columns["newest_ms"], self._columns["anchor_ms"]
        cadences_ms = self._columns["cadence_ms"]
        for cell, (series, time_ms, value, fault, reading, clock_ms) in zip(
            cells, list_rows(rows), strict=True
        ):
            # Cells below this one are over.
            first_open = self._find_first_open(
                int(newest_ms[series]), int(anchors_ms[series]), int(cadences_ms[series])
            )
            if cell < first_open:
                self._counts["dropped_late"] += 1
                continue
            self._put(self._open.setdefault(series, {}), cell, time_ms, value, fault, reading)
            if time_ms > newest_ms[series]:
                newest_ms[series] = time_ms
                now_open = self._find_first_open(time_ms, int(anchors_ms[series]), int(cadences_ms[series]))
                if now_open > first_open:
                    closed += [(*row, clock_ms) for row in self._take(series, now_open)]
        return build_rows(closed)

    def close_all(self, clock_ms: int) -> Rows:
        """A row for each open cell, at the end of a file."""
        closed = [(*row, clock_ms) for series in sorted(self._open) for row in self._take(series, None)]
        return build_rows(closed)

    def forget(self, series: int) -> None:
        self._open.pop(series, None)

    def _find_first_open(self, newest_ms: int, anchor_ms: int, cadence_ms: int) -> int:
        """The lowest cell whose end lies beyond the newest time less the lateness."""
        return (newest_ms - self.lateness_ms - anchor_ms + cadence_ms // 2) // cadence_ms

    def _put(
        self, cells: dict[int, _Cell], cell: int, time_ms: int, value: float, fault: int, reading: int
    ) -> None:
        is_good = fault == GOOD
        kept = cells.get(cell)
        if kept is None:
            cells[cell] = _Cell(time_ms, value, fault, reading, value if is_good else 0.0, int(is_good))
            return
        if time_ms == kept.time_ms:
            self._counts["dropped_duplicate"] += 1
            return
        self._counts["dropped_merged"] += 1
        if is_good:
            kept.total += value
            kept.num_good += 1
        in_order = time_ms < kept.time_ms if self.within_step == "first" else time_ms > kept.time_ms
        if is_good > (kept.fault == GOOD) or (is_good == (kept.fault == GOOD) and in_order):
            kept.time_ms, kept.value, kept.fault, kept.reading = time_ms, value, fault, reading

    def _take(self, series: int, until: int | None) -> list[tuple[int, int, float, int, int]]:
        """Remove the open cells of a series below `until`, all where it is None."""
        cells = self._open[series]
        over = sorted(cell for cell in cells if until is None or cell < until)
        taken = [cells.pop(cell) for cell in over]
        if not cells:
            del self._open[series]
        is_mean = self.within_step == "mean"
        return [
            (
                series,
                cell.time_ms,
                cell.total / cell.num_good if is_mean and cell.num_good else cell.value,
                cell.fault,
                cell.reading,
            )
            for cell in taken
        ]

    def save(self, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
        rows = [
            (series, at, *astuple(cell))
            for series, cells in sorted(self._open.items())
            for at, cell in sorted(cells.items())
        ]
        names = {"series": "int", "cell": "int", **{f.name: str(f.type) for f in fields(_Cell)}}
        columns = list(zip(*rows, strict=True)) or [()] * len(names)
        for (name, kind), column in zip(names.items(), columns, strict=True):
            yield f"{prefix}.{name}", torch.from_numpy(np.array(column, _KINDS[kind]))

    def load(self, prefix: str, state: Mapping[str, torch.Tensor]) -> None:
        names = ("series", "cell", *(f.name for f in fields(_Cell)))
        self._open = {}
        columns = [state[f"{prefix}.{name}"].tolist() for name in names]
        for series, at, *rest in zip(*columns, strict=True):
            self._open.setdefault(series, {})[at] = _Cell(*rest)
