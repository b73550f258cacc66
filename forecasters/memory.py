"""What every forecaster may know of a series: last values, averages, scale, season, and a ring of features.

All values are kept relative to `origin`, the series' first value, so that float32 suffices for a counter at
1e9 that moves by 1. Everything a forecaster sees is in units of the series' scale.

Letters: S slots, R rows, F features, H horizon, Q scored steps, L ring length.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from forecasters import scaling, season
from forecasters.fields import Block, Field, Fields, Places, fill_up
from forecasters.host import is_host
from forecasters.programs import Courier
from forecasters.rows import TILE, Rows
from forecasters.sent import Cells, find_bins, find_calendar, find_empty, find_forgotten, find_numbers
from forecasters.steps import scored_steps
from forecasters.timetable import BIN, FAST, Arrival, Place, Stretch, Timetable, modulo

Tensor = torch.Tensor
Ints = npt.NDArray[np.int64]
Send = Callable[[Callable[[Any], npt.NDArray[Any]]], Tensor]
"""Such as `Courier.send`."""

NUM_LAGS = 4
PROFILE_LEADS = 13
CLIP = 8.0
"""Features are clipped to this many scales: a neighbour's spike must not own the shared weights."""

MASKED, HAS_SEASON = 0, 1
NEAR_FEATURES = slice(2, 8)
"""Departures from the last four values and from two averages."""
FAR_FEATURES = slice(8, 30)
"""Departure from the profile and its moves at 13 leads; from the season ago, and its moves at 7 of them."""
BIAS = 30
NUM_FEATURES = 31
FILLED_UP = fill_up(NUM_FEATURES, torch.float16)
NET_FEATURES = slice(0, 30)
"""All but the constant one: every layer has a bias of its own."""
LINEAR_FEATURES = slice(2, 31)
NEAREST = (NEAR_FEATURES.start, FAR_FEATURES.start, FAR_FEATURES.start + 1)
"""The last difference, the departure from the profile, the profile's change in one step."""
OUTLOOKS = 32
"""Cells that are looked ahead from at a time."""
NEAR = slice(0, NUM_LAGS + 2)
"""Lags and averages in the slab of `Memory.core`."""


def leads(horizon: int, steps: Tensor | float) -> Tensor:
    """Leads in whole steps: 1, then evenly to min(horizon, season - 1); `[13, *steps.shape]`."""
    last = torch.clamp(torch.as_tensor(steps) - 1.0, min=1.0, max=float(horizon))
    share = torch.arange(PROFILE_LEADS, device=last.device, dtype=torch.float32) / (PROFILE_LEADS - 1)
    return torch.round(1.0 + share.view(-1, *[1] * last.dim()) * (last - 1.0))


@dataclass(slots=True)
class Wave:
    """One reading of each of R series, as the forecasters see it. Rows beyond `rows.num` are padding.

    dep_QR: what happened, in units of the scale at issue: (value - last at issue) / scale at issue for the
    forecasts made a scored step ago; scale_QR: that scale; valid_QR says where that is a target, all_valid
    whether everywhere, and of a forecast that was made. place: of this reading in the rings. x_FR: features
    after this reading, filled up with 0 as in their ring. season_offset: value less that of a season ago, in
    units of scale; ago_HR: what the season before did next, where some forecaster asks for it. departure:
    value less the slow average before it, in units of the series, as `base`. nearest_MR: the features
    `NEAREST`, and those one step ago. states: what a network's `observe` leaves for its `forecast`, by its
    identity; ends: see `Chunks.ends`.
    """

    rows: Rows
    arrival: Arrival
    seen: Tensor | None  # None: all of them
    dep_QR: Tensor
    scale_QR: Tensor
    valid_QR: Tensor
    all_valid: bool
    place: Places
    x_FR: Tensor
    base: Tensor  # float64, the last value itself
    last: Tensor
    scale: Tensor
    naive_error: Tensor
    lowest: Tensor
    highest: Tensor
    season_steps: Tensor
    season_offset: Tensor
    ago_HR: Tensor
    departure: Tensor
    nearest_MR: Tensor
    nearest_before_MR: Tensor
    states: dict[int, Tensor] = field(default_factory=dict)
    ends: tuple[Tensor | None, Tensor] | None = None


