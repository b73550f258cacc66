"""InfluxDB line protocol."""

from __future__ import annotations

import pytest

from pipeline.codec import CodecOptions, FieldOptions, build_codec
from tests.unit.codec.batches import (
    NOW_MS,
    build_messages,
    check_account,
    list_outcomes,
    list_readings,
    list_rejections,
)

OPTIONS = CodecOptions(format="influx")


def read(text: str, options: CodecOptions = OPTIONS) -> list[tuple[str, float | None]]:
    return [
        (series, value)
        for _, _, series, _, value, _ in list_readings(
            build_codec(options).decode(build_messages([text.encode()]))
        )
    ]


def test_lines_as_telegraf_writes_them() -> None:
    lines = (
        'boiler,unit=b3,host=gw-1 temp=81.4,pressure=3i,starts=7u,running=true,mode="auto"'
        " 1795415863000000000\n"
        "boiler,host=gw-1,unit=b3 temp=81.5 1795415864999999999\n"
        "cpu usage=1e-3\n"
    )
    messages = build_messages([lines.encode(), b"# nothing\n"])
    decoded = build_codec(OPTIONS).decode(messages)
    check_account(decoded, messages)
    name = "boiler,host=gw-1,unit=b3"
    assert list_readings(decoded) == [
        (0, 0, f"{name}/temp", 1_795_415_863_000, 81.4, "good"),
        (0, 1, f"{name}/pressure", 1_795_415_863_000, 3.0, "good"),
        (0, 2, f"{name}/starts", 1_795_415_863_000, 7.0, "good"),
        (0, 3, f"{name}/running", 1_795_415_863_000, 1.0, "good"),
        (0, 4, f"{name}/temp", 1_795_415_864_999, 81.5, "good"),
        (0, 5, "cpu/usage", NOW_MS, 0.001, "good"),
    ]
    assert decoded.empty == 1


@pytest.mark.parametrize(
    ("text", "series"),
    [
        (r"we\ at\,her,ci\ ty=new\ york\,\ ny te\,mp\=x=1", "we at,her,ci ty=new york, ny/te,mp=x"),
        (r"m=x,a\=b=c\=d v=1", "m=x,a=b=c=d/v"),
        (r"m\n,t=C:\dir v\x=1", r"m\n,t=C:\dir/v\x"),
        (r"m,t=a\\ b v=1", r"m,t=a\ b/v"),
        ('m,t="quoted" "v"=1', 'm,t="quoted"/"v"'),
        ("messung,ort=Köln,größe=ß 温度=1", "messung,größe=ß,ort=Köln/温度"),
        ("m,b=1,a=2,b=3 v=1", "m,a=2,b=3/v"),
        ("  m v=1", "m/v"),
        ("m  v=1   5", "m/v"),
    ],
)
def test_names(text: str, series: str) -> None:
    assert read(text) == [(series, 1.0)]


def test_values() -> None:
    texts = [
        "1",
        "1.",
        ".5",
        "-1.5E+2",
        "+3",
        "7i",
        "-7i",
        "7u",
        "t",
        "T",
        "true",
        "True",
        "TRUE",
        "f",
        "FALSE",
    ]
    values = [1, 1, 0.5, -150, 3, 7, -7, 7, 1, 1, 1, 1, 1, 0, 0]
    line = "m " + ",".join(f"v{place}={text}" for place, text in enumerate(texts))
    assert [value for _, value in read(line)] == values


def test_texts_are_other_fields_unless_they_stand_for_a_number() -> None:
    line = r'm a="x, y=1 \"z\" \\",b="I/O Timeout",c="81.4",d="",e="two' + "\n" + r'lines",f=1 5000000'
    decoded = build_codec(OPTIONS).decode(build_messages([line.encode()]))
    assert [(series, time, fault) for _, _, series, time, _, fault in list_readings(decoded)] == [
        ("m/b", 5, "bad_quality"),
        ("m/c", 5, "good"),
        ("m/d", 5, "missing"),
        ("m/f", 5, "good"),
    ]


def test_a_broken_line_leaves_the_others() -> None:
    messages = build_messages([b"m a=1\nnonsense\nm b=x,c=2\n\n#\nm d=3 soon\nm e=4"])
    decoded = build_codec(OPTIONS).decode(messages)
    check_account(decoded, messages)
    assert [(index, series) for _, index, series, *_ in list_readings(decoded)] == [
        (0, "m/a"),
        (3, "m/c"),
        (5, "m/e"),
    ]
    assert list_rejections(decoded) == [(0, 1, "not_decodable"), (0, 2, "wrong_type"), (0, 4, "bad_time")]


@pytest.mark.parametrize(
    ("unit", "text", "time_ms"),
    [
        (None, "1795415863000000000", 1_795_415_863_000),
        (None, "1795415863", 1795),  # nanoseconds, however small
        ("s", "1795415863", 1_795_415_863_000),
        ("ms", "1795415863000", 1_795_415_863_000),
        ("us", "-1", -1),
        ("auto", "1795415863", 1_795_415_863_000),
    ],
)
def test_time_unit(unit: str | None, text: str, time_ms: int) -> None:
    codec = build_codec(CodecOptions(format="influx", time_unit=unit))
    decoded = codec.decode(build_messages([f"m v=1 {text}".encode()]))
    assert decoded.readings.event_time_ms.tolist() == [time_ms]


def test_template_value_and_quality() -> None:
    fields = FieldOptions(series="{tags.unit}/{name}/{field}", quality="fields.Quality", good=("OK",))
    line = 'boiler,unit=b3 temp=81.4,Quality="OK"\nboiler,unit=b4 temp=81.4,Quality="BAD"\nboiler temp=1'
    decoded = build_codec(CodecOptions(format="influx", fields=fields)).decode(
        build_messages([line.encode()])
    )
    assert list_outcomes(decoded, 1) == [("good", "bad_quality", "no_series")]
    assert decoded.readings.series == ("b3/boiler/temp", "b4/boiler/temp")

    one = CodecOptions(format="influx", fields=FieldOptions(series="tags.id", value="fields.value"))
    assert read("m,id=a value=1,other=2", one) == [("a", 1.0)]


def test_limit_of_readings() -> None:
    codec = build_codec(CodecOptions(format="influx", max_readings=2))
    decoded = codec.decode(build_messages([b"m a=1,b=2", b"m a=1,b=2\nm c=3"]))
    assert list_outcomes(decoded, 2) == [("good", "good"), ("=too_many_readings",)]
