"""Forecasts that wait for their targets, at the scored steps only, as float16 in units of the scale at issue.

Letters: R rows, E tracked forecasts, Q scored steps, T = sum of the scored steps.

Step h keeps the last h forecasts in a ring of its own: the one due now lies where the new one will go. Where
none was made, NaN takes its place.
"""

from __future__ import annotations

import torch

from forecasters.fields import Field, Fields

Tensor = torch.Tensor

FINITE = 60_000.0


class Pending:
    def __init__(self, tracked: int, bounded: int, scored: tuple[int, ...], device: torch.device) -> None:
        """tracked: forecasts kept; bounded: how many of them (the first) have an interval."""
        self.steps = torch.tensor(scored, device=device)
        self.starts = torch.cumsum(self.steps, 0) - self.steps
        total = sum(scored)
        self.fields = Fields(
            {
                "mean": Field((total, tracked), torch.float16),
                "half": Field((total, bounded), torch.float16),
            },
            device,
        )

    def places(self, step: Tensor) -> Tensor:
        """Where `[R, Q]` the forecasts due at `step` lie, and those made now will."""
        return self.starts + torch.remainder(step[:, None], self.steps)

    def due(self, rows: Tensor, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(means `[R, E, Q]`, half-widths `[R, E', Q]`, whether there are `[R, Q]`) of the forecasts whose
        target is that step; a mean is 0 where there is none."""
        rows = rows[:, None]
        mean, half = self.fields["mean"][rows, places], self.fields["half"][rows, places]
        made = ~torch.isnan(mean[:, :, 0])
        mean = torch.where(made[:, :, None], mean.float(), 0.0)
        return mean.transpose(1, 2), half.float().transpose(1, 2), made

    def pass_over(self, rows: Tensor, steps: Tensor) -> None:
        """No forecast is made at these steps of these slots."""
        mean = self.fields["mean"]
        mean.index_put_((rows[:, None], self.places(steps)), mean.new_full((), float("nan")))

    def put(self, rows: Tensor, places: Tensor, mean_REQ: Tensor, half_REQ: Tensor) -> None:
        """Keep what was forecast after that step's reading; its targets are step + 1, step + 2 …"""
        rows = rows[:, None]
        for name, t in (("mean", mean_REQ), ("half", half_REQ)):
            kept = t.transpose(1, 2).clamp(-FINITE, FINITE).to(torch.float16)
            self.fields[name].index_put_((rows, places), kept)
