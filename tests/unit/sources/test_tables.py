"""The reader of sensor-data files: forms, cells, order, real data, and random tables read back."""

import csv
import gzip
import io
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.sources.tables import Table, TableError, TableOptions, read_table

DATA = Path(os.environ.get("GATECAST_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data")
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"no real data at {DATA}: set GATECAST_TEST_DATA to the folder with ett and nab"
)
T0 = 1_634_860_800_000  # 2021-10-22 00:00 UTC


def read(
    folder: Path, content: str | bytes, *, rows: int | None = None, name: str = "f.csv", **told: Any
) -> Table:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path, TableOptions(**told), rows=rows)


def hours(table: Table) -> list[float]:
    """Times as hours since T0."""
    return [float(time) for time in (table.event_time_ms - T0) / 3_600_000]


def assumes(table: Table, words: str) -> bool:
    return any(words in sentence for sentence in table.assumed)


def test_wide_is_row_major(tmp_path: Path) -> None:
    table = read(tmp_path, "time,a,b\n2021-10-22 00:00,1,2\n2021-10-22 01:00,3,\n")
    assert table.series == ("a", "b")
    assert table.series_index.tolist() == [0, 1, 0, 1]
    assert hours(table) == [0, 0, 1, 1]
    np.testing.assert_array_equal(table.value, [1, 2, 3, np.nan])
    assert [array.dtype.name for array in (table.series_index, table.event_time_ms, table.value)] == [
        "int32",
        "int64",
        "float64",
    ]
    assert table.num_rows == 2
    assert table.counts == {"missing": 1}


def test_time_need_not_come_first(tmp_path: Path) -> None:
    table = read(tmp_path, "a,TimeStamp,b\n1,2021-10-22,2\n")
    assert table.series == ("a", "b")
    assert read(tmp_path, "a,when,b\n1,2021-10-22,2\n", time_column="WHEN").series == ("a", "b")
    assert read(tmp_path, "Wann,a\n2021-10-22,2\n").series == ("a",)


def test_long_in_any_column_order(tmp_path: Path) -> None:
    text = (
        "Value;Quality;TagName;Time\n1,5;ok;b;2021-10-22 00:00\n"
        "2;ok;a;2021-10-22 00:00\n3;ok; b ;2021-10-22 01:00\n"
    )
    table = read(tmp_path, text)
    assert table.series == ("b", "a")
    assert table.series_index.tolist() == [0, 1, 0]
    assert table.value.tolist() == [1.5, 2, 3]
    assert assumes(table, "left aside: 'Quality'")
    assert assumes(table, "decimal comma")


def test_long_with_one_column_of_another_name(tmp_path: Path) -> None:
    assert read(tmp_path, "time,tag,reading\n2021-10-22,x,1\n").series == ("x",)
    with pytest.raises(
        TableError, match="column 'tag' names series, but none of 'temp', 'bar' is called 'value'"
    ):
        read(tmp_path, "time,tag,temp,bar\n2021-10-22,x,1,2\n")


def test_bad_ids_of_the_long_form_are_counted(tmp_path: Path) -> None:
    text = (
        f"time,series,value\n2021-10-22,,1\n2021-10-22,{'x' * 257},2\n2021-10-22,a\x01b,3\n2021-10-22,ok,4\n"
    )
    table = read(tmp_path, text)
    assert (table.series, table.counts, table.num_rows) == (("ok",), {"bad_series": 3}, 1)
    with pytest.raises(TableError, match="no row has one"):
        read(tmp_path, "time,series,value\n2021-10-22,,1\n")


def test_a_sole_value_is_named_after_the_file(tmp_path: Path) -> None:
    text = "timestamp,value\n2021-10-22,1\n"
    assert read(tmp_path, text, name="pump.7.csv").series == ("pump.7",)
    assert read(tmp_path, gzip.compress(text.encode()), name="pump.csv.gz").series == ("pump",)
    assert read(tmp_path, "timestamp,temp\n2021-10-22,1\n", name="pump.csv").series == ("temp",)


def test_texts_become_nan_and_are_counted_by_kind(tmp_path: Path) -> None:
    cells = [
        "1",
        "Bad",
        "I/O Timeout",
        "No Data",
        "#N/A",
        "NaN",
        "",
        "inf",
        "-Infinity",
        "1e999",
        "n/a",
        "0x10",
        " 2 ",
    ]
    table = read(tmp_path, "time;a\n" + "".join(f"{T0 + i};{cell}\n" for i, cell in enumerate(cells)))
    assert table.counts == {"text": 4, "missing": 4, "infinite": 3}
    assert table.value[~np.isnan(table.value)].tolist() == [1, 2]
    assert table.num_rows == len(cells)


