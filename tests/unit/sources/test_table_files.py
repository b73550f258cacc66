"""Files as historians, spreadsheets and accidents leave them: encodings, Parquet, damage."""

import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.sources.tables import Table, TableError, TableOptions, read_table

T0 = 1_634_860_800_000  # 2021-10-22 00:00 UTC
PI_EXPORT = (
    "Zeit;Kessel 3 Temp [°C];Kessel 3 Druck\r\n"
    ";°C;bar\r\n"
    "31.10.2021 01:30:00;81,25;1,013\r\n"
    "31.10.2021 02:00:00;81,5;Bad\r\n"
    "31.10.2021 02:30:00;I/O Timeout;1,015\r\n"
    "31.10.2021 02:00:00;82;1,016\r\n"
    "31.10.2021 02:30:00;82,25;\r\n"
    "31.10.2021 03:00:00;82,5;1,018\r\n"
    "27.03.2022 01:30:00;83;1,02\r\n"
    "27.03.2022 03:00:00;83,5;No Data\r\n"
)


def read(
    folder: Path, content: str | bytes, *, rows: int | None = None, name: str = "f.csv", **told: Any
) -> Table:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path, TableOptions(**told), rows=rows)


def write_parquet(folder: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), folder / "f.parquet", **options)
    return folder / "f.parquet"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_historian_export_in_local_time(tmp_path: Path, encoding: str) -> None:
    table = read(tmp_path, PI_EXPORT.encode(encoding), time_zone="Europe/Berlin")
    assert table.series == ("Kessel 3 Temp [°C]", "Kessel 3 Druck")
    assert table.units == {"Kessel 3 Temp [°C]": "°C", "Kessel 3 Druck": "bar"}
    assert table.counts == {"text": 3, "missing": 1, "dst_repeated": 4}
    hours = (table.event_time_ms[::2] - int(datetime(2021, 10, 31, tzinfo=UTC).timestamp() * 1000)) / 3.6e6
    assert hours[:6].tolist() == [-0.5, 0, 0.5, 1, 1.5, 2]
    assert hours[7] - hours[6] == 0.5
    np.testing.assert_array_equal(table.value[::2], [81.25, 81.5, np.nan, 82, 82.25, 82.5, 83, 83.5])
    said = " ".join(table.assumed)
    for word in (
        "delimiter semicolon",
        "decimal comma",
        "day first",
        "units in the row",
        "comes twice in autumn",
    ):
        assert word in said
    assert ("cp1252" in said) == (encoding == "cp1252")


def test_everything_told_is_not_assumed(tmp_path: Path) -> None:
    told = TableOptions(
        delimiter=";",
        decimal=",",
        encoding="cp1252",
        time_column="Zeit",
        time_format="%d.%m.%Y %H:%M:%S",
        time_zone="Europe/Berlin",
        units_row=True,
    )
    (tmp_path / "f.csv").write_bytes(PI_EXPORT.encode("cp1252"))
    table = read_table(tmp_path / "f.csv", told)
    guesses = [
        said for said in table.assumed if "delimiter" in said or "encoding" in said or "decimal" in said
    ]
    assert guesses == []
    assert table.num_rows == 8


@pytest.mark.parametrize(
    "time_type", [pa.timestamp("ns", "Europe/Berlin"), pa.timestamp("s"), pa.timestamp("us", "UTC")]
)
def test_parquet_wide(tmp_path: Path, time_type: Any) -> None:
    times = pa.array([T0 + 60_000, T0, None]).cast(pa.timestamp("ms")).cast(time_type)
    columns = {
        "a": pa.array([1.5, None, 9]),
        "b": pa.array([1, 2, 9], pa.int32()),
        "c": pa.array([True, False, None]),
        "d": pa.array(["1.5", "Bad", "9"]).dictionary_encode(),
        "e": pa.array([[1], [2], [9]]),
        "stamp": times,
    }
    table = read_table(write_parquet(tmp_path, columns))
    assert table.series == ("a", "b", "c", "d")
    assert table.event_time_ms.tolist() == [T0] * 4 + [T0 + 60_000] * 4
    np.testing.assert_array_equal(table.value, [np.nan, 2, 0, np.nan, 1.5, 1, 1, 1.5])
    assert table.counts == {"unparsed_time": 1, "missing": 1, "text": 1, "unsorted": 1}
    assert any("left aside: 'e'" in said for said in table.assumed)
    assert any("the first in row 3" in said for said in table.assumed)
    assert read_table(tmp_path / "f.parquet", rows=1).value.tolist() == [1.5, 1, 1, 1.5]


