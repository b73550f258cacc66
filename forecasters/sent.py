"""What the host tells the device of a wave: columns of an arrival or of other cells, filled up to R rows.

Each follows from its argument alone, so that it can be made again for the next wave, see `programs.Courier`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forecasters import season
from forecasters.rows import Rows
from forecasters.timetable import RATES, Arrival, Place

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of series and where they lie in time; an `Arrival` has the same. empty: as in `Stretch`."""

    rows: Rows
    place: Place
    empty: Ints | None = None


def find_numbers(a: Arrival) -> npt.NDArray[np.float32]:
    """`[2 + len(RATES), R]`: values less origin, steps of the season, and what the reading weighs."""
    block, num = np.zeros((2 + len(RATES), a.rows.padded), np.float32), a.rows.num
    np.subtract(a.values, a.origin, out=block[0, :num], casting="same_kind")
    block[1, :num], block[1, num:], block[2:, :num] = a.place.season_steps, season.BINS, a.rates
    return block


def find_bins(a: Arrival) -> Ints:
    """`[2, R]`: of the two last seasons, and of the profile."""
    bins = np.zeros((2, a.rows.padded), np.int64)
    bins[0, : a.rows.num] = a.place.at
    np.add(a.place.at_profile, 2 * season.BINS, out=bins[1, : a.rows.num])
    return bins


def find_forgotten(a: Arrival) -> Ints:
    """`[2, R]`: slots, and what each forgets; the scratch row where it is nothing."""
    gone = np.zeros((2, a.rows.padded), np.int64)
    rows, bins = a.forgotten
    gone[0] = a.rows.scratch
    gone[0, rows], gone[1, rows] = a.rows.slots[rows], bins
    return gone


def find_calendar(c: Cells) -> npt.NDArray[np.float32]:
    """`[5, R]`, see `season.Calendar.of`."""
    at, num = c.place, c.rows.num
    columns = np.zeros((5, c.rows.padded), np.float32)
    for column, found in zip(columns, (at.phase, at.width, at.bins, at.at_profile, at.at), strict=True):
        column[:num] = found
    columns[1, num:], columns[2, num:] = 1.0, season.BINS
    return columns


def find_empty(c: Cells) -> npt.NDArray[np.float32]:
    assert c.empty is not None
    empty = np.zeros(c.rows.padded, np.float32)
    empty[: c.rows.num] = c.empty
    return empty
