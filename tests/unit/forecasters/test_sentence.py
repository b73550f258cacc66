"""The sentence in all its cases: who is ahead, how sure, against naive, at what cost."""

from __future__ import annotations

import math

import pytest

from forecasters.sentence import sentence
from forecasters.verdict import Combined, Verdict, verdict

DAY = 86_400_000


def make(
    difference: float, half_width: float, *, pair: tuple[str, str] = ("lstm", "rnn"), shards: int = 12,
    ahead: int = 11, series: int = 7912, span_ms: int = 7 * DAY, needed: int | None = 0,
) -> Combined:  # fmt: skip
    low, high = difference - half_width, difference + half_width
    says: Verdict = verdict(difference, low, high)
    return Combined(
        first=pair[0], second=pair[1], shards=shards, young=0, series=series, span_ms=span_ms,
        difference=difference, low=low, high=high, verdict=says, needed=needed, ahead=ahead,
        behind=shards - ahead,
    )  # fmt: skip


def against_naive(**skills: tuple[float, float]) -> dict[str, Combined]:
    return {name: make(-skill, half, pair=(name, "naive")) for name, (skill, half) in skills.items()}


BOTH = against_naive(lstm=(0.18, 0.01), rnn=(0.18, 0.01))


def test_lstm_ahead() -> None:
    assert sentence(make(-0.031, 0.009), BOTH, cpu_ratio=2.3) == (
        "7 days, 7 912 sensors: LSTM error 3.1 % below RNN (2.2–4.0), ahead in 11 of 12 shards; "
        "both beat the last value by 18 %; 2.3 times the CPU"
    )


def test_rnn_ahead() -> None:
    assert sentence(make(0.0417, 0.01, ahead=2), BOTH, cpu_ratio=2.3) == (
        "7 days, 7 912 sensors: RNN error 4.0 % below LSTM (3.1–4.9), ahead in 10 of 12 shards; "
        "both beat the last value by 18 %; LSTM takes 2.3 times the CPU"
    )


def test_no_material_difference() -> None:
    assert sentence(make(-0.004, 0.013), BOTH, cpu_ratio=2.3) == (
        "7 days, 7 912 sensors: no material difference between LSTM and RNN (LSTM error 0.4 % below RNN, "
        "between 0.9 above and 1.7 below; below 2 % counts as none); both beat the last value by 18 %; "
        "LSTM takes 2.3 times the CPU"
    )


def test_sure_but_immaterial() -> None:
    assert sentence(make(0.0101, 0.004), cpu_ratio=1.02) == (
        "7 days, 7 912 sensors: no material difference between LSTM and RNN (RNN error 1.0 % below LSTM, "
        "between 0.6 and 1.4; below 2 % counts as none); at the same CPU"
    )


def test_undecided_and_too_young() -> None:
    young = make(-0.012, math.inf, shards=1, ahead=1, series=1, span_ms=100 * 60_000, needed=1520)
    assert sentence(young) == (
        "100 minutes, 1 sensor: LSTM and RNN undecided, needs about 1 520 more readings of each sensor "
        "(so far LSTM error 1.2 % below RNN)"
    )


def test_undecided_and_rnn_ahead_so_far() -> None:
    open_yet = make(0.0101, math.inf, shards=1, ahead=0, series=12, span_ms=30 * 3_600_000, needed=1)
    assert sentence(open_yet) == (
        "30 hours, 12 sensors: LSTM and RNN undecided, needs about 1 more reading of each sensor "
        "(so far RNN error 1.0 % below LSTM)"
    )


def test_undecided_with_an_interval() -> None:
    assert sentence(make(-0.012, 0.02, ahead=7, needed=4000)) == (
        "7 days, 7 912 sensors: LSTM and RNN undecided, needs about 4 000 more readings of each sensor "
        "(so far LSTM error 1.2 % below RNN, between 0.8 above and 3.2 below, ahead in 7 of 12 shards)"
    )


def test_undecided_for_longer_than_can_be_said() -> None:
    assert sentence(make(-0.0199, 0.02, shards=1, needed=None)) == (
        "7 days, 7 912 sensors: LSTM and RNN undecided "
        "(so far LSTM error 2.0 % below RNN, between 0.0 above and 4.0 below)"
    )


@pytest.mark.parametrize(
    ("naive", "text"),
    [
        (against_naive(lstm=(0.18, 0.01), rnn=(0.16, 0.01)), "both beat the last value by 18 and 16 %"),
        (
            against_naive(lstm=(0.18, 0.01), rnn=(-0.03, 0.01)),
            "LSTM beats the last value by 18 %, RNN is 3 % worse",
        ),
        (
            against_naive(lstm=(0.0, 0.01), rnn=(0.16, 0.01)),
            "RNN beats the last value by 16 %, LSTM is no different from it",
        ),
        (
            against_naive(lstm=(0.18, 0.2), rnn=(0.16, 0.01)),
            "RNN beats the last value by 16 %, LSTM is undecided against it",
        ),
        (
            against_naive(lstm=(-0.05, 0.01), rnn=(-0.03, 0.01)),
            "neither beats the last value (LSTM is 5 % worse, RNN is 3 % worse)",
        ),
        (
            against_naive(lstm=(0.0, 0.01), rnn=(0.1, 0.2)),
            "neither beats the last value (LSTM is no different from it, RNN is undecided against it)",
        ),
        (
            against_naive(lstm=(0.18, 0.3), rnn=(-0.1, 0.2)),
            "whether they beat the last value is undecided (so far LSTM error 18 % below it, "
            "RNN error 10 % above it)",
        ),
        (against_naive(lstm=(0.18, 0.01)), "LSTM beats the last value by 18 %"),
        (against_naive(lstm=(-0.18, 0.01)), "LSTM does not beat the last value (is 18 % worse)"),
    ],
)
def test_against_the_last_value(naive: dict[str, Combined], text: str) -> None:
    assert sentence(make(-0.031, 0.009), naive).split("; ")[1] == text


@pytest.mark.parametrize(
    ("difference", "cpu_ratio", "text"),
    [
        (-0.03, 0.5, "RNN takes 2.0 times the CPU"),
        (0.03, 0.5, "2.0 times the CPU"),
        (0.03, 1.04, "at the same CPU"),
    ],
)
def test_cost(difference: float, cpu_ratio: float, text: str) -> None:
    assert sentence(make(difference, 0.001), cpu_ratio=cpu_ratio).endswith(f"; {text}")


@pytest.mark.parametrize(
    ("span_ms", "text"),
    [(0, "less than a second"), (1000, "1 second"), (119_000, "119 seconds"), (2 * DAY, "2 days"),
     (2 * DAY - 1, "47 hours")],
)  # fmt: skip
def test_span(span_ms: int, text: str) -> None:
    assert sentence(make(-0.03, 0.001, span_ms=span_ms)).startswith(f"{text}, ")


def test_nothing_yet() -> None:
    assert sentence(None) == "Nothing compared yet: no forecast of both has met its reading"


def test_other_names() -> None:
    assert "blend error 9.0 % below last value" in sentence(make(-0.09, 0.01, pair=("blend", "naive")))
    assert "mine error 9.0 % below gru2" in sentence(make(-0.09, 0.01, pair=("mine", "gru2")))
