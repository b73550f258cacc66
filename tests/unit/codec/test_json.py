"""JSON messages: what becomes of each part, and of what Telegraf and gateways send."""

from __future__ import annotations

import pytest

from pipeline.codec import CodecOptions, FieldOptions, build_codec
from tests.unit.codec.batches import (
    NOW_MS,
    build_messages,
    check_account,
    dump,
    list_outcomes,
    list_readings,
    list_rejections,
)

TELEGRAF = {
    "fields": {"temp": 81.4, "pressure": 3, "running": True, "mode": "auto"},
    "name": "boiler",
    "tags": {"unit": "b3", "host": "gw-1"},
    "timestamp": 1795415863,
}
TELEGRAF_FIELDS = FieldOptions(
    series="{tags.unit}/{name}/{field}", time="timestamp", values="fields.*", items="metrics"
)


def test_one_reading_a_message() -> None:
    messages = build_messages(
        [
            b'{"series": "boiler/3/temp", "time": 1795415863000, "value": 81.4}',
            b'{"series": "boiler/4/temp", "time": 1795415863500, "value": 7}',
            b'{"series": "boiler/3/temp", "time": 1795415864000, "value": null}',
        ],
        clock_ms=[5, 6, 7],
    )
    decoded = build_codec(CodecOptions()).decode(messages)
    check_account(decoded, messages)
    assert list_readings(decoded) == [
        (0, 0, "boiler/3/temp", 1_795_415_863_000, 81.4, "good"),
        (1, 0, "boiler/4/temp", 1_795_415_863_500, 7.0, "good"),
        (2, 0, "boiler/3/temp", 1_795_415_864_000, None, "missing"),
    ]
    assert decoded.readings.series == ("boiler/3/temp", "boiler/4/temp")
    assert decoded.readings.clock_ms is not None
    assert decoded.readings.clock_ms.tolist() == [5, 6, 7]
    assert decoded.rejected == ()


def test_good_readings_pass_beside_bad_ones_in_log_order() -> None:
    messages = build_messages(
        [
            dump([{"series": "a", "value": 1}, {"series": "", "value": 2}, {"series": "b", "value": [3]}]),
            b"nonsense",
            None,
            b"[]",
            dump({"series": "c", "value": 4, "time": {}}),
            dump([5, {"series": "a", "value": 6}]),
        ]
    )
    decoded = build_codec(CodecOptions()).decode(messages)
    check_account(decoded, messages)
    assert list_readings(decoded) == [
        (0, 0, "a", NOW_MS, 1.0, "good"),
        (5, 1, "a", NOW_MS, 6.0, "good"),
    ]
    assert list_rejections(decoded) == [
        (0, 1, "bad_series"),
        (0, 2, "wrong_type"),
        (1, -1, "not_decodable"),
        (4, 0, "wrong_type"),
        (5, 0, "wrong_type"),
    ]
    assert (decoded.tombstones, decoded.empty) == (1, 1)


def test_series_is_looked_at_before_time_and_time_before_value() -> None:
    message = dump({"series": "", "time": "x", "value": []})
    assert list_outcomes(build_codec(CodecOptions()).decode(build_messages([message])), 1) == [
        ("bad_series",)
    ]
    message = dump({"series": "a", "time": "x", "value": []})
    assert list_outcomes(build_codec(CodecOptions()).decode(build_messages([message])), 1) == [("bad_time",)]


def test_series_falls_back_to_the_key_and_time_to_the_broker() -> None:
    messages = build_messages(
        [b'{"value": 1}', b'[{"value": 2}, {"value": 3}]'], [b"a", "ü".encode()], [5, 6]
    )
    assert list_readings(build_codec(CodecOptions()).decode(messages)) == [
        (0, 0, "a", 5, 1.0, "good"),
        (1, 0, "ü", 6, 2.0, "good"),
        (1, 1, "ü", 6, 3.0, "good"),
    ]


def test_decimal_comma_is_an_option() -> None:
    values = ["81,4", "81", "-,5e1", "81.4", "1.234,5"]
    messages = build_messages([dump({"series": "a", "value": value}) for value in values])
    readings = list_readings(build_codec(CodecOptions(decimal=",")).decode(messages))
    assert [(value, fault) for *_, value, fault in readings] == [
        (81.4, "good"),
        (81.0, "good"),
        (-5.0, "good"),
        (None, "bad_quality"),
        (None, "bad_quality"),
    ]


