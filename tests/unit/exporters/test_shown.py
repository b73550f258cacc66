"""Metrics of single series: what a wave brings, what was said before, and what leaves."""

from __future__ import annotations

import numpy as np

from pipeline.records import Profile, Shown

SHARD = ("plant", 3)
HOSTILE = 'TI "4711"\\n<b>'


def profile(series: str) -> Profile:
    labels = {"site": "Nord", "area": "R2", "equipment": "pump", "owner": "ops"}
    return Profile(series=series, name=f"name of {series}", unit="°C", labels=labels)


def shown(places, value, *, said=None, fault=0, learned=7) -> Shown:
    size = len(places)
    if said is None:
        said = np.full((size, 2, 1, 3), np.nan)
    return Shown(
        places=np.array(places),
        value=np.array(value, float),
        fault=np.full(size, fault, np.int8),
        said=said,
        readings_learned=np.full(size, learned),
    )


def test_values_and_what_was_said_stand_side_by_side(exported) -> None:
    exported.exporter.on_shown_series(*SHARD, [profile("a"), profile(HOSTILE)])
    said = np.array([[[[3.0, 2.0, 4.0]], [[np.nan] * 3]]])  # one step ago; nothing was said six steps ago
    exported.exporter.on_shown(*SHARD, shown([1], [3.5], said=said))
    assert exported.value("series_value", series=HOSTILE) == 3.5
    for name, value in (("forecast", 3.0), ("lower", 2.0), ("upper", 4.0)):
        assert exported.value(f"series_{name}", series=HOSTILE, forecaster="lstm", step="1") == value
        assert exported.value(f"series_{name}", series=HOSTILE, forecaster="lstm", step="6") is None
    assert exported.value("series_readings_learned", series=HOSTILE) == 7
    assert exported.value("series_value", series="a") is None, "no reading yet is not 0"
    assert {"series": "a", "name": "name of a", "unit": "°C", "site": "Nord", "area": "R2",
            "equipment": "pump", "owner": "ops"} in exported.rows("series_info")  # fmt: skip


def test_a_masked_step_keeps_the_value_and_says_why(exported) -> None:
    exported.exporter.on_shown_series(*SHARD, [profile("a")])
    exported.exporter.on_shown(*SHARD, shown([0], [3.5]))
    exported.exporter.on_shown(*SHARD, shown([0], [np.nan], fault=3))
    assert exported.value("series_value", series="a") == 3.5
    assert exported.value("series_quality", series="a", quality="out_of_range") == 1
    assert exported.value("series_quality", series="a", quality="good") == 0


def test_a_series_that_leaves_the_set_leaves_the_scrape(exported) -> None:
    exported.exporter.on_shown_series(*SHARD, [profile("a"), profile("b")])
    exported.exporter.on_shown(*SHARD, shown([0, 1], [1.0, 2.0]))
    exported.exporter.on_shown_series(*SHARD, [profile("b"), profile("c")])
    assert exported.value("series_value", series="a") is None
    assert exported.value("series_value", series="b") == 2.0, "what is known of those that stay is kept"
    exported.exporter.on_revoked(*SHARD)
    assert exported.rows("series_info") == exported.rows("series_value") == []