def test_parquet_long_with_dictionaries_in_several_groups(tmp_path: Path) -> None:
    names = pa.array(["b", "a", "c", "a", None, "b"]).dictionary_encode()
    path = write_parquet(
        tmp_path,
        {
            "ts": pa.array([T0 * 1_000_000 + i for i in range(6)], pa.timestamp("ns", "UTC")),
            "sensor": names,
            "value": pa.array([1, 2, 3, np.nan, 5, np.inf], pa.float32()),
        },
        row_group_size=2,
    )
    table = read_table(path)
    assert table.series == ("b", "a", "c")
    assert table.series_index.tolist() == [0, 1, 2, 1, 0]
    np.testing.assert_array_equal(table.value, [1, 2, 3, np.nan, np.nan])
    assert table.counts == {"bad_series": 1, "missing": 1, "infinite": 1, "duplicate_time": 2}


@pytest.mark.parametrize(
    "times",
    [
        pa.array(["2021-10-22", "2021-10-22 01:00"]),
        pa.array([T0, T0 + 3_600_000]),
        pa.array([T0 / 1000, T0 / 1000 + 3600]),
        pa.array([T0 * 1_000_000, (T0 + 3_600_000) * 1_000_000]),
    ],
)
def test_parquet_times_of_other_types(tmp_path: Path, times: Any) -> None:
    table = read_table(write_parquet(tmp_path, {"time": times, "a": [1.0, 2.0]}))
    assert table.event_time_ms.tolist() == [T0, T0 + 3_600_000]


def test_parquet_dates_in_folders_that_look_like_partitions(tmp_path: Path) -> None:
    folder = tmp_path / "year=2021"
    folder.mkdir()
    path = write_parquet(folder, {"date": pa.array([18_922], pa.int32()).cast(pa.date32()), "value": [1.0]})
    table = read_table(path)
    assert (table.series, table.event_time_ms.tolist()) == (("f",), [T0])


@pytest.mark.parametrize("kind", ["bool", "list", "decimal"])
def test_parquet_time_of_a_wrong_type(tmp_path: Path, kind: str) -> None:
    times = {
        "bool": pa.array([True]),
        "list": pa.array([[1]]),
        "decimal": pa.array([1]).cast(pa.decimal128(20, 0)),
    }[kind]
    path = write_parquet(tmp_path, {"time": times, "a": [1.0]})
    with pytest.raises(
        TableError, match="column 'time': expected timestamps, dates, text or numbers as time, but"
    ):
        read_table(path, TableOptions(time_column="time"))
    with pytest.raises(TableError, match="column 'time': expected timestamps"):
        read_table(path)


def test_damaged_parquet_and_gzip(tmp_path: Path) -> None:
    path = write_parquet(tmp_path, {"time": [T0], "a": [1.0]})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(TableError, match="begins as Parquet, but can't be read as such"):
        read_table(path)
    with pytest.raises(TableError, match="is gzip, but damaged or cut off"):
        read(tmp_path, gzip.compress(b"time,a\n" * 999)[:-9])


def test_ragged_rows_are_counted_never_shifted(tmp_path: Path) -> None:
    table = read(
        tmp_path, "time,a,b\n2021-10-22,1,2\n2021-10-23,3\n2021-10-24,4,5,6\n2021-10-25,7,8\nthe end\n"
    )
    assert table.value.tolist() == [1, 2, 7, 8]
    assert table.counts == {"ragged": 3}
    assert "3 row(s) left out, the first in line 3: 2 cells instead of 3" in table.assumed
    with pytest.raises(
        TableError, match="no row has as many cells as the header in line 1; line 2 has 5 cells"
    ):
        read(tmp_path, "time,a,b\n2021-10-22,1,5,2,5\n")


def test_a_delimiter_at_the_end_of_rows_or_header(tmp_path: Path) -> None:
    assert read(tmp_path, "time;a;b\n2021-10-22;1;2;\n2021-10-23;3;4;\n").value.tolist() == [1, 2, 3, 4]
    assert read(tmp_path, "time;a;b;\n2021-10-22;1;2\n2021-10-23;3;4\n").value.tolist() == [1, 2, 3, 4]
    assert read(tmp_path, "time;a;b;\n2021-10-22;1;2;\n;;;\n").counts == {}


def test_lines_above_the_header(tmp_path: Path) -> None:
    table = read(tmp_path, "# exported\n\n# by hand\nsep=;\ntime;a\n2021-10-22;1,5\nnever;2\n")
    assert table.value.tolist() == [1.5]
    assert "2 comment line(s) above the header skipped" in table.assumed
    assert any("first in line 7" in said for said in table.assumed)


def test_delimiters_inside_names_and_quotes(tmp_path: Path) -> None:
    table = read(tmp_path, "time;T1, °C;T2, °C\n2021-10-22;1,5;2,5\n")
    assert table.series == ("T1, °C", "T2, °C")
    table = read(tmp_path, 'time,"a;b","say ""x"""\n2021-10-22,1,2\n')
    assert table.series == ("a;b", 'say "x"')
    assert read(tmp_path, "time\ta\n2021-10-22\t1\n").series == ("a",)
    assert read(tmp_path, "time a\n1635042600 1\n", delimiter=" ").series == ("a",)