def test_quality() -> None:
    qualities = ["Good", " GOOD ", "ok", 192, 192.0, "192", True, None, "Bad", "", 0, False, 0.5, {}, [192]]
    options = CodecOptions(fields=FieldOptions(quality="q"))
    messages = build_messages([dump({"series": "a", "value": 1, "q": quality}) for quality in qualities])
    decoded = build_codec(options).decode(messages)
    check_account(decoded, messages)
    expected = [*["good"] * 8, *["bad_quality"] * 5, *["wrong_type"] * 2]
    assert list_outcomes(decoded, len(qualities)) == [(word,) for word in expected]
    assert all(value is None for *_, value, fault in list_readings(decoded) if fault == "bad_quality")


def test_good_qualities_are_an_option() -> None:
    options = CodecOptions(fields=FieldOptions(quality="q", good=(0, "Uncertain")))
    messages = build_messages(
        [dump({"series": "a", "value": None, "q": quality}) for quality in (0, "uncertain", "good")]
    )
    # What its sender calls bad is bad, whether or not there is a value.
    assert list_outcomes(build_codec(options).decode(messages), 3) == [
        ("missing",),
        ("missing",),
        ("bad_quality",),
    ]


def test_dotted_paths() -> None:
    fields = FieldOptions(series="sensor.id", time="at.utc", value="data.v")
    messages = build_messages(
        [
            dump({"sensor": {"id": "a"}, "at": {"utc": "2026-11-23T07:00:00+01:00"}, "data": {"v": 1}}),
            dump({"sensor": "a", "at": None, "data": {"v": 1}}),
            dump({"sensor": {"id": "a"}, "data": 1}),
        ],
        b"key",
    )
    decoded = build_codec(CodecOptions(fields=fields)).decode(messages)
    check_account(decoded, messages)
    assert list_readings(decoded) == [
        (0, 0, "a", 1_795_413_600_000, 1.0, "good"),
        (1, 0, "key", NOW_MS, 1.0, "good"),
    ]
    assert list_rejections(decoded) == [(2, 0, "wrong_type")]


def test_telegraf_json_alone_and_in_a_batch() -> None:
    batch = {"metrics": [TELEGRAF, TELEGRAF | {"timestamp": 1795415864}]}
    messages = build_messages([dump(TELEGRAF) + b"\n", dump(batch), dump({"metrics": []})])
    decoded = build_codec(CodecOptions(fields=TELEGRAF_FIELDS, time_unit="s")).decode(messages)
    check_account(decoded, messages)
    names = {"b3/boiler/temp": 81.4, "b3/boiler/pressure": 3.0, "b3/boiler/running": 1.0}
    at = 1_795_415_863_000
    assert list_readings(decoded) == [
        (message, 3 * item + index, name, at + 1000 * item, value, "good")
        for message, item in ((0, 0), (1, 0), (1, 1))
        for index, (name, value) in enumerate(names.items())
    ]
    assert decoded.empty == 1


def test_texts_among_several_values() -> None:
    """A text there is another field, unless it is a number or a word known to stand for one."""
    fields = {"a": "auto", "b": "Bad", "c": "", "d": "81.4", "e": "2.0.1", "f": None, "g": {}}
    message = TELEGRAF | {"fields": fields}
    decoded = build_codec(CodecOptions(fields=TELEGRAF_FIELDS)).decode(build_messages([dump(message)]))
    assert [(series, value, fault) for _, _, series, _, value, fault in list_readings(decoded)] == [
        ("b3/boiler/b", None, "bad_quality"),
        ("b3/boiler/c", None, "missing"),
        ("b3/boiler/d", 81.4, "good"),
        ("b3/boiler/f", None, "missing"),
    ]
    assert list_rejections(decoded) == [(0, 4, "wrong_type")]


def test_quality_among_several_values_is_no_value() -> None:
    fields = FieldOptions(series="{name}/{field}", values="fields.*", quality="fields.Quality", good=("OK",))
    message = {"name": "opcua", "fields": {"temp": 81.4, "Quality": "OK"}, "timestamp": 1}
    messages = build_messages([dump(message), dump(message | {"fields": {"temp": 81.4, "Quality": 3}})])
    decoded = build_codec(CodecOptions(fields=fields)).decode(messages)
    assert list_outcomes(decoded, 2) == [("good",), ("bad_quality",)]
    assert decoded.readings.series == ("opcua/temp",)


