"""The series file: which row says what about a series, what cells may hold, and how faults are named."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config import ConfigError
from pipeline.profiles import UNKNOWN, SeriesProfile
from pipeline.series_columns import COLUMNS
from pipeline.series_file import SeriesFile, SeriesRow, read_series_file

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "config" / "series.csv"

Read = Callable[..., SeriesFile]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(text: str | bytes) -> SeriesFile:
        path = tmp_path / "series.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_series_file(path)

    return read


def test_the_first_row_with_a_value_wins_in_each_column(read: Read) -> None:
    file = read(
        "match,name,unit,min,owner\n"
        "boiler/3/temp,Steam,,,\n"
        "boiler/*/temp,Any,°C,0,\n"
        "*,,,-5,shift\n"
        "boiler/3/temp,Never,K,9,never\n"
    )
    assert file.profile("boiler/3/temp") == SeriesProfile(name="Steam", unit="°C", minimum=0.0, owner="shift")
    assert file.profile("boiler/4/temp") == SeriesProfile(name="Any", unit="°C", minimum=0.0, owner="shift")
    assert file.profile("Boiler/4/temp") == SeriesProfile(minimum=-5.0, owner="shift")


def test_nothing_is_known_without_a_row() -> None:
    assert SeriesFile().profile("x") == UNKNOWN
    assert all(getattr(UNKNOWN, part.name) is None for part in dataclasses.fields(UNKNOWN))


def test_all_columns_are_read(read: Read) -> None:
    file = read(
        "match,name,unit,site,area,equipment,owner,severity,min,max,min_abs,min_rel,direction,cadence,mode,season,"
        "silent_after,off_when,watch\n"
        "a,N,U,S,A,E,O,Page,-1.5,1e3,.5,0.05,ABOVE,500ms,by_exception,1d,5m,>= 5,yes\n"
    )
    assert file.profile("a") == SeriesProfile(
        name="N",
        unit="U",
        site="S",
        area="A",
        equipment="E",
        owner="O",
        severity="page",
        minimum=-1.5,
        maximum=1000.0,
        min_abs=0.5,
        min_rel=0.05,
        direction="above",
        cadence_ms=500,
        mode="by_exception",
        season_ms=86_400_000,
        silent_after_ms=300_000,
        off_when=(">=", 5.0),
        watch=True,
    )
    fields = {part.name for part in dataclasses.fields(SeriesProfile)}
    assert {column.field for column in COLUMNS.values()} == fields


@pytest.mark.parametrize(
    ("column", "text", "field", "value"),
    [
        ("cadence", "60", "cadence_ms", 60_000),
        ("cadence", "60s", "cadence_ms", 60_000),
        ("cadence", "1.5h", "cadence_ms", 5_400_000),
        ("season", "0", "season_ms", 0),
        ("season", "1w", "season_ms", 604_800_000),
        ("off_when", "<5", "off_when", ("<", 5.0)),
        ("off_when", "= 0", "off_when", ("==", 0.0)),
        ("off_when", "!= -1.5", "off_when", ("!=", -1.5)),
        ("watch", "no", "watch", False),
        ("watch", "TRUE", "watch", True),
        ("severity", "ticket", "severity", "ticket"),
    ],
)
def test_cells(read: Read, column: str, text: str, field: str, value: object) -> None:
    assert getattr(read(f'match,{column}\na,"{text}"\n').profile("a"), field) == value


@pytest.mark.parametrize(
    "text",
    [
        "match;name;min\na/*;Ü;1,5\n",
        "match\tname\tmin\na/*\tÜ\t1.5\n",
        "\ufeffmatch,name,min\r\na/*,Ü,1.5\r\n",
        'match,name,min\n"a/*","Ü","1.5"\n',
        "# sensors, by hand\n\nmatch,name,min\n\n,,\na/*,Ü,1.5\n",
        "sep=;\nmatch;name;min\na/*;Ü;1.5;;\n",
        "match,name,min,,\na/*,Ü,1.5\n",
        " match , name , min \n a/* , Ü , 1.5 \n",
    ],
)
def test_files_as_spreadsheets_write_them(read: Read, text: str) -> None:
    assert read(text).profile("a/1") == SeriesProfile(name="Ü", minimum=1.5)


def test_encodings_of_spreadsheets(read: Read) -> None:
    text = "match;unit\na;°C\n"
    for encoding in ("cp1252", "utf-16", "utf-8-sig"):
        assert read(text.encode(encoding)).profile("a").unit == "°C"


def test_a_cell_may_hold_delimiters_and_quotes(read: Read) -> None:
    file = read('match,name\n"a,1","Pump ""7"", left"\n')
    assert file.profile("a,1").name == 'Pump "7", left'


def test_ids_with_brackets_need_no_escape(read: Read) -> None:
    file = read("match,name\nDevice[1].Temp,one\n")
    assert file.profile("Device[1].Temp").name == "one"
    assert file.profile("Device2.Temp").name is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a header such as match,name,unit, but the file holds no row"),
        ("# only\n\n", "expected a header such as match,name,unit, but the file holds no row"),
        ("match,nmae\n", "unknown column 'nmae'; did you mean 'name'?"),
        ("match,zzzz\n", "unknown column 'zzzz'; known are area, cadence, direction"),
        ("match,name,name\n", "expected each column once, but 'name' is there 2 times"),
        ("name,unit\n", "expected a column 'match', found name, unit"),
        (
            "match,min\na,1\nb,low\n",
            "row 3, column min: expected a number such as 12.5, found 'low'; or leave",
        ),
        ("match,min\na,nan\n", "row 2, column min: expected a number such as 12.5, found 'nan'"),
        ("match,min\na,1e999\n", "row 2, column min: expected a number such as 12.5, found '1e999'"),
        ("match,min,max\na,2,1\n", "row 2, column min: expected at most max, which is 1, found 2"),
        ("match,min_abs\na,-1\n", "column min_abs: expected a number of at least 0, such as 0.5, found '-1'"),
        ("match,severity\na,red\n", "column severity: expected one of page, ticket, info, found 'red'"),
        ("match,direction\na,up\n", "column direction: expected one of both, above, below, found 'up'"),
        ("match,mode\na,x\n", "column mode: expected one of sampled, by_exception, found 'x'"),
        (
            "match,cadence\na,5 parsecs\n",
            "column cadence: expected a length of time such as 500ms, 60s, 5m, 1h or 1d, or a number of "
            "seconds, found '5 parsecs'",
        ),
        ("match,cadence\na,0\n", "column cadence: expected a length of time"),
        ("match,cadence\na,99999999999999999d\n", "column cadence: expected a length of time"),
        ("match,season\na,x\n", "or a number of seconds, or 0 for none, found 'x'"),
        (
            "match,off_when\na,5\n",
            "column off_when: expected a comparison with a number, such as < 5, with one of < <= == != >= >, "
            "found '5'",
        ),
        ("match,off_when\na,< x\n", "column off_when: expected a comparison"),
        ("match,watch\na,maybe\n", "column watch: expected yes or no, found 'maybe'"),
        ('match,name\na,"x\ny"\n', "column name: expected at most 256 characters without line breaks"),
        (f"match,name\na,{'x' * 300}\n", "column name: expected at most 256 characters"),
        ("match,name\n\n,x\n", "row 3: expected a glob in column match, found none; * fits all series"),
        (
            "match,name\na,Pump, left\n",
            "row 2: expected 2 cells as in the header, found 'left' in cell 3; put cells with ',' in quotes",
        ),
        ('match,name\na,b\nc,"open\nd,e\n', "expected cells with closed quotes"),
        (b"PK\x03\x04" + b"sheet" * 9, "this is a zip or Excel workbook; export it as CSV"),
        (b"\xff\xfea", "expected utf-16-le text, but it is not (byte 0); save it as UTF-8"),
    ],
)
def test_faults_are_named(read: Read, tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "series.csv"))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.csv: expected a readable series file \(No such file"):
        read_series_file(tmp_path / "no.csv")


def test_rows_that_contradict_each_other_keep_the_upper_limit(read: Read) -> None:
    """A min above max would call every value out of range."""
    file = read("match,min,max\na,10,\nb,,-10\n*,-5,5\n")
    assert file.profile("a") == SeriesProfile(minimum=10.0)
    assert file.profile("b") == SeriesProfile(maximum=-10.0)
    assert file.profile("c") == SeriesProfile(minimum=-5.0, maximum=5.0)


def test_unmatched_keeps_the_order(read: Read) -> None:
    file = read("match\na/*\n")
    assert file.unmatched(["z", "a/1", "b"]) == ["z", "b"]


def test_bytes_give_the_same_profiles(read: Read) -> None:
    file = read_series_file(EXAMPLE)
    again = SeriesFile.from_bytes(file.to_bytes())
    assert again == file
    assert again.to_bytes() == file.to_bytes()
    for series in ("boiler/3/temp", "pump-7/flow", "valve-1/position", "x"):
        assert again.profile(series) == file.profile(series)
    empty = SeriesFile()
    assert SeriesFile.from_bytes(empty.to_bytes()) == empty


def test_bytes_do_not_depend_on_how_the_file_is_written(read: Read) -> None:
    assert read("match,name,unit\na,N,U\n").to_bytes() == read("unit;match;name\nU;a;N\n\n").to_bytes()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x00", "expected JSON with version and rows, found b'\\x00'; it is damaged"),
        (b"[]", "expected JSON with version and rows"),
        (b'{"version": 9, "rows": []}', "expected version 1, found 9; it was written by a newer gatecast"),
        (b'{"version": 1, "rows": 5}', "expected rows of known columns"),
        (b'{"version": 1, "rows": [{"match": "a", "colour": "red"}]}', "expected rows of known columns"),
        (b'{"version": 1, "rows": [{"match": "a", "min": "x"}]}', "row 1, column min: expected a number"),
    ],
)
def test_damaged_bytes_are_named(data: bytes, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SeriesFile.from_bytes(data)
    assert words in str(caught.value)
    assert str(caught.value).startswith("series file in the checkpoint: ")


def test_the_example_is_valid() -> None:
    file = read_series_file(EXAMPLE)
    assert file.profile("boiler/3/temp").severity == "page"
    assert file.profile("pump-7/flow").off_when == ("<", 5.0)
    assert file.unmatched(["anything"]) == []


@pytest.mark.parametrize(
    "glob", ["plant/{i}/*", "*-{i}", "*/{i}/*", "plant/*/{i}/*", "plant/{i}/t-{i}", "?lant/{i}/[tf]-*"]
)
def test_many_ids_against_many_globs_are_quick(glob: str) -> None:
    """Each against each is ten million tries, which took 3 to 5 s."""
    rows = tuple(SeriesRow(match=glob.format(i=i), settings={}, texts={}) for i in range(1_000))
    file = SeriesFile(rows)
    ids = [f"plant/{i % 1_500}/t-{i}" for i in range(10_000)]
    started = time.process_time()
    for series in ids:
        file.profile(series)
    assert time.process_time() - started < 1.5
