from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.engine import Engine
from pipeline.engine.intake import Intake, IntakeOptions
from pipeline.records import BoolArray, Float64Array, Int64Array, Readings


class FakeBank:
    """Records calls; ticks after two readings, or where a round is over after one."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[int]]] = []
        self.by_slot: dict[int, list[object]] = {}
        self.between_ticks: list[set[tuple[int, int]]] = [set()]
        self.num_series = 0
        self.readings_to_tick = 1
        self.newest_ms = -1

    def find_round_end(self, event_time_ms: Int64Array, masked: BoolArray) -> int | None:
        newest_ms, done = self.newest_ms, 2 - self.readings_to_tick
        for row, (time_ms, is_masked) in enumerate(zip(event_time_ms.tolist(), masked.tolist(), strict=True)):
            if time_ms > newest_ms and done and self.has_ticked:
                return row
            newest_ms, done = max(newest_ms, time_ms), done + (not is_masked)
        return None

    def end_round(self) -> None:
        self.between_ticks.append(set())
        self.readings_to_tick = 2

    @property
    def has_ticked(self) -> bool:
        return len(self.between_ticks) > 1

    def add(
        self, ids: Sequence[str], *, cadence_ms: int | Sequence[int], season_ms: int | Sequence[int]
    ) -> Int64Array:
        self.num_series += len(ids)
        return np.arange(self.num_series - len(ids), self.num_series)

    def hear_clock(self, clock_ms: int) -> None:
        return

    def restart(self, slots: Int64Array) -> None:
        self.calls.append(("restart", slots.tolist()))
        for slot in slots.tolist():
            self.by_slot[slot].append("restart")

    def step(
        self,
        slots: Int64Array,
        event_time_ms: Int64Array,
        values: Float64Array,
        mask: BoolArray | None = None,
        filled: Int64Array | None = None,
    ) -> int:
        assert mask is not None
        assert filled is not None
        assert len(set(slots.tolist())) == slots.size
        self.calls.append(("step", slots.tolist()))
        rows = (event_time_ms.tolist(), values.tolist(), mask.tolist(), filled.tolist())
        for slot, *row in zip(slots.tolist(), *rows, strict=True):
            self.by_slot.setdefault(slot, []).append(row)
            self.newest_ms = max(self.newest_ms, row[0])
            if not row[2]:
                self.between_ticks[-1].add((slot, row[0]))
                self.readings_to_tick -= 1
                if self.readings_to_tick == 0:
                    self.between_ticks.append(set())
                    self.readings_to_tick = 2
        return len(self.calls)


def make_engine() -> tuple[Engine[int], FakeBank]:
    bank = FakeBank()
    return Engine(bank, Intake(IntakeOptions(cadence_ms=10, max_gap=1), bank)), bank


def make_readings(log: list[tuple[int, int]]) -> Readings:
    index, time_ms = np.array(log, np.int64).reshape(-1, 2).T
    return Readings(
        series=("a", "b", "c"),
        series_index=index.astype(np.int32),
        event_time_ms=time_ms,
        value=np.arange(index.size) * 0.0 + time_ms,
    )


def test_restart_comes_before_the_wave_of_its_step() -> None:
    engine, bank = make_engine()
    log = [(0, 0), (0, 10), (1, 10), (0, 90), (1, 20)]
    found = list(engine.process(make_readings(log)))
    assert bank.calls == [("step", [0]), ("step", [0, 1]), ("restart", [0]), ("step", [0, 1])]
    assert [wave.reading.tolist() for wave in found] == [[0], [1, 2], [3, 4]]
    assert [wave.result for wave in found] == [1, 2, 4]


def test_finish_steps_through_what_was_held_back() -> None:
    bank = FakeBank()
    engine = Engine(bank, Intake(IntakeOptions(), bank))
    assert list(engine.process(make_readings([(0, 0), (0, 10)]))) == []
    found = list(engine.finish())
    assert [wave.event_time_ms.tolist() for wave in found] == [[0], [10]]
    assert [wave.value.tolist() for wave in found] == [[0.0], [10.0]]


@settings(deadline=None)
@given(
    log=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12).map(lambda cell: cell * 10)), max_size=40),
    size=st.integers(1, 40),
)
def test_any_cut_gives_each_series_the_same_steps_and_each_tick_the_same_readings(
    log: list[tuple[int, int]], size: int
) -> None:
    whole, expected = make_engine()
    list(whole.process(make_readings(log)))
    parts, bank = make_engine()
    for start in range(0, len(log), size):
        list(parts.process(make_readings(log[start : start + size])))
    assert bank.by_slot == expected.by_slot
    assert bank.between_ticks == expected.between_ticks
    assert bank.readings_to_tick == expected.readings_to_tick
