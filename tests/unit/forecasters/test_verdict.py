"""Verdicts on one shard's figures and over several shards."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from forecasters.confidence import margin
from forecasters.verdict import T_975, Evidence, Figures, Verdict, combine, verdict

PAIR = ("lstm", "rnn")


def make_figures(difference: float, half_width: float, *, blocks: int = 50) -> Figures:
    return Figures.of(
        step=None, buckets=blocks * 96 + 5, blocks=blocks, block_length=96, difference=difference * 0.5,
        half_width=half_width * 0.5 if blocks >= 20 else math.inf, deviation=0.1, reference=0.5,
        statistic=None, p=None, leader=None, won=(3, 2, 1),
    )  # fmt: skip


def make_evidence(difference: float, half_width: float, *, blocks: int = 50, series: int = 100) -> Evidence:
    figures = make_figures(difference, half_width, blocks=blocks)
    return Evidence(
        names=("naive", "rnn", "lstm"), steps=(1,), pairs={PAIR: (figures, figures)},
        loss={"naive": (1.0, 2.0), "rnn": (0.9, 1.0), "lstm": (1.1, 0.5)}, series=series,
        span_ms=1000 * figures.buckets, bucket_ms=1000, left_out=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("difference", "half_width", "says"),
    [
        (-0.031, 0.009, "better"),
        (0.031, 0.009, "better"),
        (-0.031, 0.032, "undecided"),  # zero is inside
        (0.015, 0.004, "no material difference"),  # for sure, but too little
        (0.015, 0.006, "undecided"),  # zero is outside, two percent inside
        (0.0, 0.019, "no material difference"),
        (0.0, 0.021, "undecided"),
        (0.0, 0.0, "no material difference"),
        (-0.5, math.inf, "undecided"),
    ],
)
def test_verdict(difference: float, half_width: float, says: Verdict) -> None:
    assert verdict(difference, difference - half_width, difference + half_width) == says


def test_figures_are_relative_to_the_second() -> None:
    figures = make_figures(-0.03, 0.01)
    assert (figures.difference, figures.low, figures.high) == pytest.approx((-0.03, -0.04, -0.02))
    assert figures.verdict == "better"
    assert figures.needed == 0


def test_young_figures_say_how_many_readings_they_need() -> None:
    figures = make_figures(-0.03, 0.01, blocks=3)
    assert figures.verdict == "undecided"
    assert figures.needed == 20 * 96 - (3 * 96 + 5)
    assert math.isinf(figures.half_width)


def test_undecided_figures_say_how_many_more_would_do() -> None:
    figures = make_figures(-0.03, 0.04)
    assert figures.needed is not None
    blocks = (figures.needed + figures.buckets) // 96
    assert margin(blocks, 0.1 / 0.5) <= 0.03
    assert margin(int(blocks / 1.02) - 1, 0.1 / 0.5) > 0.03


def test_errors_of_nothing() -> None:
    """Where the second has no error at all, the difference is relative to the first's."""
    same, worse = (
        Figures.of(
            step=1, buckets=100, blocks=25, block_length=4, difference=d, half_width=0.0, deviation=0.0,
            reference=0.0, statistic=0.0, p=1.0, leader=None, won=(0, 0, 1),
        )
        for d in (0.0, 0.2)
    )  # fmt: skip
    assert (same.difference, same.verdict) == (0.0, "no material difference")
    assert (worse.difference, worse.verdict) == (1.0, "better")


def test_skill() -> None:
    evidence = make_evidence(0, 0.1)
    assert evidence.skill("lstm") == 0.75
    assert evidence.skill("lstm", 0) == pytest.approx(-0.1)


def test_one_shard_keeps_its_interval() -> None:
    one = combine([make_evidence(-0.03, 0.01)], PAIR)
    assert one is not None
    assert (one.difference, one.low, one.high) == pytest.approx((-0.03, -0.04, -0.02))
    assert (one.shards, one.ahead, one.behind, one.verdict) == (1, 1, 0, "better")


def test_many_shards_that_agree_narrow_the_interval() -> None:
    many = combine([make_evidence(-0.03, 0.04, series=s) for s in (100, 100, 100, 100)], PAIR)
    assert many is not None
    assert many.high - many.low == pytest.approx(0.04)
    assert (many.shards, many.ahead, many.series, many.verdict) == (4, 4, 400, "better")


def test_shards_that_disagree_widen_it() -> None:
    differences = [-0.06, 0.02, -0.05, 0.03, -0.04]
    many = combine([make_evidence(d, 0.001) for d in differences], PAIR)
    assert many is not None
    mean = sum(differences) / 5
    spread = math.sqrt(sum((d - mean) ** 2 for d in differences) / 4 / 5)
    assert many.high - many.difference == pytest.approx(stats.t.ppf(0.975, 4) * spread, rel=1e-3)
    assert (many.ahead, many.behind, many.verdict) == (3, 2, "undecided")


def test_shards_count_by_their_series() -> None:
    many = combine([make_evidence(-0.04, 0.01, series=300), make_evidence(0.0, 0.01, series=100)], PAIR)
    assert many is not None
    assert many.difference == pytest.approx(-0.03)


def test_young_shards_are_left_out_where_others_are_grown() -> None:
    evidence = [make_evidence(-0.03, 0.01), make_evidence(0.5, 0.01, blocks=2)]
    many = combine(evidence, PAIR)
    assert many is not None
    assert (many.shards, many.young, many.difference) == (1, 1, pytest.approx(-0.03))
    young = combine(evidence[1:], PAIR)
    assert young is not None
    assert (young.verdict, young.needed) == ("undecided", 20 * 96 - (2 * 96 + 5))


def test_nothing_to_combine() -> None:
    assert combine([], PAIR) is None
    with pytest.raises(KeyError):
        combine([make_evidence(0, 0.1)], ("gru", "rnn"))


def test_table_of_student() -> None:
    for degrees, value in enumerate(T_975, 1):
        assert value == pytest.approx(stats.t.ppf(0.975, degrees), abs=1e-3)
    for degrees in (21, 40, 1000):
        assert 1.96 + 2.4 / degrees == pytest.approx(stats.t.ppf(0.975, degrees), abs=0.01)
