"""Adaptive conformal intervals by quantile tracking: two numbers per series, forecaster and scored step.

Letters: R rows, E forecasters, Q scored steps.

An interval is ŷ ± q · e with the running mean absolute error e and a factor q that is steered until the share
of misses is what was asked for (Gibbs & Candès 2021; Angelopoulos, Candès & Tibshirani 2023):
q ← q · exp(γ (miss - α)), where miss is judged against the bound that was issued with that forecast.
"""

from __future__ import annotations

import torch

from forecasters.fields import Field, Fields

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
        self._gain = torch.tensor(gains, device=device)

    def learn(self, rows: Tensor, error_REQ: Tensor, half_REQ: Tensor, valid_RQ: Tensor) -> None:
        """error: absolute, in units of the scale at issue; half: the half-width issued with that forecast."""
        b = self.fields.take(rows)
        b["judged"] = b["judged"] + valid_RQ.to(torch.float32)
        rate = (1.0 / (b["judged"] + PRIOR_ERRORS)).clamp(min=ERROR_RATE)[:, None, :]
        valid = valid_RQ[:, None, :]
        bounded = torch.minimum(error_REQ, WINSOR * b["error"])
        b["error"] = torch.where(valid, b["error"] + rate * (bounded - b["error"]), b["error"])
        miss = (error_REQ > half_REQ).to(torch.float32)
        move = self._gain * (miss - self.miss_rate)
        b["log_factor"] = torch.where(valid, b["log_factor"] + move, b["log_factor"])
        self.fields.put(rows, b)

    def half_width(self, rows: Tensor) -> Tensor:
        """`[R, E, Q]` for forecasts issued now."""
        error = self.fields["error"].index_select(0, rows)
        return error * FIRST_FACTOR * torch.exp(self.fields["log_factor"].index_select(0, rows))
