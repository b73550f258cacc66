"""What a season looks like: a profile by time of season, and the last two seasons as bin means.

Both have at most 24 bins whatever the cadence, read with linear interpolation between the bins' mean times.
A bin of `m` steps has its mean time (m - 1) / 2 steps after its start; with one step a bin it is exact.

Letters: R rows, B bins (24), N leads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from forecasters.fields import Field, Fields

Tensor = torch.Tensor

BINS = 24
PROFILE_RATE = 0.1
"""Weight of one season in the profile once ten were seen (1/n before)."""
EPSILON = 1e-5
"""Of a bin, in float32: a lead of whole bins must not fall just below one."""

PROFILE = slice(2 * BINS, 3 * BINS)
RECENT = slice(0, 2 * BINS)

FIELDS: Mapping[str, Field] = {
    # the means of the last two seasons' bins, then the profile; NaN where nothing was seen
    "season": Field((3 * BINS,), initial=float("nan"), apart=True),
}


@dataclass(slots=True)
class Calendar:
    """Where the current cell of each row lies in its season; columns of `timetable.Arrival`, on the device.

    All `[R]`. now: bin of the cell, modulo `2 · bins`; age: bins since the series began, or more than a ring;
    empty: how many bins up to `now` nothing was seen of, whatever their places hold; None: 0 everywhere.
    """

    width: Tensor  # steps per bin
    bins: Tensor  # int64
    now: Tensor  # int64
    age: Tensor  # int64
    phase: Tensor
    empty: Tensor | None = None


def forget(fields: Fields, rows: Tensor, bins: Tensor) -> None:
    """Empty these bins of the last two seasons, so that an old season never passes for yesterday."""
    fields["season"].index_put_((rows, bins), fields["season"].new_full((), float("nan")))


def observe(fields: Fields, places_R2: Tensor, weights_R2: Tensor, value: Tensor) -> None:
    """Learn one reading per row: mean of the current bin, exponential mean of the profile.

    places: of the bin and of the profile's bin in `season`, flattened to `[(S + 1) · 3 B]`; weights: of this
    reading in the two, 0 where there is none.
    """
    flat, places = fields["season"].view(-1), places_R2.view(-1)
    old = flat.index_select(0, places).view(-1, 2)
    known = torch.where(torch.isnan(old), value[:, None], old)
    new = torch.addcmul(known, weights_R2, value[:, None] - known)
    flat.index_copy_(0, places, torch.where(weights_R2 > 0, new, old).view(-1))


def look_ahead(
    fields: Fields, rows: Tensor, calendar: Calendar, leads_RN: Tensor, value: Tensor
) -> tuple[Tensor, Tensor]:
    """(profile, season ago), both `[R, N]`, at the current cell plus each lead (in steps, below one season).

    The profile is `value` [R] where a bin was never seen. What was measured a season before falls back on the
    profile where that bin has no reading.
    """
    x = torch.addcdiv(calendar.phase[:, None], leads_RN, calendar.width[:, None])
    left = torch.floor(x + EPSILON)
    share = (x - left).clamp(min=0)
    bins = calendar.bins[:, None]
    at = left.to(torch.int64)
    season = fields["season"].index_select(0, rows)
    profile = season[:, PROFILE]
    profile = torch.where(torch.isnan(profile), value[:, None], profile)
    here = torch.remainder(calendar.now[:, None] + at, bins)
    after = here + 1
    after = torch.where(after == bins, 0, after)
    profile = torch.lerp(profile.gather(1, here), profile.gather(1, after), share)

    recent = season[:, RECENT]
    nan = recent.new_full((), float("nan"))
    ring = 2 * bins
    back = at - bins  # bins from now; the newest is 0
    here = torch.remainder(calendar.now[:, None] + back, ring)
    after = torch.where(here + 1 == ring, 0, here + 1)
    oldest = -torch.minimum(calendar.age, ring[:, 0] - 1)[:, None]
    newest = 0 if calendar.empty is None else -calendar.empty[:, None]
    a = torch.where((back <= newest) & (back >= oldest), recent.gather(1, here), nan)
    c = torch.where(back < newest, recent.gather(1, after), nan)
    c = torch.where(torch.isnan(c), a, c)
    ago = torch.lerp(a, c, share)
    return profile, torch.where(torch.isnan(ago), profile, ago)
