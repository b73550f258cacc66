"""What a codec can't be built from, and what is said then."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pipeline.codec import CodecOptions, FieldOptions


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"format": "avro"}, "expected format to be one of json, columns, arrow, influx, but got 'avro'"),
        ({"time_unit": "h"}, "expected time_unit to be one of auto, s, ms, us, ns, rfc3339, but got 'h'"),
        ({"decimal": ";"}, "expected decimal to be one of ., ,, but got ';'"),
        ({"max_readings": 0}, "expected max_readings to be a whole number of at least 1, but got 0"),
        ({"max_message_bytes": True},
            "expected max_message_bytes to be a whole number of at least 1, but got True"),
        ({"format": "columns", "fields": FieldOptions(items="x")},
            "expected no fields.items with format = 'columns', but got 'x'; templates, "
            "values and items are for "
            "json and influx"),
        ({"format": "arrow", "fields": FieldOptions(series="{a}")},
            "expected no template in fields.series with format = 'arrow', but got '{a}'; "
            "templates, values and "
            "items are for json and influx"),
        ({"format": "influx", "fields": FieldOptions(items="x")},
            "expected no fields.items with format = 'influx', but got 'x'; a message has lines"),
        ({"fields": FieldOptions(values="fields.*")},
            "expected fields.series with {field} beside fields.values = 'fields.*', because "
            "several values need "
            "ids of their own, such as '{name}/{field}'"),
    ],
)  # fmt: skip
def test_codec_options(settings: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(error)}$"):
        CodecOptions(**settings)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"time": ""}, "expected fields.time to be a path as 'tags.unit', but got ''"),
        ({"value": "a..b"}, "expected fields.value to be a path as 'tags.unit', but got 'a..b'"),
        ({"value": "fields.*"}, "expected fields.value to be a path as 'tags.unit', but got 'fields.*'"),
        ({"values": "fields"},
            "expected fields.values to be a path that ends in '*', as 'fields.*', but got 'fields'"),
        ({"values": "*.x"},
            "expected fields.values to be a path that ends in '*', as 'fields.*', but got '*.x'"),
        ({"series": "{a.}"}, "expected fields.series to be a path as 'tags.unit', but got 'a.'"),
        ({"series": "{a"},
            "expected fields.series to close each brace, as in '{tags.unit}/{name}', but got '{a'"),
        ({"series": "{}"},
            "expected fields.series to close each brace, as in '{tags.unit}/{name}', but got '{}'"),
        ({"value": "v", "values": "f.*"},
            "expected fields.value or fields.values, but got both, 'v' and 'f.*'; leave out "
            "the one that does not "
            "hold"),
        ({"series": "{name}", "values": "f.*"},
            "expected fields.series to contain {field}, because fields.values = 'f.*' names "
            "several values that "
            "need ids of their own, but got '{name}'"),
        ({"good": ()},
            "expected fields.good to be a list of texts and whole numbers, such as ['Good', "
            "192], but got []"),
        ({"good": (1.5,)},
            "expected fields.good to be a list of texts and whole numbers, such as ['Good', "
            "192], but got [1.5]"),
    ],
)  # fmt: skip
def test_field_options(settings: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(error)}$"):
        FieldOptions(**settings)


def test_values_at_the_top() -> None:
    assert FieldOptions(series="{field}", values="*").values == "*"
