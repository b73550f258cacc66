"""Numbers of series outlive a batch, and are bounded."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline.codec import CodecOptions, build_codec
from pipeline.codec.arrow_ids import ArrowIds
from pipeline.codec.ids import Ids, is_id
from pipeline.codec.reasons import Reason
from tests.unit.codec.batches import build_messages, dump


def test_series_is_the_same_tuple_until_a_new_id_comes() -> None:
    codec = build_codec(CodecOptions())
    one = build_messages([dump({"series": "a", "value": 1}), dump({"series": "b", "value": 1})])
    first = codec.decode(one).readings.series
    assert first == ("a", "b")
    assert codec.decode(one).readings.series is first
    assert codec.decode(build_messages([dump({"series": "", "value": 1})])).readings.series is first
    assert codec.decode(build_messages([dump({"series": "c", "value": 1})])).readings.series == (
        "a",
        "b",
        "c",
    )


def test_a_flood_of_invented_ids_does_not_stay() -> None:
    ids = Ids(max_kept=10)
    for batch in range(100):
        ids.renew()
        numbers = ids.read_all([f"{batch}/{number}" for number in range(8)], [None], [0] * 8)
        assert [ids.series[number] for number in numbers] == [f"{batch}/{number}" for number in range(8)]
        assert len(ids.series) <= 10 + 8
    assert ids.generation > 0


def test_columns_kept_are_forgotten_with_the_numbers() -> None:
    ids = Ids(max_kept=2)
    arrow_ids = ArrowIds(ids)
    column = pa.array(["a", "b", "c"])
    assert arrow_ids.read(column, 3, None).tolist() == [0, 1, 2]
    ids.renew()
    assert ids.find("c") == 0
    assert arrow_ids.read(column, 3, None).tolist() == [1, 2, 0]
    assert ids.series == ("c", "a", "b")


def test_columns_of_the_same_bytes_and_another_type_are_not_taken_for_each_other() -> None:
    offsets, text = pa.py_buffer(np.array([0, 3], dtype=np.int64).tobytes()), pa.py_buffer(b"abc")
    large = pa.Array.from_buffers(pa.large_string(), 1, [None, offsets, text])
    small = pa.Array.from_buffers(pa.string(), 1, [None, offsets, text])
    assert (large.to_pylist(), small.to_pylist()) == (["abc"], [""])
    ids = ArrowIds(Ids())
    assert ids.read(large, 1, None).tolist() == [0]
    assert ids.read(small, 1, None).tolist() == [-Reason.BAD_SERIES.value]


@pytest.mark.parametrize("text", ["a", " ", "x" * 256, "ü" * 128, "a/b", "\u2028", "\x7e", "\xa0"])
def test_is_id(text: str) -> None:
    assert is_id(text)


@pytest.mark.parametrize(
    "text", ["", "x" * 257, "ü" * 129, "a\nb", "\x00", "\x1f", "\x7f", "\x80", "\x9f", "\ud800"]
)
def test_is_no_id(text: str) -> None:
    assert not is_id(text)
    assert Ids().find(text) is Reason.BAD_SERIES
