"""JSON columns."""

from __future__ import annotations

from pipeline.codec import CodecOptions, FieldOptions, build_codec
from tests.unit.codec.batches import NOW_MS, build_messages, check_account, dump, list_outcomes, list_readings


def test_readings_of_two_messages() -> None:
    messages = build_messages(
        [
            dump({"series": ["a", "b"], "time": [1795415863000, 1795415863001], "value": [1, 2.5]}),
            dump({"series": ["b", "c"], "time": ["2026-11-23T06:37:43Z", None], "value": ["Bad", None]}),
        ]
    )
    decoded = build_codec(CodecOptions(format="columns")).decode(messages)
    check_account(decoded, messages)
    assert list_readings(decoded) == [
        (0, 0, "a", 1_795_415_863_000, 1.0, "good"),
        (0, 1, "b", 1_795_415_863_001, 2.5, "good"),
        (1, 0, "b", 1_795_415_863_000, None, "bad_quality"),
        (1, 1, "c", NOW_MS, None, "missing"),
    ]
    assert decoded.readings.series == ("a", "b", "c")


def test_mapping_with_quality() -> None:
    fields = FieldOptions(series="tags", time="t.ms", value="v", quality="q")
    messages = build_messages(
        [
            dump({"tags": ["a", "b", "c"], "t": {"ms": 1795415863000}, "v": [1, 2, 3], "q": [192, 0, None]}),
            dump({"tags": "a", "v": [1, 2], "q": "bad"}),
            dump({"tags": "a", "v": [1, 2], "q": [192]}),
            dump({"v": [1]}),
        ],
        b"key",
    )
    decoded = build_codec(CodecOptions(format="columns", fields=fields, time_unit="ms")).decode(messages)
    check_account(decoded, messages)
    assert list_outcomes(decoded, 4) == [
        ("good", "bad_quality", "good"),
        ("bad_quality", "bad_quality"),
        ("=wrong_type",),
        ("good",),
    ]
    assert list_readings(decoded)[-1] == (3, 0, "key", NOW_MS, 1.0, "good")


def test_limit_of_readings() -> None:
    messages = build_messages([dump({"series": "a", "value": [1] * length}) for length in (2, 3)])
    decoded = build_codec(CodecOptions(format="columns", max_readings=2)).decode(messages)
    assert list_outcomes(decoded, 2) == [("good", "good"), ("=too_many_readings",)]
