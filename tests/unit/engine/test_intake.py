from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.intake import Intake, IntakeOptions
from pipeline.engine.rows import FATE_OF_FAULT, FATES, GAP, OFF, OUT_OF_RANGE, Steps
from pipeline.engine.settings import SeriesSettings
from pipeline.records import GOOD, MISSING, Int64Array, Readings

Log = list[tuple[str, int, float]]
Row = tuple[int, int, float, bool, bool, int, int]  # slot, time, value, masked, restart, filled, reading
NAN = float("nan")
DECLARED = {
    "a": SeriesSettings(off_when=("<", -5.0), minimum=-7.0, maximum=7.0),
    "b": SeriesSettings(by_exception=True, silent_after_ms=60),
    "c": SeriesSettings(cadence_ms=5),
}


def declare(name: str) -> SeriesSettings:
    return DECLARED.get(name, SeriesSettings())


def ignore(name: str) -> SeriesSettings:
    return SeriesSettings()


@dataclass
class FakeRegister:
    """Counts slots up and records what was added."""

    ids: list[str] = field(default_factory=list)
    cadence_ms: list[int] = field(default_factory=list)

    def add(
        self, ids: Sequence[str], *, cadence_ms: int | Sequence[int], season_ms: int | Sequence[int]
    ) -> Int64Array:
        assert not isinstance(cadence_ms, int)
        self.ids += ids
        self.cadence_ms += cadence_ms
        return np.arange(len(self.ids) - len(ids), len(self.ids))