@dataclass(slots=True)
class Held:
    """Steps without a reading, P of N series, as the forecasters see them; in the order of `Stretch`.

    rows: of the N series; place_P: places in the rings of those steps that are not overwritten by later ones;
    x_FP: features after each step, then a tile of padding.
    """

    rows: Rows
    stretch: Stretch
    place_P: Tensor
    x_FP: Tensor


@dataclass(frozen=True, slots=True)
class _Outlook:
    """What is looked up in the season from OUTLOOKS cells, one after the other from `first_ms` on, of any
    series with this cadence, season and anchor; and where the features stand."""

    calendar: tuple[Any, ...]
    first_ms: int
    seen: season.Glance
    far_at: Tensor


class Memory:
    """The columns above for all slots, and how one wave changes them."""

    def __init__(self, horizon: int, ring_length: int, device: torch.device, *, needs_ago: bool) -> None:
        """needs_ago: whether some forecaster reads `Wave.ago_HR`."""
        self.horizon = horizon
        self.ring_length = ring_length
        self.device = device
        self.courier = Courier(device)
        self.needs_ago = needs_ago
        core = {
            "lags": Field((NUM_LAGS,)),
            "averages": Field((2,)),
            "lowest": Field(initial=float("inf")),
            "highest": Field(initial=float("-inf")),
            **scaling.FIELDS,
            "nearest": Field((len(NEAREST),)),
            **season.FIELDS,
        }
        rings = {
            "features": Field((ring_length, NUM_FEATURES), torch.float16, ring=True),
            # last value and scale; a fresh scale of 0 divides nothing, since such a place is never valid
            "level": Field((ring_length, 2), ring=True),
        }
        self.timetable = Timetable()
        self.core = Fields(core, device)
        self.rings = Fields(rings, device)
        self._steps = np.array(scored_steps(horizon))
        self._ago = tuple(self._steps.tolist())
        self._ages: dict[tuple[int, ...], Tensor] = {}
        self._path = torch.arange(1, horizon + 1, device=device, dtype=torch.float32)[:, None]
        self._nearest = torch.tensor(NEAREST, device=device)
        self._nothing = torch.zeros((), device=device)
        self._true = torch.ones((), dtype=torch.bool, device=device)
        nothing = torch.zeros(0)
        self._outlook = _Outlook((), 0, season.Glance(nothing, nothing, nothing), nothing)
        self._plan_leads()

    def _plan_leads(self) -> None:
        """Leads where every season is longer than the horizon: each distinct one is looked up once."""
        wanted = leads(self.horizon, float(self.horizon + 1))
        distinct = self._path.flatten().cpu() if self.needs_ago else torch.unique(wanted)
        place = torch.searchsorted(distinct, wanted) + 1  # after the lead 0
        self._leads = torch.cat([distinct.new_zeros(1), distinct])[:, None].to(self.device)
        self._far_at = self._far_places(place, self._leads.shape[0])
        each = torch.arange(1, PROFILE_LEADS + 1)
        self._far_at_each = self._far_places(
            each, 1 + PROFILE_LEADS + (self.horizon if self.needs_ago else 0)
        )

    def _far_places(self, place: Tensor, count: int) -> Tensor:
        """Where the features of profile and season before stand in the flattened answer `[2 · N]`."""
        now = torch.zeros(1, dtype=torch.int64)
        return torch.cat([now, place, count + now, count + place[::2]]).to(self.device)

    def form(self, a: Arrival) -> Hashable | None:
        """What decides which operations `observe` takes elsewhere than on a CPU; None: they are a matter of
        this wave alone."""
        forgets = self._count_forgotten(a)
        if forgets > 1:
            return None
        at = a.place
        knows = 0 if at.knows_season is None else 2 - bool(at.knows_season.all())
        return (
            a.all_seen, self._is_all_valid(a), a.restarted is None, a.least_good < scaling.UNJUDGED, forgets,
            knows, bool(knows) and self._has_short_season(at),
        )  # fmt: skip

    def observe(self, a: Arrival) -> Wave:
        """Take one reading per row in: first what it says about the past, then the new state."""
        rows, send = a.rows, self.courier.send
        place = self._find_place(a)
        numbers = send(find_numbers)
        (y, season_steps, spread_weight), rates = numbers[:3].unbind(0), numbers[2:]
        seen_R = None if a.all_seen else send(lambda a: a.rows.fill(a.seen, False))

        b = self.core.take(rows)
        lags, averages = b["lags"], b["averages"]
        if seen_R is not None:
            y = torch.where(seen_R, y, lags[0])
        base = send(lambda a: a.rows.fill(a.origin, 0.0)) + y
        dep, past_scale, valid, all_valid = self._arrived(a, place, y)
        if a.restarted is not None:
            restarted = send(lambda a: a.rows.fill(a.restarted, False))
            lags.copy_(torch.where(restarted, y, lags))
        departure, unjudged = y - averages[1], None
        if a.least_good < scaling.UNJUDGED:
            unjudged = send(lambda a: a.rows.fill(a.good < scaling.UNJUDGED, True))
        scaling.update(b, departure, y - lags[0], spread_weight, unjudged)
        # the first value is the origin: it is 0, as are the averages that it meets
        averages.addcmul_(rates[FAST:BIN], y - averages)
        if is_host(self.device) or self._count_forgotten(a) > 1:
            self._forget(rows.slots, a.forgotten)
        elif a.forgotten[0].size:
            season.forget(self.core, *send(find_forgotten).unbind(0))
        season.observe(self.core, self._find_bins(a), rates[BIN:], y, all_seen=a.all_seen)
        level = base.to(torch.float32)
        scale, naive_error = scaling.scales(b, level)
        cells = Cells(rows, a.place)
        x16, ago_HR, offset = self._features(cells, send, b.whole[NEAR], y, seen_R, scale, season_steps)
        lags.copy_(torch.cat([y[None], lags[:-1]]))
        self._widen(b, y, seen_R)
        # stored as float16, so computed from float16: a resumed run sees what the first run saw
        x_FR = x16.to(torch.float32)
        before, nearest = b["nearest"].clone(), x_FR.index_select(0, self._nearest)
        b["nearest"].copy_(nearest)
        self.core.put(rows, b)
        self.rings.put_ring("features", place, x16.t()[None])
        self.rings.put_ring("level", place, torch.stack([y, scale], 1)[None])
        return Wave(
            rows=rows, arrival=a, seen=seen_R, all_valid=all_valid,
            dep_QR=dep, scale_QR=past_scale, valid_QR=valid, place=place, x_FR=x_FR,
            nearest_MR=nearest, nearest_before_MR=before, base=base, last=y, scale=scale,
            naive_error=naive_error, lowest=b["lowest"], highest=b["highest"],
            season_steps=season_steps, season_offset=offset, ago_HR=ago_HR,
            departure=departure,
        )  # fmt: skip

    def hold(self, slots: Ints, counts: Ints) -> Held:
        """Take steps without a reading, `counts` [N] of each slot, the largest number first: the last value
        holds. All else that is known of a series stays as it is."""
        a = self.timetable.hold(slots, counts)
        rows, steps = (Rows(s, 0, self.core.capacity, self.device) for s in (slots, a.slots))
        cells = Cells(steps, a.place, a.empty)

        def send(make: Callable[[Any], npt.NDArray[Any]]) -> Tensor:
            return self._send(make(cells))

        nth, count = self._send(steps.fill(a.nth, 1)), self._send(rows.fill(counts, 0))
        season_steps = self._send(steps.fill(a.place.season_steps.astype(np.float32), season.BINS))
        b = self.core.take(steps)
        y = b["lags"][0]
        scale, _ = scaling.scales(b, (self._send(steps.fill(a.origin, 0.0)) + y).to(torch.float32))
        near = torch.cat([_shifted(b["lags"], nth - 1), b["averages"]])
        x16, _, _ = self._features(
            cells, send, near, y, torch.zeros_like(y, dtype=torch.bool), scale, season_steps
        )
        core = self.core.take(rows)
        core["lags"].copy_(_shifted(core["lags"], count))
        self.core.put(rows, core)
        self._forget(slots, a.forgotten)
        kept = np.flatnonzero(a.left < self.ring_length)  # later steps take the places of earlier ones
        place = modulo(a.step[kept], self.ring_length) * self.rings.stride + a.slots[kept]
        place_P, kept_P = self._send(place), self._send(kept)
        self.rings.put_rows("features", place_P, x16.index_select(1, kept_P).t().contiguous())
        self.rings.put_rows("level", place_P, torch.stack([y, scale], 1)[kept_P])
        x = torch.nn.functional.pad(x16.to(torch.float32), (0, TILE))
        return Held(rows=rows, stretch=a, place_P=place_P, x_FP=x)

    def _forget(self, slots: Ints, forgotten: tuple[Ints, Ints]) -> None:
        rows, bins = forgotten
        if rows.size:
            season.forget(self.core, self._send(slots[rows]), self._send(bins))

    @staticmethod
    def _count_forgotten(a: Arrival) -> int:
        """Bins that a row forgets at most; 2: several."""
        rows = a.forgotten[0]
        return min(rows.size, 1 + bool((rows[1:] == rows[:-1]).any()))

    def _find_place(self, a: Arrival) -> Places:
        """Of this reading in the rings."""
        if a.common is not None and a.rows.span is not None:
            return Places(pieces=([a.common % self.ring_length], a.rows.span))
        length = self.ring_length
        return self.rings.find(
            a.rows, self.courier.send(lambda a: a.rows.fill(modulo(a.step, length), 0))[None]
        )

    def _find_bins(self, a: Arrival) -> Places:
        """That this reading is in, of the season and of its profile."""
        at, rows = a.place, a.rows
        if at.common_ms is not None and rows.span is not None:
            return Places(pieces=([int(at.at[0]), 2 * season.BINS + int(at.at_profile[0])], rows.span))
        return self.core.find(rows, self.courier.send(find_bins))

    def earlier(self, place: Places, ago: Sequence[int]) -> Places:
        """Of the readings so many steps before one, in the rings."""
        if place.pieces:
            (at,), span = place.pieces
            return Places(pieces=([(at - steps) % self.ring_length for steps in ago], span))
        assert place.index is not None
        ages = self._ages.get(key := tuple(ago))
        if ages is None:
            ages = self._ages[key] = torch.tensor(key, device=self.device)[:, None]
        index = torch.sub(place.index, ages, alpha=self.rings.stride)
        return Places(index.add_(index < 0, alpha=self.rings.stride * self.ring_length))

    def _is_all_valid(self, a: Arrival) -> bool:
        return a.all_seen and a.unbroken >= self.horizon

    def _arrived(self, a: Arrival, place: Places, y: Tensor) -> tuple[Tensor, Tensor, Tensor, bool]:
        """(departures, scales at issue, targets or not) of the scored steps; all targets?"""
        last, scale = self.rings.take_ring("level", self.earlier(place, self._ago)).unbind(-1)
        dep = (y - last).div_(scale)
        if self._is_all_valid(a):
            return dep, scale, self._true.expand(dep.shape), True
        valid = self.courier.send(self._find_judged)
        return torch.where(valid, dep, 0.0), scale, valid, False

    def _find_judged(self, a: Arrival) -> npt.NDArray[np.bool_]:
        """`[Q, R]`, whether this reading is a target of the forecasts made so many steps ago."""
        judged = np.zeros((self._steps.size, a.rows.padded), np.bool_)
        np.logical_and(a.since >= self._steps[:, None], a.seen, out=judged[:, : a.rows.num])
        return judged

    def _send(self, column: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(column).to(self.device, non_blocking=True)

    @staticmethod
    def _widen(b: Block, y: Tensor, seen: Tensor | None) -> None:
        """The observed range takes this reading in."""
        low, high = b["lowest"], b["highest"]
        torch.minimum(low, y if seen is None else torch.where(seen, y, float("inf")), out=low)
        torch.maximum(high, y if seen is None else torch.where(seen, y, float("-inf")), out=high)

    def _features(
        self, cells: Cells, send: Send, near: Tensor, y: Tensor, seen: Tensor | None, scale: Tensor,
        season_steps: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """(features `[F, R]` float16, filled up, ago_HR, season offset). near: lags before this reading, and
        averages; send: what is made of such cells."""
        x = y.new_zeros(FILLED_UP, y.shape[0])
        x[BIAS].fill_(1.0)
        if seen is not None:
            x[MASKED] = ~seen
        nearby = torch.sub(y, near, out=x[NEAR_FEATURES]).div_(scale)
        knows = cells.place.knows_season
        if knows is None:
            nearby.clamp_(-CLIP, CLIP)
            return (
                x.to(torch.float16),
                self._nothing.expand(self.horizon, *y.shape),
                self._nothing.expand(y.shape),
            )
        table, far_at = self._look_ahead(cells, send, y, season_steps)
        ahead = table - table[:, :1]
        torch.sub(y, table[:, 0], out=ahead[:, 0])
        ahead.div_(scale)
        if knows.all():
            x[HAS_SEASON] = 1.0
        else:
            known = send(lambda c: c.rows.fill(c.place.knows_season, False))
            x[HAS_SEASON] = known
            ahead = torch.where(known, ahead, 0.0)
        ago_HR, offset = ahead[1, ahead.shape[1] - self.horizon :], ahead[1, 0]
        torch.index_select(ahead.flatten(0, 1), 0, far_at, out=x[FAR_FEATURES])
        x[NEAR_FEATURES.start : FAR_FEATURES.stop].clamp_(-CLIP, CLIP)
        return x.to(torch.float16), ago_HR, offset

    def _look_ahead(self, cells: Cells, send: Send, y: Tensor, season_steps: Tensor) -> tuple[Tensor, Tensor]:
        """(profile and season ago `[2, N, R]`, where the features stand); lead 0 first, the path last."""
        at, rows = cells.place, cells.rows
        if at.common_ms is not None and cells.empty is None:
            assert rows.span is not None
            seen, far_at = self._find_outlook(rows.span.start, at.common_ms)
            bins = Places(pieces=(seen.bins.flatten().tolist(), rows.span))
            return season.look_ahead(self.core, bins, seen, y), far_at
        columns = send(find_calendar)
        nothing_of = None if cells.empty is None else send(find_empty)
        wanted, far_at = self._find_leads(at, season_steps)
        seen = season.glance(season.Calendar.of(columns, nothing_of), wanted)
        index = seen.bins.mul(self.core.stride).add_(rows.index).view(-1, rows.padded)
        return season.look_ahead(self.core, Places(index), seen, y), far_at

    def _has_short_season(self, at: Place) -> bool:
        """Whether some row knows a season that is no longer than the horizon."""
        return at.knows_season is not None and bool(
            ((at.season_steps <= self.horizon) & at.knows_season).any()
        )

    def _find_leads(self, at: Place, season_steps: Tensor) -> tuple[Tensor, Tensor]:
        """(leads `[N, C]` or `[N, 1]`, where the features stand); season_steps `[C]`, where it lies."""
        if not self._has_short_season(at):
            return self._leads.to(season_steps.device), self._far_at
        wanted = [torch.zeros_like(season_steps)[None], leads(self.horizon, season_steps)]
        if self.needs_ago:  # beyond a season: the same season again
            wanted.append(torch.remainder(self._path.to(season_steps.device), season_steps))
        return torch.cat(wanted), self._far_at_each

    def _find_outlook(self, slot: int, time_ms: int) -> tuple[season.Glance, Tensor]:
        """What is seen of the season by rows that stand where this slot does, one column for all of them, and
        where the features stand; on the host. Worked out for some cells ahead, since most of the time goes
        into calls."""
        calendar = tuple(self.timetable[name][slot] for name in ("cadence_ms", "season_steps", "anchor_ms"))
        cadence_ms = int(calendar[0])
        ahead, odd = divmod(time_ms - self._outlook.first_ms, cadence_ms)
        if self._outlook.calendar != calendar or odd or not 0 <= ahead < OUTLOOKS:
            at = self.timetable.find_places(slot, time_ms + cadence_ms * np.arange(OUTLOOKS))
            columns = np.empty((5, OUTLOOKS), np.float32)
            for column, found in zip(
                columns, (at.phase, at.width, at.bins, at.at_profile, at.at), strict=True
            ):
                column[:] = found
            wanted, far_at = self._find_leads(at, torch.full((OUTLOOKS,), float(at.season_steps[0])))
            seen = season.glance(season.Calendar.of(torch.from_numpy(columns)), wanted)
            self._outlook, ahead = _Outlook(calendar, time_ms, seen, far_at), 0
        here, seen = slice(ahead, ahead + 1), self._outlook.seen
        share, is_new = (t[:, here].to(self.device, non_blocking=True) for t in (seen.share, seen.is_new))
        return season.Glance(seen.bins[..., here], share, is_new), self._outlook.far_at


def _shifted(lags: Tensor, steps: Tensor) -> Tensor:
    """`lags` `[4, R]` after so many steps `[R]` at which the last value held."""
    at = torch.arange(NUM_LAGS, device=lags.device)[:, None] - steps
    return lags.gather(0, at.clamp_(min=0))
