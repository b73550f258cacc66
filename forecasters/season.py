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
    """Where the current cell of each row lies in its season, from `timetable.Arrival`, on the device.

    phase, width `[R]`: of the cell in its bin, and steps per bin; bins `[R]`. origin and length are
    `[2, 1, R]`, of the profile and of the recent ring: the bin that a lead of 0 reads, and the length of the
    ring. slots `[R]`: of the rows. empty `[R]`: bins up to the cell's that nothing was seen of, whatever
    their places hold; None: 0 everywhere.

    Where all of that is the same for all rows, and they lie side by side in `span`, there is one column of
    it, on the host, and no `slots`.
    """

    phase: Tensor
    width: Tensor
    bins: Tensor
    origin: Tensor
    length: Tensor
    slots: Tensor | None = None
    span: slice | None = None
    empty: Tensor | None = None


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


def look_ahead(fields: Fields, calendar: Calendar, leads_NR: Tensor, value: Tensor) -> Tensor:
    """Profile and season ago `[2, N, R]` at the current cell plus each lead (in steps, below one season).

    leads have as many columns as the calendar, or one. The profile is `value` [R] where a bin was never seen.
    What was measured a season before falls back on the profile where that bin has no reading. Bins that the
    series has not lived through yet are NaN in the ring.
    """
    x = torch.addcdiv(calendar.phase, leads_NR, calendar.width)
    left = torch.floor(x + EPSILON)
    share = (x - left).clamp_(min=0)
    here = left + calendar.origin
    here.sub_(torch.floor(here / calendar.length).mul_(calendar.length))
    after = here + 1.0
    after = torch.where(after < calendar.length, after, 0.0)
    here[0].add_(2 * BINS)  # the profile
    after[0].add_(2 * BINS)
    # the bin after the current one still holds what was two seasons ago, if anything
    newest = calendar.bins if calendar.empty is None else calendar.bins - calendar.empty
    is_new, is_empty = left >= newest, None if calendar.empty is None else left > newest
    bins = torch.stack([here, after]).to(torch.int64)
    if calendar.slots is None:
        assert calendar.span is not None
        at = Places(pieces=(bins.view(-1).tolist(), calendar.span))
        share, is_new = (t.to(value.device, non_blocking=True) for t in (share, is_new))
    else:
        at = Places(bins.mul_(fields.stride).add_(calendar.slots).view(-1, bins.shape[-1]))
    read = fields.take_ring("season", at).view(*bins.shape[:-1], -1)
    profile, recent = read.unbind(1)
    profile = torch.where(torch.isnan(profile), value, profile)
    profile = torch.lerp(profile[0], profile[1], share)
    a, c = recent.unbind(0)
    if is_empty is not None:
        a = torch.where(is_empty, float("nan"), a)
    c = torch.where(torch.isnan(c) | is_new, a, c)
    ago = torch.lerp(a, c, share)
    return torch.stack([profile, torch.where(torch.isnan(ago), profile, ago)])