def test_template_with_a_hole_does_not_fall_back_to_the_key() -> None:
    """All values of the object would get the one id."""
    messages = build_messages(
        [
            dump(TELEGRAF | {"tags": tags})
            for tags in ({}, {"unit": None}, {"unit": 1.5}, {"unit": 7}, {"unit": ""})
        ],
        b"key",
    )
    decoded = build_codec(CodecOptions(fields=TELEGRAF_FIELDS)).decode(messages)
    assert list_outcomes(decoded, 5) == [
        ("no_series",) * 3,
        ("no_series",) * 3,
        ("wrong_type",) * 3,
        ("good",) * 3,
        ("good",) * 3,
    ]
    assert "7/boiler/temp" in decoded.readings.series
    assert "/boiler/temp" in decoded.readings.series


def test_several_values_that_are_none() -> None:
    messages = build_messages(
        [dump({"fields": fields}) for fields in (None, [], 5)] + [b"{}", b'{"fields":{}}']
    )
    decoded = build_codec(CodecOptions(fields=TELEGRAF_FIELDS)).decode(messages)
    check_account(decoded, messages)
    assert list_outcomes(decoded, 5) == [*[("wrong_type",)] * 4, ()]
    assert decoded.empty == 1


def test_sparkplug_names_from_the_key_and_the_payload() -> None:
    """A bridge that writes the MQTT topic as the key, and Sparkplug's payload as JSON."""
    fields = FieldOptions(series="{@key}/{name}", time="timestamp", items="metrics")
    payload = {
        "timestamp": 1795415863000,
        "metrics": [
            {"name": "Boiler 3/Temp", "timestamp": 1795415862000, "datatype": "Double", "value": 81.4},
            {"name": "Pump", "datatype": "Boolean", "value": False},
            {"name": "Flow", "value": None},
        ],
        "seq": 3,
    }
    messages = build_messages([dump(payload), dump(payload)], [b"spBv1.0/Plant/DDATA/gw-1/line-4", None])
    decoded = build_codec(CodecOptions(fields=fields)).decode(messages)
    check_account(decoded, messages)
    place = "spBv1.0/Plant/DDATA/gw-1/line-4"
    assert list_readings(decoded) == [
        (0, 0, f"{place}/Boiler 3/Temp", 1_795_415_862_000, 81.4, "good"),
        (0, 1, f"{place}/Pump", 1_795_415_863_000, 0.0, "good"),  # its time is the message's
        (0, 2, f"{place}/Flow", 1_795_415_863_000, None, "missing"),
    ]
    assert list_outcomes(decoded, 2)[1] == ("no_series",) * 3


@pytest.mark.parametrize("metrics", [5, None, {"name": "a"}, "x"])
def test_items_that_are_no_array(metrics: object) -> None:
    messages = build_messages([dump({"metrics": metrics})])
    decoded = build_codec(CodecOptions(fields=TELEGRAF_FIELDS)).decode(messages)
    assert list_outcomes(decoded, 1) == [("wrong_type",)]


def test_limits() -> None:
    options = CodecOptions(max_message_bytes=100, max_readings=2)
    reading = b'{"series":"a","value":1}'
    messages = build_messages(
        [
            b" " * 76 + reading,
            b" " * 77 + reading,
            b"[" + reading + b"," + reading + b"]",
            b"[{},{},{}]",
            b"[1,2,3]",
        ]
    )
    decoded = build_codec(options).decode(messages)
    check_account(decoded, messages)
    assert list_outcomes(decoded, 5) == [
        ("good",),
        ("=too_large",),
        ("good", "good"),
        ("=too_many_readings",),
        ("=too_many_readings",),
    ]


def test_payloads_that_would_shift_their_neighbours_in_a_joined_array() -> None:
    one = b'{"series":"a","value":1}'
    values = [
        one,
        one[:12],
        one[12:],
        one + b"," + one,
        one,
        b"",
        one + b"],[" + one,
        b'{"series":"',
        b'"}',
        one,
    ]
    decoded = build_codec(CodecOptions()).decode(build_messages(values))
    assert [place for place, *_ in list_readings(decoded)] == [0, 4, 9]
    assert {reason for *_, reason in list_rejections(decoded)} == {"not_decodable"}
