"""How fast a network learns the same readings cut otherwise: many series side by side, or long chunks."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

from forecasters.network import Network
from forecasters.recurrent import HUBER_DELTA, NUM_INPUTS
from pipeline.study.drills import CELLS

READINGS = 8192
"""In each measurement; rows x chunk."""
ROWS = (8, 16, 64, 256, 1024)
HIDDEN, HORIZON = 64, 24


def measure_speed(net: str, *, repeats: int, seed: int = 0) -> list[dict[str, Any]]:
    """A row by number of series: seconds per reading of forward and backward pass, one value a repeat, on one
    core. Chunks are as long as leaves the number of readings the same, so a pass over time that could be made
    in parallel would take the same time everywhere."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    network = Network(CELLS[net], NUM_INPUTS, HIDDEN, 1, HORIZON, generator, torch.device("cpu"))
    rows = []
    for series in ROWS:
        chunk = READINGS // series
        x = torch.randn(chunk, NUM_INPUTS, series, generator=generator)
        target = torch.randn(chunk, HORIZON, series, generator=generator)
        weight = torch.full_like(target, 1.0 / target.numel())
        state = torch.zeros(network.state_width, series)
        seconds = []
        for _ in range(repeats + 1):
            started = time.perf_counter()
            network.accumulate(x, state, target, weight, HUBER_DELTA)
            seconds.append((time.perf_counter() - started) / READINGS)
        warm = seconds[1:]
        rows.append(
            {
                "net": net,
                "series": series,
                "chunk": chunk,
                "seconds": warm,
                "median": statistics.median(warm),
            }
        )
    return rows
