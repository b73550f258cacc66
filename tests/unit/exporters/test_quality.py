"""Quality metrics: sums and counts over series, asserted on what is exported."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.exporters.catalogue import ERROR_BUCKETS
from pipeline.exporters.quality import LARGEST_ERROR, WINDOW, label_steps

SHARD = ("plant", 0)
OTHER = ("plant", 1)


def by_forecaster(naive: float, lstm: float) -> np.ndarray:
    return np.array([naive, lstm])[None, :, None]


@pytest.fixture
def assigned(exported):
    exported.exporter.on_assigned(*SHARD)
    return exported


@pytest.mark.parametrize(
    ("scored", "chosen"),
    [
        ((1,), (1,)),
        ((1, 2, 3), (1, 2, 3)),
        ((1, 2, 3, 4, 6, 8, 12, 16, 24), (1, 2, 4, 8, 16, 24)),
        ((1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 40, 48), (1, 2, 4, 8, 16, 32, 48)),
    ],
)
def test_a_chosen_few_of_the_scored_steps_are_labels(scored, chosen):
    assert label_steps(scored) == chosen


def test_known_labels_start_at_0(exported):
    scraped = exported.scrape()
    for name in ("forecasts_scored_total", "forecast_error_over_series", "forecast_scaled_error_count"):
        rows = exported.rows(name)
        assert {(r["forecaster"], r["step"]) for r in rows} == {
            (f, s) for f in ("naive", "lstm") for s in ("1", "2", "4", "6")
        }
        assert all(scraped[f"gatecast_{name}", frozenset(r.items())] == 0 for r in rows)
    assert len(exported.rows("forecast_interval_misses_total")) == 2 * 4 * 2


def test_each_series_weighs_the_same_whatever_its_rate(assigned, scores):
    """Series 0 has ten readings of error 1, series 1 one of error 5: 1 + 5, over two series."""
    for _ in range(10):
        assigned.exporter.on_wave(*SHARD, scores([0], by_forecaster(-1.0, 0.5)))
    assigned.exporter.on_wave(*SHARD, scores([1], by_forecaster(5.0, 0.25)))
    assert assigned.value("forecast_error_over_series", forecaster="naive", step="4") == 6.0
    assert assigned.value("forecast_error_over_series", forecaster="lstm", step="4") == 0.75
    assert assigned.value("forecast_scored_series", step="4") == 2
    assert assigned.value("forecasts_scored_total", forecaster="naive", step="4") == 11


def test_window_is_a_mean_at_first_and_forgets_afterwards(assigned, scores):
    errors = np.random.default_rng(0).normal(size=3 * WINDOW)
    mean = 0.0
    for at, error in enumerate(errors):
        assigned.exporter.on_wave(*SHARD, scores([3], error))
        mean += (abs(error) - mean) / min(at + 1, WINDOW)
    shown = assigned.value("forecast_error_over_series", forecaster="lstm", step="1")
    assert shown == pytest.approx(mean, rel=1e-4)


def test_unscored_places_count_nowhere(assigned, scores):
    scored = np.array([True, False, True, True, True])
    error = np.where(scored, 1.0, np.nan)
    wave = scores([0, 1], error, scored=scored, missed=True, width=error)
    assigned.exporter.on_wave(*SHARD, wave)
    assert assigned.value("forecasts_scored_total", forecaster="lstm", step="1") == 2
    assert assigned.value("forecasts_scored_total", forecaster="lstm", step="2") == 0
    assert assigned.value("forecast_scored_series", step="2") == 0
    assert assigned.value("forecast_scaled_error_sum", forecaster="lstm", step="2") == 0
    assert assigned.value("forecast_scaled_error_count", forecaster="lstm", step="2") == 0
    assert assigned.value("forecast_interval_misses_total", forecaster="lstm", step="2", side="above") == 0
    assert assigned.value("forecast_interval_scaled_width_count", forecaster="lstm", step="2") == 0
    assert assigned.value("forecast_interval_scaled_width_sum", forecaster="lstm", step="2") == 0


def test_misses_by_side_and_widths(assigned, scores):
    error = np.array([-3.0, 4.0, 5.0, 0.5])[:, None, None]
    missed = np.array([True, True, True, False])[:, None, None]
    assigned.exporter.on_wave(*SHARD, scores([0, 1, 2, 3], error, missed=missed, width=1.5))
    labels = {"forecaster": "naive", "step": "6"}
    assert assigned.value("forecast_interval_misses_total", side="below", **labels) == 1
    assert assigned.value("forecast_interval_misses_total", side="above", **labels) == 2
    assert assigned.value("forecast_interval_scaled_width_sum", **labels) == 6.0
    assert assigned.value("forecast_interval_scaled_width_count", **labels) == 4


def test_histogram_agrees_with_counting(assigned, scores):
    """Bounds belong to their bucket; zero, subnormal and enormous errors have their place too."""
    rng = np.random.default_rng(1)
    edges = np.array([0.0, 1e-40, *ERROR_BUCKETS, *np.nextafter(np.float32(ERROR_BUCKETS), np.float32(9e9))])
    errors = np.concatenate([edges, -edges, rng.lognormal(0, 3, 500)]).astype(np.float32)
    wave = scores(range(errors.size), errors[:, None, None])
    assigned.exporter.on_wave(*SHARD, wave)
    labels = {"forecaster": "lstm", "step": "1"}
    scraped = assigned.scrape()
    for bound in ERROR_BUCKETS:
        le = next(dict(k[1])["le"] for k in scraped if float(dict(k[1]).get("le", "nan")) == bound)
        shown = assigned.value("forecast_scaled_error_bucket", le=le, **labels)
        assert shown == (np.abs(errors) <= bound).sum(), bound
    assert assigned.value("forecast_scaled_error_bucket", le="+Inf", **labels) == errors.size
    assert assigned.value("forecast_scaled_error_sum", **labels) == pytest.approx(
        np.minimum(np.abs(errors), LARGEST_ERROR).sum(), rel=1e-5
    )


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_does_not_poison_the_sums(assigned, scores, broken):
    assigned.exporter.on_wave(*SHARD, scores([0], broken, width=broken))
    assert assigned.value("forecast_scaled_error_sum", forecaster="lstm", step="1") == LARGEST_ERROR
    assert assigned.value("forecast_error_over_series", forecaster="lstm", step="1") == LARGEST_ERROR
    assert assigned.value("forecast_scaled_error_bucket", forecaster="lstm", step="1", le="64.0") == 0


def test_replaced_forecasts_are_counted_even_if_nothing_was_scored(assigned, scores):
    assigned.exporter.on_wave(*SHARD, scores([0], 1.0, scored=False, replaced=(0, 3)))
    assert assigned.value("forecasts_replaced_total", forecaster="lstm") == 3
    assert assigned.value("forecasts_scored_total", forecaster="lstm", step="1") == 0


def test_a_retired_series_leaves_the_sums_and_its_slot_starts_anew(assigned, scores):
    assigned.exporter.on_wave(*SHARD, scores([0, 1], np.array([1.0, 10.0])[:, None, None]))
    assigned.exporter.on_series_left(*SHARD, np.array([1, 900]))  # 900 was never scored
    assert assigned.value("forecast_error_over_series", forecaster="lstm", step="1") == 1.0
    assert assigned.value("forecast_scored_series", step="1") == 1
    assigned.exporter.on_wave(*SHARD, scores([1], 3.0))
    assert assigned.value("forecast_error_over_series", forecaster="lstm", step="1") == 4.0


def test_shards_add_up_and_a_revoked_one_leaves_the_gauges_not_the_counters(assigned, scores):
    assigned.exporter.on_assigned(*OTHER)
    assigned.exporter.on_wave(*SHARD, scores([0], 1.0))
    assigned.exporter.on_wave(*OTHER, scores([0], 2.0))
    assert assigned.value("forecast_error_over_series", forecaster="lstm", step="1") == 3.0
    assigned.exporter.on_revoked(*OTHER)
    assert assigned.value("forecast_error_over_series", forecaster="lstm", step="1") == 1.0
    assert assigned.value("forecast_scored_series", step="1") == 1
    assert assigned.value("forecasts_scored_total", forecaster="lstm", step="1") == 2


def test_order_of_rows_and_of_waves_over_series_does_not_matter(exported, scores):
    errors = np.random.default_rng(2).normal(size=(40, 2, 5))
    exported.exporter.on_assigned(*SHARD)
    exported.exporter.on_assigned(*OTHER)
    exported.exporter.on_wave(*SHARD, scores(range(40), errors))
    one = exported.value("forecast_error_over_series", forecaster="lstm", step="6")
    for row in reversed(range(40)):
        exported.exporter.on_wave(*OTHER, scores([row], errors[row]))
    both = exported.value("forecast_error_over_series", forecaster="lstm", step="6")
    assert both == pytest.approx(2 * one, rel=1e-6)


def test_waves_of_any_slots_agree_with_one_reading_after_the_other(assigned, scores):
    """Slots that follow one another, shuffled ones and ones with holes; some scored at some steps only."""
    rng, windows, counted = np.random.default_rng(3), {}, np.zeros((4, 2, 5))
    for slots in (np.arange(30), rng.permutation(30), np.arange(5, 25), rng.permutation(60)[:20], [7]):
        error = rng.normal(size=(len(slots), 2, 5)) * 10.0 ** rng.integers(-3, 4, (len(slots), 2, 5))
        error, width = error.astype(np.float32), rng.random((len(slots), 2, 5), np.float32)
        scored, missed = rng.random((len(slots), 5)) < 0.7, rng.random((len(slots), 2, 5)) < 0.3
        assigned.exporter.on_wave(*SHARD, scores(slots, error, scored=scored, missed=missed, width=width))
        for n, slot in enumerate(slots):
            for q in np.flatnonzero(scored[n]):
                size = np.minimum(np.abs(error[n, :, q]), LARGEST_ERROR)
                windows.setdefault((slot, q), []).append(size)
                below, above = missed[n, :, q] & (error[n, :, q] < 0), missed[n, :, q] & (error[n, :, q] >= 0)
                counted[:, :, q] += size, width[n, :, q], below, above
    for e, forecaster in enumerate(("naive", "lstm")):
        for q, step in ((0, "1"), (1, "2"), (3, "4"), (4, "6")):
            labels = {"forecaster": forecaster, "step": step}
            means = [np.mean(sizes, axis=0)[e] for (_, at), sizes in windows.items() if at == q]
            found = [
                assigned.value("forecast_error_over_series", **labels),
                assigned.value("forecast_scaled_error_sum", **labels),
                assigned.value("forecast_interval_scaled_width_sum", **labels),
                assigned.value("forecast_interval_misses_total", side="below", **labels),
                assigned.value("forecast_interval_misses_total", side="above", **labels),
            ]
            assert found == pytest.approx([sum(means), *counted[:, e, q]], rel=1e-5)
            assert assigned.value("forecast_scored_series", step=step) == len(means)
            number = sum(len(sizes) for (_, at), sizes in windows.items() if at == q)
            assert assigned.value("forecast_scaled_error_count", **labels) == number
