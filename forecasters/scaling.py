"""The long-running scale of a series: what one unit means to every forecaster.

Letters: R rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from forecasters.fields import Field

Tensor = torch.Tensor

WINSOR = 4.0
"""Departures count as at most this many scales: one spike does not blind a series for a week, and a scale
that has become too small still grows by a factor of (1 + 15 · rate) a reading."""
UNJUDGED = 3
"""The first departures have no scale to be judged by: so many readings are taken as they are."""
RELATIVE_FLOOR = 1e-6
"""Of |level|: below it float32 has little left but rounding."""
ABSOLUTE_FLOOR = 1e-12
SQUARABLE = 1e18
"""Its square still fits float32."""

FIELDS: Mapping[str, Field] = {
    "variance": Field(),
    "smallest_difference": Field(initial=float("inf")),
    "naive_error": Field(),
}


def update(
    b: dict[str, Tensor], departure: Tensor, difference: Tensor, weight: Tensor, unjudged: Tensor | None
) -> None:
    """Learn from one reading per row, in place.

    departure: value less the slow average before this reading; difference: value less the last value, both 0
    for the first reading; weight: of this reading, 0 where there is none; unjudged: rows whose departure is
    taken as it is, None where there are none.
    RMS of winsorised departures; `naive_error` is the running mean of |difference| (the MASE denominator,
    Hyndman & Koehler 2006, kept online).
    """
    limit = torch.maximum(WINSOR * b["variance"].sqrt(), floor(b))
    if unjudged is not None:
        limit = torch.where(unjudged, float("inf"), limit)
    d = torch.clamp(departure, -limit, limit).clamp_(-SQUARABLE, SQUARABLE)
    b["variance"] = torch.addcmul(b["variance"], weight, d * d - b["variance"]).clamp_(min=0)
    magnitude = difference.abs()
    moved = torch.where(magnitude > 0, magnitude, float("inf"))
    b["smallest_difference"] = torch.minimum(b["smallest_difference"], moved)
    b["naive_error"] = torch.addcmul(b["naive_error"], weight, magnitude - b["naive_error"])


def floor(b: Mapping[str, Tensor]) -> Tensor:
    smallest = b["smallest_difference"]
    return torch.where(torch.isinf(smallest), 0.0, smallest)


def scale(b: Mapping[str, Tensor], level: Tensor) -> Tensor:
    """The scale `[R]`: RMS departure, but never below the smallest move seen nor 1e-6 of the level."""
    return torch.maximum(b["variance"].sqrt(), _least(b, level))


def naive_error(b: Mapping[str, Tensor], level: Tensor) -> Tensor:
    """The mean one-step change `[R]`, with the floor of the scale."""
    return torch.maximum(b["naive_error"], _least(b, level))


def _least(b: Mapping[str, Tensor], level: Tensor) -> Tensor:
    return torch.maximum(floor(b), level.abs() * RELATIVE_FLOOR).clamp_(min=ABSOLUTE_FLOOR)
