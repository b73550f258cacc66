"""Pages keep to their budget on clean series, and faults page: `tests.bench.alert_budget` in small."""

from __future__ import annotations

from tests.bench.alert_budget import FAULTS, run, run_singles

DAY = 144
"""Readings in it: one in ten minutes."""


def test_single_series_page_as_often_as_each_ones_budget_says() -> None:
    """Pooled over sixty series that each have a cut of their own."""
    pages = run_singles(60, 20, budget=0.2, day=DAY)
    assert 0.5 <= pages / (60 * 20 * 0.2) <= 1.5


def test_a_fleet_shares_its_budget_and_ten_faults_on_the_last_day_all_page() -> None:
    days = run(400, 14, 3, 5.0, per_series=False, faulty=True, day=DAY)
    clean = sum(map(len, days[:-1]))
    assert 0.5 <= clean / (5.0 * 13) <= 1.5
    assert set(range(FAULTS)) <= set(days[-1])