def test_booleans_only_where_a_whole_column_has_them(tmp_path: Path) -> None:
    table = read(tmp_path, "time,a,b\n2021-10-22,on,on\n2021-10-23,FALSE,5\n2021-10-24,,off\n")
    np.testing.assert_array_equal(table.value, [1, np.nan, 0, 5, np.nan, np.nan])
    assert table.counts == {"missing": 1, "text": 2}
    assert assumes(table, "'a': read as 1 for true and on")


def test_thousands_are_never_misread(tmp_path: Path) -> None:
    table = read(tmp_path, "time;a\n2021-10-22;1.234,5\n2021-10-23;7,25\n2021-10-24;1.234\n")
    np.testing.assert_array_equal(table.value, [np.nan, 7.25, np.nan])
    assert assumes(table, "thousands separators are not supported: '1.234,5' in line 2 counts as text")
    table = read(tmp_path, 'time,a\n2021-10-22,"1,234"\n2021-10-23,7.25\n')
    np.testing.assert_array_equal(table.value, [np.nan, 7.25])
    table = read(tmp_path, "time;a\n2021-10-22;1,234.5\n2021-10-23;1,234\n2021-10-24;1.5\n")
    np.testing.assert_array_equal(table.value, [np.nan, np.nan, 1.5])
    table = read(tmp_path, "time;a\n2021-10-22;1,234\n2021-10-23;5\n")
    assert table.value.tolist() == [1.234, 5]
    assert assumes(table, "a guess: '1,234' is read as 1.234")


def test_units_row(tmp_path: Path) -> None:
    table = read(tmp_path, "time,a,b\n,degC,bar\n2021-10-22,1,2\n")
    assert (table.units, table.num_rows, table.counts) == ({"a": "degC", "b": "bar"}, 1, {})
    table = read(tmp_path, "time,a,b\n[UTC],%,\n2021-10-22,1,2\n")
    assert table.units == {"a": "%"}
    table = read(tmp_path, "time,a,b\n,Bad,No Data\n2021-10-22,1,2\n")
    assert (table.units, table.counts) == ({}, {"unparsed_time": 1})
    table = read(tmp_path, "time,a\n2021-10-21,offline\n2021-10-22,1\n")
    assert (table.units, table.counts) == ({}, {"text": 1})
    assert read(tmp_path, "time,a\nx,1\n2021-10-22,1\n", units_row=True).units == {"a": "1"}
    assert read(tmp_path, "time,a\n,degC\n2021-10-22,1\n", units_row=False).counts == {"unparsed_time": 1}


def test_order_is_by_time_and_stable(tmp_path: Path) -> None:
    table = read(
        tmp_path, "time,a\n2021-10-22 02:00,1\n2021-10-22 00:00,2\n2021-10-22 02:00,3\n2021-10-22 01:00,4\n"
    )
    assert table.value.tolist() == [2, 4, 1, 3]
    assert table.counts == {"unsorted": 2, "duplicate_time": 1}


def test_descending_long_file_counts_per_series(tmp_path: Path) -> None:
    rows = [f"2021-10-22 0{hour}:00,{name},{hour}" for name in "ab" for hour in (3, 2, 1)]
    table = read(tmp_path, "time,series,value\n" + "\n".join(rows))
    assert table.counts == {"unsorted": 4}
    assert table.value.tolist() == [1, 1, 2, 2, 3, 3]
    assert table.series_index.tolist() == [0, 1, 0, 1, 0, 1]
    by_series = read(tmp_path, "time,series,value\n2021-10-23,a,1\n2021-10-22,b,2\n2021-10-22,b,3\n")
    assert by_series.counts == {"duplicate_time": 1}


def test_empty_and_nameless_columns(tmp_path: Path) -> None:
    table = read(tmp_path, ",time,a,b,\n0,2021-10-22,1,,\n1,2021-10-23,2,,\n")
    assert table.series == ("a", "b")
    assert table.counts == {"missing": 2}
    assert assumes(table, "'b': entirely empty and kept without values")
    with pytest.raises(TableError, match="column 2 holds values but has no name"):
        read(tmp_path, "time,,a\n2021-10-22,5,1\n")


def test_rows_are_the_first_of_the_file(tmp_path: Path) -> None:
    text = "time,a\n,degC\n2021-10-24,1\n\n2021-10-23\n2021-10-22,2\nnever,3\n2021-10-21,4\n"
    table = read(tmp_path, text, rows=3)
    assert (table.value.tolist(), table.counts) == ([2, 1], {"ragged": 1, "unsorted": 1})
    assert read(tmp_path, text, rows=4).counts == {"ragged": 1, "unsorted": 1, "unparsed_time": 1}
    assert read(tmp_path, text, rows=1).value.tolist() == [1]
    assert read(tmp_path, text, rows=99).num_rows == 3


