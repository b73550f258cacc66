"""The long-running scale of a series: what one unit means to every forecaster.

Letters: R rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from forecasters.fields import Block, Field

Tensor = torch.Tensor

WINSOR = 4.0
"""Departures count as at most this many scales: one spike does not blind a series for a week, and a scale
that has become too small still grows by a factor of (1 + 15 · rate) a reading."""
UNJUDGED = 3
"""The first departures have no scale to be judged by: so many readings are taken as they are."""
RELATIVE_FLOOR = 1e-6
"""Of |level|: below it float32 has little left but rounding."""
ABSOLUTE_FLOOR = 1e-12
_WINSOR, _RELATIVE = torch.tensor(WINSOR), torch.tensor(RELATIVE_FLOOR)
SQUARABLE = 1e18
"""Its square still fits float32."""

FIELDS: Mapping[str, Field] = {
    "variance": Field(),
    "smallest_difference": Field(initial=float("inf")),
    "naive_error": Field(),
}


def update(b: Block, departure: Tensor, difference: Tensor, weight: Tensor, unjudged: Tensor | None) -> None:
    """Learn from one reading per row, in place.

    departure: value less the slow average before this reading; difference: value less the last value, both 0
    for the first reading; weight: of this reading, 0 where there is none; unjudged: rows whose departure is
    taken as it is, None where there are none. Both are used up.
    RMS of winsorised departures; `naive_error` is the running mean of |difference| (the MASE denominator,
    Hyndman & Koehler 2006, kept online).
    """
    variance, smallest, naive = b["variance"], b["smallest_difference"], b["naive_error"]
    limit = torch.maximum(variance.sqrt().mul_(_WINSOR), floor(b)).clamp_(max=SQUARABLE)
    if unjudged is not None:
        limit = torch.where(unjudged, SQUARABLE, limit)
    d = torch.clamp(departure, -limit, limit)
    variance.addcmul_(weight, d.square_().sub_(variance))
    magnitude = difference.abs_()
    # a threshold makes infinity of 0: no move
    torch.minimum(smallest, torch.threshold(magnitude, 0.0, float("inf")), out=smallest)
    naive.addcmul_(weight, magnitude.sub_(naive))


def floor(b: Block) -> Tensor:
    """The smallest move seen, 0 where there was none."""
    return torch.nan_to_num(b["smallest_difference"], posinf=0.0)


def scales(b: Block, level: Tensor) -> tuple[Tensor, Tensor]:
    """(scale, naive error) `[R]`: RMS departure and mean one-step change, neither below the smallest move
    seen nor 1e-6 of the level."""
    least = torch.maximum(floor(b), level.abs().mul_(_RELATIVE)).clamp_(min=ABSOLUTE_FLOOR)
    return torch.maximum(b["variance"].sqrt(), least), torch.maximum(b["naive_error"], least)
