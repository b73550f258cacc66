"""How rare a number is for its own series: ranks within a long memory, from histograms.

A series has KINDS lanes, each a histogram of a quantity ≥ 0 with PER_OCTAVE bins an octave of the quantity
over the lane's unit. Old readings are forgotten over MEMORY readings. What `surprise` needs of a histogram is
four quantiles and the mean excess over the last; they are drawn from it every REFRESH readings, so that most
readings touch one bin only.

Beyond the last quantile the tail is the predictive one of an exponential tail in log units whose mean was
estimated from few, dependent readings: a Lomax tail. So a young series can't be sure of anything.

Letters: M lanes at hand, B bins, P quantiles.
"""

from __future__ import annotations

import math

import torch

from forecasters.fields import Field, Fields

Tensor = torch.Tensor

KINDS = 3
ERROR, ABOVE, BELOW = range(KINDS)
"""Mean of the last one-step errors; deviation of the value above its long-running level, and below it."""
BINS = 72
PER_OCTAVE = 8
MEMORY = 8640.0
"""Readings: six days of minutes, a month of five minutes."""
REFRESH = 16
LEVELS = (0.5, 0.15, 0.05, 0.02)
"""Shares of readings above each quantile; the tail begins at the last."""
DEPENDENT = 5.0
"""Readings that are worth one independent one: they are means of ten, and values next to each other."""
LEAST_EXCESS = 0.5
"""Bins: narrower tails are those of quantised or constant values, not of certainty."""
HOME = 40.0
"""Bin in which the tail should begin: five octaves of room on both sides."""
ASTRAY = 16.0

UNIT, TOTAL, EXCESS = 0, 1, 2 + len(LEVELS)
_KNOTS = slice(2, EXCESS)


class Ranks:
    """Histograms of all slots. `surprise` reads, `learn` and `refresh` write."""

    def __init__(self, device: torch.device) -> None:
        self.fields = Fields(
            {
                "bins": Field((KINDS, BINS), apart=True),
                "lanes": Field((KINDS, EXCESS + 1), apart=True),
            },
            device,
        )
        self._steps = torch.tensor([math.log(p) for p in (1.0, *LEVELS)], device=device).diff().neg()
        self._shares = torch.tensor(LEVELS, device=device)
        self._bins = torch.arange(BINS, device=device)

    @staticmethod
    def lanes(rows: Tensor, kind: int | Tensor) -> Tensor:
        """Where the histograms `[M]` of one kind lie."""
        return rows * KINDS + kind

    def place(self, lanes: Tensor, size: Tensor) -> Tensor:
        """Where sizes `[M]` ≥ 0 lie in their lanes' histograms, in bins; not below 0, beyond BINS at will."""
        unit = self.fields["lanes"].view(-1, EXCESS + 1)[lanes, UNIT]
        known = unit > 0
        octaves = torch.log2(size / torch.where(known, unit, 1.0))
        x = torch.where(known, octaves * PER_OCTAVE + HOME, torch.where(size > 0, HOME, 0.0))
        return torch.nan_to_num(x, nan=0.0, posinf=1e4, neginf=0.0).clamp_(0.0, 1e4)

    def surprise(self, lanes: Tensor, x: Tensor) -> Tensor:
        """-ln p `[M]`, where p is the share of remembered readings at or beyond place x."""
        lane = self.fields["lanes"].view(-1, EXCESS + 1).index_select(0, lanes)
        knots = lane[:, _KNOTS]
        before = torch.cat([knots[:, :1] - PER_OCTAVE, knots[:, :-1]], 1)
        width = (knots - before).clamp_(min=1e-3)
        passed = ((x[:, None] - before) / width).clamp_(0.0, 1.0).mul_(self._steps).unbind(1)
        below = passed[0] + passed[1] + passed[2] + passed[3]  # a product of matrices rounds by its size
        weight = (lane[:, TOTAL] * (LEVELS[-1] / DEPENDENT)).clamp_(min=1.0)
        excess = lane[:, EXCESS].clamp(min=LEAST_EXCESS)
        beyond = (x - knots[:, -1]).clamp_(min=0.0)
        return below + weight * torch.log1p(beyond / (weight * excess))

    def learn(self, lanes: Tensor, x: Tensor, size: Tensor, counts: Tensor) -> None:
        """Take sizes `[M]` at places x in, where `counts`; another lane than theirs is not touched."""
        bins = self.fields["bins"].view(-1)
        at = lanes * BINS + x.to(torch.int64).clamp_(max=BINS - 1)
        bins.index_copy_(0, at, bins.index_select(0, at) + counts)
        lane = self.fields["lanes"].view(-1, EXCESS + 1)
        unit = lane[lanes, UNIT]
        lane[lanes, UNIT] = torch.where((unit == 0) & counts, size, unit)

    def count(self, lanes: Tensor, counts: Tensor) -> None:
        """Count one reading for these lanes `[M]`, whichever of them it was learnt in."""
        lane = self.fields["lanes"].view(-1, EXCESS + 1)
        lane[lanes, TOTAL] = lane[lanes, TOTAL] + counts

    def refresh(self, lanes: Tensor) -> None:
        """Draw the quantiles anew, and forget as much as REFRESH readings do."""
        keep = (1.0 - 1.0 / MEMORY) ** REFRESH
        all_bins, all_lanes = self.fields["bins"].view(-1, BINS), self.fields["lanes"].view(-1, EXCESS + 1)
        mass, lane = all_bins.index_select(0, lanes) * keep, all_lanes.index_select(0, lanes)
        total = lane[:, TOTAL] * keep
        above = mass.flip(1).cumsum(1).flip(1)
        above = torch.cat([above, torch.zeros_like(above[:, :1])], 1)
        wanted = total[:, None] * self._shares
        edge = (above[:, None, :] > wanted[:, :, None]).sum(2)  # the first edge with no more above it
        inside = (wanted - above.gather(1, edge)) / mass.gather(1, (edge - 1).clamp_(min=0)).clamp_(min=1e-9)
        knots = torch.where(edge > 0, edge - inside.clamp_(0.0, 1.0), 0.0)
        start = knots[:, -1]
        excess = (mass * (self._bins + 0.5 - start[:, None]).clamp_(min=0.0)).sum(1)
        excess = excess / (total * LEVELS[-1]).clamp_(min=1e-9)
        # units that don't fit the series any more are moved by whole octaves
        octaves = torch.round((start - HOME) / PER_OCTAVE)
        moves = ((start - HOME).abs() > ASTRAY) & (lane[:, UNIT] > 0)
        octaves = torch.where(moves, octaves, 0.0)
        target = (self._bins - (octaves * PER_OCTAVE).to(torch.int64)[:, None]).clamp_(0, BINS - 1)
        mass = torch.zeros_like(mass).scatter_add_(1, target, mass)
        knots = (knots - octaves[:, None] * PER_OCTAVE).clamp_(min=0.0)
        unit = lane[:, UNIT] * torch.exp2(octaves)
        all_bins.index_copy_(0, lanes, mass)
        all_lanes.index_copy_(0, lanes, torch.cat([unit[:, None], total[:, None], knots, excess[:, None]], 1))

    def tail_start(self, lanes: Tensor) -> Tensor:
        """Sizes `[M]` that one reading in fifty exceeds."""
        lane = self.fields["lanes"].view(-1, EXCESS + 1).index_select(0, lanes)
        return lane[:, UNIT] * torch.exp2((lane[:, EXCESS - 1] - HOME) / PER_OCTAVE)
