"""Metrics of the comparison: sums over shards, figures by shard, and nothing where nothing is known."""

from __future__ import annotations

import numpy as np
import pytest

from forecasters.verdict import Evidence, Figures

PAIR = ("lstm", "naive")
STEPS = (1, 2, 3, 4, 6)


def evidence(difference: float, *, blocks: int = 40, won=(5, 2, 1)) -> Evidence:
    figures = tuple(
        Figures.of(
            step=step, buckets=blocks * 4, blocks=blocks, block_length=4, difference=difference,
            half_width=0.02, deviation=0.06, reference=2.0, statistic=-3.5, p=0.002,
            leader="lstm" if difference < 0 else None, won=won,
        )
        for step in (*STEPS, None)
    )  # fmt: skip
    loss = {name: (1.0,) * 6 for name in PAIR}
    return Evidence(
        names=PAIR,
        steps=STEPS,
        pairs={PAIR: figures},
        loss=loss,
        series=8,
        span_ms=1,
        bucket_ms=1,
        left_out=0,
    )


def test_series_are_summed_over_shards_and_figures_stand_by_shard(exported) -> None:
    for partition in (0, 1):
        exported.exporter.on_assigned("plant", partition)
    exported.exporter.on_evidence("plant", 0, evidence(-0.2))
    exported.exporter.on_evidence("plant", 1, evidence(0.1, won=(1, 6, 0)))
    assert exported.value("comparison_series", a="lstm", b="naive", step="6", result="won") == 6
    assert exported.value("comparison_series", a="lstm", b="naive", step="path", result="lost") == 8
    first = {"a": "lstm", "b": "naive", "step": "path", "topic": "plant", "partition": "0"}
    assert exported.value("comparison_mean_difference", **first) == pytest.approx(-0.1)
    assert exported.value("comparison_standard_error", **first) == pytest.approx(0.03 / np.sqrt(40))
    assert exported.value("comparison_confidence_half_width", **first) == pytest.approx(0.01)
    assert exported.value("comparison_leader", **first) == 1
    assert exported.value("comparison_leader", **{**first, "partition": "1"}) == 0
    assert {row["step"] for row in exported.rows("comparison_dm_statistic")} == {"1", "2", "4", "6", "path"}


def test_a_shard_that_goes_takes_its_figures_along(exported) -> None:
    exported.exporter.on_assigned("plant", 0)
    exported.exporter.on_evidence("plant", 0, evidence(-0.2))
    exported.exporter.on_reach("plant", 0, "lstm", np.array([1.0, 0.5, 0.2, 0.005]), 2)
    assert exported.value("training_gradient_reach_ratio", forecaster="lstm", lag="2") == 0.2
    assert exported.value("training_memory_length_readings", forecaster="lstm") == 2
    exported.exporter.on_revoked("plant", 0)
    assert exported.rows("comparison_mean_difference") == exported.rows("training_gradient_reach_ratio") == []
    assert exported.value("comparison_series", a="lstm", b="naive", step="1", result="won") == 0


def test_without_a_gradient_there_is_no_reach(exported) -> None:
    exported.exporter.on_assigned("plant", 0)
    exported.exporter.on_reach("plant", 0, "lstm", np.full(4, np.nan), None)
    assert exported.rows("training_gradient_reach_ratio") == []
    assert exported.rows("training_memory_length_readings") == []


def test_the_largest_wins_of_all_shards_each_way(exported) -> None:
    for partition in (0, 1):
        exported.exporter.on_assigned("plant", partition)
        wins = {f"s{partition}-{k}": (k - 14.5) / 100 for k in range(30)}
        exported.exporter.on_wins("plant", partition, PAIR, wins)
    rows = {row["series"] for row in exported.rows("comparison_series_difference")}
    assert rows == {f"s{p}-{k}" for p in (0, 1) for k in (*range(5), *range(25, 30))}
    exported.exporter.on_revoked("plant", 0)
    assert all(row["series"].startswith("s1") for row in exported.rows("comparison_series_difference"))
