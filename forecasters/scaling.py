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
RELATIVE_FLOOR = 1e-6
"""Of |level|: below it float32 has little left but rounding."""
ABSOLUTE_FLOOR = 1e-12
SQUARABLE = 1e18
"""Its square still fits float32."""

FIELDS: Mapping[str, Field] = {
    "variance": Field(),
    "smallest_difference": Field(initial=float("inf")),
    "good": Field(),  # readings with a value, as a float so that 1 / n needs no cast
    "naive_error": Field(),
}


def update(b: dict[str, Tensor], departure: Tensor, difference: Tensor, seen: Tensor, rate: Tensor) -> None:
    """Learn from one reading per row, in place.

    departure: value less the slow average before this reading; difference: value less the last value;
    seen: rows that have a value; rate: weight of one reading once the memory is full (1/n until then).
    RMS of winsorised departures; `naive_error` is the running mean of |difference| (the MASE denominator,
    Hyndman & Koehler 2006, kept online).
    """
    n = b["good"]
    weight = torch.maximum(rate, 1.0 / n.clamp(min=1.0))
    limit = WINSOR * b["variance"].clamp(min=0).sqrt()
    # the first departures have no scale to be judged by
    limit = torch.where(n < 3, torch.full_like(limit, float("inf")), torch.maximum(limit, floor(b)))
    d = departure.clamp(min=-limit, max=limit).clamp(-SQUARABLE, SQUARABLE)
    variance = b["variance"] + weight * (d * d - b["variance"])
    first = n < 1
    b["variance"] = torch.where(seen & ~first, variance, b["variance"])
    magnitude = difference.abs()
    moved = seen & ~first & (magnitude > 0)
    b["smallest_difference"] = torch.where(
        moved, torch.minimum(b["smallest_difference"], magnitude), b["smallest_difference"]
    )
    b["naive_error"] = torch.where(
        seen & ~first, b["naive_error"] + weight * (magnitude - b["naive_error"]), b["naive_error"]
    )
    b["good"] = n + seen.to(n.dtype)


def floor(b: Mapping[str, Tensor]) -> Tensor:
    smallest = b["smallest_difference"]
    return torch.where(torch.isinf(smallest), torch.zeros_like(smallest), smallest)


def scale(b: Mapping[str, Tensor], level: Tensor) -> Tensor:
    """The scale `[R]`: RMS departure, but never below the smallest move seen nor 1e-6 of the level."""
    least = torch.maximum(floor(b), level.abs() * RELATIVE_FLOOR).clamp(min=ABSOLUTE_FLOOR)
    return torch.maximum(b["variance"].clamp(min=0).sqrt(), least)
