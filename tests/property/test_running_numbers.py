"""Scale, averages, season, intervals, blend, gate and regression against slow, obvious references."""

from __future__ import annotations

import math
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasters import blend, build, chunks, nearest, scaling, season
from forecasters.blend import Blend
from forecasters.fields import Block, Fields, Places
from forecasters.intervals import Intervals
from forecasters.linear import FORGETTING, RIDGE, Linear
from forecasters.memory import CLIP, LINEAR_FEATURES, Wave
from forecasters.pace import MAX_TICK
from forecasters.pending import Pending
from forecasters.programs import Courier
from forecasters.recurrent import Recurrent
from forecasters.rows import Rows
from forecasters.steps import interpolation, scored_steps
from forecasters.timetable import BIN, SETTLED, Timetable

CPU = torch.device("cpu")
ROW = Rows(np.zeros(1, np.int64), 1, 1, CPU)
"""One series in slot 0, and padding. Columns are given alike to all, and that of the series looked at."""
SLOT = torch.zeros(1, dtype=torch.int64)
Floats = npt.NDArray[np.float64]


def columns(values: object, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """`[…]` as `[…, R]`."""
    given = torch.tensor(np.asarray(values), dtype=dtype)[..., None]
    return given.expand(*given.shape[:-1], ROW.padded).clone()


def block(fields: dict[str, object] | object) -> Block:
    own = Fields(fields, CPU)  # type: ignore[arg-type]
    own.grow(1)
    return own.take(ROW)


# -- steps -----------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(horizon=st.integers(1, 200), seed=st.integers(0, 99))
def test_interpolation_equals_numpy(horizon: int, seed: int) -> None:
    steps = scored_steps(horizon)
    assert steps[0] == 1
    assert steps[-1] == horizon
    assert list(steps) == sorted(set(steps))
    values = np.random.default_rng(seed).normal(size=len(steps))
    ours = torch.tensor(values, dtype=torch.float32) @ interpolation(horizon, CPU)
    expected = np.interp(np.arange(1, horizon + 1), steps, values)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_no_horizon_no_steps() -> None:
    with pytest.raises(ValueError, match="horizon: expected a whole number of at least 1, got 0"):
        scored_steps(0)


# -- scale and averages ----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), rate=st.sampled_from([0.3, 0.02, 1 / 168]))
def test_scale_equals_a_slow_reference(seed: int, rate: float) -> None:
    rng = np.random.default_rng(seed)
    b = block(scaling.FIELDS)
    n, variance, mase, smallest = 0, 0.0, 0.0, math.inf
    for _ in range(120):
        departure, difference = rng.standard_t(2, size=2)
        if rng.random() < 0.2:
            difference = 0.0
        seen = rng.random() < 0.9
        if not (seen and n):
            departure = difference = 0.0  # the first value is what it departs from
        scaling.update(
            b, *(columns(v) for v in (departure, difference, seen * max(rate, 1 / max(n, 1)))),
            columns(n < 3, torch.bool),
        )  # fmt: skip
        if seen and n >= 1:
            weight = max(rate, 1 / n)
            limit = math.inf if n < 3 else 4 * math.sqrt(variance)
            if n >= 3 and math.isfinite(smallest):
                limit = max(limit, smallest)
            variance = (1 - weight) * variance + weight * min(abs(departure), limit) ** 2
            mase = (1 - weight) * mase + weight * abs(difference)
            smallest = min(smallest, abs(difference) or math.inf)
        n += seen
        level = float(rng.normal() * 1e3)
        expected = max(math.sqrt(variance), 1e-6 * abs(level), smallest if n > 1 else 0, 1e-12)
        if math.isinf(expected):
            expected = max(math.sqrt(variance), 1e-6 * abs(level), 1e-12)
        scale, _ = scaling.scales(b, columns(level))
        assert float(scale[0]) == pytest.approx(expected, rel=2e-4)
        assert float(b["naive_error"][0]) == pytest.approx(mase, rel=1e-3, abs=1e-6)


def test_scale_without_winsor_is_the_plain_root_mean_square() -> None:
    departures = np.random.default_rng(0).uniform(-1, 1, 500)
    b = block(scaling.FIELDS)
    for n, d in enumerate((0.0, *departures)):
        weight = columns(1 / max(n, 1))
        scaling.update(b, columns(d), columns(d), weight, columns(n < 3, torch.bool))
    scale, _ = scaling.scales(b, columns(0.0))
    assert float(scale[0]) == pytest.approx(np.sqrt((departures**2).mean()), rel=1e-3)


@settings(deadline=None, max_examples=6)
@given(seed=st.integers(0, 10_000), steps=st.sampled_from([6, 24, 48]))
def test_averages_lags_and_range_equal_a_slow_reference(seed: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    bank = build(["naive"], horizon=3, device="cpu", chunk=2)
    bank.add(["a"], cadence_ms=1000, season_ms=1000 * steps)
    values = 100 + rng.normal(size=150).cumsum()
    n, fast, slow = 0, np.nan, np.nan
    for t, value in enumerate(values):
        masked = t > 0 and rng.random() < 0.1
        bank.step(np.array([0]), np.array([t * 1000]), np.array([value]), np.array([masked]))
        if masked:
            values[t] = values[t - 1]
            continue
        n += 1
        fast = value if n == 1 else fast + max(1 / max(steps / 3, 1), 1 / n) * (value - fast)
        slow = value if n == 1 else slow + max(1 / (7 * steps), 1 / n) * (value - slow)
        core = {k: v[0].numpy() for k, v in bank.memory.core.data.items()}
        origin = float(bank.timetable["origin"][0])
        assert origin == values[0]
        np.testing.assert_allclose(core["averages"] + origin, [fast, slow], rtol=1e-6)
        known = values[: t + 1][::-1][:4]
        np.testing.assert_allclose(core["lags"][: len(known)] + origin, known, rtol=1e-6)
        assert float(core["lowest"]) + origin == pytest.approx(values[: t + 1].min(), rel=1e-6)
        assert float(core["highest"]) + origin == pytest.approx(values[: t + 1].max(), rel=1e-6)


# -- season ----------------------------------------------------------------------------------------------


class OneSeason:
    """The season of a single series, driven as `Memory` drives it."""

    def __init__(self, steps: float) -> None:
        self.timetable = Timetable()
        self.timetable.grow(1)
        self.timetable.declare(np.array([0]), np.array([10]), np.array([10 * steps]))
        self.fields = Fields(season.FIELDS, CPU)
        self.fields.grow(1)

    def observe(self, t: int, value: float, seen: bool) -> None:
        a = self.timetable.arrive(ROW, np.array([10 * t]), np.array([value]), np.array([seen]))
        season.forget(self.fields, *(torch.from_numpy(c) for c in a.forgotten))
        at = a.place
        self.knows = at.knows_season is not None
        bins = torch.tensor(np.stack([at.at, 2 * season.BINS + at.at_profile]))
        places = Places(bins * self.fields.stride)
        weights = torch.tensor(a.rates[BIN:], dtype=torch.float32)
        new = torch.tensor([value], dtype=torch.float32)
        season.observe(self.fields, places, weights, new, all_seen=a.all_seen)
        if self.knows:
            now = self.timetable.find_places(0, np.array([10 * t]))
            columns = np.stack([now.phase, now.width, now.bins, now.at_profile, now.at])
            self.calendar = season.Calendar.of(torch.tensor(columns, dtype=torch.float32))

    def look_ahead(self, leads: torch.Tensor, fallback: float) -> tuple[Floats, Floats]:
        """(profile, season ago) `[N]`."""
        seen = season.glance(self.calendar, leads[:, None])
        places = Places((seen.bins * self.fields.stride).view(-1, 1))
        both = season.look_ahead(self.fields, places, seen, torch.tensor([fallback]))
        profile, ago = both[..., 0].numpy()
        return profile, ago


@pytest.mark.parametrize("steps", [2, 7, 24])
def test_one_step_a_bin_gives_exactly_what_was_measured_a_season_ago(steps: int) -> None:
    values = np.random.default_rng(steps).normal(size=5 * steps).astype(np.float32)
    one = OneSeason(float(steps))
    leads = torch.arange(0, steps, dtype=torch.float32)
    for t, value in enumerate(values):
        one.observe(t, float(value), True)
        if t < steps:
            continue
        profile, ago = one.look_ahead(leads, 0.0)
        np.testing.assert_allclose(ago, values[t - steps : t], rtol=1e-6, atol=1e-6)
        mean = [values[: t + 1][(t + k) % steps :: steps].mean() for k in range(steps)]
        np.testing.assert_allclose(profile, mean, rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), steps=st.sampled_from([3.0, 10.5, 24.0, 48.0, 96.0, 100.0, 37.5, 1440.0]))
def test_season_equals_a_slow_reference(seed: int, steps: float) -> None:
    rng = np.random.default_rng(seed)
    bins = min(round(steps), 24)
    width = steps / bins
    one = OneSeason(steps)
    seen_by_bin: dict[int, list[float]] = defaultdict(list)
    profile: dict[int, tuple[float, int]] = {}
    t = 0
    for k in range(300):
        t += int(rng.choice([1, 1, 1, 1, 2, 5])) * max(1, int(steps / 60)) if k else 0
        if k and rng.random() < 0.004:  # the reference counts from the first reading, at 0
            t += int(rng.integers(1, 4 * steps))
        value, seen = float(rng.normal()), bool(rng.random() < 0.9)
        one.observe(t, value, seen)
        now = math.floor(t / width + 1e-9)
        if seen:
            seen_by_bin[now].append(value)
            old, n = profile.get(now % bins, (0.0, 0))
            rate = max(1 / (n + 1), 0.1 / width)
            profile[now % bins] = (old + rate * (value - old), n + 1)
        assert one.knows == (t >= steps)
        if not one.knows:  # nobody looks ahead
            continue
        leads = np.unique(np.round(rng.uniform(0, steps - 1, 6)))
        centre = (width - 1) / (2 * width)
        expected_profile, expected_ago = [], []
        for lead in leads:
            x = (t + lead) / width - centre + 1e-9
            left = math.floor(x)
            around = [profile.get(j % bins, (-7.0, 0))[0] for j in (left, left + 1)]
            said = float(np.interp(x, [left, left + 1], around))
            expected_profile.append(said)
            x -= bins
            left = math.floor(x)
            known = [seen_by_bin.get(j) if j <= now else None for j in (left, left + 1)]
            means = [np.mean(values) if values else None for values in known]
            if left < 0 or left > now or means[0] is None:
                expected_ago.append(said)
            else:
                right = means[0] if means[1] is None else means[1]
                expected_ago.append(float(np.interp(x, [left, left + 1], [means[0], right])))
        ours, ago = one.look_ahead(torch.tensor(leads, dtype=torch.float32), -7.0)
        np.testing.assert_allclose(ours, expected_profile, rtol=1e-3, atol=2e-4)
        np.testing.assert_allclose(ago, expected_ago, rtol=1e-3, atol=2e-4)


# -- intervals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coverage", [0.8, 0.9])
@pytest.mark.parametrize("noise", ["normal", "exponential", "heavy"])
def test_intervals_cover_what_was_asked_for(noise: str, coverage: float) -> None:
    rng = np.random.default_rng(1)
    rows = Rows(np.arange(8), 8, 8, CPU)
    intervals = Intervals(1, (1, 12), coverage, CPU)
    intervals.fields.grow(8)
    every = torch.ones(2, 64, dtype=torch.bool)
    covered = []
    for _ in range(3000):
        draw = {
            "normal": rng.normal(size=(1, 2, 64)),
            "exponential": rng.exponential(size=(1, 2, 64)),
            "heavy": rng.standard_t(3, size=(1, 2, 64)),
        }[noise]
        error = torch.tensor(0.3 * np.abs(draw), dtype=torch.float32)
        half = intervals.half_width(rows)
        covered.append((error <= half)[..., :8].numpy())
        intervals.learn(rows, error, half, every, all_valid=True)
    shares = np.mean(covered[500:], axis=0)
    assert (np.abs(shares.mean((0, 2)) - coverage) < 0.02).all()
    assert (np.abs(shares - coverage) < 0.03).all()


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), coverage=st.sampled_from([0.5, 0.9, 0.99]))
def test_interval_equals_a_slow_reference(seed: int, coverage: float) -> None:
    rng = np.random.default_rng(seed)
    scored = (1, 8, 12, 24)
    intervals = Intervals(2, scored, coverage, CPU)
    intervals.fields.grow(1)
    mean, log_factor, judged = np.ones((2, 4)), np.zeros((2, 4)), np.zeros(4)
    for _ in range(60):
        half = mean * 2.06 * np.exp(log_factor)
        np.testing.assert_allclose(intervals.half_width(ROW)[..., 0].numpy(), half, rtol=1e-4)
        error, valid = rng.exponential(size=(2, 4)) * 10.0 ** rng.uniform(-2, 2), rng.random(4) < 0.8
        intervals.learn(
            ROW, *(columns(a) for a in (error, half)), columns(valid, torch.bool),
            all_valid=bool(valid.all()),
        )  # fmt: skip
        for q in np.flatnonzero(valid):
            judged[q] += 1
            rate = max(1 / (judged[q] + 2), 1 / 200)
            for e in range(2):
                mean[e, q] = (1 - rate) * mean[e, q] + rate * min(error[e, q], 10 * mean[e, q])
                gain = 0.03 if scored[q] < 12 else 0.01
                log_factor[e, q] += gain * ((error[e, q] > half[e, q]) - (1 - coverage))


