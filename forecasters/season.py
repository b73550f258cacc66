"""What a season looks like: a profile by time of season, and the last two seasons as bin means.

Both have at most 24 bins whatever the cadence, read with linear interpolation between the bins' mean times.
A bin of `m` steps has its mean time (m - 1) / 2 steps after its start; with one step a bin it is exact.

Letters: R rows, B bins (24), N leads.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from forecasters.fields import Field

Tensor = torch.Tensor

BINS = 24
PROFILE_RATE = 0.1
"""Weight of one season in the profile once ten were seen (1/n before)."""

FIELDS: Mapping[str, Field] = {
    "profile": Field((BINS,)),
    "profile_count": Field((BINS,)),
    "recent": Field((2 * BINS,), initial=float("nan")),
    "bin": Field(dtype=torch.int64, initial=-1),
    "bin_count": Field(),
}


class Calendar:
    """Positions of cells within the season of each row. Times are in cells (steps) since the series' anchor.

    steps_R: steps per season (0 where there is none); cell_R: int64 cell of the current reading.
    """

    def __init__(self, steps_R: Tensor, cell_R: Tensor) -> None:
        self.has_season = steps_R >= 2
        self.steps = torch.where(self.has_season, steps_R, torch.full_like(steps_R, float(BINS)))
        self.cell = cell_R
        self.bins = self.steps.round().clamp(max=BINS)
        self.width = self.steps / self.bins
        self.offset = (self.width - 1.0) / (2.0 * self.width)

    def bin_of(self, cell_R: Tensor) -> Tensor:
        """Absolute bin number (int64) of a cell; `bins` of them make a season."""
        return torch.floor(cell_R.to(torch.float64) / self.width.to(torch.float64) + 1e-9).to(torch.int64)

    def position(self, leads_RN: Tensor, seasons_ago: int) -> tuple[Tensor, Tensor]:
        """(absolute bin int64, share of the next bin) for `cell + lead - seasons_ago · season`."""
        cells = self.cell.to(torch.float64)[:, None] + leads_RN.to(torch.float64)
        x = cells / self.width.to(torch.float64)[:, None] - self.offset.to(torch.float64)[:, None]
        x = x - seasons_ago * self.bins.to(torch.float64)[:, None] + 1e-9
        left = torch.floor(x)
        return left.to(torch.int64), (x - left).clamp(min=0).to(torch.float32)


def observe(b: dict[str, Tensor], calendar: Calendar, value: Tensor, seen: Tensor) -> None:
    """Learn one reading per row, in place: mean of the current bin, exponential mean of the profile."""
    now = calendar.bin_of(calendar.cell)
    bins = calendar.bins.to(torch.int64)
    ring = 2 * bins
    moved = now - b["bin"]
    # forget the bins that were jumped over, so that an old season never passes for yesterday
    age = (now[:, None] - torch.arange(2 * BINS, device=value.device)) % ring[:, None]
    stale = (age < moved[:, None]) & (moved[:, None] > 0)
    b["recent"] = torch.where(stale, torch.full_like(b["recent"], float("nan")), b["recent"])
    b["bin_count"] = torch.where(moved > 0, torch.zeros_like(b["bin_count"]), b["bin_count"])
    b["bin"] = torch.maximum(b["bin"], now)
    count = b["bin_count"] + seen.to(torch.float32)
    here = (now % ring)[:, None]
    old = b["recent"].gather(1, here).squeeze(1)
    old = torch.where(torch.isnan(old), value, old)
    mean = old + (value - old) / count.clamp(min=1.0)
    kept = b["recent"].gather(1, here).squeeze(1)
    b["recent"] = b["recent"].scatter(1, here, torch.where(seen, mean, kept)[:, None])
    b["bin_count"] = count

    slot = (now % bins)[:, None]
    n = b["profile_count"].gather(1, slot).squeeze(1)
    p = b["profile"].gather(1, slot).squeeze(1)
    rate = torch.maximum(1.0 / (n + 1.0), PROFILE_RATE / calendar.width)
    p_new = torch.where(seen, p + rate * (value - p), p)
    b["profile"] = b["profile"].scatter(1, slot, p_new[:, None])
    b["profile_count"] = b["profile_count"].scatter(1, slot, (n + seen.to(n.dtype))[:, None])


def profile_at(b: Mapping[str, Tensor], calendar: Calendar, leads_RN: Tensor, fallback: Tensor) -> Tensor:
    """The profile `[R, N]` at the current cell plus each lead; `fallback` [R] where a bin was never seen."""
    left, share = calendar.position(leads_RN, 0)
    bins = calendar.bins.to(torch.int64)[:, None]
    known = torch.where(b["profile_count"] > 0, b["profile"], fallback[:, None])
    a = known.gather(1, left % bins)
    c = known.gather(1, (left + 1) % bins)
    return a + share * (c - a)


def season_ago(b: Mapping[str, Tensor], calendar: Calendar, leads_RN: Tensor, fallback_RN: Tensor) -> Tensor:
    """What was measured a season before the current cell plus each lead, `[R, N]`; leads below one season.

    Where that bin has no reading the `fallback` (the profile) stands in.
    """
    left, share = calendar.position(leads_RN, 1)
    ring = 2 * calendar.bins.to(torch.int64)[:, None]
    newest = b["bin"][:, None]
    inside = (left >= 0) & (left > newest - ring) & (left <= newest)
    inside_next = (left + 1 >= 0) & (left + 1 <= newest)
    nan = torch.full_like(share, float("nan"))
    a = torch.where(inside, b["recent"].gather(1, left % ring), nan)
    c = torch.where(inside_next, b["recent"].gather(1, (left + 1) % ring), nan)
    c = torch.where(torch.isnan(c), a, c)
    value = torch.where(share > 0, a + share * (c - a), a)
    return torch.where(torch.isnan(value), fallback_RN, value)
