"""What every forecaster may know of a series: last value, averages, scale, season, and a ring of features.

All values are kept relative to `origin`, the series' first value, so that float32 suffices for a counter at
1e9 that moves by 1. Everything a forecaster sees is in units of the series' scale.

Letters: R rows, F features, H horizon, L ring length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from forecasters import scaling, season
from forecasters.fields import Field, Fields

Tensor = torch.Tensor

NUM_LAGS = 4
PROFILE_LEADS = 13
SEASON_LEADS = 7
CLIP = 8.0
"""Features are clipped to this many scales: a neighbour's spike must not own the shared weights."""
FAST_SEASONS = 1.0 / 3.0
SLOW_SEASONS = 7.0

SETTLED = 2
"""Steps of a fresh series whose forecasts are not judged: before the third value there is no scale."""

LAGS = slice(0, 4)
AVERAGES = slice(4, 6)
PROFILE = slice(6, 20)
YESTERDAY = slice(20, 28)
BIAS = 28
MASKED = 29
HAS_SEASON = 30
NUM_FEATURES = 31
LINEAR_FEATURES = slice(0, 29)


def leads(count: int, horizon: int, steps_R: Tensor) -> Tensor:
    """`count` leads `[R, count]` in whole steps: 1, then evenly to min(horizon, season - 1)."""
    last = torch.clamp(steps_R - 1.0, min=1.0, max=float(horizon))[:, None]
    share = torch.arange(count, device=steps_R.device, dtype=torch.float32)[None, :] / (count - 1)
    return torch.round(1.0 + share * (last - 1.0))


@dataclass(slots=True)
class Wave:
    """One reading of each of R series, as the forecasters see it. Rows beyond `num_rows` are padding.

    dep_RH: what happened, in units of the scale at issue: (value - last at issue) / scale at issue for the
    forecasts made h steps ago; valid_RH says where that is a target. x_RF: features after this reading.
    chunk_ends: rows where a chunk ends with this reading; chunk: the number of the one that then follows.
    """

    rows: Tensor
    num_rows: int
    step: Tensor
    seen: Tensor
    cell: Tensor
    dep_RH: Tensor
    valid_RH: Tensor
    ring_RH: Tensor
    x_RF: Tensor
    last: Tensor
    scale: Tensor
    block: dict[str, Tensor]
    calendar: season.Calendar
    ago_RH: Tensor
    chunk: Tensor
    chunk_ends: Tensor