def test_coverage_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="coverage: expected a number between 0 and 1, got 90"):
        Intervals(1, (1,), 90, CPU)


# -- blend and gate --------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 10_000))
def test_blend_equals_a_slow_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    experts, horizon = 3, 11
    scored = scored_steps(horizon)
    ours = Blend(experts, horizon, CPU)
    ours.fields.grow(1)
    num = len(scored)
    losses, variance, judged = np.zeros((experts + 1, num)), np.ones(num), np.zeros(num)
    cross, target = np.zeros((num, experts, experts)), np.zeros((num, experts))
    for _ in range(50):
        path = rng.normal(size=(experts, horizon))
        matrix = cross + blend.STACK_RIDGE * np.eye(experts)
        stack = np.stack(
            [np.linalg.solve(m, t + blend.STACK_RIDGE / experts) for m, t in zip(matrix, target, strict=True)]
        )
        every = np.arange(1, horizon + 1)
        by_step = np.stack([np.interp(every, scored, stack[:, k]) for k in range(experts)])
        stacked = (by_step * path).sum(0)
        weights = np.exp(-blend.ETA * losses)
        weights /= weights.sum(0)
        by_step = np.stack([np.interp(every, scored, w) for w in weights])
        np.testing.assert_allclose(by_step.sum(0), 1.0)
        expected = (by_step * np.vstack([path, stacked])).sum(0)
        said, said_stack = ours.forecast(ROW, columns(path))
        np.testing.assert_allclose(said_stack[..., 0].numpy(), stacked, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(said[..., 0].numpy(), expected, rtol=1e-3, atol=1e-4)

        said_XQ = rng.normal(size=(experts + 1, len(scored)))
        dep = rng.standard_t(2, size=len(scored)) * 3
        valid = rng.random(len(scored)) < 0.8
        said, came, judged_Q = columns(said_XQ), columns(dep), columns(valid, torch.bool)
        ours.learn(ROW, said, came, judged_Q, all_valid=bool(valid.all()))
        ours.note(*(t[..., :1] for t in (said[:experts], came)), None if valid.all() else judged_Q[..., :1])
        ours.learn_stack()
        dep = np.clip(dep, -20, 20)
        cross *= blend.STACK_FORGETTING**blend.STACK_TICKS
        target *= blend.STACK_FORGETTING**blend.STACK_TICKS
        for q in np.flatnonzero(valid):
            judged[q] += 1
            variance[q] += max(1 / (judged[q] + 1), 1 / 500) * (dep[q] ** 2 - variance[q])
            loss = np.minimum((said_XQ[:, q] - dep[q]) ** 2 / variance[q], 4.0)
            losses[:, q] = 0.999 * losses[:, q] + loss
            noted = np.round(np.append(said_XQ[:experts, q], dep[q]) / blend.GRAIN) * blend.GRAIN
            cross[q] += np.outer(noted[:-1], noted[:-1])
            target[q] += noted[:-1] * noted[-1]


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_the_stack_does_not_depend_on_the_order_of_readings(seed: int) -> None:
    """To the bit, for as many as it can learn from at once, however they are cut."""
    rng = np.random.default_rng(seed)
    ours, theirs, most = Blend(5, 3, CPU), Blend(5, 3, CPU), blend.STACK_TICKS * MAX_TICK
    said = torch.from_numpy(rng.standard_t(1, size=(5, 3, most)).astype(np.float32)) * 3
    dep = torch.from_numpy(rng.standard_t(1, size=(3, most)).astype(np.float32)) * 3
    valid = torch.from_numpy(rng.random((3, most)) < 0.9)
    ours.note(said, dep, valid)
    for part in np.array_split(rng.permutation(most), 7):
        theirs.note(said[..., part], dep[:, part], valid[:, part])
    for blended in (ours, theirs):
        blended.learn_stack()
    assert torch.equal(ours.cross, theirs.cross)
    assert torch.equal(ours.target, theirs.target)


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 10_000))
@torch.inference_mode()
def test_gate_equals_a_slow_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bank = build(["gru"], horizon=6, device="cpu", chunk=4, hidden=4, gate_ridge=2.0, gate_forgetting=0.9)
    bank.add(["a"], cadence_ms=1000)
    model = bank.models["gru"]
    assert isinstance(model, Recurrent)
    history: list[list[tuple[float, float]]] = [[] for _ in bank.scored]
    for _ in range(40):
        said, dep = rng.normal(size=(2, len(bank.scored)))
        dep += said
        valid = rng.random(len(bank.scored)) < 0.7
        gate = model.fields.take(ROW)["gate"]
        targets = None if valid.all() else columns(valid, torch.bool)
        model.learn_gate(gate, columns(said), columns(dep), targets)
        for q in np.flatnonzero(valid):
            history[q].append((said[q], dep[q]))
        expected = []
        for pairs in history:
            weight = 0.9 ** np.arange(len(pairs))[::-1]
            c, d = np.array(pairs).reshape(-1, 2).T
            expected.append(np.clip((weight * c * d).sum() / ((weight * c * c).sum() + 2.0), 0, 1))
        expected = np.interp(np.arange(1, 7), bank.scored, expected)
        np.testing.assert_allclose(model.gate(gate)[:, 0].numpy(), expected, rtol=1e-3, atol=1e-5)


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 10_000), seasonal=st.booleans())
def test_the_first_step_equals_a_weighted_ridge_regression(seed: int, seasonal: bool) -> None:
    """Where nothing is capped, recursive least squares are the ridge regression of all pairs so far."""
    rng = np.random.default_rng(seed)
    fields = Fields(nearest.FIELDS, CPU)
    fields.grow(1)
    nearest.reset(fields, SLOT)
    b = fields.take(ROW)
    truth = rng.normal(size=nearest.NUM)
    inputs, happened = np.zeros((0, nearest.NUM)), np.zeros(0)
    for _ in range(60):
        z = rng.normal(size=nearest.NUM) * (1.0, 1.0, seasonal, seasonal)
        dep, valid = float(truth @ z + rng.normal()), rng.random() < 0.8
        targets = None if valid else columns(valid, torch.bool)
        nearest.learn(b, columns(z[0]), columns(z[1:]), columns(dep), targets)
        if valid:
            inputs, happened = np.vstack([inputs, z]), np.append(happened, np.clip(dep, -8, 8))
    weight = nearest.FORGETTING ** np.arange(len(happened))[::-1]
    ridge = nearest.RIDGE * nearest.FORGETTING ** len(happened) * np.eye(nearest.NUM)
    precision = (inputs * weight[:, None]).T @ inputs + ridge
    expected = np.linalg.solve(precision, (inputs * weight[:, None]).T @ happened)
    z = rng.normal(size=nearest.NUM)
    said, wanted = nearest.forecast(b, columns(z[0]), columns(z[1:])), float(expected @ z)
    assert said[0].item() == pytest.approx(wanted, rel=0.02, abs=0.02)


