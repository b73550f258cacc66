"""Rounds of readings through a bank, one of each series in each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from forecasters import Bank, Result, build

NAMES = ("naive", "seasonal_naive", "linear", "rnn", "lstm", "gru", "blend")
MINUTE_MS = 60_000


def make_bank(device: str | torch.device, series: int) -> tuple[Bank, np.ndarray]:
    """And the slots of its series."""
    bank = build(NAMES, horizon=6, seed=3, device=device, chunk=4, hidden=16, replay=4, pool=32)
    ids = [f"plant/{k}" for k in range(series)]
    return bank, bank.add(ids, cadence_ms=MINUTE_MS, season_ms=20 * MINUTE_MS)


def step_rounds(bank: Bank, slots: np.ndarray, first: int, stop: int, pieces: int = 1) -> Iterator[Result]:
    """Each round in so many waves."""
    for at in range(first, stop):
        draw = np.random.default_rng(at).normal(size=slots.size)
        values = 50 + 5 * np.sin(2 * np.pi * at / 20 + slots) + draw
        for rows in np.array_split(np.arange(slots.size), pieces):
            yield bank.step(slots[rows], np.full(rows.size, at * MINUTE_MS), values[rows])