class Reference:
    """The rules, one reading at a time."""

    def __init__(self, options: IntakeOptions, settings: Any = ignore) -> None:
        self.options = options
        self.settings = settings
        self.open: dict[str, dict[int, list[tuple[int, float, int, int]]]] = {}
        self.newest: dict[str, int] = {}
        self.counts = dict.fromkeys(FATES, 0)
        self.rows: list[Row] = []
        self.held: dict[str, list[tuple[int, float, int]]] = {}
        self.live: dict[str, dict[str, int]] = {}

    def put(self, name: str, time_ms: int, value: float, number: int) -> None:
        if name in self.live:
            self.place(name, time_ms, value, number)
            return
        if name not in self.held:
            if len(self.held) + len(self.live) >= self.options.max_series:
                self.counts["rejected_too_many_series"] += 1
                return
            self.held[name] = []
        held = self.held[name]
        if any(time_ms == other for other, _, _ in held):
            self.counts["dropped_duplicate"] += 1
            return
        held.append((time_ms, value, number))
        if self.find_cadence(name) is not None or len(held) == self.options.cadence_readings:
            self.release(name)

    def find_cadence(self, name: str) -> int | None:
        return self.settings(name).cadence_ms or self.options.cadence_ms

    def release(self, name: str) -> None:
        held = sorted(self.held.pop(name))
        gaps = [after[0] - before[0] for before, after in itertools.pairwise(held)]
        cadence_ms = self.find_cadence(name) or max(1, round(float(np.median(gaps))))
        max_gap = self.options.max_gap
        if self.settings(name).by_exception:
            limits = (self.settings(name).silent_after_ms // cadence_ms, 86_400_000 // cadence_ms, 1440)
            max_gap = max(max_gap, min(limits))
        self.live[name] = {
            "slot": len(self.live),
            "cadence": cadence_ms,
            "anchor": held[0][0],
            "gap": max_gap,
        }
        for reading in held:
            self.place(name, *reading)

    def find_fault(self, name: str, value: float) -> int:
        declared = self.settings(name)
        if not np.isfinite(value):
            return MISSING
        if declared.off_when is not None and value < declared.off_when[1]:
            return OFF
        low, high = declared.minimum, declared.maximum
        outside = (low is not None and value < low) or (high is not None and value > high)
        return OUT_OF_RANGE if outside else GOOD

    def place(self, name: str, time_ms: int, value: float, number: int) -> None:
        state = self.live[name]
        cell = (time_ms - state["anchor"] + state["cadence"] // 2) // state["cadence"]
        reading = (time_ms, value, self.find_fault(name, value), number)
        if self.options.within_step == "first" and not self.options.lateness_ms:
            self.put_at_once(state, cell, *reading)
        else:
            self.put_into_cell(name, cell, reading)

    def put_at_once(
        self, state: dict[str, int], cell: int, time_ms: int, value: float, fault: int, number: int
    ) -> None:
        last = state.get("cell", cell - 1)
        if cell < last:
            self.counts["dropped_late"] += 1
        elif cell == last:
            self.counts["dropped_duplicate" if time_ms == state["time"] else "dropped_merged"] += 1
        else:
            self.step_to(state, cell, value, fault, number)
            state["time"] = time_ms

    def put_into_cell(self, name: str, cell: int, reading: tuple[int, float, int, int]) -> None:
        cells = self.open.setdefault(name, {})
        if name in self.newest and self.is_over(name, cell):
            self.counts["dropped_late"] += 1
            return
        if cell in cells:
            same = reading[0] == self.choose(cells[cell])[0]
            self.counts["dropped_duplicate" if same else "dropped_merged"] += 1
            if not same:
                cells[cell].append(reading)
        else:
            cells[cell] = [reading]
        self.newest[name] = max(reading[0], self.newest.get(name, reading[0]))
        for over in sorted(cell for cell in cells if self.is_over(name, cell)):
            self.close(name, over)

    def is_over(self, name: str, cell: int) -> bool:
        state = self.live[name]
        end = state["anchor"] + cell * state["cadence"] - state["cadence"] // 2 + state["cadence"]
        return self.newest[name] >= end + self.options.lateness_ms

    def choose(self, readings: list[tuple[int, float, int, int]]) -> tuple[int, float, int, int]:
        readings = [reading for reading in readings if reading[2] == GOOD] or readings
        best = min if self.options.within_step == "first" else max
        return best(readings, key=lambda reading: reading[0])

    def close(self, name: str, cell: int) -> None:
        readings = self.open[name].pop(cell)
        _, value, fault, number = self.choose(readings)
        if self.options.within_step == "mean" and fault == GOOD:
            total, good = 0.0, [reading[1] for reading in readings if reading[2] == GOOD]
            for term in good:
                total += term
            value = total / len(good)
        self.step_to(self.live[name], cell, value, fault, number)

    def step_to(self, state: dict[str, int], cell: int, value: float, fault: int, number: int) -> None:
        missing = cell - state.get("cell", cell - 1) - 1
        restart = missing > state["gap"]
        filled = 0 if restart else missing
        masked = fault != GOOD
        time_ms = state["anchor"] + cell * state["cadence"]
        self.rows.append((state["slot"], time_ms, 0.0 if masked else value, masked, restart, filled, number))
        self.counts[GAP] += filled
        self.counts[FATE_OF_FAULT[fault]] += 1
        state["cell"] = cell

    def finish(self) -> None:
        for name in [name for name, held in self.held.items() if len(held) >= 2]:
            self.release(name)
        for name, cells in self.open.items():
            for cell in sorted(cells):
                self.close(name, cell)


def make_readings(log: Log, series: tuple[str, ...] | None = None) -> Readings:
    names = series or tuple(dict.fromkeys(name for name, _, _ in log))
    return Readings(
        series=names,
        series_index=np.array([names.index(name) for name, _, _ in log], np.int32),
        event_time_ms=np.array([time_ms for _, time_ms, _ in log], np.int64),
        value=np.array([value for _, _, value in log], np.float64),
    )


def list_rows(steps: Steps) -> list[Row]:
    names = ("slot", "event_time_ms", "value", "masked", "restart", "filled", "reading")
    return list(zip(*(getattr(steps, name).tolist() for name in names), strict=True))


def run(log: Log, **options: Any) -> tuple[list[Row], dict[str, int]]:
    intake = Intake(IntakeOptions(**options), FakeRegister())
    rows = list_rows(intake.place(make_readings(log)).steps)
    rows += list_rows(intake.flush())
    return rows, {fate: count for fate, count in intake.counts.items() if count}


values = st.one_of(st.integers(-9, 9).map(lambda tenth: tenth * 0.9), st.just(NAN), st.just(float("inf")))
logs = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-5, 120), values), min_size=10, max_size=60)
# Rising times with jumps: gaps, restarts and few late ones.
walks = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([-7, 0, 1, 2, 9, 10, 10, 10, 11, 35, 90]), values),
    min_size=10,
    max_size=80,
).map(
    lambda moves: [
        (name, sum(move for other, move, _ in moves[: i + 1] if other == name), value)
        for i, (name, _, value) in enumerate(moves)
    ]
)
options = st.builds(
    IntakeOptions,
    cadence_ms=st.sampled_from([None, 1, 3, 10]),
    max_gap=st.integers(0, 4),
    cadence_readings=st.integers(2, 5),
    max_series=st.sampled_from([1, 3, 4, 4]),
    within_step=st.sampled_from(["first", "first", "last", "mean"]),
    lateness_ms=st.sampled_from([0, 0, 4, 25]),
)


