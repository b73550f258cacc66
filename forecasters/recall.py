"""What a bank still knows of the recent past of one series: values, and forecasts that wait for theirs.

Letters: N steps of the past, E forecasters, L steps ahead that were asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from forecasters.bank import Bank
from forecasters.memory import MASKED
from forecasters.timetable import SETTLED

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recall:
    """Oldest first, in the series' own units. value `[N]`: NaN at a masked step; base `[N]`: the last value
    by then; departure, half `[N, E, L]`: forecasts made at that step less `base`, and the half-width of their
    interval, NaN at a masked step, and where the target has passed: then nothing is kept."""

    cadence_ms: int
    event_time_ms: npt.NDArray[np.int64]
    value: Floats
    base: Floats
    departure: Floats
    half: Floats


def recall(bank: Bank, slot: int, forecasters: Sequence[str], steps: Sequence[int]) -> Recall:
    """The steps since the last restart, as many as the bank keeps. Reads only; waits for the device.

    Raises ValueError for a forecaster that is not in the bank, or a step that is none of the scored ones.
    """
    if not {*forecasters} <= {*bank.names} or not {*steps} <= {*bank.scored}:
        raise ValueError(
            f"expected forecasters of {bank.names} and steps of {bank.scored}, got {forecasters} and {steps}"
        )
    times, memory = bank.timetable, bank.memory
    step, restart = int(times["step"][slot]), int(times["restart"][slot])
    first = max(step - memory.ring_length + 1, 0 if restart <= SETTLED else restart)
    number = np.arange(first, step + 1)
    at = torch.from_numpy(number % memory.ring_length)
    level = memory.rings["level"][slot].cpu()[at].double().numpy()
    masked = memory.rings["features"][slot, :, MASKED].cpu()[at].numpy() > 0
    base = times["origin"][slot] + level[:, 0]
    shape = (number.size, len(forecasters), len(steps))
    departure, half = np.full(shape, np.nan), np.full(shape, np.nan)
    columns = [bank.names.index(name) for name in forecasters]
    said = bank.pending.of(slot)
    pending = {"mean": said, "half": said[:, bank.pending.tracked :]}
    starts = bank.pending.starts.ravel().tolist()
    for column, h in enumerate(steps):
        kept = slice(max(number.size - h, 0), None)
        place = starts[bank.scored.index(h)] + number[kept] % h
        for found, name in ((departure, "mean"), (half, "half")):
            found[kept, :, column] = pending[name][place][:, columns] * level[kept, 1:]
    # at steps that were filled nothing was forecast, and what lies in their place is older
    departure[masked] = half[masked] = np.nan
    cadence_ms = int(times["cadence_ms"][slot])
    return Recall(
        cadence_ms=cadence_ms,
        event_time_ms=times["last_time_ms"][slot] - (step - number) * cadence_ms,
        value=np.where(masked, np.nan, base),
        base=base,
        departure=departure,
        half=half,
    )
