"""What every forecaster may know of a series: last values, averages, scale, season, and a ring of features.

All values are kept relative to `origin`, the series' first value, so that float32 suffices for a counter at
1e9 that moves by 1. Everything a forecaster sees is in units of the series' scale.

Letters: S slots, R rows, F features, H horizon, L ring length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from forecasters import scaling, season
from forecasters.fields import TILE, Field, Fields
from forecasters.timetable import Arrival, Stretch, Timetable

Tensor = torch.Tensor

NUM_LAGS = 4
PROFILE_LEADS = 13
CLIP = 8.0
"""Features are clipped to this many scales: a neighbour's spike must not own the shared weights."""

MASKED, HAS_SEASON = 0, 1
LAGS = slice(2, 6)
AVERAGES = slice(6, 8)
PROFILE = slice(8, 22)
YESTERDAY = slice(22, 30)
BIAS = 30
NUM_FEATURES = 31
NET_FEATURES = slice(0, 30)
"""All but the constant one: every layer has a bias of its own."""
LINEAR_FEATURES = slice(2, 31)


def leads(count: int, horizon: int, steps_R: Tensor) -> Tensor:
    """`count` leads `[R, count]` in whole steps: 1, then evenly to min(horizon, season - 1)."""
    last = torch.clamp(steps_R - 1.0, min=1.0, max=float(horizon))[:, None]
    share = torch.arange(count, device=steps_R.device, dtype=torch.float32)[None, :] / (count - 1)
    return torch.round(1.0 + share * (last - 1.0))


@dataclass(slots=True)
class Wave:
    """One reading of each of R series, as the forecasters see it. Rows beyond `num_rows` are padding.

    dep_RH: what happened, in units of the scale at issue: (value - last at issue) / scale at issue for the
    forecasts made h steps ago; valid_RH says where that is a target; past_RH: their places in the rings,
    flattened to `[(S + 1) · L]`; place_R: that of this reading. x_RF: features after this reading.
    season_offset: value less that of a season ago, in units of scale; ago_RH: what the season before did
    next, where some forecaster asks for it.
    """

    rows: Tensor
    num_rows: int
    arrival: Arrival
    step: Tensor
    seen: Tensor
    dep_RH: Tensor
    valid_RH: Tensor
    past_RH: Tensor
    place_R: Tensor
    x_RF: Tensor
    base: Tensor  # float64, the last value itself
    last: Tensor
    scale: Tensor
    naive_error: Tensor
    lowest: Tensor
    highest: Tensor
    season_steps: Tensor
    season_offset: Tensor
    ago_RH: Tensor


@dataclass(slots=True)
class Held:
    """Steps without a reading, P of N series, as the forecasters see them; in the order of `Stretch`.

    rows: slots of the N series; place_P: places in the rings of those steps that are not overwritten by later
    ones; x_PF: features after each step, then a tile of padding. Rows are padded to whole tiles.
    """

    rows: Tensor
    stretch: Stretch
    place_P: Tensor
    x_PF: Tensor