def test_a_quote_that_is_never_closed_is_said(tmp_path: Path) -> None:
    text = 'time,a\n2021-10-22,1\n2021-10-23,"2\n' + "".join(
        f"2021-10-24 {hour:02},3\n" for hour in range(20)
    )
    table = read(tmp_path, text)
    assert table.counts["quoted_lines"] == 20
    assert any("is there a quote that is never closed?" in said for said in table.assumed)


def test_zero_bytes_in_rows_are_text(tmp_path: Path) -> None:
    rows = "".join(f"2021-10-22 00:{minute:02},1\n" for minute in range(30))
    table = read(tmp_path, f"time,a\n{rows}2021-10-22 01:00,\x00\x00\n\x00\x00\x00,2\n")
    assert table.counts == {"text": 1, "unparsed_time": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a header and rows, but the file is empty"),
        (b" \n\n", "the file is empty"),
        (b"# only\n# comments\n", "holds only blank or comment lines"),
        (b"time,a\n", r"expected rows, but there is only a header \(line 1\)"),
        (b"time,a\n,\n,\n", r"all below the header \(line 1\) are empty"),
        (b"time,a\n,degC\n", "none of 1 could be read, the first in line 2: ''"),
        (b"temperature\n1\n2\n", "line 1 holds a single column: 'temperature'; .*--delimiter"),
        (b"a,b\n1,2\n3,4\n", "expected a column of times, but none of 'a', 'b' in line 1 .*--time-column"),
        (b"2021-10-22,1\n2021-10-23,2\n", "line 1 holds data, '2021-10-22,1'; put a line such as 'time,temp"),
        (b"time,a,a\n2021-10-22,1,2\n", "two columns are called 'a'; rename one of them"),
        (b"time,time,a\n2021-10-22,1,2\n", "two columns are called 'time'; rename one of them"),
        (b"time,a\n2021-10-22T00:00+25:00,1\n", "none of 1 could be read"),
        (
            b"time," + b"x" * 257 + b"\n2021-10-22,1\n",
            r"expected names of 1 to 256 bytes .* \(257 bytes\); rename",
        ),
        (
            b"time,a\n2021-10-22,x\n2021-10-23,\n",
            "none of 2 values is one, the first is 'x' in line 2; .*--decimal",
        ),
        (b"time,a\n\xc3\x28\x81\n", "expected cp1252 text, but it is not .*--encoding"),
        (b"PK\x03\x04" + bytes(100), "this is a zip or Excel workbook; export it as CSV"),
        (bytes(range(256)) * 40, "control characters, so this is no text"),
        (np.random.default_rng(0).bytes(100_000), "control characters, so this is no text"),
        (b"\x7fELF" + bytes(5000), "control characters, so this is no text"),
        (b"x" * 10_000_000, "line 1 is longer than 4 MB, so this is no table of rows"),
        (b"time,a\n2021-10-22,1\n2021-10-23," + b"1" * 40_000_000 + b"\n", "a row is longer than 16 MB"),
        (b'time,"a\n2021-10-22,1\n', "expected all names of columns on one line, but line 1 has a quote"),
    ],
    ids=range(22),
)
def test_hostile_files_get_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(TableError, match=message) as caught:
        read(tmp_path, content)
    sentence = str(caught.value)
    assert str(tmp_path / "f.csv") in sentence
    assert "\n" not in sentence
    assert len(sentence) < 500


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"delimiter": "::"}, "expected one ASCII character or 'tab' as --delimiter, but got '::'"),
        ({"delimiter": ";"}, "line 1 holds a single column with delimiter ';': 'time,a'"),
        ({"decimal": "'"}, "expected '.' or ',' as --decimal, but got"),
        ({"encoding": "klingon"}, "unknown encoding 'klingon'; examples for --encoding"),
        ({"encoding": "ascii"}, r"expected ascii text, but it is not \(byte 22\)"),
        ({"time_column": "when"}, r"there is no column 'when' \(--time-column\) among 'time', 'a'"),
        (
            {"time_format": "%d.%m.%Y"},
            r"none of 1 could be read, the first in line 2: '2021-10-22'; .*--time-format",
        ),
    ],
)
def test_wrong_options_get_one_sentence(tmp_path: Path, told: dict[str, Any], message: str) -> None:
    with pytest.raises(TableError, match=message):
        read(tmp_path, "time,a\n2021-10-22,1\n# °\n", **told)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="there is no such file; check the path"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(TableError, match="but this is a folder; name a file in it"):
        read_table(tmp_path)
    table = read(tmp_path, "time,a\n2021-10-22,1\n")
    assert table.path == str(tmp_path / "f.csv")


def test_files_larger_than_one_block_keep_their_line_numbers(tmp_path: Path) -> None:
    row = f"{T0},{'1' * 90}\n"
    text = "time,a\n" + row * 200_000 + "oops\n" + row + "never,1\n"
    table = read(tmp_path, text)
    assert table.counts["ragged"] == 1
    assert any("the first in line 200002: 1 cells" in said for said in table.assumed)
    assert any("the first in line 200004: 'never'" in said for said in table.assumed)