@settings(max_examples=600, deadline=None)
@given(
    log=st.one_of(logs, walks, walks),
    options=options,
    cuts=st.lists(st.integers(0, 80), max_size=6),
    shared=st.booleans(),
    reload_state=st.booleans(),
    settings=st.sampled_from([ignore, declare]),
)
def test_any_cut_of_a_log_gives_the_steps_of_the_reference(
    log: Log, options: IntakeOptions, cuts: list[int], shared: bool, reload_state: bool, settings: Any
) -> None:
    reference = Reference(options, settings)
    for number, reading in enumerate(log):
        reference.put(*reading, number)

    register = FakeRegister()
    intake = Intake(options, register, settings)
    bounds = sorted({0, len(log), *(cut for cut in cuts if cut < len(log))})
    names = tuple("dcba") if shared else None
    rows = []
    for start, end in itertools.pairwise(bounds):
        rows += list_rows(intake.place(make_readings(log[start:end], names)).steps)
        if reload_state:
            state = dict(intake.save())
            intake = Intake(options, register, settings)
            intake.load(state)
            assert [*map(repr, intake.save())] == [*map(repr, state.items())]
    num_open = sum(len(cells) for cells in reference.open.values())
    assert intake.num_held == sum(map(len, reference.held.values())) + num_open
    assert rows == reference.rows

    reference.finish()
    last = list_rows(intake.flush())
    assert sorted(rows + last) == sorted(reference.rows)
    assert intake.counts == reference.counts
    assert register.ids == list(reference.live)
    assert register.cadence_ms == [state["cadence"] for state in reference.live.values()]
    assert intake.num_held == sum(map(len, reference.held.values()))
    decided = sum(intake.counts.values()) - intake.counts["masked_gap"]
    assert decided + intake.num_held == intake.num_readings == len(log)


def test_gap_up_to_max_gap_is_filled_and_a_longer_one_restarts() -> None:
    log = [("a", 0, 1.0), ("a", 30, 2.0), ("a", 70, 3.0)]
    rows, counts = run(log, cadence_ms=10, max_gap=2)
    assert rows == [
        (0, 0, 1.0, False, False, 0, 0),
        (0, 30, 2.0, False, False, 2, 1),
        (0, 70, 3.0, False, True, 0, 2),
    ]
    assert counts == {"accepted": 3, "masked_gap": 2}


def test_first_reading_of_a_cell_wins() -> None:
    log = [("a", 0, 1.0), ("a", 11, 2.0), ("a", 11, 3.0), ("a", 9, 4.0), ("a", 0, 5.0)]
    rows, counts = run(log, cadence_ms=10)
    assert rows == [(0, 0, 1.0, False, False, 0, 0), (0, 10, 2.0, False, False, 0, 1)]
    assert counts == {"accepted": 2, "dropped_duplicate": 1, "dropped_merged": 1, "dropped_late": 1}


