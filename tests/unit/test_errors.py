"""Online errors against a slow reference that keeps everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasters.errors import PathErrors

NAMES = ("naive", "other")


class Reference:
    """All rows of one slot in lists; every figure from its definition."""

    def __init__(self, horizon: int, coverage: float) -> None:
        self.horizon, self.alpha = horizon, 1 - coverage
        self.value: list[float] = []
        self.masked: list[bool] = []
        self.counted: list[bool] = []
        self.said: list[np.ndarray] = []  # [3, E, H]

    def scores(self, origin: int, step: int) -> np.ndarray | None:
        """[M, E], or None where that target is masked."""
        target = origin + step
        if self.masked[target]:
            return None
        mean, lower, upper = self.said[origin][:, :, step - 1]
        y = self.value[target]
        levels = ((lower, self.alpha / 2), (upper, 1 - self.alpha / 2))
        pinball = sum(np.maximum(t * (y - q), (t - 1) * (y - q)) for q, t in levels) / 2
        error = np.abs(y - mean)
        return np.stack([error, error**2, (y < lower) | (y > upper), upper - lower, pinball])

    def means(self, steps: range) -> np.ndarray | None:
        """[M, E] mean over the counted origins whose last step lies inside the rows."""
        found = []
        for origin, counted in enumerate(self.counted):
            if not counted or origin + steps[-1] >= len(self.value):
                continue
            parts = [s for h in steps if (s := self.scores(origin, h)) is not None]
            if parts:
                found.append(np.mean(parts, axis=0))
        return np.mean(found, axis=0) if found else None

    def change(self) -> float:
        v, m = self.value, self.masked
        changes = [abs(v[i] - v[i - 1]) for i in range(1, len(v)) if not m[i] and not m[i - 1]]
        return float(np.mean(changes)) if changes else 0.0


def draw_rows(rng: np.random.Generator, slots: int, horizon: int, level: float):
    value = level + rng.normal(size=slots)
    masked = rng.random(slots) < 0.2
    mean = level + rng.normal(size=(slots, 2, horizon))
    width = rng.random((2, slots, 2, horizon)) * 2
    return np.where(masked, np.nan, value), masked, mean, mean - width[0], mean + width[1]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    horizon=st.integers(1, 6),
    rows=st.integers(1, 30),
    late=st.integers(0, 15),
    level=st.sampled_from([0.0, 1e6]),
)
def test_equals_the_slow_reference(seed: int, horizon: int, rows: int, late: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    errors = PathErrors(2, horizon, coverage=0.8, paths=(1, 3))
    references = [Reference(horizon, 0.8) for _ in range(3)]
    for row in range(rows):
        slots = rng.permutation(3 if row >= late else 2)  # slot 2 joins late
        value, masked, mean, lower, upper = draw_rows(rng, len(slots), horizon, level)
        counted = rng.random(len(slots)) < 0.7
        errors.add(slots, value, masked, mean, lower, upper, counted)
        for n, slot in enumerate(slots):
            kept = references[slot]
            kept.value.append(value[n])
            kept.masked.append(bool(masked[n]))
            kept.counted.append(bool(counted[n]))
            kept.said.append(np.stack([mean[n], lower[n], upper[n]]))
    scale = np.array([1.0, 2.0, 0.5])
    summary = errors.summary(NAMES, scale)
    for kind, keys in (("path", errors.paths), ("step", range(1, horizon + 1))):
        for key in keys:
            steps = range(1, key + 1) if kind == "path" else range(key, key + 1)
            check_averages({n: summary[n][kind][str(key)] for n in NAMES}, references, steps, scale)


def check_averages(got: dict, references: list[Reference], steps: range, scale: np.ndarray) -> None:
    found = [(r, s, m) for r, s in zip(references, scale, strict=True) if (m := r.means(steps)) is not None]
    for e, name in enumerate(NAMES):
        numbers = got[name]
        if not found:
            assert set(numbers.values()) == {None}
            continue
        about = lambda wanted: pytest.approx(np.mean(wanted), rel=1e-5, abs=1e-6)  # noqa: E731
        assert numbers["mae"] == about([m[0, e] / s for _, s, m in found])
        assert numbers["mse"] == about([m[1, e] / s**2 for _, s, m in found])
        assert numbers["rmse"] == about([np.sqrt(m[1, e]) / s for _, s, m in found])
        assert numbers["coverage"] == about([1 - m[2, e] for _, s, m in found])
        assert numbers["lowest_coverage"] == pytest.approx(min(1 - m[2, e] for _, s, m in found))
        assert numbers["width"] == about([m[3, e] / s for _, s, m in found])
        assert numbers["pinball"] == about([m[4, e] / s for _, s, m in found])
        assert numbers["skill"] == pytest.approx(1 - numbers["mae"] / got["naive"]["mae"])
        moving = [m[0, e] / r.change() for r, _, m in found if r.change() > 0]
        assert numbers["mase"] == (about(moving) if moving else None)


def feed(errors: PathErrors, values: list[float], *, counted: bool = True) -> None:
    for value in values:
        mean = np.full((1, 1, errors.horizon), value)
        row = np.array([value])
        errors.add(np.array([0]), row, np.isnan(row), mean, mean - 1, mean + 1, np.array([counted]))


def test_each_path_has_its_own_origins() -> None:
    errors = PathErrors(1, 3, paths=(1, 2))
    feed(errors, [0.0, 1.0, 3.0, 6.0])
    path = errors.summary(["naive"], np.ones(1))["naive"]["path"]
    assert path["1"]["mae"] == pytest.approx((1 + 2 + 3) / 3)
    assert path["2"]["mae"] == pytest.approx((2 + 3.5) / 2)
    assert path["3"]["mae"] == pytest.approx((1 + 3 + 6) / 3)


def test_a_restart_drops_what_was_pending_and_keeps_what_was_scored() -> None:
    errors = PathErrors(1, 2)
    feed(errors, [0.0, 1.0])
    errors.restart(np.array([0]))
    feed(errors, [100.0, 102.0])
    assert errors.count(1).tolist() == [2]
    step = errors.summary(["naive"], np.ones(1))["naive"]["step"]["1"]
    assert step["mae"] == pytest.approx((1 + 2) / 2)
    assert step["mase"] == pytest.approx(1.5 / 1.5)


def test_a_constant_series_has_neither_skill_nor_mase() -> None:
    errors = PathErrors(1, 1)
    feed(errors, [5.0] * 4)
    step = errors.summary(["naive"], np.ones(1))["naive"]["step"]["1"]
    assert (step["mae"], step["skill"], step["mase"]) == (0.0, None, None)


def test_a_series_without_scored_targets_or_scale_is_left_out() -> None:
    errors = PathErrors(1, 1)
    feed(errors, [5.0, 6.0], counted=False)
    assert errors.summary(["lstm"], np.ones(1))["lstm"]["path"]["1"]["mse"] is None
    feed(errors, [7.0, 9.0])
    assert errors.summary(["lstm"], np.ones(1))["lstm"]["path"]["1"] == pytest.approx(
        {"mse": 4.0, "mae": 2.0, "rmse": 2.0, "mase": 1.5, "skill": None, "coverage": 0.0,
         "lowest_coverage": 0.0, "width": 2.0,
         "pinball": 0.5 * (0.05 * 3 + 0.95 * 1)}
    )  # fmt: skip
    assert errors.summary(["lstm"], np.array([np.nan]))["lstm"]["path"]["1"]["mse"] is None


@pytest.mark.parametrize(("horizon", "coverage"), [(0, 0.9), (4, 1.0), (4, 0.0)])
def test_wrong_settings_are_named(horizon: int, coverage: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        PathErrors(1, horizon, coverage=coverage)
