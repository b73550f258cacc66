"""The forecasters that need no learning: the last value, and the season before.

Every forecaster speaks of departures from the last value in units of the series' scale, so naive is zero.
"""

from __future__ import annotations

import torch

from forecasters.fields import Fields
from forecasters.forecaster import Forecaster
from forecasters.memory import Wave

Tensor = torch.Tensor

OFFSET_SEASONS = 1.0 / 3.0
"""Time constant, in seasons, with which today's offset from the season before dies out along the path."""


class Naive(Forecaster):
    """The last value at every step (Hyndman & Athanasopoulos 2021, §5.2)."""

    def __init__(self, horizon: int, device: torch.device) -> None:
        self.fields = Fields({}, device)
        self.horizon = horizon

    def forecast(self, wave: Wave) -> Tensor:
        return wave.scale.new_zeros(self.horizon, wave.scale.shape[0])


class SeasonalNaive(Forecaster):
    """The value one season ago plus today's offset from it, which decays as exp(-h / (season / 3)).

    Equals naive until a whole season was seen.
    """

    def __init__(self, horizon: int, device: torch.device) -> None:
        self.fields = Fields({}, device)
        self.ages = torch.arange(1, horizon + 1, device=device, dtype=torch.float32)[:, None]

    def forecast(self, wave: Wave) -> Tensor:
        decay = torch.exp(-self.ages / (OFFSET_SEASONS * wave.season_steps))
        return wave.ago_HR - (1.0 - decay) * wave.season_offset