def test_ten_thousand_columns(tmp_path: Path) -> None:
    header = ",".join(f"plant/unit {i}/temperature" for i in range(10_000))
    table = read(tmp_path, f"time,{header}\n" + "".join(f"{T0 + i}{',1.5' * 10_000}\n" for i in range(3)))
    assert (len(table.series), table.value.sum()) == (10_000, 45_000)


@pytest.mark.data
@needs_data
@pytest.mark.parametrize("name", ["ett/ETTm1.csv", "ett/ETTh1.csv"])
def test_reads_ett(name: str) -> None:
    table = read_table(DATA / name)
    frame = pd.read_csv(DATA / name)
    assert table.series == ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
    assert table.counts == {}
    times = pd.to_datetime(frame["date"]).to_numpy().astype("datetime64[ms]").astype(np.int64)
    np.testing.assert_array_equal(table.event_time_ms, np.repeat(times, 7))
    np.testing.assert_array_equal(table.value, frame.iloc[:, 1:].to_numpy().ravel())


@pytest.mark.data
@needs_data
def test_reads_every_nab_file() -> None:
    paths = sorted(DATA.glob("nab/*/*.csv"))
    assert paths
    for path in paths:
        table = read_table(path)
        frame = pd.read_csv(path).sort_values("timestamp", kind="stable")
        assert table.series == (path.stem,)
        assert set(table.counts) <= {"duplicate_time"}
        times = pd.to_datetime(frame["timestamp"]).to_numpy().astype("datetime64[ms]").astype(np.int64)
        np.testing.assert_array_equal(table.event_time_ms, times)
        np.testing.assert_array_equal(table.value, frame["value"])


NAMES = st.text("abXYZ°üß€µ,;| '\"/#37", min_size=1, max_size=12).map(str.strip).filter(bool)
CELLS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**6), 10**6).map(float), st.none()
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[datetime], list[list[float | None]]]:
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    whens = draw(st.lists(st.integers(0, 10**8), min_size=1, max_size=12))
    times = [datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=when) for when in whens]
    rows = [draw(st.lists(CELLS, min_size=len(names), max_size=len(names))) for _ in times]
    rows[-1][0] = 1.5
    return names, times, rows


TIME_WRITERS: dict[str | None, Callable[[datetime], str]] = {
    None: lambda time: time.strftime("%Y-%m-%d %H:%M:%S"),
    "iso": lambda time: time.isoformat().replace("+00:00", "Z"),
    "shifted": lambda time: time.astimezone(timezone(timedelta(hours=-3, minutes=-30))).isoformat(),
    "s": lambda time: str(int(time.timestamp())),
    "ms": lambda time: str(int(time.timestamp()) * 1000),
    "%d.%m.%Y %H:%M:%S": lambda time: time.strftime("%d.%m.%Y %H:%M:%S"),
    "%m/%d/%Y %I:%M:%S %p": lambda time: time.strftime("%m/%d/%Y %I:%M:%S %p"),
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    table=tables(),
    delimiter=st.sampled_from(";,\t|"),
    decimal=st.sampled_from(".,"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"]),
    writer=st.sampled_from(list(TIME_WRITERS)),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    units=st.booleans(),
    told=st.booleans(),
)
def test_any_table_in_any_dialect_reads_back_equal(
    tmp_path: Path,
    table: Any,
    delimiter: str,
    decimal: str,
    encoding: str,
    writer: Any,
    newline: str,
    **flags: bool,
) -> None:
    names, times, rows = table
    text = io.StringIO()
    out = csv.writer(text, delimiter=delimiter, lineterminator=newline)
    out.writerow(["time", *names])
    if flags["units"]:
        out.writerow(["", *["degC"] * len(names)])
    for time, row in zip(times, rows, strict=True):
        cells = ["" if cell is None else repr(cell).replace(".", decimal) for cell in row]
        out.writerow([TIME_WRITERS[writer](time), *cells])
    # What a file can't tell by itself must be told: the order of day and month, commas that do both jobs.
    is_format = writer is not None and "%" in writer
    options: dict[str, Any] = {"time_format": writer} if is_format else {}
    if flags["told"] or decimal == delimiter or any(char in name for name in names for char in ",;|\"'"):
        options |= {"delimiter": delimiter, "decimal": decimal}
    if flags["told"] or encoding in ("cp1252", "utf-16-le"):
        options |= {"encoding": encoding}
    result = read(tmp_path, text.getvalue().encode(encoding), **options)
    order = sorted(range(len(times)), key=lambda index: times[index])
    assert result.series == tuple(names)
    assert result.units == (dict.fromkeys(names, "degC") if flags["units"] else {})
    expected_ms = [round(times[index].timestamp() * 1000) for index in order for _ in names]
    assert result.event_time_ms.tolist() == expected_ms
    flat = [np.nan if cell is None else cell for index in order for cell in rows[index]]
    np.testing.assert_array_equal(result.value, flat)
