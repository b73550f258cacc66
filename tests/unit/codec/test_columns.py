"""JSON columns."""

from __future__ import annotations

import pytest

from pipeline.codec import CodecOptions, FieldOptions, build_codec, plain_columns
from pipeline.codec.drafts import Draft
from pipeline.codec.fields import read_places
from pipeline.codec.ids import Ids
from pipeline.codec.plain_columns import PlainColumns
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


PLAIN = {"series": ["a", "b"], "time": [1795415863000, 1795415863001], "value": [1, 2.5]}


def is_plain(reader: PlainColumns, options: CodecOptions, *payloads: bytes) -> bool:
    draft = Draft(options, build_messages(payloads))
    found = reader.read(range(len(payloads)), payloads, draft)
    assert found is not None or not draft.places  # else they would be told of twice
    return found is not None


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"value": [1, None]},
        {"time": 1795415863000},
        {"series": "a"},
        {"series": ["a", ""]},
    ],
)
def test_what_is_plain(change: dict[str, object]) -> None:
    options = CodecOptions(format="columns")
    reader = PlainColumns(options, read_places(options), Ids())
    assert is_plain(reader, options, dump(PLAIN | change), dump(PLAIN | change))


@pytest.mark.parametrize(
    "options",
    [
        CodecOptions(format="columns", fields=FieldOptions(quality="q")),
        CodecOptions(format="columns", fields=FieldOptions(time="t.ms")),
        CodecOptions(format="columns", fields=FieldOptions(time="value")),
        CodecOptions(format="columns", time_unit="rfc3339"),
        CodecOptions(format="columns", max_readings=1),
    ],
)
def test_options_with_which_nothing_is_plain(options: CodecOptions) -> None:
    assert not is_plain(PlainColumns(options, read_places(options), Ids()), options, dump(PLAIN))


def test_numbers_kept_are_forgotten_with_the_ids() -> None:
    ids, options = Ids(max_kept=1), CodecOptions(format="columns")
    reader = PlainColumns(options, read_places(options), ids)
    assert is_plain(reader, options, dump(PLAIN))
    ids.renew()
    assert ids.find("b") == 0
    assert is_plain(reader, options, dump(PLAIN))
    assert ids.series == ("b", "a")


def test_texts_kept_are_bounded_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_columns, "MAX_CACHED_BYTES", 25)
    ids, options = Ids(), CodecOptions(format="columns")
    reader = PlainColumns(options, read_places(options), ids)
    names = [[f"a{k}", "b"] for k in range(5)] + [["a0", "b" * 40]]
    payloads = [dump(PLAIN | {"series": pair}) for pair in names]
    for _ in range(2):
        found = reader.read(range(6), payloads, Draft(options, build_messages(payloads)))
        assert found is not None
        assert [ids.series[number] for number in found.number] == [name for pair in names for name in pair]
        assert 0 < reader.cached_bytes <= 25
