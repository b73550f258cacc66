"""What a demonstration plays, and how it gets into the broker: past first, in order, never too far ahead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.config import Config
from pipeline.demo import programme as programmes
from pipeline.demo.data_sets import find_data
from pipeline.demo.feed import Feed
from pipeline.demo.outlet import MOST_UNREAD_BYTES, BoundedOutlet
from pipeline.demo.programme import (
    HISTORY_STEPS,
    HOLD_S,
    FileProgramme,
    PlantProgramme,
    find_hold_steps,
)
from pipeline.records import Readings
from pipeline.series_file import read_series_file
from pipeline.sources.tables import TableError, TableOptions

NOW_MS = 1_795_600_000_000


class Enough(Exception):  # noqa: N818 - ends a play
    """The test has seen what it wants."""


class Log(Feed):
    """Keeps times and places of what would be sent; a clock of its own that sleeping moves on."""

    def __init__(self, ends_at_s: float) -> None:
        self.times: list[np.ndarray] = []
        self.num_readings = 0
        self.live_after: int | None = None
        self._now_s, self._ends_at_s = 0.0, ends_at_s

    def send(self, readings: Readings) -> None:
        self.times.append(readings.event_time_ms)
        self.num_readings += len(readings)

    def sleep(self, seconds: float) -> None:
        self._now_s += seconds
        if self._now_s > self._ends_at_s:
            raise Enough

    def on_live(self) -> None:
        self.live_after = self.num_readings


def write(path: Path, start: str, rows: int, minutes: int = 60) -> Path:
    times = np.datetime64(start, "m") + np.arange(rows) * np.timedelta64(minutes, "m")
    path.write_text("time,a,b\n" + "".join(f"{time},{at},{-at}\n" for at, time in enumerate(times)))
    return path


def open_file(path: Path, **options: float) -> FileProgramme:
    return FileProgramme(str(path), TableOptions(), now=lambda: NOW_MS / 1000, **options)  # type: ignore[arg-type]


def test_the_plant_has_a_fault_that_every_sensor_knows_within_a_minute() -> None:
    """The alert of the first minutes is no matter of luck: the seed was chosen for it."""
    plant = PlantProgramme(50, now=lambda: NOW_MS / 1000).plant
    for _ in range(HISTORY_STEPS + 60):
        next(plant)
    first_live_ms = plant.options.start_ms + HISTORY_STEPS * 1000
    kinds = {fault.kind: (fault.start_ms - first_live_ms) / 1000 for fault in plant.faults}
    assert {"level_shift", "bad_quality", "dropout"} <= set(kinds)
    assert min(kinds.values()) >= 0, "history is calm"
    lengths = [fault.end_ms - fault.start_ms for fault in plant.faults if fault.kind == "bad_quality"]
    assert min(lengths) <= 60_000, "one is over soon, so that its alert resolves"


def test_the_plants_papers_and_keys_make_a_configuration(tmp_path: Path) -> None:
    programme = PlantProgramme(20, now=lambda: NOW_MS / 1000)
    config = Config.model_validate(programme.config(tmp_path))
    assert config.readings.season_ms == 120_000
    assert config.alerts.hold_steps * config.alerts.grid_s <= 120, "an alert resolves within two minutes"
    assert config.readings.series_file is not None
    known = read_series_file(config.readings.series_file)
    assert {known.profile(series).mode for series in programme.series} == {"sampled"}


def test_the_plant_plays_its_history_at_once_and_then_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programmes, "HISTORY_STEPS", 30)
    programme = PlantProgramme(4, now=lambda: NOW_MS / 1000)
    log = Log(ends_at_s=0.5)
    with pytest.raises(Enough):
        programme.play(log, log.sleep, log.on_live)
    times = np.concatenate(log.times)
    assert (np.diff(times) >= 0).all()
    assert len(np.unique(times)) >= 30
    assert times.min() >= NOW_MS - 31_000
    assert times.max() <= NOW_MS + 500, "no event time passes the present"
    assert log.live_after is not None


def test_a_file_plays_half_at_once_and_the_rest_at_its_speed(tmp_path: Path) -> None:
    programme = open_file(write(tmp_path / "a.csv", "2024-01-01", 100), speed=3600 * 1000)
    assert (programme.series, programme.notes[0][:16]) == (("a", "b"), "assumed: a.csv: ")
    assert "1,000" not in programme.title
    assert "3.6e+06 times as fast" in programme.title
    log = Log(ends_at_s=60)
    programme.play(log, log.sleep, log.on_live)
    assert log.num_readings == 200
    assert log.live_after == 100
    assert (np.diff(np.concatenate(log.times)) >= 0).all()


def test_without_a_speed_a_file_takes_a_step_a_second(tmp_path: Path) -> None:
    programme = open_file(write(tmp_path / "a.csv", "2024-01-01", 100, minutes=15))
    assert "every 15m, 900 times as fast as measured, for 49 s" in programme.title
    log = Log(ends_at_s=3)
    with pytest.raises(Enough):
        programme.play(log, log.sleep, log.on_live)
    assert log.live_after == 100
    assert log.num_readings < 115


def test_a_file_from_the_future_is_moved_into_the_past_by_whole_days(tmp_path: Path) -> None:
    programme = open_file(write(tmp_path / "a.csv", "2099-01-01", 50))
    log = Log(ends_at_s=1)
    with pytest.raises(Enough):
        programme.play(log, log.sleep, log.on_live)
    assert "were moved back by" in programme.notes[-1]
    times = programme._history.event_time_ms
    assert NOW_MS - 86_400_000 <= times.max() <= NOW_MS
    assert times.min() % 86_400_000 == 0, "the time of day stays"


def test_the_first_series_of_a_file_can_be_taken_alone(tmp_path: Path) -> None:
    programme = open_file(write(tmp_path / "a.csv", "2024-01-01", 10), num_series=1, speed=1e9)
    log = Log(ends_at_s=5)
    programme.play(log, log.sleep, log.on_live)
    assert (programme.series, log.num_readings) == (("a",), 10)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_file_of_few_rows_plays_to_its_end(tmp_path: Path, rows: int) -> None:
    log = Log(ends_at_s=60)
    file = write(tmp_path / "a.csv", "2024-01-01", rows)
    open_file(file, speed=1e9).play(log, log.sleep, log.on_live)
    assert log.num_readings == 2 * rows


@pytest.mark.parametrize(("cadence_ms", "speed"), [(1000, 1.0), (3_600_000, 3600.0), (60_000, 600.0)])
def test_an_alert_holds_for_half_a_minute_of_the_clock(cadence_ms: int, speed: float) -> None:
    steps = find_hold_steps(cadence_ms, speed)
    assert steps * cadence_ms / speed / 1000 == pytest.approx(HOLD_S)


@pytest.mark.parametrize("name", ["WaterFlow", "waterflow", "CO2"])
def test_named_data_sets_are_files_of_installed_packages(name: str) -> None:
    path, data_set = find_data(name)
    assert path.is_file()
    assert data_set is not None
    programme = FileProgramme(name, TableOptions())
    assert programme.title.startswith(f"{data_set.name}: 1 series")


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(TableError, match="expected a file, or the name of a data set, which is WaterFlow"):
        find_data("no-such-thing")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.demo.data_sets.find_spec", lambda name: None)
    with pytest.raises(TableError, match=r"WaterFlow: expected the package river.*pip install river"):
        find_data("WaterFlow")


class Shelf:
    """Four partitions that keep what they get."""

    num_partitions = 4

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def send(self, partition: int, key: bytes | None, value: bytes) -> None:
        self.sizes.append(len(value))

    def flush(self, timeout_s: float) -> None: ...
    def close(self) -> None: ...


@pytest.mark.parametrize(("series", "partitions"), [(1, 1), (250, 1), (251, 2), (5000, 4)])
def test_partitions_are_filled_before_there_are_more(series: int, partitions: int) -> None:
    outlet = BoundedOutlet(Shelf(), series, next_offset=lambda p: 0, sleep=lambda s: None)
    assert outlet.num_partitions == partitions


def test_what_is_unread_never_outgrows_what_the_broker_keeps() -> None:
    shelf = Shelf()
    value = b"x" * (MOST_UNREAD_BYTES // 10)
    read, naps = [0], [0]

    def sleep(seconds: float) -> None:
        naps[0] += 1
        read[0] += 1  # the worker reads one message meanwhile

    outlet = BoundedOutlet(shelf, 10, next_offset=lambda p: read[0], sleep=sleep)
    for sent in range(1, 41):
        outlet.send(0, None, value)
        assert (sent - read[0]) * len(value) <= MOST_UNREAD_BYTES
    assert len(shelf.sizes) == 40
    assert naps[0] == 30, "it waits only where it has to"
