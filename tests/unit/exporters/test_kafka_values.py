from __future__ import annotations

import json

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.exporters.kafka_values import encode_json, select, shorten_float32
from pipeline.kafka_options import EmitterOptions
from pipeline.records import Forecasts


@given(arrays(np.float32, 20, elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_short_numbers_become_the_same_float32(values: np.ndarray) -> None:
    read = np.array(json.loads(msgspec.json.encode(shorten_float32(values).tolist())), dtype=np.float32)
    assert read.tobytes() == values.tobytes()


def test_short_numbers_are_short() -> None:
    values = np.array([81.4, 0.1, -273.15, 1e-3, 0.0, 1013.25], dtype=np.float32)
    assert shorten_float32(values).tolist() == [81.4, 0.1, -273.15, 1e-3, 0.0, 1013.25]


def test_what_is_no_number_stays_what_it_is() -> None:
    odd = shorten_float32(np.array([np.nan, np.inf, -np.inf, 3.4028235e38, 1e-45], dtype=np.float32))
    assert np.isnan(odd[0])
    assert odd[1] == np.inf
    assert odd[2] == -np.inf
    assert np.float32(odd[3]) == np.float32(3.4028235e38)
    assert np.float32(odd[4]) == np.float32(1e-45)


def test_every_nth_forecast_is_counted_on_the_grid() -> None:
    times = np.array([59_000, 60_000, 119_999, 180_000], dtype=np.int64)
    zeros = np.zeros((4, 1, 2), dtype=np.float32)
    forecasts = Forecasts(
        series=["a", "b", "c", "d"],
        event_time_ms=times,
        step_ms=np.full(4, 60_000, dtype=np.int64),
        forecasters=("lstm",),
        mean=zeros,
        lower=zeros,
        upper=zeros,
    )
    chosen = select(forecasts, EmitterOptions(every=3))
    assert [series for series, _ in encode_json(forecasts, chosen)] == ["a", "d"]
    assert select(forecasts, EmitterOptions(forecasters=("rnn",))).is_empty
    assert select(forecasts, EmitterOptions(steps=(3,))).is_empty
