from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.intake import FATES, Intake, IntakeOptions, Steps
from pipeline.records import Int64Array, Readings

Log = list[tuple[str, int, float]]
Row = tuple[int, int, float, bool, bool, int]  # the columns of Steps
NAN = float("nan")


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

    def __init__(self, options: IntakeOptions) -> None:
        self.options = options
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
        if self.options.cadence_ms is not None or len(held) == self.options.cadence_readings:
            self.release(name)

    def release(self, name: str) -> None:
        held = sorted(self.held.pop(name))
        gaps = [after[0] - before[0] for before, after in itertools.pairwise(held)]
        cadence_ms = self.options.cadence_ms or max(1, round(float(np.median(gaps))))
        self.live[name] = {"slot": len(self.live), "cadence": cadence_ms, "anchor": held[0][0], "cell": -1}
        for reading in held:
            self.place(name, *reading)

    def place(self, name: str, time_ms: int, value: float, number: int) -> None:
        state = self.live[name]
        cell = (time_ms - state["anchor"] + state["cadence"] // 2) // state["cadence"]
        if cell < state["cell"]:
            self.counts["dropped_late"] += 1
        elif cell == state["cell"]:
            self.counts["dropped_duplicate" if time_ms == state["time"] else "merged"] += 1
        else:
            missing = cell - state["cell"] - 1
            if missing <= self.options.max_gap:
                for between in range(state["cell"] + 1, cell):
                    self.emit(state, between, NAN, False, -1, "masked_gap")
            fate = "accepted" if np.isfinite(value) else "masked_missing"
            self.emit(state, cell, value, missing > self.options.max_gap, number, fate)
            state["cell"], state["time"] = cell, time_ms

    def emit(
        self, state: dict[str, int], cell: int, value: float, restart: bool, number: int, fate: str
    ) -> None:
        masked = fate != "accepted"
        time_ms = state["anchor"] + cell * state["cadence"]
        self.rows.append((state["slot"], time_ms, 0.0 if masked else value, masked, restart, number))
        self.counts[fate] += 1

    def finish(self) -> None:
        for name in [name for name, held in self.held.items() if len(held) >= 2]:
            self.release(name)


def make_readings(log: Log, series: tuple[str, ...] | None = None) -> Readings:
    names = series or tuple(dict.fromkeys(name for name, _, _ in log))
    return Readings(
        series=names,
        series_index=np.array([names.index(name) for name, _, _ in log], np.int32),
        event_time_ms=np.array([time_ms for _, time_ms, _ in log], np.int64),
        value=np.array([value for _, _, value in log], np.float64),
    )


def list_rows(steps: Steps) -> list[Row]:
    columns = [getattr(steps, column.name).tolist() for column in fields(Steps)]
    return list(zip(*columns, strict=True))


def run(log: Log, **options: Any) -> tuple[list[Row], dict[str, int]]:
    intake = Intake(IntakeOptions(**options), FakeRegister())
    rows = list_rows(intake.place(make_readings(log)))
    rows += list_rows(intake.flush())
    return rows, {fate: count for fate, count in intake.counts.items() if count}


values = st.one_of(st.floats(-9, 9), st.just(NAN), st.just(float("inf")))
logs = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-5, 120), values), max_size=60)
# Rising times with jumps: gaps, restarts and few late ones.
walks = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([-7, 0, 1, 2, 9, 10, 10, 10, 11, 35, 90]), values),
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
    max_series=st.integers(1, 4),
)


@settings(max_examples=400, deadline=None)
@given(
    log=st.one_of(logs, walks),
    options=options,
    cuts=st.lists(st.integers(0, 80), max_size=6),
    shared=st.booleans(),
    reload_state=st.booleans(),
)
def test_any_cut_of_a_log_gives_the_steps_of_the_reference(
    log: Log, options: IntakeOptions, cuts: list[int], shared: bool, reload_state: bool
) -> None:
    reference = Reference(options)
    for number, reading in enumerate(log):
        reference.put(*reading, number)
    reference.finish()

    register = FakeRegister()
    intake = Intake(options, register)
    bounds = sorted({0, len(log), *(cut for cut in cuts if cut < len(log))})
    names = tuple("dcba") if shared else None
    rows = []
    for start, end in itertools.pairwise(bounds):
        rows += list_rows(intake.place(make_readings(log[start:end], names)))
        if reload_state:
            state = intake.save()
            intake = Intake(options, register)
            intake.load(state)
    rows += list_rows(intake.flush())

    assert rows == reference.rows
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
        (0, 0, 1.0, False, False, 0),
        (0, 10, 0.0, True, False, -1),
        (0, 20, 0.0, True, False, -1),
        (0, 30, 2.0, False, False, 1),
        (0, 70, 3.0, False, True, 2),
    ]
    assert counts == {"accepted": 3, "masked_gap": 2}


def test_first_reading_of_a_cell_wins() -> None:
    log = [("a", 0, 1.0), ("a", 11, 2.0), ("a", 11, 3.0), ("a", 9, 4.0), ("a", 0, 5.0)]
    rows, counts = run(log, cadence_ms=10)
    assert rows == [(0, 0, 1.0, False, False, 0), (0, 10, 2.0, False, False, 1)]
    assert counts == {"accepted": 2, "dropped_duplicate": 1, "merged": 1, "dropped_late": 1}


def test_values_that_are_not_finite_are_masked_steps() -> None:
    rows, counts = run([("a", 0, NAN), ("a", 10, -float("inf"))], cadence_ms=10)
    assert rows == [(0, 0, 0.0, True, False, 0), (0, 10, 0.0, True, False, 1)]
    assert counts == {"masked_missing": 2}


def test_readings_are_held_until_their_cadence_is_known() -> None:
    intake = Intake(IntakeOptions(cadence_readings=3), register := FakeRegister())
    assert len(intake.place(make_readings([("a", 20, 2.0), ("a", 0, 1.0), ("a", 20, 9.0)]))) == 0
    assert intake.num_held == 2
    assert register.ids == []
    steps = intake.place(make_readings([("b", 5, 0.0), ("a", 41, 3.0), ("a", 61, 4.0)]))
    # The median of 20 and 21 is rounded to even.
    assert register.cadence_ms == [20]
    assert list_rows(steps) == [
        (0, 0, 1.0, False, False, 1),
        (0, 20, 2.0, False, False, 0),
        (0, 40, 3.0, False, False, 4),
        (0, 60, 4.0, False, False, 5),
    ]
    assert len(intake.flush()) == 0
    assert intake.num_held == 1  # one time of b gives no cadence


def test_series_beyond_max_series_are_rejected_and_evict_none() -> None:
    log = [("a", 0, 1.0), ("b", 0, 1.0), ("c", 0, 1.0), ("c", 10, 1.0), ("a", 10, 2.0)]
    rows, counts = run(log, cadence_ms=10, max_series=2)
    assert [row[0] for row in rows] == [0, 1, 0]
    assert counts == {"accepted": 3, "rejected_too_many_series": 2}


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
