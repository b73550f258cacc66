"""Readings as a bank takes them: checked before any state changes, so that a bad wave leaves none behind.

Letters: N rows as given.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forecasters.slots import Slots
from forecasters.timetable import Timetable

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

LARGEST_VALUE = 1e37
"""Largest value taken: differences of two such still fit float32."""


def check_readings(
    table: Slots,
    timetable: Timetable,
    slots: npt.ArrayLike,
    event_time_ms: npt.ArrayLike,
    values: npt.ArrayLike,
    mask: npt.ArrayLike | None,
) -> tuple[Ints, Ints, Floats, Bools]:
    """The columns `[N]` in their types, as copies, for some of what is done with them is done after the call:
    values are 0 where masked, and those beyond `LARGEST_VALUE` are masked. Raises ValueError as `Bank.step`
    says."""
    rows = table.checked_wave(slots)
    times, taken = np.array(event_time_ms, np.int64), np.array(values, np.float64)
    masked = np.zeros(rows.shape, bool) if mask is None else np.array(mask, bool)
    all_seen = mask is None
    if not (rows.shape == times.shape == taken.shape == masked.shape):
        raise ValueError(
            f"expected slots, times, values and mask of one length, got {rows.shape}, {times.shape}, "
            f"{taken.shape}, {masked.shape}"
        )
    if not rows.size:
        raise ValueError("slots: expected at least one row, got none")
    size = np.abs(taken)
    if not size.max() <= LARGEST_VALUE:  # as for NaN
        usable = size <= LARGEST_VALUE
        bad = ~np.isfinite(taken) & ~masked
        if bad.any():
            at = int(np.argmax(bad))
            raise ValueError(
                f"values[{at}] of series {table.ids[rows[at]]!r}: expected a finite number or a masked "
                f"step, got {taken[at]}"
            )
        masked |= ~usable
        all_seen = False
    last = timetable["last_time_ms"][rows]
    late = times <= last
    if late.any():
        at = int(np.argmax(late))
        raise ValueError(
            f"event_time_ms[{at}] of series {table.ids[rows[at]]!r}: expected a time after "
            f"{last[at]}, got {times[at]}"
        )
    if not all_seen:
        taken[masked] = 0.0
    return rows, times, taken, masked


def check_filled(
    table: Slots, timetable: Timetable, slots: Ints, times: Ints, filled: npt.ArrayLike | None
) -> Ints | None:
    """Steps without a reading before each of these `[N]`, a copy; None where there are none at all. Raises
    ValueError where they find no time."""
    if filled is None:
        return None
    steps = np.array(filled, np.int64)
    if steps.shape != slots.shape or (steps < 0).any():
        raise ValueError(f"filled: expected {slots.size} whole numbers of at least 0, got {steps!r:.100}")
    if not steps.any():
        return None
    last, cadence_ms = timetable["last_time_ms"][slots], timetable["cadence_ms"][slots]
    known = timetable["step"][slots] >= 0
    bad = (steps > 0) & (~known | (np.where(known, last, 0) + steps * cadence_ms >= times))
    if bad.any():
        at = int(np.argmax(bad))
        raise ValueError(
            f"filled[{at}] of series {table.ids[slots[at]]!r}: expected a time for each of {steps[at]} "
            f"steps between its last one and {times[at]}"
        )
    return steps
