from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.rows import Steps
from pipeline.engine.waves import waves


def make_steps(slots: list[int], masked: list[bool] | None = None) -> Steps:
    num_steps = len(slots)
    return Steps(
        series=np.array(slots, np.int64),
        slot=np.array(slots, np.int64),
        event_time_ms=np.zeros(num_steps, np.int64),
        value=np.zeros(num_steps),
        masked=np.array(masked or [False] * num_steps, np.bool_),
        restart=np.zeros(num_steps, np.bool_),
        filled=np.zeros(num_steps, np.int64),
        reading=np.arange(num_steps),
        fault=np.array(masked or [False] * num_steps, np.int8),
        reported=np.zeros(num_steps),
        clock_ms=np.zeros(num_steps, np.int64),
    )


def cut_slowly(slots: list[int], masked: list[bool], to_tick: list[int]) -> list[list[int]]:
    """Waves by the rules, one step at a time; the tick of piece i comes after to_tick[i] unmasked steps."""
    pieces: list[list[int]] = [[]]
    num_missing = list(to_tick)
    for row, is_masked in enumerate(masked):
        if num_missing[0] == 0:
            num_missing.pop(0)
            pieces.append([])
        pieces[-1].append(row)
        num_missing[0] -= not is_masked
    num_completed = len(pieces) - (num_missing[0] > 0)
    found = []
    for number, piece in enumerate(pieces):
        groups: dict[int, list[int]] = {}
        for place, row in enumerate(piece):
            groups.setdefault([slots[other] for other in piece[:place]].count(slots[row]), []).append(row)
        stepped = [groups[rank] for rank in sorted(groups)]
        if num_completed <= number or not any(masked[row] for row in piece):
            stepped = [sorted(rows, key=lambda row: slots[row]) for rows in stepped]
        elif masked[stepped[-1][-1]]:
            next(rows for rows in stepped if rows[-1] == piece[-1]).pop()
            stepped[-1].append(piece[-1])
            stepped = [rows for rows in stepped if rows]
        found += stepped
    return found


@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=40),
    to_tick=st.lists(st.integers(1, 9), min_size=41, max_size=41),
)
def test_waves_are_those_of_the_reference(rows: list[tuple[int, bool]], to_tick: list[int]) -> None:
    slots, masked = [slot for slot, _ in rows], [is_masked for _, is_masked in rows]
    asked = iter(to_tick)
    found = [wave.tolist() for wave in waves(make_steps(slots, masked), lambda: next(asked))]
    assert found == cut_slowly(slots, masked, to_tick)


def test_a_masked_step_before_the_end_of_a_tick_is_never_stepped_after_it() -> None:
    """A wave of its own took the second step of series 1 after the tick, unless the log was cut before it."""
    found = [wave.tolist() for wave in waves(make_steps([1, 1, 0], [False, True, False]), lambda: 2)]
    assert found == [[0], [1, 2]]


def test_next_tick_is_asked_for_after_the_waves_before_the_last() -> None:
    events: list[object] = []

    def readings_to_tick() -> int:
        events.append("asked")
        return 3

    for wave in waves(make_steps([0, 1, 0, 1]), readings_to_tick):
        events.append(wave.tolist())
    assert events == ["asked", [0, 1], [2], "asked", [3]]


def test_tick_that_is_not_ahead_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 1 reading until the next tick, but got 0"):
        next(waves(make_steps([0]), lambda: 0))
