"""Histories for the study: a noisy seasonal plant, and any history with some of its readings masked."""

from __future__ import annotations

import dataclasses

import numpy as np

from pipeline.demo.plant import DAY_MS, Plant, PlantOptions
from pipeline.histories import History

STEPS_PER_DAY = 96
START_MS = 1_704_067_200_000
"""2024-01-01: any would do, but the same each time."""
SPARE = 3
"""Sensors made for each one taken: those that send by exception, and on/off signals, are left out."""


def make_plant(num_series: int, days: int, seed: int, *, warmup: float, score_from: float) -> History:
    """A reading each quarter of an hour of sensors that always send, without faults: what is masked in it is
    up to `mask_share`. Raises ValueError for sizes below 1."""
    cadence_ms = DAY_MS // STEPS_PER_DAY
    plant = Plant(
        PlantOptions(num_series=SPARE * num_series, start_ms=START_MS, cadence_ms=cadence_ms, seed=seed)
    )
    sends = ~plant.layout.by_exception & (np.array(plant.layout.kind) != "running")
    chosen = np.flatnonzero(sends)[:num_series]
    steps = days * STEPS_PER_DAY
    values = np.full((steps, len(plant.layout.series)), np.nan)
    for step in range(steps):
        readings = next(plant)
        values[step, readings.series_index] = readings.value
    values = values[:, chosen]
    times = START_MS + cadence_ms * np.arange(steps)
    warm, first = (int(times[int(share * steps)]) for share in (warmup, score_from))
    return History(
        files=("simulated plant",),
        series=tuple(plant.layout.series[at] for at in chosen),
        series_index=np.tile(np.arange(chosen.size, dtype=np.int32), steps),
        event_time_ms=np.repeat(times, chosen.size),
        value=values.reshape(-1),
        warmup_until_ms=np.full(chosen.size, warm),
        scored_origin_ms=np.full(chosen.size, first - cadence_ms),
        scored_from_ms=first,
        counts={},
        assumed=(),
    )


def mask_share(history: History, share: float, seed: int) -> History:
    """The same, with that share of the readings masked by chance, each on its own; the rest is untouched."""
    if not share:
        return history
    hidden = np.random.default_rng((seed, round(1000 * share))).random(history.value.size) < share
    return dataclasses.replace(history, value=np.where(hidden, np.nan, history.value))
