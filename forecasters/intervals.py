"""Adaptive conformal intervals by quantile tracking: two numbers per series, forecaster and scored step.

Letters: R rows, E forecasters, Q scored steps.

An interval is ŷ ± q · e with the running mean absolute error e and a factor q that is steered until the share
of misses is what was asked for (Gibbs & Candès 2021; Angelopoulos, Candès & Tibshirani 2023):
q ← q · exp(γ (miss - α)), where miss is judged against the bound that was issued with that forecast.
"""

from __future__ import annotations

import torch

from forecasters.fields import Field, Fields
from forecasters.rows import Rows

Tensor = torch.Tensor

ERROR_RATE = 1.0 / 200.0
FAST_GAIN, SLOW_GAIN = 0.03, 0.01
SLOW_FROM_STEP = 12
"""From this step on the gain is the slow one: feedback that comes late must be believed less."""
FIRST_FACTOR = 2.06
"""A normal error's 90 % quantile in units of its mean absolute value."""
WINSOR = 10.0
PRIOR_ERRORS = 2.0


class Intervals:
    """Half-widths in units of the series' scale."""

    def __init__(
        self, num_forecasters: int, scored: tuple[int, ...], coverage: float, device: torch.device
    ) -> None:
        if not 0 < coverage < 1:
            raise ValueError(f"coverage: expected a number between 0 and 1, got {coverage}")
        self.miss_rate = 1.0 - coverage
        shape = (num_forecasters, len(scored))
        self.fields = Fields(
            {
                "error": Field(shape, initial=1.0),
                "log_factor": Field(shape),
                "judged": Field((len(scored),)),
            },
            device,
        )
        gains = [FAST_GAIN if h < SLOW_FROM_STEP else SLOW_GAIN for h in scored]
        self._one, self._prior = torch.tensor(1.0), torch.tensor(PRIOR_ERRORS)
        self._winsor, self._first = torch.tensor(WINSOR), torch.tensor(FIRST_FACTOR)
        self._gain = torch.tensor(gains, device=device)[:, None]
        self._rest = -self.miss_rate * self._gain  # what a hit moves

    def learn(
        self, rows: Rows, error_EQR: Tensor, half_EQR: Tensor, valid_QR: Tensor, *, all_valid: bool
    ) -> Tensor:
        """error: absolute, in units of the scale at issue; half: the half-width issued with that forecast.
        Returns the misses `[E, Q, R]`, true or false whether judged or not."""
        b = self.fields.take(rows)
        error, factor, judged = b["error"], b["log_factor"], b["judged"]
        judged.add_(self._one if all_valid else valid_QR)
        rate = (judged + self._prior).reciprocal_().clamp_(min=ERROR_RATE)
        missed = error_EQR > half_EQR
        move = torch.addcmul(self._rest, missed, self._gain)
        change = torch.minimum(error_EQR, error * self._winsor).sub_(error).mul_(rate)
        if not all_valid:
            change, move = (torch.where(valid_QR, t, 0.0) for t in (change, move))
        error.add_(change)
        factor.add_(move)
        self.fields.put(rows, b)
        return missed

    def half_width(self, rows: Rows) -> Tensor:
        """`[E, Q, R]` for forecasts issued now."""
        b = self.fields.take(rows)
        return torch.exp(b["log_factor"]).mul_(b["error"]).mul_(self._first)