class Memory:
    """The columns above for all slots, and how one wave changes them."""

    def __init__(self, horizon: int, ring_length: int, device: torch.device, *, needs_ago: bool) -> None:
        """needs_ago: whether some forecaster reads `Wave.ago_RH`."""
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
            **season.FIELDS,
        }
        rings = {
            "features": Field((ring_length, NUM_FEATURES), torch.float16),
            # last value and scale; a fresh scale of 0 divides nothing, since such a place is never valid
            "level": Field((ring_length, 2), apart=True),
        }
        self.timetable = Timetable()
        self.core = Fields(core, device)
        self.rings = Fields(rings, device)
        self._ages = torch.arange(1, horizon + 1, device=device)
        self._path = self._ages.to(torch.float32)

    def observe(
        self, slots: npt.NDArray[np.int64], time_ms: npt.NDArray[np.int64], values: npt.NDArray[np.float64],
        seen: npt.NDArray[np.bool_],
    ) -> Wave:  # fmt: skip
        """Take one reading per slot in: first what it says about the past, then the new state.

        values: finite where `seen`. Everything that the device needs goes there here, once a wave.
        """
        a = self.timetable.arrive(slots, time_ms, values, seen)
        season_place = a.rows_of_season(3 * season.BINS)
        rows, place, since, step, bin_place, profile_place = self._send(
            np.int64,
            (slots, self.core.capacity), (a.step % self.ring_length, 0), (a.since, -1), (a.step, 0),
            (season_place[0], self.core.capacity * 3 * season.BINS),
            (season_place[1], self.core.capacity * 3 * season.BINS),
        )  # fmt: skip
        y, season_steps, spread_weight, fast, slow, bin_share, profile_rate = self._send(
            np.float32,
            (values - a.origin, 0), (a.season_steps, season.BINS), (a.spread_weight, 0), (a.fast_rate, 0),
            (a.slow_rate, 0), (a.bin_share, 0), (a.profile_rate, 0),
        )  # fmt: skip
        (origin,) = self._send(np.float64, (a.origin, 0))
        seen_R, unjudged, known = self._send(
            np.bool_, (seen, False), (a.good < scaling.UNJUDGED, True), (a.knows_season, False)
        )

        b = self.core.take(rows)
        if not seen.all():
            y = torch.where(seen_R, y, b["lags"][:, 0])
        base = origin + y
        dep_RH, valid_RH, past_RH = self._arrived(rows, place, since, y, seen_R)
        if a.restarted.any():
            (restarted,) = self._send(np.bool_, (a.restarted, False))
            b["lags"] = torch.where(restarted[:, None], y[:, None], b["lags"])
        # the first value is the origin: it is 0, as are the averages that it meets
        scaling.update(
            b, y - b["averages"][:, 1], y - b["lags"][:, 0], spread_weight,
            unjudged if (a.good < scaling.UNJUDGED).any() else None,
        )  # fmt: skip
        b["averages"] = torch.addcmul(b["averages"], torch.stack([fast, slow], 1), y[:, None] - b["averages"])
        self._forget(slots, a.forgotten)
        season.observe(
            self.core,
            torch.stack([bin_place, profile_place], 1),
            torch.stack([bin_share, profile_rate], 1),
            y,
        )
        level = base.to(torch.float32)
        scale = scaling.scale(b, level)
        x16, ago_RH, offset = self._features(b, rows, y, seen_R, scale, known, season_steps, a)
        b["lags"] = torch.cat([y[:, None], b["lags"][:, :-1]], 1)
        b["lowest"] = torch.minimum(b["lowest"], torch.where(seen_R, y, float("inf")))
        b["highest"] = torch.maximum(b["highest"], torch.where(seen_R, y, float("-inf")))
        self.core.put(rows, b)
        place_R = rows * self.ring_length + place
        self.rings["features"].view(-1, NUM_FEATURES).index_copy_(0, place_R, x16)
        self.rings["level"].view(-1, 2).index_copy_(0, place_R, torch.stack([y, scale], 1))
        return Wave(
            rows=rows, num_rows=slots.size, arrival=a, step=step, seen=seen_R,
            dep_RH=dep_RH, valid_RH=valid_RH, past_RH=past_RH, place_R=place_R,
            # stored as float16, so computed from float16: a resumed run sees what the first run saw
            x_RF=x16.to(torch.float32), base=base, last=y, scale=scale,
            naive_error=scaling.naive_error(b, level), lowest=b["lowest"],
            highest=b["highest"], season_steps=season_steps, season_offset=offset, ago_RH=ago_RH,
        )  # fmt: skip

    def hold(self, slots: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> Held:
        """Take steps without a reading, `counts` [N] of each slot, the largest number first: the last value
        holds. All else that is known of a series stays as it is."""
        a = self.timetable.hold(slots, counts)
        (rows, count), (rows_P, nth) = (
            self._send(np.int64, (slots, self.core.capacity), (counts, 0)),
            self._send(np.int64, (a.slots, self.core.capacity), (a.nth, 1)),
        )
        season_steps, (origin,) = (
            self._send(np.float32, (a.season_steps, season.BINS))[0],
            self._send(np.float64, (a.origin, 0)),
        )
        (known,) = self._send(np.bool_, (a.knows_season, False))
        b = self.core.take(rows_P)
        y = b["lags"][:, 0]
        base = origin + y
        scale = scaling.scale(b, base.to(torch.float32))
        b["lags"] = _shifted(b["lags"], nth - 1)
        x16, _, _ = self._features(b, rows_P, y, torch.zeros_like(known), scale, known, season_steps, a)
        core = self.core.take(rows)
        core["lags"] = _shifted(core["lags"], count)
        self.core.put(rows, core)
        self._forget(slots, a.forgotten)
        kept = np.flatnonzero(a.left < self.ring_length)  # later steps take the places of earlier ones
        place_P, kept_P = (
            torch.from_numpy(column).to(self.device)
            for column in (a.slots[kept] * self.ring_length + a.step[kept] % self.ring_length, kept)
        )
        self.rings["features"].view(-1, NUM_FEATURES).index_copy_(0, place_P, x16[kept_P])
        self.rings["level"].view(-1, 2).index_copy_(0, place_P, torch.stack([y, scale], 1)[kept_P])
        x = torch.nn.functional.pad(x16.to(torch.float32), (0, 0, 0, TILE))
        return Held(rows=rows, stretch=a, place_P=place_P, x_PF=x)

    def _forget(
        self, slots: npt.NDArray[np.int64], forgotten: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
    ) -> None:
        rows, bins = forgotten
        if rows.size:
            gone = (slots[rows], bins)
            season.forget(self.core, *(torch.from_numpy(column).to(self.device) for column in gone))

    def _arrived(
        self, rows: Tensor, place: Tensor, since: Tensor, y: Tensor, seen: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        ring_RH = place[:, None] - self._ages
        ring_RH = torch.where(ring_RH < 0, ring_RH + self.ring_length, ring_RH)
        past_RH = ring_RH + rows[:, None] * self.ring_length
        level = self.rings["level"].view(-1, 2).index_select(0, past_RH.view(-1)).view(*past_RH.shape, 2)
        valid = (since[:, None] >= self._ages) & seen[:, None]
        dep = torch.where(valid, (y[:, None] - level[..., 0]) / level[..., 1], 0.0)
        return dep, valid, past_RH

    def _send(self, dtype: Any, *columns: tuple[npt.NDArray[Any], float]) -> tuple[Tensor, ...]:
        """Host columns of one type to the device in one go; each with what fills it up to whole tiles."""
        num = columns[0][0].size
        block = np.empty((len(columns), num + -num % TILE), dtype)
        for row, (column, filling) in zip(block, columns, strict=True):
            row[:num] = column
            row[num:] = filling
        return torch.from_numpy(block).to(self.device, non_blocking=True).unbind(0)

    def _features(
        self, b: Mapping[str, Tensor], rows: Tensor, y: Tensor, seen: Tensor, scale: Tensor, known: Tensor,
        season_steps: Tensor, a: Arrival | Stretch,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """(features `[R, F]` float16, ago_RH, season offset); lags are those before this reading."""
        near = torch.cat([y[:, None] - b["lags"], y[:, None] - b["averages"]], 1)
        near = near.div_(scale[:, None]).clamp_(-CLIP, CLIP)
        flags = torch.stack([~seen, known], 1).to(torch.float32)
        bias = torch.ones_like(flags[:, :1])
        if not a.knows_season.any():
            none = y.new_zeros(y.shape[0], BIAS - PROFILE.start)
            x = torch.cat([flags, near, none, bias], 1).to(torch.float16)
            return x, y.new_zeros(y.shape[0], self.horizon), torch.zeros_like(y)
        bins, now, age = self._send(
            np.int64,
            (a.bins, season.BINS),
            (a.now % (2 * a.bins), 0),
            (np.minimum(a.now, 3 * season.BINS), 0),
        )
        width, phase = self._send(np.float32, (a.width, 1), (a.phase, 0))
        calendar = season.Calendar(width=width, bins=bins, now=now, age=age, phase=phase)
        if a.newest is not None:
            (calendar.empty,) = self._send(np.int64, (a.now - a.newest, 0))
        ahead = leads(PROFILE_LEADS, self.horizon, season_steps)
        wanted = [torch.zeros_like(ahead[:, :1]), ahead]
        if self.needs_ago:  # beyond a season: the same season again
            wanted.append(torch.remainder(self._path, season_steps[:, None]))
        profile, ago = season.look_ahead(self.core, rows, calendar, torch.cat(wanted, 1), y)
        profile_now, ago_now = profile[:, :1], ago[:, :1]
        far = torch.cat(
            [
                y[:, None] - profile_now,
                profile[:, 1 : 1 + PROFILE_LEADS] - profile_now,
                y[:, None] - ago_now,
                ago[:, 1 : 1 + PROFILE_LEADS : 2] - ago_now,
            ],
            1,
        )
        far = torch.where(known[:, None], far.div_(scale[:, None]).clamp_(-CLIP, CLIP), 0.0)
        ago_RH = (ago[:, 1 + PROFILE_LEADS :] - ago_now) / scale[:, None]
        ago_RH = torch.where(known[:, None], ago_RH, 0.0)
        offset = torch.where(known, (y - ago_now[:, 0]) / scale, 0.0)
        return torch.cat([flags, near, far, bias], 1).to(torch.float16), ago_RH, offset


def _shifted(lags: Tensor, steps: Tensor) -> Tensor:
    """`lags` `[R, 4]` after so many steps `[R]` at which the last value held."""
    at = torch.arange(NUM_LAGS, device=lags.device) - steps[:, None]
    return lags.gather(1, at.clamp_(min=0))
