"""What a season looks like: a profile by time of season, and the last two seasons as bin means.

Both have at most 24 bins whatever the cadence, read with linear interpolation between the bins' mean times.
A bin of `m` steps has its mean time (m - 1) / 2 steps after its start; with one step a bin it is exact.

Letters: R rows (padded), B bins (24), N leads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from forecasters.fields import Field, Fields, Places

Tensor = torch.Tensor

BINS = 24
PROFILE_RATE = 0.1
"""Weight of one season in the profile once ten were seen (1/n before)."""
EPSILON = 1e-5
"""Of a bin, in float32: a lead of whole bins must not fall just below one."""

FIELDS: Mapping[str, Field] = {
    # the means of the last two seasons' bins, then the profile; NaN where nothing was seen
    "season": Field((3 * BINS,), initial=float("nan"), ring=True),
}


@dataclass(slots=True)
class Calendar:
    """Where a cell of each column lies in its season, from `timetable.Place`.

    phase, width `[C]`: of the cell in its bin, and steps per bin; bins `[C]`. origin and length are
    `[2, 1, C]`, of the profile and of the recent ring: the bin that a lead of 0 reads, and the length of the
    ring. empty `[C]`: bins up to the cell's that nothing was seen of, whatever their places hold; None: 0
    everywhere.
    """

    phase: Tensor
    width: Tensor
    bins: Tensor
    origin: Tensor
    length: Tensor
    empty: Tensor | None = None

    @classmethod
    def of(cls, columns: Tensor, empty: Tensor | None = None) -> Calendar:
        """columns: phase, width, bins, the current place in the profile and in the ring of two seasons."""
        phase, width, bins, at_profile, at = columns
        origin, length = torch.stack([at_profile, at - bins]), torch.stack([bins, 2.0 * bins])
        return cls(phase, width, bins, origin[:, None], length[:, None], empty)


def forget(fields: Fields, rows: Tensor, bins: Tensor) -> None:
    """Empty these bins of the last two seasons, so that an old season never passes for yesterday."""
    fields["season"].index_put_((rows, bins), fields["season"].new_full((), float("nan")))


def observe(fields: Fields, at: Places, weights_2R: Tensor, value: Tensor, *, all_seen: bool) -> None:
    """Learn one reading per row: mean of the current bin, exponential mean of the profile.

    at: the bin and the profile's bin; weights: of this reading in the two, 1 where it is the first there, 0
    where nothing was seen.
    """
    old = fields.take_ring("season", at)
    known = torch.nan_to_num(old, nan=0.0)
    new = torch.addcmul(known, weights_2R, value - known)
    if not all_seen:
        new = torch.where(weights_2R > 0, new, old)
    fields.put_ring("season", at, new)


@dataclass(frozen=True, slots=True)
class Glance:
    """What a look ahead reads: the two bins around each lead, of the profile and of the two last seasons.

    bins int64 `[2, 2, N, C]`: left and right, profile and recent; share `[N, C]`: of the right one. is_new:
    the right one is not over yet; is_empty: the left one was not lived through; None: none is. C is the
    number of columns of the calendar.
    """

    bins: Tensor
    share: Tensor
    is_new: Tensor
    is_empty: Tensor | None = None


def glance(calendar: Calendar, leads_NC: Tensor) -> Glance:
    """At the current cell plus each lead (in steps, below one season); leads may have one column for all."""
    x = torch.addcdiv(calendar.phase, leads_NC, calendar.width)
    left = torch.floor(x + EPSILON)
    share = (x - left).clamp_(min=0)
    here = left + calendar.origin
    here.sub_(torch.floor(here / calendar.length).mul_(calendar.length))
    after = here + 1.0
    after = torch.where(after < calendar.length, after, 0.0)
    bins = torch.stack([here, after])
    bins[:, 0].add_(2 * BINS)  # the profile
    # the bin after the current one still holds what was two seasons ago, if anything
    newest = calendar.bins if calendar.empty is None else calendar.bins - calendar.empty
    is_empty = None if calendar.empty is None else left > newest
    return Glance(bins.to(torch.int64), share, left >= newest, is_empty)


def look_ahead(fields: Fields, at: Places, seen: Glance, value: Tensor) -> Tensor:
    """Profile and season ago `[2, N, R]`. at: places of `seen.bins`.

    The profile is `value` [R] where a bin was never seen. What was measured a season before falls back on the
    profile where that bin has no reading. Bins that the series has not lived through yet are NaN in the ring.
    """
    read = fields.take_ring("season", at).view(*seen.bins.shape[:-1], -1)
    profile, recent = read.unbind(1)
    profile = torch.where(torch.isnan(profile), value, profile)
    profile = torch.lerp(profile[0], profile[1], seen.share)
    a, c = recent.unbind(0)
    if seen.is_empty is not None:
        a = torch.where(seen.is_empty, float("nan"), a)
    c = torch.where(torch.isnan(c) | seen.is_new, a, c)
    ago = torch.lerp(a, c, seen.share)
    return torch.stack([profile, torch.where(torch.isnan(ago), profile, ago)])
