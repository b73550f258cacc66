"""When series report: cadence, spread, sampled or by exception, gaps."""

from __future__ import annotations

import numpy as np

from pipeline.inspection.rhythm import Rhythms, find_rhythms, find_shared_cadence


def find(*series: tuple[list[int], list[float]]) -> Rhythms:
    """Readings of each series, one series after the other."""
    index = np.concatenate([np.full(len(times), number) for number, (times, _) in enumerate(series)])
    times = np.concatenate([np.array(times, np.int64) for times, _ in series])
    return find_rhythms(len(series), index, times, np.concatenate([np.array(v, float) for _, v in series]))


def test_a_sampled_series_with_gaps() -> None:
    times = [1000 * k for k in (*range(10), 13, 14, 15, 80, 81)]
    rhythms = find((times, [1, 1, *range(13)]))
    assert rhythms.mode == ("sampled",)
    assert rhythms.cadence_ms.tolist() == [1000]
    assert rhythms.repeated[0] == 1 / 14
    assert (rhythms.first_ms[0], rhythms.last_ms[0]) == (0, 81_000)
    assert rhythms.counts == {"duplicate": 0, "late": 0, "gap": 3, "restart": 1}
    assert (rhythms.lowest[0], rhythms.highest[0]) == (0, 12)


def test_by_exception_is_told_by_uneven_gaps_and_news() -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.integers(1, 40, 200)) * 5000
    rhythms = find((times.tolist(), np.arange(200.0).tolist()))
    assert rhythms.mode == ("by_exception",)
    assert rhythms.cadence_ms[0] == 5000  # of the scan, that every gap is a multiple of
    times += rng.integers(0, 400, 200)
    jitter = find((times.tolist(), np.arange(200.0).tolist()))
    assert jitter.mode == ("by_exception",)
    assert jitter.cadence_ms[0] == jitter.short_ms[0]


def test_an_uneven_series_that_repeats_itself_is_sampled() -> None:
    times = np.cumsum(np.random.default_rng(0).integers(1, 40, 200)).tolist()
    assert find((times, [5.0] * 200)).mode == ("sampled",)


def test_too_short_empty_and_single() -> None:
    rhythms = find(([0, 1000, 2000], [1, 2, 3]), ([5], [4]), ([0, 1, 2], [np.nan] * 3), ([], []))
    assert rhythms.mode == ("unknown",) * 4
    assert rhythms.usable.tolist() == [3, 1, 0, 0]
    assert rhythms.readings.tolist() == [3, 1, 3, 0]
    assert rhythms.cadence_ms[0] == 1000
    assert np.isnan(rhythms.cadence_ms[1:]).all()


def test_late_and_duplicate_readings_are_counted_within_their_series() -> None:
    times = [0, 3000, 1000, 2000, 3000, 4000]
    rhythms = find((times, [0, 1, 2, 3, 4, 5]), ([0, 1000], [0, 1]))
    assert rhythms.counts["late"] == 2
    assert rhythms.counts["duplicate"] == 1


def test_a_cadence_is_shared_by_nine_of_ten() -> None:
    minutes = ([60_000 * k for k in range(9)], list(range(9)))
    hours = ([3_600_000 * k for k in range(9)], list(range(9)))
    assert find_shared_cadence(find(*[minutes] * 9, hours)) == 60_000
    assert find_shared_cadence(find(*[minutes] * 5, *[hours] * 5)) is None
    assert find_shared_cadence(find(([0], [1]))) is None
