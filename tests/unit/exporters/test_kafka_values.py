from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.exporters.kafka_values import encode_json, select
from pipeline.kafka_options import EmitterOptions
from pipeline.records import Forecasts


def make_forecasts(values: np.ndarray) -> Forecasts:
    """One series, whose mean is `values`."""
    mean = values[None, None, :]
    return Forecasts(
        series=["a"],
        event_time_ms=np.array([60_000], dtype=np.int64),
        step_ms=np.array([60_000], dtype=np.int64),
        forecasters=("lstm",),
        mean=mean,
        lower=mean,
        upper=mean,
    )


def encode(values: np.ndarray) -> bytes:
    forecasts = make_forecasts(values)
    ((row, message),) = encode_json(forecasts, select(forecasts, EmitterOptions()))
    assert row == 0
    return message


@given(arrays(np.float32, 20, elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_numbers_become_the_same_float32(values: np.ndarray) -> None:
    read = np.array(json.loads(encode(values))["mean"], dtype=np.float32)
    assert read.tobytes() == values.tobytes()


def test_numbers_are_short() -> None:
    values = np.array([81.4, 0.1, -273.15, 1e-3, 0.0, 1013.25], dtype=np.float32)
    assert b'"mean":[81.4,0.1,-273.15,0.001,0.0,1013.25]' in encode(values)


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
    assert [row for row, _ in encode_json(forecasts, chosen)] == [0, 3]
    assert select(forecasts, EmitterOptions(forecasters=("rnn",))).is_empty
    assert select(forecasts, EmitterOptions(steps=(3,))).is_empty
