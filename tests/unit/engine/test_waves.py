from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.rows import Steps
from pipeline.engine.waves import waves
from pipeline.records import BoolArray, Int64Array


class Planned:
    """Ticks after so many unmasked steps each, or where a round is over after FEWEST."""

    FEWEST = 2

    def __init__(self, to_tick: list[int], times: list[int] | None = None) -> None:
        self._plan, self._times = iter(to_tick), times
        self._asked = self._done = 0
        self._newest = -1

    @property
    def readings_to_tick(self) -> int:
        self._asked, self._done = next(self._plan), 0
        return self._asked

    def find_round_end(self, event_time_ms: Int64Array, masked: BoolArray) -> int | None:
        done, newest = self._done, self._newest
        for row, (time, is_masked) in enumerate(zip(event_time_ms.tolist(), masked.tolist(), strict=True)):
            if self._times and time > newest and done >= self.FEWEST:
                return row
            newest, done = max(newest, time), done + (not is_masked)
        return None

    def end_round(self) -> None:
        assert self._done >= self.FEWEST

    def take(self, wave: Int64Array, steps: Steps) -> list[int]:
        self._newest = max(self._newest, int(steps.event_time_ms[wave].max()))
        self._done += int((~steps.masked[wave]).sum())
        return wave.tolist()


def make_steps(slots: list[int], masked: list[bool] | None = None, times: list[int] | None = None) -> Steps:
    num_steps = len(slots)
    return Steps(
        series=np.array(slots, np.int64),
        slot=np.array(slots, np.int64),
        event_time_ms=np.array(times or [0] * num_steps, np.int64),
        value=np.zeros(num_steps),
        masked=np.array(masked or [False] * num_steps, np.bool_),
        restart=np.zeros(num_steps, np.bool_),
        filled=np.zeros(num_steps, np.int64),
        reading=np.arange(num_steps),
        fault=np.array(masked or [False] * num_steps, np.int8),
        reported=np.zeros(num_steps),
        clock_ms=np.zeros(num_steps, np.int64),
    )


def cut_slowly(
    slots: list[int], masked: list[bool], to_tick: list[int], times: list[int] | None = None
) -> list[list[int]]:
    """Waves by the rules, one step at a time; the tick of piece i comes after to_tick[i] unmasked steps, or
    before a step that is later than all before it."""
    pieces: list[list[int]] = [[]]
    are_full: list[bool] = []
    done, newest = 0, -1
    for row, is_masked in enumerate(masked):
        is_full = done == to_tick[len(are_full)]
        if is_full or (times and times[row] > newest and done >= Planned.FEWEST):
            are_full.append(is_full)
            pieces.append([])
            done = 0
        pieces[-1].append(row)
        newest = max(newest, times[row]) if times else newest
        done += not is_masked
    are_full.append(done == to_tick[len(are_full)])
    found = []
    for is_full, piece in zip(are_full, pieces, strict=True):
        groups: dict[int, list[int]] = {}
        for place, row in enumerate(piece):
            groups.setdefault([slots[other] for other in piece[:place]].count(slots[row]), []).append(row)
        stepped = [groups[rank] for rank in sorted(groups)]
        if not is_full or not any(masked[row] for row in piece):
            stepped = [sorted(rows, key=lambda row: slots[row]) for rows in stepped]
        elif masked[stepped[-1][-1]]:
            next(rows for rows in stepped if rows[-1] == piece[-1]).pop()
            stepped[-1].append(piece[-1])
            stepped = [rows for rows in stepped if rows]
        found += stepped
    return found


@pytest.mark.parametrize("in_rounds", [False, True])
@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3)), max_size=40),
    to_tick=st.lists(st.integers(1, 9), min_size=42, max_size=42),
)
def test_waves_are_those_of_the_reference(
    in_rounds: bool, rows: list[tuple[int, bool, int]], to_tick: list[int]
) -> None:
    slots, masked = [slot for slot, _, _ in rows], [is_masked for _, is_masked, _ in rows]
    late = [0, 0, 0, -1]  # most are of the round, some of the one before
    times = [max(row // 4 + late[at], 0) for row, (_, _, at) in enumerate(rows)] if in_rounds else None
    ticks, steps = Planned(to_tick, times), make_steps(slots, masked, times)
    assert [ticks.take(wave, steps) for wave in waves(steps, ticks)] == cut_slowly(
        slots, masked, to_tick, times
    )


def test_a_masked_step_before_the_end_of_a_tick_is_never_stepped_after_it() -> None:
    """A wave of its own took the second step of series 1 after the tick, unless the log was cut before it."""
    found = [wave.tolist() for wave in waves(make_steps([1, 1, 0], [False, True, False]), Planned([2, 2]))]
    assert found == [[0], [1, 2]]


def test_next_tick_is_asked_for_after_the_waves_before_the_last() -> None:
    events: list[object] = []

    class Asked(Planned):
        @property
        def readings_to_tick(self) -> int:
            events.append("asked")
            return 3

    for wave in waves(make_steps([0, 1, 0, 1]), Asked([])):
        events.append(wave.tolist())
    assert events == ["asked", [0, 1], [2], "asked", [3]]


def test_tick_that_is_not_ahead_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 1 reading until the next tick, but got 0"):
        next(waves(make_steps([0]), Planned([0])))
