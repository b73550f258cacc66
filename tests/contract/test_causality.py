"""No leak: what comes later does not touch a forecast, and a forecaster that peeks is caught."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from forecasters import build, factory, registry
from forecasters.fields import Fields
from forecasters.forecaster import Forecaster
from forecasters.memory import Wave

STEPS, SERIES, HORIZON = 60, 4, 8
CADENCE_MS = 900_000
FUTURE: dict[str, npt.NDArray[np.float64]] = {}


class Leaky(Forecaster):
    """Knows the value of the next step."""

    def __init__(self, horizon: int, device: torch.device) -> None:
        self.fields = Fields({}, device)
        self.horizon = horizon

    def forecast(self, wave: Wave) -> torch.Tensor:
        said = wave.x_FR.new_zeros(self.horizon, wave.x_FR.shape[1])
        for k, (slot, step) in enumerate(zip(wave.rows.slots, wave.arrival.step, strict=True)):
            coming = FUTURE["values"][min(int(step) + 1, STEPS - 1), slot]
            said[0, k] = 0.01 * np.tanh(np.nan_to_num(coming))
        return said


def sensors(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    time = np.arange(STEPS)[:, None]
    season = 2.0 * np.sin(2 * np.pi * time / 12 + np.arange(SERIES))
    return np.asarray(rng.normal(size=(STEPS, SERIES)).cumsum(0) + season)


def corrupted(values: npt.NDArray[np.float64], t0: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    other = values.copy()
    size = other[t0:].shape
    other[t0:] = rng.normal(size=size) * 10.0 ** rng.uniform(-3, 9, size)
    other[t0:][rng.random(size) < 0.3] = np.nan
    other[t0, 0] = 1e9
    return other


def forecasts(
    name: str, values: npt.NDArray[np.float64], order: npt.NDArray[np.int64]
) -> list[dict[str, bytes]]:
    """By reading in the order of arrival. NaN is a masked step."""
    FUTURE["values"] = values
    names = (*registry.BUILDERS, registry.BLEND) if name == registry.BLEND else (name,)
    bank = build(names, horizon=HORIZON, device="cpu", chunk=4, replay=8, pool=32, hidden=8)
    bank.add([f"s{k}" for k in range(SERIES)], cadence_ms=CADENCE_MS, season_ms=12 * CADENCE_MS)
    answers = []
    for t in range(STEPS):
        now = values[t, order[t]]
        result = bank.step(order[t], np.full(SERIES, t * CADENCE_MS), now, np.isnan(now))
        for k in range(SERIES):
            parts = {"mean": result.mean[k], "lower": result.lower[k], "upper": result.upper[k]}
            answers.append({what: t.numpy().tobytes() for what, t in parts.items()})
    return answers


def leaks(name: str, seed: int) -> bool:
    """Whether a forecast differs once everything from a random time on, or from a random reading within the
    wave of that time on, is another. Ticks fall between the readings of a wave, so that counts too."""
    rng = np.random.default_rng(seed)
    values = sensors(rng)
    order = np.stack([rng.permutation(SERIES) for _ in range(STEPS)])
    t0 = int(rng.integers(5, STEPS - 1))
    within = int(rng.integers(0, SERIES)) if seed % 2 else 0
    other = corrupted(values, t0, rng)
    untouched = order[t0][:within]  # arrived before the corruption began
    other[t0, untouched] = values[t0, untouched]
    before = t0 * SERIES + within
    kept, changed = forecasts(name, values, order), forecasts(name, other, order)
    assert kept[before:] != changed[before:], "the corruption reached nothing: the check is blind"
    return kept[:before] != changed[:before]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", registry.NAMES)
def test_no_forecast_depends_on_what_comes_later(name: str, seed: int) -> None:
    assert not leaks(name, seed)


@pytest.mark.parametrize("name", ["leaky", registry.BLEND])
@pytest.mark.parametrize("seed", range(2))
def test_a_forecaster_that_peeks_is_caught(name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILDERS, "leaky", lambda c: Leaky(c.memory.horizon, c.device))
    monkeypatch.setattr(factory, "NAMES", (*registry.NAMES, "leaky"))
    assert leaks(name, seed)
