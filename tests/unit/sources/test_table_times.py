"""Times in files of sensor data: how they are written, and local time over both daylight-saving changes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.tables import Table, TableError, TableOptions, read_table
from pipeline.sources.zones import find_zone, localize

BERLIN = ZoneInfo("Europe/Berlin")


def read(folder: Path, text: str, **told: Any) -> Table:
    path = folder / "f.csv"
    path.write_text(text, encoding="utf-8")
    return read_table(path, TableOptions(**told))


def read_time(folder: Path, *cells: str, **told: Any) -> list[str]:
    table = read(folder, "time;a\n" + "".join(f"{cell};1\n" for cell in cells), **told)
    return [str(time) for time in table.event_time_ms.astype("datetime64[ms]")]


@pytest.mark.parametrize(
    "cell",
    [
        "2021-10-24 02:30:00.250",
        "2021-10-24T02:30:00,250Z",
        "2021-10-24 04:30:00.250+02:00",
        "2021-10-23T22:00:00.25-0430",
        "2021/10/24 2:30:00.250999",
        "24.10.2021 02:30:00,250",
        "10/24/2021 2:30:00.250 AM",
        "24-Oct-21 02:30:00.250",
        "24 October 2021, 02:30:00.250 UTC",
        "20211024T023000.250Z",
        "20211024023000.250",
        "1635042600.250",
        "1635042600250",
        "1635042600250999",
        "1635042600250999999",
    ],
)
def test_ways_to_write_one_time(tmp_path: Path, cell: str) -> None:
    assert read_time(tmp_path, cell) == ["2021-10-24T02:30:00.250"]


def test_dates_without_clock_and_the_end_of_a_day(tmp_path: Path) -> None:
    assert read_time(tmp_path, "20211024", "20211025") == [
        "2021-10-24T00:00:00.000",
        "2021-10-25T00:00:00.000",
    ]
    assert read_time(tmp_path, "31.12.2021 24:00") == ["2022-01-01T00:00:00.000"]
    assert read_time(tmp_path, "12/31/2021 12:05 am") == ["2021-12-31T00:05:00.000"]
    assert read_time(tmp_path, "12/31/2021 12:05 PM") == ["2021-12-31T12:05:00.000"]


def test_order_of_day_and_month(tmp_path: Path) -> None:
    def first(*cells: str) -> tuple[str, str]:
        table = read(tmp_path, "time;a\n" + "".join(f"{cell};1\n" for cell in cells))
        said = next(sentence for sentence in table.assumed if sentence.startswith("dates"))
        return str(table.event_time_ms.astype("datetime64[ms]")[0])[:10], said

    assert first("01/02/2021", "13/02/2021") == (
        "2021-02-01",
        "dates such as '01/02/2021' have the day first, since the first number goes above 12",
    )
    assert first("01/02/2021", "02/13/2021")[0] == "2021-01-02"
    assert first("01/02/2021", "01/03/2021")[0] == "2021-01-02"  # a day apart rather than a month
    assert first("02/01/2021", "03/01/2021")[0] == "2021-01-02"
    assert first("01/02/2021", "01/02/2021") == (
        "2021-02-01",
        "dates such as '01/02/2021' have the day first, a guess, no number being above 12; "
        "--time-format to change",
    )
    assert first("01/02/2021 1:00 PM")[0] == "2021-01-02"
    assert first("01.02.2021", "01.03.2021")[0] == "2021-02-01"
    assert read_time(tmp_path, "01/02/2021", time_format="%m/%d/%Y") == ["2021-01-02T00:00:00.000"]


def test_time_format(tmp_path: Path) -> None:
    assert read_time(tmp_path, "2021 297 02h", time_format="%Y %j %Hh") == ["2021-10-24T02:00:00.000"]
    assert read_time(tmp_path, "02h 2021-10-24 +0200", time_format="%Hh %Y-%m-%d %z") == [
        "2021-10-24T00:00:00.000"
    ]
    with pytest.raises(
        TableError, match=r"column 'time': expected a strptime format such as .* but got 'iso'"
    ):
        read_time(tmp_path, "2021", time_column="time", time_format="iso")
    with pytest.raises(TableError, match="--time-format '%Q' is no strptime format"):
        read_time(tmp_path, "2021", time_column="time", time_format="%Q")


def test_rows_without_a_time_are_left_out(tmp_path: Path) -> None:
    text = "time,a\n2021-10-24,1\n\n2021-02-29,2\n,3\n2021-13-01,4\n2021-10-25 25:00,5\n2021-10-26,6\n"
    table = read(tmp_path, text)
    assert table.value.tolist() == [1, 6]
    assert table.counts == {"unparsed_time": 4}
    assert "4 row(s) left out whose time can't be read, the first in line 4: '2021-02-29'" in table.assumed
    with pytest.raises(
        TableError, match=r"none of 2 could be read, the first in line 2: 'x'; .*--time-format"
    ):
        read(tmp_path, "when,a\nx,1\ny,2\n", time_column="when")


def test_numbers_are_times_only_where_they_can_be(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"none of 'n', 'a' in line 1 looks like one; .*--time-column"):
        read(tmp_path, "n,a\n0,1\n1,2\n")
    table = read(tmp_path, "time,a\n0,1\n60,2\n")
    assert table.event_time_ms.tolist() == [0, 60_000]
    assert "times are numbers of s since 1970, the first being 1970-01-01T00:00:00.000Z" in table.assumed
    assert read(tmp_path, "n,a\n1635042600,1\n1635042601,2\n").num_rows == 2


def test_date_and_clock_in_two_columns(tmp_path: Path) -> None:
    table = read(tmp_path, "Date;Time;a\n24.10.2021;02:30;1\n24.10.2021;02:45;2\n")
    assert table.series == ("a",)
    assert str(table.event_time_ms.astype("datetime64[ms]")[1]) == "2021-10-24T02:45:00.000"
    assert any("time in 'Date' and 'Time'" in sentence for sentence in table.assumed)


def test_time_zone(tmp_path: Path) -> None:
    assert read_time(tmp_path, "2021-07-01 12:00", time_zone="America/New_York") == [
        "2021-07-01T16:00:00.000"
    ]
    mixed = read_time(tmp_path, "2021-07-01 12:00", "2021-07-01 12:00Z", time_zone="Asia/Kolkata")
    assert mixed == ["2021-07-01T06:30:00.000", "2021-07-01T12:00:00.000"]
    assert any("taken as UTC" in said for said in read(tmp_path, "time,a\n2021-07-01,1\n").assumed)
    for name in ("Europe/Berln", "berlin"):
        with pytest.raises(TableError, match=f"unknown time zone '{name}' .* nearest is 'Europe/Berlin'"):
            read_time(tmp_path, "2021-07-01", time_zone=name)
    with pytest.raises(TableError, match="expected an IANA name"):
        read_time(tmp_path, "2021-07-01", time_zone="\0§§§§")


def _walk(start: datetime, stop: datetime, minutes: int) -> list[datetime]:
    return [
        start + timedelta(minutes=minutes) * step
        for step in range(int((stop - start).total_seconds()) // 60 // minutes)
    ]


@pytest.mark.parametrize("minutes", [60, 15, 30])
@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("long", ["", "by time", "by series"])
def test_local_time_over_both_changes(tmp_path: Path, minutes: int, newest_first: bool, long: str) -> None:
    autumn = _walk(datetime(2021, 10, 30, 20, tzinfo=UTC), datetime(2021, 10, 31, 6, tzinfo=UTC), minutes)
    spring = _walk(datetime(2022, 3, 26, 20, tzinfo=UTC), datetime(2022, 3, 27, 6, tzinfo=UTC), minutes)
    utc = autumn + spring
    # The value is the true position, so that swapped passes show.
    rows = [(time.astimezone(BERLIN).strftime("%d.%m.%Y %H:%M"), index) for index, time in enumerate(utc)]
    rows = rows[::-1] if newest_first else rows
    if not long:
        text = "time;a\n" + "".join(f"{time};{index}\n" for time, index in rows)
    else:
        triples = [(time, name, index) for time, index in rows for name in "ab"]
        triples = triples if long == "by time" else sorted(triples, key=lambda triple: triple[1])
        text = "time;series;value\n" + "".join(f"{time};{name};{index}\n" for time, name, index in triples)
    table = read(tmp_path, text, time_zone="Europe/Berlin")
    expected = [int(time.timestamp() * 1000) for time in utc]
    for index in range(len(table.series)):
        of_series = table.series_index == index
        assert table.event_time_ms[of_series].tolist() == expected
        assert table.value[of_series].tolist() == list(range(len(utc)))
    assert table.counts["dst_repeated"] == 120 // minutes * len(table.series)
    assert "dst_skipped" not in table.counts
    assert "duplicate_time" not in table.counts


def test_the_hour_that_does_not_exist_moves_forward(tmp_path: Path) -> None:
    cells = [f"2022-03-27 0{hour}:{minute}" for hour in (1, 2, 4) for minute in ("00", "30")]
    table = read(tmp_path, "time,a\n" + "".join(f"{cell},1\n" for cell in cells), time_zone="Europe/Berlin")
    assert table.counts == {"dst_skipped": 2}
    moved = [str(time)[11:16] for time in table.event_time_ms.astype("datetime64[ms]")]
    assert moved == ["00:00", "00:30", "01:00", "01:30", "02:00", "02:30"]
    assert any("2 row(s) in an hour that Europe/Berlin skips" in sentence for sentence in table.assumed)


def test_the_repeated_hour_with_gaps_and_out_of_order(tmp_path: Path) -> None:
    def utc(*clocks: str) -> list[str]:
        text = "time,a\n" + "".join(f"2021-10-31 {clock},1\n" for clock in clocks)
        return [
            str(t)[11:16]
            for t in read(tmp_path, text, time_zone="Europe/Berlin").event_time_ms.astype("M8[ms]")
        ]

    # The first pass lacks 02:15 and the second 02:00: the step back tells them apart.
    assert utc("02:00", "02:30", "02:15", "02:45") == ["00:00", "00:30", "01:15", "01:45"]
    # Sorted by the clock on the wall, pairs are told apart one by one.
    assert utc("02:00", "02:00", "02:30", "02:30") == ["00:00", "00:30", "01:00", "01:30"]
    # In no order at all, too.
    mixed = utc("01:30", "02:30", "02:00", "02:30", "02:00", "03:30")
    assert mixed == ["23:30", "00:00", "00:30", "01:00", "01:30", "02:30"]
    # One pass only is the first.
    assert utc("01:30", "02:00", "02:30", "03:30") == ["23:30", "00:00", "00:30", "02:30"]


@given(
    zone=st.sampled_from(
        ["Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu", "UTC"]
    ),
    start=st.integers(-(2**31), 2**32),
    steps=st.lists(st.integers(1, 500), min_size=1, max_size=30),
)
def test_local_times_agree_with_zoneinfo(zone: str, start: int, steps: list[int]) -> None:
    minutes = start // 60 + np.cumsum(steps)
    walls = [datetime(1970, 1, 1) + timedelta(minutes=int(minute)) for minute in minutes]
    known = find_zone(zone)
    found = localize(minutes * 60_000, None, known)
    for wall, time_ms, repeated in zip(walls, found.event_time_ms, found.repeated, strict=True):
        first, second = (int(wall.replace(tzinfo=known, fold=fold).timestamp() * 1000) for fold in (0, 1))
        assert time_ms == first or (repeated and time_ms == second)
        assert not repeated or first < second