def test_the_first_step_in_single_precision_is_that_in_double() -> None:
    """Inputs that are almost the same, and a thousand times smaller for long: there a covariance in place of
    its root goes indefinite, in single precision first."""
    generator = torch.Generator().manual_seed(0)
    fields = Fields(nearest.FIELDS, CPU)
    fields.grow(1)
    nearest.reset(fields, SLOT)
    single = fields.take(ROW)
    double = Block(single.whole, {name: column.double() for name, column in single.columns.items()})
    smooth = torch.zeros(nearest.NUM, ROW.padded)
    for t in range(4000):
        smooth = 0.98 * smooth + 0.2 * torch.randn(smooth.shape, generator=generator)
        noise = torch.randn(2, ROW.padded, generator=generator)
        z = smooth * (1.0 if t // 1000 % 2 else 1e-3)
        z[2] = 0.999 * z[1] + 1e-4 * noise[0]
        dep = 0.5 * z[0] - 0.3 * z[1] + 0.05 * noise[1]
        nearest.learn(single, z[0], z[1:], dep, None)
        nearest.learn(double, *(c.double() for c in (z[0], z[1:], dep)), None)
        if t % 100 == 99:
            said, should = (nearest.forecast(b, z[0], z[1:])[0] for b in (single, double))
            assert float(said) == pytest.approx(float(should), abs=1e-3)


def test_the_first_step_of_a_fresh_series_is_naive() -> None:
    fields = Fields(nearest.FIELDS, CPU)
    fields.grow(1)
    nearest.reset(fields, SLOT)
    b = fields.take(ROW)
    assert (nearest.forecast(b, columns(1.0), columns(np.ones(nearest.NUM - 1))) == 0.0).all()


# -- what waits for its target ---------------------------------------------------------------------------


def test_pending_returns_each_forecast_at_its_target() -> None:
    scored = scored_steps(13)
    pending = Pending(2, 1, scored, Courier(CPU))
    pending.fields.grow(1)
    said: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    generator = torch.Generator().manual_seed(0)
    for t in range(60):
        now = np.array([t])
        arrival: Any = SimpleNamespace(rows=ROW, step=now, common=None)
        if t % 11 == 5:  # a missing step: nothing is due, and nothing is said
            pending.pass_over(ROW.slots, now)
            continue
        mean, half, made = pending.due(pending.places(arrival), all_made=False)
        assert made is not None
        for q, h in enumerate(scored):
            if t >= h:
                assert bool(made[q, 0]) == (t - h in said)
            if t - h in said:
                torch.testing.assert_close(mean[:, q, 0], said[t - h][0][:, q, 0].half().float())
                torch.testing.assert_close(half[:, q, 0], said[t - h][1][:, q, 0].half().float())
        said[t] = (
            torch.randn(2, len(scored), ROW.padded, generator=generator),
            torch.rand(1, len(scored), ROW.padded, generator=generator),
        )
        pending.put(pending.places(arrival), said[t])


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 10_000))
def test_errors_are_what_came_less_what_was_published(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = ("naive", "seasonal_naive", "linear", "rnn", "blend")
    bank = build(names, horizon=9, device="cpu", chunk=4, replay=4, pool=8, hidden=4)
    bank.add(["a"], cadence_ms=1000, season_ms=8000)
    issued: list[tuple[Floats, Floats, Floats, float]] = []
    for t in range(70):
        value, masked = float(rng.normal() + 50 + np.sin(t)), bool(rng.random() < 0.1)
        r = bank.step(np.array([0]), np.array([t * 1000]), np.array([value]), np.array([masked]))
        for q, h in enumerate(bank.scored):
            judged = not masked and t - h >= SETTLED
            assert bool(r.scored[0, q]) == judged
            if judged:
                mean, lower, upper, scale = issued[t - h]
                np.testing.assert_allclose(
                    r.error[0, :, q].numpy(), (value - mean[:, h - 1]) / scale, rtol=2e-3, atol=4e-3
                )
                inside = (value > lower[:, h - 1] + 0.01) & (value < upper[:, h - 1] - 0.01)
                outside = (value < lower[:, h - 1] - 0.01) | (value > upper[:, h - 1] + 0.01)
                missed = r.missed[0, :, q].numpy()
                assert not missed[inside].any()
                assert missed[outside].all()
        issued.append((r.mean[0].numpy(), r.lower[0].numpy(), r.upper[0].numpy(), float(r.scale)))


# -- seasonal naive and linear ---------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [6, 24])
def test_seasonal_naive_is_a_season_ago_plus_a_dying_offset(steps: int) -> None:
    values = 20 + np.random.default_rng(steps).normal(size=4 * steps)
    horizon = steps + 3
    bank = build(["seasonal_naive"], horizon=horizon, device="cpu", chunk=4)
    bank.add(["a"], cadence_ms=1000, season_ms=1000 * steps)
    ahead = np.arange(1, horizon + 1)
    for t, value in enumerate(values):
        r = bank.step(np.array([0]), np.array([t * 1000]), np.array([value]))
        expected = np.full(horizon, value)
        if t >= steps:
            ago = values[t - steps + ahead % steps]
            expected = ago + (value - values[t - steps]) * np.exp(-ahead / (steps / 3))
        if not int(r.replaced):
            np.testing.assert_allclose(r.mean[0, 0].numpy(), expected, rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=4)
@given(seed=st.integers(0, 10_000), season_steps=st.sampled_from([0, 12]), together=st.booleans())
def test_linear_solves_the_weighted_normal_equations(seed: int, season_steps: int, together: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if together:
            patch.setattr(chunks, "LARGE", 0)
            patch.setattr(chunks, "YOUNG", 0)
        compare_with_normal_equations(seed, season_steps)


def compare_with_normal_equations(seed: int, season_steps: int) -> None:
    rng = np.random.default_rng(seed)
    horizon, steps = 5, 301
    bank = build(["linear"], horizon=horizon, device="cpu", chunk=4)
    bank.add(["a"], cadence_ms=1000, season_ms=1000 * season_steps)
    waves: list[Wave] = []
    observe = bank.memory.observe

    def spy(*given: object) -> Wave:
        waves.append(observe(*given))  # type: ignore[arg-type]
        return waves[-1]

    bank.memory.observe = spy  # type: ignore[method-assign, assignment]
    values = [0.0, 0.5]
    for _ in range(steps - 2):
        values.append(0.3 + 1.2 * values[-1] - 0.5 * values[-2] + rng.normal())
    for t, value in enumerate(values):
        bank.step(np.array([0]), np.array([t * 1000]), np.array([value + 2 * np.sin(2 * np.pi * t / 12)]))
    x = np.stack([w.x_FR[LINEAR_FEATURES, 0].numpy() for w in waves]).astype(np.float64)
    model = bank.models["linear"]
    assert isinstance(model, Linear)
    assert bank.timetable["learnt"][0] == steps - 1, "or some are still to be learnt from"
    ours = model.fields["weights"][0, :, LINEAR_FEATURES].numpy()[::-1]
    for h in range(1, horizon + 1):
        origins = np.arange(steps - h)
        moves = [(waves[t + h].last[0] - waves[t].last[0]) / waves[t].scale[0] for t in origins]
        dep = np.array([float(move) for move in moves]).clip(-CLIP, CLIP)
        dep[:SETTLED] = 0.0  # not judged: as if the forecast, zero at first, had been right
        age = FORGETTING ** (len(origins) - 1 - origins)
        use = x[: steps - h]
        excited = np.abs(use).sum(0) > 0
        a = (use * age[:, None]).T @ use + RIDGE * FORGETTING ** len(origins) * np.eye(use.shape[1])
        expected = np.linalg.solve(a, (use * age[:, None]).T @ dep)
        assert (ours[h - 1][~excited] == 0).all()
        said, should = use[50:] @ ours[h - 1], use[50:] @ expected
        assert np.abs(ours[h - 1] - expected).max() < 0.03 * max(1.0, np.abs(expected).max())
        assert np.sqrt(np.mean((said - should) ** 2)) < 0.01 * max(1.0, np.sqrt(np.mean(should**2)))


def test_linear_with_features_that_stand_still_stays_bounded() -> None:
    bank = build(["linear"], horizon=3, device="cpu", chunk=2)
    bank.add(["a"], cadence_ms=1000)
    rng = np.random.default_rng(0)
    for t in range(3000):
        value = rng.normal() if t < 100 or t > 2900 else 1.0
        r = bank.step(np.array([0]), np.array([t * 1000]), np.array([value]))
        assert torch.isfinite(r.mean).all()
    spread = bank.models["linear"].fields["spread"][0]
    covariance = bank.models["linear"].fields["covariance"][0] * spread * spread[:, None]
    assert float(torch.diagonal(covariance).max()) <= 1.0 / RIDGE + 1e-6
    assert float(torch.linalg.eigvalsh(covariance.double()).min()) > -1e-6
