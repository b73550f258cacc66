from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pipeline.engine import grid
from pipeline.engine.cells import OpenCells
from pipeline.engine.rows import build_rows, list_rows
from pipeline.engine.series import SeriesTable
from pipeline.engine.settings import SeriesSettings
from pipeline.records import GOOD, MISSING

Given = tuple[int, float, int]  # time, value, fault


class Stage:
    """One series with a cadence of 10 ms, whose cells end at 5, 15, 25 …"""

    def __init__(self, within_step: str, lateness_ms: int) -> None:
        self.table = SeriesTable()
        self.table.add("p", SeriesSettings())
        self.table.columns["cadence_ms"][0] = 10
        self.counts: Counter[str] = Counter()
        self.cells = OpenCells(within_step, lateness_ms, self.table.columns, self.counts)

    def put(self, *given: tuple[int, float] | Given) -> list[tuple[int, float, int]]:
        """Time, value and fault of the cells that these readings close."""
        rows = build_rows(
            [(0, g[0], g[1], g[2] if len(g) > 2 else GOOD, at, 0) for at, g in enumerate(given)]
        )
        grid.anchor(self.table.columns, rows)
        return [row[1:4] for row in list_rows(self.cells.close(rows))]


@pytest.mark.parametrize(
    ("within_step", "closed"), [("first", (1, 2.0)), ("last", (4, 6.0)), ("mean", (4, 4.0))]
)
def test_the_value_of_a_cell_does_not_depend_on_the_order_of_arrival(
    within_step: str, closed: tuple[int, float]
) -> None:
    readings = [(1, 2.0), (2, 4.0), (4, 6.0)]
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        stage = Stage(within_step, 20)
        stage.put((0, 9.0, MISSING))
        assert stage.put(*(readings[at] for at in order)) == []
        assert stage.put((25, 0.0)) == [(*closed, GOOD)]
        assert stage.counts == {"dropped_merged": 3}


def test_a_cell_stays_open_until_a_reading_lies_beyond_its_end_by_the_lateness() -> None:
    stage = Stage("last", 7)
    assert stage.put((0, 1.0), (11, 2.0)) == []
    assert stage.put((4, 3.0)) == []
    assert stage.put((12, 4.0)) == [(4, 3.0, GOOD)]
    assert stage.put((3, 5.0), (-8, 6.0)) == []
    assert stage.counts["dropped_late"] == 2
    assert len(stage.cells) == 1


def test_cells_before_the_first_reading_are_taken_within_the_lateness() -> None:
    stage = Stage("first", 30)
    assert stage.put((0, 1.0), (-10, 2.0), (-20, 3.0), (-40, 4.0)) == []
    assert stage.put((50, 5.0)) == [(-20, 3.0, GOOD), (-10, 2.0, GOOD), (0, 1.0, GOOD)]
    assert stage.counts == {"dropped_late": 1}


def test_the_time_that_has_the_cell_makes_a_duplicate() -> None:
    stage = Stage("last", 0)
    stage.put((0, 1.0), (2, 2.0), (2, 3.0))
    assert stage.put((10, 4.0)) == [(2, 2.0, GOOD)]
    assert stage.counts == {"dropped_merged": 1, "dropped_duplicate": 1}


def test_a_cell_without_a_good_reading_is_masked() -> None:
    stage = Stage("mean", 0)
    assert stage.put((0, np.nan, MISSING), (1, 8.0, MISSING), (10, 1.0)) == [(1, 8.0, MISSING)]


def test_open_cells_survive_saving() -> None:
    one, other = Stage("mean", 0), Stage("mean", 0)
    one.put((0, 1.0), (3, 4.0))
    other.table.columns.load("table", dict(one.table.columns.save("table")))
    other.cells.load("cells", dict(one.cells.save("cells")))
    assert other.put((9, 0.0)) == one.put((9, 0.0)) == [(3, 2.5, GOOD)]