class Memory:
    """The shared per-series state: `arrive` says what has become known, `observe` takes the reading in."""

    def __init__(self, horizon: int, ring_length: int, device: torch.device) -> None:
        self.horizon = horizon
        self.ring_length = ring_length
        core = {
            "step": Field(dtype=torch.int64, initial=-1),
            "restart": Field(dtype=torch.int64, initial=SETTLED),
            "stagger": Field(dtype=torch.int64),
            "origin": Field(dtype=torch.float64),
            "cadence_ms": Field(dtype=torch.int64, initial=60_000),
            "season_steps": Field(),
            "anchor_ms": Field(dtype=torch.int64, initial=-1),
            "last": Field(),
            "lags": Field((NUM_LAGS,)),
            "season_offset": Field(),
            "averages": Field((2,)),
            "lowest": Field(initial=float("inf")),
            "highest": Field(initial=float("-inf")),
            **scaling.FIELDS,
            **season.FIELDS,
        }
        rings = {
            "features": Field((ring_length, NUM_FEATURES), torch.float16),
            "last": Field((ring_length,)),
            "scale": Field((ring_length,), initial=1.0),
        }
        self.core = Fields(core, device)
        self.rings = Fields(rings, device)
        self._ages = torch.arange(1, horizon + 1, device=device)

    def observe(
        self, rows: Tensor, num_rows: int, time_ms: Tensor, values: Tensor, seen: Tensor, chunk: int
    ) -> Wave:
        """Take one reading per row in: first what it says about the past, then the new state.

        time_ms: int64 event times; values: float64, finite where `seen`; chunk: chunk length.
        """
        b = self.core.take(rows)
        fresh = seen & torch.isinf(b["lowest"])
        b["origin"] = torch.where(fresh, values, b["origin"])
        y = (values - b["origin"]).to(torch.float32)
        y = torch.where(seen, y, b["last"])
        b["anchor_ms"] = torch.where(b["anchor_ms"] < 0, time_ms, b["anchor_ms"])
        cell = torch.div(
            time_ms - b["anchor_ms"] + b["cadence_ms"] // 2, b["cadence_ms"], rounding_mode="floor"
        )
        b["step"] = b["step"] + 1
        calendar = season.Calendar(b["season_steps"], cell)

        dep_RH, valid_RH, ring_RH = self._arrived(rows, b, y, seen)
        self._average(b, y, seen)
        season.observe(b, calendar, y, seen)
        x_RF, ago_RH, scale = self._features(b, calendar, y, seen)
        b["last"] = y
        b["lowest"] = torch.where(seen, torch.minimum(b["lowest"], y), b["lowest"])
        b["highest"] = torch.where(seen, torch.maximum(b["highest"], y), b["highest"])
        self.core.put(rows, b)
        at = torch.remainder(b["step"], self.ring_length)
        self.rings["features"].index_put_((rows, at), x_RF.to(torch.float16))
        self.rings["last"].index_put_((rows, at), y)
        self.rings["scale"].index_put_((rows, at), scale)
        return Wave(
            rows=rows, num_rows=num_rows, step=b["step"], seen=seen, cell=cell, dep_RH=dep_RH,
            valid_RH=valid_RH, ring_RH=ring_RH, x_RF=x_RF, last=y, scale=scale, block=b, calendar=calendar,
            ago_RH=ago_RH, chunk=(b["step"] + 1 + b["stagger"]) // chunk,
            chunk_ends=torch.remainder(b["step"] + 1 + b["stagger"], chunk) == 0,
        )  # fmt: skip

    def _arrived(
        self, rows: Tensor, b: Mapping[str, Tensor], y: Tensor, seen: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        origin_RH = b["step"][:, None] - self._ages
        ring_RH = torch.remainder(origin_RH, self.ring_length)
        rows_R1 = rows[:, None]
        last, scale = self.rings["last"][rows_R1, ring_RH], self.rings["scale"][rows_R1, ring_RH]
        valid = (origin_RH >= b["restart"][:, None]) & seen[:, None]
        dep = torch.where(valid, (y[:, None] - last) / scale, torch.zeros_like(last))
        return dep, valid, ring_RH

    def _average(self, b: dict[str, Tensor], y: Tensor, seen: Tensor) -> None:
        restarted = (b["step"] == b["restart"]) & (b["step"] > SETTLED)
        previous = torch.where(restarted, y, b["last"])
        b["lags"] = torch.where(restarted[:, None], y[:, None], b["lags"])
        season_steps = torch.where(
            b["season_steps"] >= 2, b["season_steps"], torch.full_like(b["season_steps"], float(season.BINS))
        )
        first = b["good"] < 1
        slow = torch.where(first, y, b["averages"][:, 1])
        slow_rate = 1.0 / (SLOW_SEASONS * season_steps)
        scaling.update(b, y - slow, y - previous, seen, slow_rate)
        n = b["good"].clamp(min=1.0)[:, None]
        rates = torch.stack([1.0 / (FAST_SEASONS * season_steps).clamp(min=1.0), slow_rate], 1)
        rates = torch.maximum(rates, 1.0 / n)
        averages = torch.where(first[:, None], y[:, None], b["averages"])
        b["averages"] = torch.where(seen[:, None], averages + rates * (y[:, None] - averages), averages)

    def _features(
        self, b: dict[str, Tensor], calendar: season.Calendar, y: Tensor, seen: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        scale = scaling.scale(b, (y + b["origin"]).to(torch.float32))
        known = calendar.has_season & (calendar.cell.to(torch.float32) >= calendar.steps)
        ahead = leads(PROFILE_LEADS, self.horizon, calendar.steps)
        now = torch.zeros_like(ahead[:, :1])
        path = self._ages.to(torch.float32).expand(y.shape[0], self.horizon)
        path = torch.remainder(path, calendar.steps[:, None])  # beyond a season: the same season again
        # the profile at every step asked for, in one look-up
        wanted = torch.cat([now, ahead, path], 1)
        profile = season.profile_at(b, calendar, wanted, y)
        ago = season.season_ago(b, calendar, wanted, profile)
        profile_now, profile_ahead = profile[:, :1], profile[:, 1 : 1 + PROFILE_LEADS]
        ago_now, ago_ahead = ago[:, :1], ago[:, 1 : 1 + PROFILE_LEADS : 2]
        x = torch.cat(
            [
                y[:, None] - b["lags"],
                y[:, None] - b["averages"],
                torch.where(known[:, None], y[:, None] - profile_now, 0.0),
                torch.where(known[:, None], profile_ahead - profile_now, 0.0),
                torch.where(known[:, None], y[:, None] - ago_now, 0.0),
                torch.where(known[:, None], ago_ahead - ago_now, 0.0),
            ],
            1,
        )
        x = (x / scale[:, None]).clamp(-CLIP, CLIP)
        flags = torch.stack([torch.ones_like(scale), (~seen).to(x.dtype), known.to(x.dtype)], 1)
        b["lags"] = torch.cat([y[:, None], b["lags"][:, :-1]], 1)
        ago_path = ago[:, 1 + PROFILE_LEADS :]
        offset = y - ago_now[:, 0]
        ago_RH = torch.where(
            known[:, None], (ago_path - ago_now) / scale[:, None], torch.zeros_like(ago_path)
        )
        b["season_offset"] = torch.where(known, offset / scale, torch.zeros_like(scale))
        # stored as float16, so computed from float16: a resumed run sees what the first run saw
        return torch.cat([x, flags], 1).to(torch.float16).to(torch.float32), ago_RH, scale
