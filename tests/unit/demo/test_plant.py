"""The simulated plant: one plant a seed, seasons, company, rest, exceptions, and faults where labels say."""

from __future__ import annotations

import csv
import json
from datetime import datetime
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from pipeline.demo.faults import FAULT_KINDS
from pipeline.demo.layout import KINDS
from pipeline.demo.papers import COLUMNS, write_labels, write_series_file
from pipeline.demo.plant import HEARTBEAT_STEPS, Plant, PlantOptions
from pipeline.records import BAD_QUALITY, GOOD

MONDAY_MS = 1_709_510_400_000  # 2024-03-04 00:00 UTC
MINUTE_MS = 60_000
DAY = 1440  # steps


def build(num_series: int = 60, **options: float) -> Plant:
    return Plant(PlantOptions(num_series=num_series, start_ms=MONDAY_MS, **options))  # type: ignore[arg-type]


def run(plant: Plant, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Values as sent [T, S], NaN where nothing was, and faults [T, S]."""
    value = np.full((steps, len(plant.layout.series)), np.nan)
    fault = np.full(value.shape, GOOD)
    for row, readings in enumerate(islice(plant, steps)):
        value[row, readings.series_index] = readings.value
        fault[row, readings.series_index] = readings.fault
    return value, fault


@pytest.fixture(scope="module")
def week() -> tuple[Plant, np.ndarray]:
    """A week without faults; the last values of who sends by exception are held."""
    plant = build()
    value, _ = run(plant, 7 * DAY)
    for row in range(1, len(value)):
        value[row] = np.where(np.isnan(value[row]), value[row - 1], value[row])
    return plant, value


def pick(plant: Plant, kind: str, *, machine: bool = False) -> list[int]:
    layout = plant.layout
    return [
        s for s in range(len(layout.series)) if layout.kind[s] == kind and (layout.machine[s] >= 0) == machine
    ]


def test_a_seed_is_a_plant_however_it_is_cut() -> None:
    whole, faults = run(build(faults_per_hour=20), 600)
    again = build(faults_per_hour=20)
    parts = [run(again, steps) for steps in (1, 199, 400)]
    np.testing.assert_array_equal(np.concatenate([value for value, _ in parts]), whole)
    np.testing.assert_array_equal(np.concatenate([fault for _, fault in parts]), faults)
    other, _ = run(build(seed=1), 600)
    assert not np.array_equal(np.nan_to_num(other), np.nan_to_num(whole))


def test_a_layout_does_not_depend_on_time_or_size() -> None:
    small, large = build(20).layout, build(200).layout
    assert large.series[:20] == small.series
    assert len(set(large.series)) == 200
    assert small.series[0] == "Nord/Reactor 1/TI-1000"
    assert any("Süd" in name for name in large.series)
    with pytest.raises(ValueError, match="expected num_series of at least 1, but got 0"):
        build(0)
    with pytest.raises(ValueError, match="expected faults_per_hour of at least 0, but got -1"):
        build(faults_per_hour=-1)


def test_values_are_plausible(week: tuple[Plant, np.ndarray]) -> None:
    plant, value = week
    for sensor, kind in enumerate(plant.layout.kind):
        low, high = KINDS[kind].valid
        assert low <= np.nanmin(value[:, sensor])
        assert np.nanmax(value[:, sensor]) <= high


def test_a_day_and_a_weekend_show_in_flows(week: tuple[Plant, np.ndarray]) -> None:
    plant, value = week
    for sensor in pick(plant, "flow"):
        days = value[:, sensor].reshape(7, DAY)
        sign = np.sign(plant.layout.load[sensor])
        assert np.corrcoef(days[0], days[1])[0, 1] > 0.5
        assert sign * (days[:5].mean() - days[5:].mean()) > plant.layout.spread[sensor] / 4


def test_sensors_of_an_area_move_together_beyond_the_season(week: tuple[Plant, np.ndarray]) -> None:
    plant, value = week
    flows = [s for s in pick(plant, "flow") if not plant.layout.by_exception[s]]
    days = value[: 5 * DAY, flows].reshape(5, DAY, -1)
    rest = (days - days.mean(0)).reshape(5 * DAY, -1) * np.sign(plant.layout.load[flows])
    together = np.corrcoef(rest.T)
    area = plant.layout.area[flows]
    pairs = [(i, j) for i in range(len(flows)) for j in range(i)]
    same = [together[i, j] for i, j in pairs if area[i] == area[j]]
    apart = [together[i, j] for i, j in pairs if area[i] != area[j]]
    assert min(same) > 0.5
    assert np.mean(np.abs(apart)) < 0.3


def test_machines_rest_and_say_so(week: tuple[Plant, np.ndarray]) -> None:
    plant, value = week
    signals = pick(plant, "running", machine=True)
    rested = 0
    for signal in signals:
        machine = plant.layout.machine[signal]
        (power,) = (s for s in pick(plant, "power", machine=True) if plant.layout.machine[s] == machine)
        limit = KINDS["power"].off_below or 0
        settled = np.ones(7 * DAY, bool)
        for change in np.flatnonzero(np.diff(value[:, signal])):
            settled[change : change + 30] = False  # ramps, and the two losses of a signal by exception
        off, on = settled & (value[:, signal] == 0), settled & (value[:, signal] == 1)
        rested += int(off.any())
        assert (value[off, power] < limit).sum() >= 0.99 * off.sum()
        assert (value[on, power] > limit).sum() >= 0.99 * on.sum() > 0
    assert rested > len(signals) / 3


def test_by_exception_sends_changes_and_signs_of_life() -> None:
    plant = build()
    value, _ = run(plant, DAY)
    layout = plant.layout
    for sensor in np.flatnonzero(layout.by_exception):
        sent = np.flatnonzero(np.isfinite(value[:, sensor]))
        assert sent.size < DAY / 2
        assert np.diff(sent).max() <= HEARTBEAT_STEPS + 5  # and one that got lost
        steps = np.abs(np.diff(value[sent, sensor]))
        short = np.diff(sent) < HEARTBEAT_STEPS - 5
        assert (steps[short] > 0).sum() >= 0.95 * short.sum()
    share = np.isfinite(value[:, ~layout.by_exception]).mean()
    assert 0.99 < share < 1  # some get lost on the way


def test_faults_are_where_their_labels_say() -> None:
    plant, healthy = build(faults_per_hour=30, calm_ms=HEARTBEAT_STEPS * MINUTE_MS), build()
    (value, bad), (expected, _) = run(plant, 2 * DAY), run(healthy, 2 * DAY)
    touched = np.zeros(value.shape, bool)
    assert {fault.kind for fault in plant.faults} == set(FAULT_KINDS)
    for fault in plant.faults:
        start, end = ((at - MONDAY_MS) // MINUTE_MS for at in (fault.start_ms, fault.end_ms))
        assert start >= HEARTBEAT_STEPS
        rows = slice(start, min(end, 2 * DAY))
        seen, wanted = value[rows, fault.series], expected[rows, fault.series]
        assert not touched[rows, fault.series].any()  # one at a time
        touched[rows, fault.series] = True
        both = np.isfinite(seen) & np.isfinite(wanted)
        match fault.kind:
            case "dropout":
                assert np.isnan(seen).all()
            case "stuck":
                assert np.unique(seen[np.isfinite(seen)]).size <= 1
            case "bad_quality":
                assert (bad[rows, fault.series][np.isfinite(seen)] == BAD_QUALITY).all()
            case "out_of_range":
                assert (seen[np.isfinite(seen)] < KINDS["current"].valid[0]).all()
            case "spike" | "level_shift":
                moved = (seen - wanted)[both]
                assert (moved * np.sign(fault.size) >= 0).all()
                assert np.abs(moved).max(initial=0) <= abs(fault.size) * 1.01 + 0.1
            case "drift":
                moved = (seen - wanted)[both] * np.sign(fault.size)
                assert moved[-1] >= moved[0] - 0.1
    np.testing.assert_array_equal(value[~touched], expected[~touched])
    assert (bad[~touched] == GOOD).all()


def test_labels_as_faults_and_as_windows(tmp_path: Path) -> None:
    plant = build(faults_per_hour=30)
    run(plant, 300)
    path = tmp_path / "faults.json"
    write_labels(path, plant, before_ms=MONDAY_MS + 200 * MINUTE_MS)
    report = json.loads(path.read_text())
    assert [item.name for item in tmp_path.iterdir()] == ["faults.json"]
    wanted = [fault for fault in plant.faults if fault.start_ms < MONDAY_MS + 200 * MINUTE_MS]
    assert 0 < len(wanted) < len(plant.faults)
    assert [(f["start"], f["end"]) for f in report["faults"]] == [(f.start_ms, f.end_ms) for f in wanted]
    first = report["faults"][0]
    start, end = report["windows"][first["series"]][0]
    assert datetime.fromisoformat(start + "+00:00").timestamp() * 1000 == first["start"]
    assert datetime.fromisoformat(end + "+00:00").timestamp() * 1000 == first["end"] - MINUTE_MS


def test_series_file_has_a_row_a_sensor(tmp_path: Path) -> None:
    plant = build(day_ms=600_000, cadence_ms=1000)
    write_series_file(tmp_path / "plant.csv", plant)
    with (tmp_path / "plant.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["match"] for row in rows] == list(plant.layout.series)
    assert {row["season"] for row in rows} == {"10m"}
    power = next(row for row in rows if "/JI-" in row["match"] and "Pump" in row["match"])
    assert (power["off_when"], power["unit"], power["cadence"], power["mode"]) == (
        "< 5",
        "kW",
        "1s",
        "sampled",
    )
    level = next(row for row in rows if "/LI-" in row["match"])
    assert (level["mode"], level["silent_after"]) == ("by_exception", "3m")
