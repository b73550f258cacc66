"""Hostile messages, by name: what senders broke, or made up to break a reader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from tests.unit.codec.batches import NOW_MS, arrow, dump, write_arrow


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """A message, the format that it pretends to be, and what is to come of it then (see `list_outcomes`)."""

    name: str
    format: str
    payload: bytes | None
    outcomes: tuple[str, ...]
    key: bytes | None = None
    clock_ms: int = NOW_MS


def build_corpus() -> list[Hostile]:
    return [
        *_json(),
        *_values(),
        *_series(),
        *_times(),
        *_columns(),
        *_arrow(),
        *_damaged_arrow(),
        *_influx(),
    ]


def _name(start: str) -> Iterator[str]:
    return (f"{start} {number}" for number in count(1))


WHOLE = ("=not_decodable",)


def _json() -> Iterator[Hostile]:
    good = b'{"series":"a","time":1795415863000,"value":1}'
    undecodable = {
        "empty": b"",
        "space": b" \n ",
        "zero byte": b"\x00",
        "zero bytes": b"\x00" * 4096,
        "text": b"hello",
        "html": b"<html><body>502 Bad Gateway</body></html>",
        "xml": b"<?xml version='1.0'?><value>1</value>",
        "csv": b"time;value\n1;2\n",
        "yaml": b"series: a\nvalue: 1\n",
        "python dict": b"{'series': 'a', 'value': 1}",
        "unquoted name": b'{series:"a","value":1}',
        "trailing comma": b'{"series":"a","value":1,}',
        "trailing comma in array": b"[" + good + b",]",
        "comment": b'{"series":"a","value":1 /* ok */}',
        "two objects": good + good,
        "two objects and a comma": good + b"," + good,
        "closes and opens an array": b"1],[2",
        "closes an array": good + b"]",
        "opens an array": b"[" + good,
        "only a comma": b",",
        "only a quote": b'"',
        "only a backslash": b"\\",
        "leading zero": b'{"series":"a","value":01}',
        "plus sign": b'{"series":"a","value":+1}',
        "bare point": b'{"series":"a","value":.5}',
        "hexadecimal": b'{"series":"a","value":0x1F}',
        "underscore": b'{"series":"a","value":1_000}',
        "decimal comma": b'{"series":"a","value":81,4}',
        "invalid utf-8 in a name": b'{"\xff":1,"series":"a","value":1}',
        "invalid utf-8 in a text": b'{"series":"\xff\xfe","value":1}',
        "overlong utf-8": b'{"series":"\xc0\x80","value":1}',
        "utf-8 of a surrogate": b'{"series":"\xed\xa0\x80","value":1}',
        "utf-8 cut": b'{"series":"\xe2\x82","value":1}',
        "latin-1": '{"series":"Kühler","value":1}'.encode("latin-1"),
        "utf-16": '{"series":"a","value":1}'.encode("utf-16"),
        "utf-32": '{"series":"a","value":1}'.encode("utf-32"),
        "line end in a text": b'{"series":"a\nb","value":1}',
        "bad escape": b'{"series":"\\x41","value":1}',
        "escape cut": b'{"series":"\\u00","value":1}',
        "arrays, 101 deep": b"[" * 101 + b"]" * 101,
        "arrays, 100 000 deep": b"[" * 100_000 + b"]" * 100_000,
        "objects, 100 000 deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        "arrays, never closed": b"[" * 1_000_000,
        "objects, never closed": b'{"a":' * 200_000,
        "mixed, 5 000 deep, in an unknown field": b'{"series":"a","value":1,"x":'
        + b'[{"y":' * 2500
        + b"1"
        + b"}]" * 2500
        + b"}",
        "deep behind brackets in texts": b'{"series":"a","value":1,"x":'
        + b'["]]]",' * 500
        + b"1"
        + b"]" * 500
        + b"}",
        "deep behind escaped quotes": b'{"series":"a","value":1,"x":'
        + b'["\\"]]]",' * 500
        + b"1"
        + b"]" * 500
        + b"}",
        "digits, a million": b'{"series":"a","value":' + b"9" * 1_000_000 + b"}",
        "random": np.random.default_rng(1).bytes(10_000),
        "gzip": bytes.fromhex("1f8b0800000000000003") + b"\x01" * 50,
        "confluent wire format": b"\x00\x00\x00\x00\x01\x02a\x02",
    }
    for name, payload in undecodable.items():
        yield Hostile(name=f"json: {name}", format="json", payload=payload, outcomes=WHOLE)
    for cut in (1, 5, 11, 20, 30, len(good) - 1):
        yield Hostile(name=f"json: cut after {cut} bytes", format="json", payload=good[:cut], outcomes=WHOLE)
    for name, payload in {"null": b"null", "true": b"true", "number": b"81.4", "text": b'"a"'}.items():
        yield Hostile(name=f"json: {name} alone", format="json", payload=payload, outcomes=("=wrong_type",))
    for name, payload, outcomes in (
        ("tombstone", None, ("tombstone",)),
        ("empty array", b"[]", ()),
        ("empty object", b"{}", ("no_series",)),
        ("byte order mark", b"\xef\xbb\xbf" + good, ("good",)),
        ("spaces around", b" \r\n\t" + good + b"\n", ("good",)),
        ("doubled name", b'{"series":"b","series":"a","value":9,"value":1}', ("good",)),
        ("unknown fields", b'{"series":"a","value":1,"unit":"K","x":[{}]}', ("good",)),
        ("100 deep", b'{"series":"a","value":1,"x":' + b"[" * 99 + b"]" * 99 + b"}", ("good",)),
        ("brackets in texts", dump({"series": "[" * 200, "value": 1}), ("good",)),
        ("brackets beside escapes", dump({"series": '\\"' + "[" * 200, "value": 1}), ("good",)),
        ("array in array", b"[[]]", ("wrong_type",)),
        ("mixed array", b'[1,null,"a",' + good + b",[],{},true]", (
            *("wrong_type",) * 3, "good", "wrong_type", "no_series", "wrong_type")),
        ("good, bad, good", b"[" + good + b',{"series":"b","value":{}},' + good + b"]", (
            "good", "wrong_type", "good")),
        ("too many readings", b"[" + b",".join([b"{}"] * 100_001) + b"]", ("=too_many_readings",)),
        ("too large", b" " * (4 * 1024 * 1024) + good, ("=too_large",)),
        ("a 10 MB id", b'{"series":"' + b"x" * 10_000_000 + b'","value":1}', ("=too_large",)),
    ):  # fmt: skip
        yield Hostile(name=f"json: {name}", format="json", payload=payload, outcomes=outcomes)


def _values() -> Iterator[Hostile]:
    values = {
        "good": [
            *("0", "-0.0", "1e308", "5e-324", "81.4", "true", "false", '"81.4"', '" 7 "', '"1e3"', '"on"'),
            *("9" * 300, "-" + "9" * 300, '"False"', "0." + "1" * 5000),
        ],
        "missing": ["null", "NaN", '""', '"  "', '"nan"', '"N/A"', '"null"', '"-"'],
        "bad_quality": [
            *('"Bad"', '"I/O Timeout"', '"No Data"', '"ERROR"', '"#REF!"', '"81,4"', '"1.234,5"', '"1_000"'),
            *("Infinity", "-Infinity", '"inf"', "1e400", "-1e999999", "9" * 400, '"1e400"', '"0x1F"'),
            *(f'"{"9" * 100_000}"', '"\\u0663"', '"81.4 °C"', '"\\u0000"', '"\\ud800"', '"--1"', '"e5"'),
        ],
        "wrong_type": ["{}", "[]", "[1]", '{"v":1}', '[{"a":[1]}]'],
    }
    for outcome, texts in values.items():
        for name, text in zip(_name(f"value: {outcome}"), texts, strict=False):
            payload = f'{{"series":"a","time":1795415863000,"value":{text}}}'.encode()
            yield Hostile(name=name, format="json", payload=payload, outcomes=(outcome,))
    yield Hostile(name="value: left out", format="json", payload=b'{"series":"a"}', outcomes=("wrong_type",))
    digits = b'{"series":"a","value":' + b"9" * 5000 + b"}"  # beyond what Python reads as a whole number
    yield Hostile(name="value: 5 000 digits", format="json", payload=digits, outcomes=WHOLE)


def _series() -> Iterator[Hostile]:
    def one(name: str, series: object, outcome: str, key: bytes | None = None) -> Hostile:
        payload = json.dumps({"series": series, "value": 1}).encode()
        return Hostile(name=f"series: {name}", format="json", payload=payload, outcomes=(outcome,), key=key)

    yield one("empty", "", "bad_series")
    yield one("empty, with a key", "", "bad_series", b"a")
    yield one("256 bytes", "x" * 256, "good")
    yield one("257 bytes", "x" * 257, "bad_series")
    yield one("128 two-byte letters", "ü" * 128, "good")
    yield one("129 two-byte letters", "ü" * 129, "bad_series")
    yield one("a million letters", "x" * 1_000_000, "bad_series")
    yield one("emoji", "🔥/3", "good")
    yield one("right-to-left", "\u202eabc", "good")
    yield one("slashes and dots", "../../etc/passwd", "good")
    yield one("quotes", "a\"b'c", "good")
    yield one("template", "{field}", "good")
    for code in (0, 7, 9, 10, 13, 27, 31, 127, 128, 133, 159):
        yield one(f"control character {code}", f"a{chr(code)}b", "bad_series")
    yield one("half a surrogate", "\ud83d", "bad_series")
    yield one("whole number", 17, "good")
    yield one("negative number", -17, "good")
    yield one("60 digits", 10**60, "bad_series")
    yield one("decimal", 17.5, "wrong_type")
    yield one("flag", True, "wrong_type")
    yield one("object", {"id": "a"}, "wrong_type")
    yield one("array", ["a"], "wrong_type")
    yield one("null, no key", None, "no_series")
    yield one("null, empty key", None, "no_series", b"")
    yield one("null, with a key", None, "good", b"a")
    yield one("key is not utf-8", None, "bad_series", b"\xff\xfe")
    yield one("key has a zero byte", None, "bad_series", b"a\x00")
    yield one("key of a megabyte", None, "bad_series", b"k" * 1_000_000)


def _times() -> Iterator[Hostile]:
    times = {
        "good": [
            *("1795415863", "1795415863000", "1795415863000000", "1795415863000000000", "1795415863.123"),
            *("0", "-1", "-1795415863000", "null", '"2026-11-23T06:37:43Z"', '"2026-11-23t06:37:43.5z"'),
            *('"2026-11-23 06:37:43.123456789+01:00"', '"2016-12-31T23:59:60Z"', '"0001-01-01T00:00:00Z"'),
            *('"9999-12-31T23:59:59.999Z"', '"1795415863000"', "4070908800000", "253402300799"),
            *("9223372036854775807", "-9223372036854775808", "9223372036854775808", "1.795415863e12"),
        ],
        "bad_time": [
            *("1e400", "NaN", "-Infinity", "9" * 400, "-" + "9" * 30, "1e300", '""', '"yesterday"'),
            *('"2026-11-23T06:37:43"', '"2026-11-23"', '"2026-02-30T00:00:00Z"', '"2026-13-01T00:00:00Z"'),
            *('"2026-11-23T24:00:00Z"', '"2026-11-23T06:60:00Z"', '"2026-11-23T06:37:61Z"'),
            *('"2026-11-23T06:37:43+25:00"', '"0001-01-01T00:00:00+01:00"', '"9999-12-31T23:59:59-01:00"'),
            *('"0000-01-01T00:00:00Z"', '"23.11.2026 06:37"', '"12345678901234567890123"'),
            *(f'"{"1" * 1_000_000}"', f'"{" " * 1_000_000}"', '"\\u0661"', '"2026-11-23T06:37:43Z\\n1"'),
        ],
        "wrong_type": ["true", "false", "{}", "[]", "[1795415863000]", '{"$date":1795415863000}'],
    }
    for outcome, texts in times.items():
        for name, text in zip(_name(f"time: {outcome}"), texts, strict=False):
            payload = f'{{"series":"a","time":{text},"value":1}}'.encode()
            yield Hostile(name=name, format="json", payload=payload, outcomes=(outcome,))
    yield Hostile(
        name="time: neither in the message nor from the broker",
        format="json",
        payload=b'{"series":"a","value":1}',
        outcomes=("no_time",),
        clock_ms=-1,
    )


def _columns() -> Iterator[Hostile]:
    for name, message, outcomes in (
        ("object", {"series": "a", "time": 1, "value": 1}, ("=wrong_type",)),
        ("array", [{"series": ["a"], "value": [1]}], ("=wrong_type",)),
        ("number", 5, ("=wrong_type",)),
        ("null", None, ("=wrong_type",)),
        ("no value", {"series": ["a"], "time": [1]}, ("=wrong_type",)),
        ("value is null", {"series": ["a"], "time": [1], "value": None}, ("=wrong_type",)),
        ("value is an object", {"series": ["a"], "value": {"0": 1}}, ("=wrong_type",)),
        ("series too short", {"series": ["a"], "time": [1, 2], "value": [1, 2]}, ("=wrong_type",)),
        ("series too long", {"series": ["a"] * 3, "value": [1, 2]}, ("=wrong_type",)),
        ("time too short", {"series": ["a", "b"], "time": [], "value": [1, 2]}, ("=wrong_type",)),
        ("empty object", {}, ("=wrong_type",)),
        ("empty arrays", {"series": [], "time": [], "value": []}, ()),
        ("one series for all", {"series": "a", "time": [1, 2], "value": [1, 2]}, ("good",) * 2),
        ("one time for all", {"series": ["a", "b"], "time": 5, "value": [1, 2]}, ("good",) * 2),
        ("no series", {"value": [1, 2]}, ("no_series",) * 2),
        ("series of all types", {"series": ["a", 1, None, 1.5, True, {}, [], ""], "value": [1] * 8}, (
            *("good",) * 2, "no_series", *("wrong_type",) * 4, "bad_series")),
        ("times of all types", {"series": "a", "time": [1, "1", None, {}, True, "x", 1e99], "value": [1] * 7},
            (*("good",) * 3, *("wrong_type",) * 2, *("bad_time",) * 2)),
        ("values of all types", {"series": "a", "value": [1, "1", None, {}, [], True, "Bad", "", 1e999]}, (
            *("good",) * 2, "missing", *("wrong_type",) * 2, "good", "bad_quality", "missing", "bad_quality",
        )),
        ("huge numbers", {"series": "a", "time": [10**30, 1], "value": [1, 10**400]}, (
            "bad_time", "bad_quality")),
        ("too many readings", {"series": "a", "value": [1] * 100_001}, ("=too_many_readings",)),
        ("nested arrays", {"series": [["a"]], "time": [[1]], "value": [[1]]}, ("wrong_type",)),
    ):  # fmt: skip
        yield Hostile(name=f"columns: {name}", format="columns", payload=dump(message), outcomes=outcomes)
    good = dump({"series": ["a", "b"], "time": [1, 2], "value": [1, 2]})
    for cut in (0, 1, 12, 30, len(good) - 1):
        yield Hostile(
            name=f"columns: cut after {cut} bytes", format="columns", payload=good[:cut], outcomes=WHOLE
        )
    yield Hostile(name="columns: tombstone", format="columns", payload=None, outcomes=("tombstone",))
    bomb = b'{"series":' + b"[" * 50_000 + b"]" * 50_000 + b',"value":[1]}'
    yield Hostile(name="columns: nested bomb", format="columns", payload=bomb, outcomes=WHOLE)


def _arrow() -> Iterator[Hostile]:
    time = pa.array([NOW_MS, NOW_MS + 1], pa.timestamp("ms"))
    value = pa.array([1.0, 2.0])
    ids = pa.array(["a", "b"])
    plain = pa.record_batch({"series": ids, "time": time, "value": value})
    zstd, lz4 = (ipc.IpcWriteOptions(compression=name) for name in ("zstd", "lz4"))
    bomb = pa.record_batch({"series": pa.array(["a"]), "value": [0.0], "x": pa.array([b"\0" * 50_000_000])})
    doubled = pa.RecordBatch.from_arrays([ids, value, value], names=["series", "value", "value"])
    extreme = pa.array([2**63 - 1, -(2**63)], pa.timestamp("s"))
    for name, payload, outcomes in (
        ("tombstone", None, ("tombstone",)),
        ("no rows", write_arrow(plain.slice(0, 0)), ()),
        ("two batches", write_arrow(plain, plain), ("good",) * 4),
        ("nulls everywhere", arrow(series=pa.array([None, "b"]), time=pa.array([1, None], pa.timestamp("us")),
            value=pa.array([1.0, None])), ("no_series", "missing")),
        ("nan and infinities", arrow(series=pa.array(["a"] * 3), value=[float("nan"), float("inf"), 1e308]), (
            "missing", "bad_quality", "good")),
        ("bad ids", arrow(series=pa.array(["", "x" * 257, "a\n", "a"]), value=[1.0] * 4), (
            *("bad_series",) * 3, "good")),
        ("bad ids in a dictionary", arrow(series=pa.array(["", "a"]).dictionary_encode(), value=value), (
            "bad_series", "good")),
        ("extreme times", arrow(series=ids, time=extreme, value=value), ("bad_time",) * 2),
        ("uint64 times", arrow(series=ids, time=pa.array([2**64 - 1, 1], pa.uint64()), value=value), (
            "good", "good")),
        ("no value column", arrow(series=ids, time=time), ("=wrong_type",)),
        ("no series column", arrow(time=time, value=value), ("no_series",) * 2),
        ("value is text", arrow(series=ids, value=pa.array(["1", "2"])), ("=wrong_type",)),
        ("value is a list", arrow(series=ids, value=pa.array([[1.0], [2.0]])), ("=wrong_type",)),
        ("value is null", arrow(series=ids, value=pa.nulls(2)), ("=wrong_type",)),
        ("series is a number", arrow(series=value, value=value), ("=wrong_type",)),
        ("series is binary", arrow(series=pa.array([b"\xff", b"a"]), value=value), ("=wrong_type",)),
        ("time is text", arrow(series=ids, time=ids, value=value), ("=wrong_type",)),
        ("time is a date", arrow(series=ids, time=time.cast(pa.date64()), value=value), ("=wrong_type",)),
        ("two value columns", write_arrow(doubled), ("=wrong_type",)),
        ("zstd", write_arrow(plain, options=zstd), WHOLE),
        ("lz4", write_arrow(plain, options=lz4), WHOLE),
        ("zstd bomb", write_arrow(bomb, options=zstd), WHOLE),
        ("too many readings", arrow(series=pa.array(["a"] * 100_001), value=np.zeros(100_001)), (
            "=too_many_readings",)),
        ("schema only", plain.schema.serialize().to_pybytes(), ()),
        ("batch without a schema", plain.serialize().to_pybytes(), WHOLE),
        ("end of stream only", b"\xff\xff\xff\xff\x00\x00\x00\x00", WHOLE),
        ("feather file", b"ARROW1\x00\x00" + write_arrow(plain) + b"ARROW1", WHOLE),
        ("parquet magic", b"PAR1" + b"\x00" * 100 + b"PAR1", WHOLE),
        ("json", b'{"series":["a"],"value":[1]}', WHOLE),
        ("empty", b"", WHOLE),
        ("length of 2 GiB", b"\xff\xff\xff\xff\xff\xff\xff\x7f" + b"\x00" * 64, WHOLE),
        ("negative length", b"\xff\xff\xff\xff\xff\xff\xff\xff" + b"\x00" * 64, WHOLE),
    ):  # fmt: skip
        yield Hostile(name=f"arrow: {name}", format="arrow", payload=payload, outcomes=outcomes)


def _damaged_arrow() -> Iterator[Hostile]:
    ids = pa.array(["boiler/1", "boiler/2", "boiler/3"])
    schema = pa.schema({"series": pa.string(), "value": pa.float64()})
    good = write_arrow(pa.record_batch({"series": ids, "value": [1.0, 2.0, 3.0]}, schema=schema))
    for cut in (1, 4, 7, 8, 50, 150, 250, len(good) // 2, len(good) - 60):
        yield Hostile(
            name=f"arrow: cut after {cut} bytes", format="arrow", payload=good[:cut], outcomes=WHOLE
        )
    text = good.index(b"boiler/1boiler/2")
    offsets = good.index(np.array([0, 8, 16, 24], dtype=np.int32).tobytes())
    for name, at, patch in (
        ("offset beyond the text", offsets + 4, (2**31 - 1).to_bytes(4, "little")),
        ("offset below zero", offsets + 4, (-5).to_bytes(4, "little", signed=True)),
        ("offsets that fall", offsets + 4, (20).to_bytes(4, "little")),
        ("text that is not utf-8", text, b"\xff\xfe"),
    ):
        payload = good[:at] + patch + good[at + len(patch) :]
        yield Hostile(name=f"arrow: {name}", format="arrow", payload=payload, outcomes=WHOLE)
    words = pa.DictionaryArray.from_arrays(pa.array([0, 1, 1], pa.int32()), pa.array(["a", "b"]))
    coded = arrow(series=words, value=[1.0, 2.0, 3.0])
    at = coded.rindex(np.array([0, 1, 1], dtype=np.int32).tobytes())
    for name, index in (("dictionary index too high", 7), ("dictionary index below zero", -1)):
        payload = coded[:at] + index.to_bytes(4, "little", signed=True) + coded[at + 4 :]
        yield Hostile(name=f"arrow: {name}", format="arrow", payload=payload, outcomes=WHOLE)


def _influx() -> Iterator[Hostile]:
    broken = {
        "measurement only": b"cpu",
        "no fields": b"cpu,host=a",
        "no fields, a time": b"cpu 1795415863000000000",
        "no measurement": b",host=a v=1",
        "tag without a value": b"cpu,host= v=1",
        "tag without a name": b"cpu,=a v=1",
        "tag without an equals sign": b"cpu,host v=1",
        "comma before the space": b"cpu,host=a, v=1",
        "field without a name": b"cpu =1",
        "field without an equals sign": b"cpu v",
        "comma after the fields": b"cpu v=1,",
        "two commas": b"cpu v=1,,w=2",
        "four parts": b"cpu v=1 1795415863000000000 5",
        "tag ends in a backslash": b"cpu,path=C:\\ v=1",
        "json": b'{"series":"a","value":1}',
        "zero byte": b"\x00",
    }
    for name, payload in broken.items():
        yield Hostile(name=f"influx: {name}", format="influx", payload=payload, outcomes=("not_decodable",))
    for name, payload, outcomes in (
        ("tombstone", None, ("tombstone",)),
        ("empty", b"", ()),
        ("line ends only", b"\n\r\n\n", ()),
        ("comments only", b"# a\n  # b", ()),
        ("texts only", b'cpu mode="auto",serial="A-17"', ()),
        ("not utf-8", b"cpu v=1\ncp\xff v=2", WHOLE),
        ("good, broken, good", b"cpu v=1\ncpu\ncpu w=2", ("good", "not_decodable", "good")),
        ("no value", b"cpu v=,w=1", ("wrong_type", "good")),
        ("text without quotes", b"cpu v=abc,w=1", ("wrong_type", "good")),
        ("hexadecimal", b"cpu v=0x1f", ("wrong_type",)),
        ("underscore", b"cpu v=1_000", ("wrong_type",)),
        ("negative unsigned", b"cpu v=-1u", ("wrong_type",)),
        ("i alone", b"cpu v=i", ("wrong_type",)),
        ("text behind a quoted text", b'cpu v="a"b', ("wrong_type",)),
        ("nan and infinities", b"cpu a=NaN,b=+Inf,c=-inf", ("missing", "bad_quality", "bad_quality")),
        ("beyond float64", b"cpu v=1e400", ("bad_quality",)),
        ("beyond int64", b"cpu v=99999999999999999999i", ("good",)),
        ("many digits", b"cpu v=" + b"9" * 1_000_000, ("bad_quality",)),
        ("many digits and an i", b"cpu v=" + b"9" * 1_000_000 + b"i", ("wrong_type",)),
        ("escapes", rb'm\,\ e,t\ a\=g=v\,\ a\=l f\,\ i\=e=1,s="\"\\, x=1" 1795415863000000000', ("good",)),
        ("backslashes", rb'm\x,t=a\\b f\n=1,s="\\" 1795415863000000000', ("good",)),
        ("quote never closed", b'cpu v="abc\ncpu w=1', ("wrong_type", "good")),
        ("line ends in a text", b'cpu s="a\nb\n# c",v=1\ncpu w=2', ("good", "good")),
        ("spaces", b"  cpu  v=1  1795415863000000000  \r\n\tcpu v=2\r\n", ("good", "good")),
        ("tags not sorted and doubled", b"cpu,b=1,a=2,b=3 v=1", ("good",)),
        ("time is a text", b"cpu v=1 now", ("bad_time",)),
        ("time is a decimal", b"cpu v=1 1795415863000000000.5", ("good",)),
        ("time beyond int64", b"cpu v=1 99999999999999999999", ("good",)),  # the year 5138
        ("time of 30 digits", b"cpu v=1 " + b"9" * 30, ("bad_time",)),
        ("time of a million digits", b"cpu v=1 " + b"9" * 1_000_000, ("bad_time",)),
        ("negative time", b"cpu v=1 -1", ("good",)),
        ("id too long", b"cpu,host=" + b"x" * 300 + b" v=1", ("bad_series",)),
        ("control character", b"cpu,host=a\x07 v=1", ("bad_series",)),
        ("many backslashes", b'cpu v="' + b"\\" * 1_000_001, ("wrong_type",)),
        ("many commas", b"cpu" + b"," * 1_000_000 + b" v=1", ("not_decodable",)),
        ("many equals signs", b"cpu " + b"=" * 1_000_000, ("not_decodable",)),
        ("many quotes", b"cpu " + b'="' * 500_000, ("not_decodable",)),
        ("many spaces", b"cpu" + b" " * 1_000_000, ("not_decodable",)),
        ("too many readings", b"m a=1\n" * 100_001, ("=too_many_readings",)),
    ):  # fmt: skip
        yield Hostile(name=f"influx: {name}", format="influx", payload=payload, outcomes=outcomes)


CORPUS = build_corpus()
