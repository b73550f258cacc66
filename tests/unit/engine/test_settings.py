from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pipeline.engine.faults import find_faults
from pipeline.engine.options import IntakeOptions, LifeOptions, SensorAlertOptions
from pipeline.engine.rows import OFF, OUT_OF_RANGE
from pipeline.engine.series import SeriesTable
from pipeline.engine.settings import SeriesSettings
from pipeline.records import BAD_QUALITY, GOOD, MISSING


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cadence_ms": 0}, "expected cadence_ms to be a whole number of at least 1, got 0"),
        ({"season_ms": -1}, "expected season_ms to be a whole number of at least 0, got -1"),
        ({"silent_after_ms": True}, "expected silent_after_ms to be a whole number of at least 1, got True"),
        ({"minimum": 2.0, "maximum": 1.0}, "expected a minimum of at most the maximum, got 2.0 and 1.0"),
        ({"maximum": math.nan}, "expected a minimum of at most the maximum, got None and nan"),
        (
            {"off_when": ("~", 1.0)},
            "expected off_when to be one of < <= == != >= > and a number, got ('~', 1.0)",
        ),
    ],
)
def test_settings_out_of_range(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        SeriesSettings(**given)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (
            IntakeOptions,
            {"within_step": "median"},
            "within_step to be one of first, last, mean, but got 'median'",
        ),
        (IntakeOptions, {"placement": "crc"}, "placement to be one of producer, murmur2, but got 'crc'"),
        (IntakeOptions, {"lateness_ms": -1}, "lateness_ms to be a whole number of at least 0, but got -1"),
        (
            LifeOptions,
            {"retire_after_ms": 0},
            "retire_after_ms to be a whole number of at least 1, but got 0",
        ),
        (SensorAlertOptions, {"masked_in_a_row": 0}, "masked_in_a_row to be a whole number of at least 1"),
    ],
)
def test_options_out_of_range(kind: Any, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        kind(**given)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("operator", "off"),
    [
        ("<", [True, False, False]),
        ("<=", [True, True, False]),
        ("==", [False, True, False]),
        ("!=", [True, False, True]),
        (">=", [False, True, True]),
        (">", [False, False, True]),
    ],
)
def test_comparisons_of_off_when(operator: str, off: list[bool]) -> None:
    found = judge(SeriesSettings(off_when=(operator, 5.0)), [4.0, 5.0, 6.0], None)
    assert [fault == OFF for fault in found] == off


def test_which_fault_goes_before_which() -> None:
    declared = SeriesSettings(minimum=0.0, maximum=10.0, off_when=("<", 1.0))
    values = [-1.0, 11.0, 5.0, math.nan, 1.8e308, 5.0, -1.0]
    given = [GOOD, GOOD, GOOD, GOOD, GOOD, BAD_QUALITY, MISSING]
    assert judge(declared, values, given) == [OFF, OUT_OF_RANGE, GOOD, MISSING, MISSING, BAD_QUALITY, MISSING]


def judge(declared: SeriesSettings, values: list[float], given: list[int] | None) -> list[int]:
    table = SeriesTable()
    table.add("p", declared)
    faults = None if given is None else np.array(given, np.int8)
    return find_faults(table.columns, np.zeros(len(values), np.int64), np.array(values), faults).tolist()
