"""What every forecaster may know of a series: last values, averages, scale, season, and a ring of features.

All values are kept relative to `origin`, the series' first value, so that float32 suffices for a counter at
1e9 that moves by 1. Everything a forecaster sees is in units of the series' scale.

Letters: S slots, R rows, F features, H horizon, Q scored steps, L ring length.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from forecasters import scaling, season
from forecasters.fields import Block, Field, Fields, Places, fill_up
from forecasters.rows import TILE, Rows
from forecasters.steps import scored_steps
from forecasters.timetable import BIN, FAST, RATES, Arrival, Place, Stretch, Timetable, modulo

Tensor = torch.Tensor
Ints = npt.NDArray[np.int64]

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
    ends: tuple[Tensor, Tensor] | None = None


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
        self._ago = self._steps.tolist()
        self._ages = torch.from_numpy(self._steps).to(device)[:, None]
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

    def observe(
        self, rows: Rows, time_ms: Ints, values: npt.NDArray[np.float64], seen: npt.NDArray[np.bool_]
    ) -> Wave:
        """Take one reading per row in: first what it says about the past, then the new state.

        values: finite where `seen`. Everything that the device needs goes there here, once a wave.
        """
        a = self.timetable.arrive(rows, time_ms, values, seen)
        at, num = a.place, rows.num
        place = self._find_place(a)
        block = np.zeros((2 + len(RATES), rows.padded), np.float32)
        np.subtract(values, a.origin, out=block[0, :num], casting="same_kind")
        block[1, :num], block[1, num:], block[2:, :num] = at.season_steps, season.BINS, a.rates
        numbers = torch.from_numpy(block).to(self.device, non_blocking=True)
        (y, season_steps, spread_weight), rates = numbers[:3].unbind(0), numbers[2:]
        seen_R = None if a.all_seen else self._send(rows, np.bool_, (seen, False))[0]

        b = self.core.take(rows)
        lags, averages = b["lags"], b["averages"]
        if seen_R is None:
            whole = np.zeros(rows.padded)
            np.add(a.origin, block[0, :num], out=whole[:num])
            base = torch.from_numpy(whole).to(self.device, non_blocking=True)
        else:
            y = torch.where(seen_R, y, lags[0])
            base = self._send(rows, np.float64, (a.origin, 0))[0] + y
        dep, past_scale, valid, all_valid = self._arrived(a, place, y)
        if a.restarted is not None:
            (restarted,) = self._send(rows, np.bool_, (a.restarted, False))
            lags.copy_(torch.where(restarted, y, lags))
        departure, unjudged = y - averages[1], None
        if a.least_good < scaling.UNJUDGED:
            (unjudged,) = self._send(rows, np.bool_, (a.good < scaling.UNJUDGED, True))
        scaling.update(b, departure, y - lags[0], spread_weight, unjudged)
        # the first value is the origin: it is 0, as are the averages that it meets
        averages.addcmul_(rates[FAST:BIN], y - averages)
        self._forget(rows.slots, a.forgotten)
        season.observe(self.core, self._find_bins(rows, at), rates[BIN:], y, all_seen=a.all_seen)
        level = base.to(torch.float32)
        scale, naive_error = scaling.scales(b, level)
        x16, ago_HR, offset = self._features(rows, at, b.whole[NEAR], y, seen_R, scale, season_steps)
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
        nth, count = self._send(steps, np.int64, (a.nth, 1))[0], self._send(rows, np.int64, (counts, 0))[0]
        season_steps = self._send(steps, np.float32, (a.place.season_steps, season.BINS))[0]
        (origin,) = self._send(steps, np.float64, (a.origin, 0))
        b = self.core.take(steps)
        y = b["lags"][0]
        scale, _ = scaling.scales(b, (origin + y).to(torch.float32))
        near = torch.cat([_shifted(b["lags"], nth - 1), b["averages"]])
        x16, _, _ = self._features(
            steps, a.place, near, y, torch.zeros_like(y, dtype=torch.bool), scale, season_steps, a.empty
        )
        core = self.core.take(rows)
        core["lags"].copy_(_shifted(core["lags"], count))
        self.core.put(rows, core)
        self._forget(slots, a.forgotten)
        kept = np.flatnonzero(a.left < self.ring_length)  # later steps take the places of earlier ones
        place_P, kept_P = (
            torch.from_numpy(column).to(self.device)
            for column in (modulo(a.step[kept], self.ring_length) * self.rings.stride + a.slots[kept], kept)
        )
        self.rings.put_rows("features", place_P, x16.index_select(1, kept_P).t().contiguous())
        self.rings.put_rows("level", place_P, torch.stack([y, scale], 1)[kept_P])
        x = torch.nn.functional.pad(x16.to(torch.float32), (0, TILE))
        return Held(rows=rows, stretch=a, place_P=place_P, x_FP=x)

    def _forget(self, slots: Ints, forgotten: tuple[Ints, Ints]) -> None:
        rows, bins = forgotten
        if rows.size:
            gone = (slots[rows], bins)
            season.forget(self.core, *(torch.from_numpy(column).to(self.device) for column in gone))

    def _find_place(self, a: Arrival) -> Places:
        """Of this reading in the rings."""
        if a.common is not None and a.rows.span is not None:
            return Places(pieces=([a.common % self.ring_length], a.rows.span))
        return self.rings.places(a.rows, modulo(a.step, self.ring_length)[None])

    def _find_bins(self, rows: Rows, at: Place) -> Places:
        """That this reading is in, of the season and of its profile."""
        if at.common_ms is not None and rows.span is not None:
            return Places(pieces=([int(at.at[0]), 2 * season.BINS + int(at.at_profile[0])], rows.span))
        return self.core.places(rows, np.stack([at.at, 2 * season.BINS + at.at_profile]))

    def _arrived(self, a: Arrival, place: Places, y: Tensor) -> tuple[Tensor, Tensor, Tensor, bool]:
        """(departures, scales at issue, targets or not) of the scored steps; all targets?"""
        if place.pieces:
            (at,), span = place.pieces
            past = Places(pieces=([(at - ago) % self.ring_length for ago in self._ago], span))
        else:
            assert place.index is not None
            index = torch.sub(place.index, self._ages, alpha=self.rings.stride)
            past = Places(index.add_(index < 0, alpha=self.rings.stride * self.ring_length))
        last, scale = self.rings.take_ring("level", past).unbind(-1)
        dep = (y - last).div_(scale)
        all_valid = a.all_seen and a.unbroken >= self.horizon
        if all_valid:
            return dep, scale, self._true.expand(dep.shape), True
        judged = (a.since >= self._steps[:, None]) & a.seen
        valid = self._send(a.rows, np.bool_, *((row, False) for row in judged))
        return torch.where(valid, dep, 0.0), scale, valid, False

    def _send(self, rows: Rows, dtype: Any, *columns: tuple[npt.NDArray[Any], float]) -> Tensor:
        """Host columns as one type `[C, R]` to the device in one go; each with what fills it up to R."""
        block = np.zeros((len(columns), rows.padded), dtype)
        for row, (column, filling) in zip(block, columns, strict=True):
            row[: rows.num] = column
            if filling:
                row[rows.num :] = filling
        return torch.from_numpy(block).to(self.device, non_blocking=True)

    @staticmethod
    def _widen(b: Block, y: Tensor, seen: Tensor | None) -> None:
        """The observed range takes this reading in."""
        low, high = b["lowest"], b["highest"]
        torch.minimum(low, y if seen is None else torch.where(seen, y, float("inf")), out=low)
        torch.maximum(high, y if seen is None else torch.where(seen, y, float("-inf")), out=high)

    def _features(
        self, rows: Rows, at: Place, near: Tensor, y: Tensor, seen: Tensor | None, scale: Tensor,
        season_steps: Tensor, empty: Ints | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """(features `[F, R]` float16, filled up, ago_HR, season offset). near: lags before this reading, and
        averages; empty: as in `Stretch`."""
        x = y.new_zeros(FILLED_UP, y.shape[0])
        x[BIAS].fill_(1.0)
        if seen is not None:
            x[MASKED] = ~seen
        nearby = torch.sub(y, near, out=x[NEAR_FEATURES]).div_(scale)
        knows = at.knows_season
        if knows is None:
            nearby.clamp_(-CLIP, CLIP)
            return (
                x.to(torch.float16),
                self._nothing.expand(self.horizon, *y.shape),
                self._nothing.expand(y.shape),
            )
        table, far_at = self._look_ahead(rows, at, y, season_steps, empty)
        ahead = table - table[:, :1]
        torch.sub(y, table[:, 0], out=ahead[:, 0])
        ahead.div_(scale)
        if knows.all():
            x[HAS_SEASON] = 1.0
        else:
            (known,) = self._send(rows, np.bool_, (knows, False))
            x[HAS_SEASON] = known
            ahead = torch.where(known, ahead, 0.0)
        ago_HR, offset = ahead[1, ahead.shape[1] - self.horizon :], ahead[1, 0]
        torch.index_select(ahead.flatten(0, 1), 0, far_at, out=x[FAR_FEATURES])
        x[NEAR_FEATURES.start : FAR_FEATURES.stop].clamp_(-CLIP, CLIP)
        return x.to(torch.float16), ago_HR, offset

    def _look_ahead(
        self, rows: Rows, at: Place, y: Tensor, season_steps: Tensor, empty: Ints | None
    ) -> tuple[Tensor, Tensor]:
        """(profile and season ago `[2, N, R]`, where the features stand); lead 0 first, the path last."""
        if at.common_ms is not None and empty is None:
            assert rows.span is not None
            seen, far_at = self._find_outlook(rows.span.start, at.common_ms)
            bins = Places(pieces=(seen.bins.flatten().tolist(), rows.span))
            return season.look_ahead(self.core, bins, seen, y), far_at
        columns = self._send(
            rows, np.float32, (at.phase, 0), (at.width, 1), (at.bins, season.BINS), (at.at_profile, 0),
            (at.at, 0),
        )  # fmt: skip
        nothing_of = None if empty is None else self._send(rows, np.float32, (empty, 0))[0]
        wanted, far_at = self._find_leads(at, season_steps)
        seen = season.glance(season.Calendar.of(columns, nothing_of), wanted)
        index = seen.bins.mul(self.core.stride).add_(rows.index).view(-1, rows.padded)
        return season.look_ahead(self.core, Places(index), seen, y), far_at

    def _find_leads(self, at: Place, season_steps: Tensor) -> tuple[Tensor, Tensor]:
        """(leads `[N, C]` or `[N, 1]`, where the features stand); season_steps `[C]`, where it lies."""
        short = at.season_steps <= self.horizon
        if at.knows_season is None or not (short & at.knows_season).any():
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