def test_values_that_are_not_finite_are_masked_steps() -> None:
    rows, counts = run([("a", 0, NAN), ("a", 10, -float("inf"))], cadence_ms=10)
    assert rows == [(0, 0, 0.0, True, False, 0, 0), (0, 10, 0.0, True, False, 0, 1)]
    assert counts == {"masked_missing": 2}


def test_readings_are_held_until_their_cadence_is_known() -> None:
    intake = Intake(IntakeOptions(cadence_readings=3), register := FakeRegister())
    assert len(intake.place(make_readings([("a", 20, 2.0), ("a", 0, 1.0), ("a", 20, 9.0)])).steps) == 0
    assert intake.num_held == 2
    assert register.ids == []
    steps = intake.place(make_readings([("b", 5, 0.0), ("a", 41, 3.0), ("a", 61, 4.0)])).steps
    # The median of 20 and 21 is rounded to even.
    assert register.cadence_ms == [20]
    assert list_rows(steps) == [
        (0, 0, 1.0, False, False, 0, 1),
        (0, 20, 2.0, False, False, 0, 0),
        (0, 40, 3.0, False, False, 0, 4),
        (0, 60, 4.0, False, False, 0, 5),
    ]
    assert len(intake.flush()) == 0
    assert intake.num_held == 1  # one time of b gives no cadence


def test_series_beyond_max_series_are_rejected_and_evict_none() -> None:
    log = [("a", 0, 1.0), ("b", 0, 1.0), ("c", 0, 1.0), ("c", 10, 1.0), ("a", 10, 2.0)]
    rows, counts = run(log, cadence_ms=10, max_series=2)
    assert [row[0] for row in rows] == [0, 1, 0]
    assert counts == {"accepted": 3, "rejected_too_many_series": 2}


def test_series_get_their_slots_in_log_order_whether_declared_or_inferred() -> None:
    log = [("x", 0, 1.0), ("x", 10, 1.0), ("c", 10, 1.0), ("y", 10, 1.0), ("y", 20, 1.0)]
    for size in (1, 5):
        register = FakeRegister()
        intake = Intake(IntakeOptions(cadence_readings=2), register, declare)
        for start in range(0, len(log), size):
            intake.place(make_readings(log[start : start + size]))
        assert register.ids == ["x", "c", "y"]
        assert register.cadence_ms == [10, 5, 10]


def test_times_centuries_apart_at_a_cadence_of_a_millisecond() -> None:
    far = 2**61
    log = [("a", 0, 1.0), ("b", 0, 1.0), ("a", far, 2.0), ("b", far, 2.0), ("a", 1, 3.0), ("b", 1, 3.0)]
    rows, counts = run(log, cadence_ms=1)
    assert [row[1] for row in rows] == [0, 0, far, far]
    assert counts == {"accepted": 4, "dropped_late": 2}


@pytest.mark.parametrize(
    ("name", "value", "lowest"),
    [
        ("cadence_ms", 0, 1),
        ("season_ms", None, 1),
        ("max_gap", -1, 0),
        ("cadence_readings", 1, 2),
        ("max_series", 2.5, 1),
        ("max_series", True, 1),
    ],
)
def test_options_out_of_range(name: str, value: Any, lowest: int) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        IntakeOptions(**{name: value})
    assert str(caught.value) == (
        f"expected {name} to be a whole number of at least {lowest}, but got {value!r}"
    )


def test_readings_whose_columns_do_not_fit() -> None:
    zero = np.zeros(1, np.int32)
    with pytest.raises(ValueError, match=r"of one length, but their shapes are \(1,\), \(2,\) and \(1,\)"):
        Readings(series=("a",), series_index=zero, event_time_ms=np.zeros(2, np.int64), value=np.zeros(1))
    with pytest.raises(ValueError, match=r"in 0\.\.0 for 1 series, but it reaches from 1 to 1"):
        Readings(series=("a",), series_index=zero + 1, event_time_ms=np.zeros(1, np.int64), value=np.zeros(1))
