"""How rare a number is for its own series: ranks within a long memory, from histograms.

A series has KINDS lanes, each a histogram of a quantity ≥ 0 with PER_OCTAVE bins an octave of the quantity
over the lane's unit. Old readings are forgotten over MEMORY readings. What `surprise` needs of a histogram is
four quantiles and the mean excess over the last; they are drawn from it every REFRESH readings, so that most
readings touch one bin only.

Beyond the last quantile the tail is the predictive one of an exponential tail in log units whose mean was
estimated from few, dependent readings: a Lomax tail. So a young series can't be sure of anything.

Letters: R rows of a wave (padded), M lanes at hand, B bins, D what is drawn of a lane.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

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
FARTHEST = 1e4

HEADS = 2
UNIT, TOTAL = range(HEADS)
"""What every reading may change of a lane: its unit, and how many readings it remembers."""
EXCESS = len(LEVELS)
DRAWN = EXCESS + 1
"""What is drawn anew now and then: the quantiles, then the mean excess over the last of them."""


@dataclass(slots=True)
class Sides:
    """The two lanes that each row of a wave is about: M = 2 R, errors first, then values above or below.

    Columns [M], each whole in memory. unit: where it was not known, the size itself. x: where sizes lie in
    their histograms, in bins from 0 on, beyond BINS at will. heads_R: [KINDS · HEADS, R] of all lanes.
    """

    rows: Tensor
    is_above_R: Tensor
    heads_R: Tensor
    lanes: Tensor
    unit: Tensor
    total: Tensor
    drawn_DM: Tensor
    x: Tensor


class Ranks:
    """Histograms of all slots. `look` and `surprise` read, `learn` and `refresh` write."""

    def __init__(self, device: torch.device) -> None:
        self.fields = Fields(
            {
                "bins": Field((KINDS, BINS), apart=True),
                "heads": Field((KINDS, HEADS), apart=True),
                "drawn": Field((KINDS, DRAWN), apart=True),
            },
            device,
        )
        self._steps = [math.log(before / after) for before, after in pairwise((1.0, *LEVELS))]
        self._shares = torch.tensor(LEVELS, device=device)
        self._middles = torch.arange(BINS, device=device) + 0.5

    def look(self, rows: Tensor, mean: Tensor, away: Tensor) -> Sides:
        """Where mean errors `[R]` ≥ 0 and deviations of values `[R]` lie."""
        is_above, size = away >= 0, torch.cat([mean, away.abs()])
        # transposed, so that what follows goes through whole columns
        heads = self.fields["heads"].view(-1, KINDS * HEADS).index_select(0, rows).t().contiguous()
        drawn = self.fields["drawn"].view(-1, KINDS * DRAWN).index_select(0, rows).t().contiguous()
        head, drawn = (
            torch.cat([b[:num], torch.where(is_above, b[num : 2 * num], b[2 * num :])], 1)
            for b, num in ((heads, HEADS), (drawn, DRAWN))
        )
        unit = torch.where(head[UNIT] > 0, head[UNIT], size)
        x = torch.log2(size / unit).mul_(PER_OCTAVE).add_(HOME)
        first = rows * KINDS
        return Sides(
            rows=rows, is_above_R=is_above, heads_R=heads,
            lanes=torch.cat([first, torch.where(is_above, first + ABOVE, first + BELOW)]),
            unit=unit, total=head[TOTAL], drawn_DM=drawn,
            x=x.nan_to_num_(nan=0.0, posinf=FARTHEST, neginf=0.0).clamp_(0.0, FARTHEST),
        )  # fmt: skip

    def surprise(self, at: Sides) -> Tensor:
        """-ln p `[M]`, where p is the share of remembered readings at or beyond their places."""
        told = torch.zeros_like(at.x)
        before = at.drawn_DM[0] - PER_OCTAVE
        for step, knot in zip(self._steps, at.drawn_DM[:EXCESS].unbind(0), strict=True):
            width = (knot - before).clamp_(min=1e-3)
            told.add_((at.x - before).div_(width).clamp_(0.0, 1.0).mul_(step))
            before = knot
        weight = (at.total * (LEVELS[-1] / DEPENDENT)).clamp_(min=1.0)
        excess = at.drawn_DM[EXCESS].clamp(min=LEAST_EXCESS).mul_(weight)
        beyond = (at.x - before).clamp_(min=0.0).div_(excess)
        return told.add_(beyond.log1p_().mul_(weight))

    def learn(self, at: Sides, errors: Tensor, values: Tensor) -> None:
        """Take errors and values in, where these `[R]` say so. A deviation above counts for the lane below as
        a reading without one, and the other way round."""
        learns = torch.cat([errors, values])
        bins = self.fields["bins"].view(-1)
        places = at.x.to(torch.int64).clamp_(max=BINS - 1).add_(at.lanes, alpha=BINS)
        bins.index_copy_(0, places, bins.index_select(0, places).add_(learns))
        heads, (of_error, of_value) = at.heads_R, at.unit.view(2, -1).unbind(0)
        for lane, learnt, unit in (
            (ERROR, errors, of_error),
            (ABOVE, values & at.is_above_R, of_value),
            (BELOW, values & ~at.is_above_R, of_value),
        ):
            row = heads[lane * HEADS + UNIT]
            torch.where(learnt, unit, row, out=row)
            heads[lane * HEADS + TOTAL].add_(errors if lane == ERROR else values)
        self.fields["heads"].view(-1, KINDS * HEADS).index_copy_(0, at.rows, heads.t())

    def refresh(self, rows: Tensor) -> None:
        """Draw the quantiles of slots `[R]` anew, and forget as much as REFRESH readings do."""
        keep = (1.0 - 1.0 / MEMORY) ** REFRESH
        bins, heads, drawn = (self.fields[name] for name in ("bins", "heads", "drawn"))
        mass = bins.index_select(0, rows).view(-1, BINS).mul_(keep)
        head = heads.index_select(0, rows).view(-1, HEADS)
        total = head[:, TOTAL] * keep
        wanted = total[:, None] * self._shares
        # mass of the last 1, 2 … BINS bins; of an edge between two bins: that of all above it
        above = torch.nn.functional.pad(mass.flip(1).cumsum(1), (1, 0))
        behind = torch.searchsorted(above, wanted, right=True).sub_(1).clamp_(min=0)
        edge = BINS - behind  # the first one with no more above it than wanted
        here = mass.gather(1, (edge - 1).clamp_(min=0)).clamp_(min=1e-9)
        inside = (wanted - above.gather(1, behind)).div_(here).clamp_(0.0, 1.0)
        knots = torch.where(edge > 0, edge - inside, 0.0)
        start = knots[:, -1]
        excess = (self._middles - start[:, None]).clamp_(min=0.0).mul_(mass).sum(1)
        excess = excess.div_((total * LEVELS[-1]).clamp_(min=1e-9))
        # units that don't fit the series any more are moved by whole octaves
        octaves = torch.round((start - HOME) / PER_OCTAVE)
        moves = ((start - HOME).abs() > ASTRAY) & (head[:, UNIT] > 0)
        unit = head[:, UNIT]
        if moves.any():
            octaves = torch.where(moves, octaves, 0.0)
            mass = _moved(mass, octaves)
            knots = (knots - octaves[:, None] * PER_OCTAVE).clamp_(min=0.0)
            unit = unit * torch.exp2(octaves)
        bins.index_copy_(0, rows, mass.view(-1, KINDS, BINS))
        heads.index_copy_(0, rows, torch.stack([unit, total], 1).view(-1, KINDS, HEADS))
        drawn.index_copy_(0, rows, torch.cat([knots, excess[:, None]], 1).view(-1, KINDS, DRAWN))

    def tail_start(self, rows: Tensor, kind: Tensor) -> Tensor:
        """Sizes `[K]` that one reading in fifty exceeds, of one kind `[K]` each of these slots."""
        lanes = rows * KINDS + kind
        unit = self.fields["heads"].view(-1, HEADS)[lanes, UNIT]
        last = self.fields["drawn"].view(-1, DRAWN)[lanes, EXCESS - 1]
        return unit * torch.exp2((last - HOME) / PER_OCTAVE)


def _moved(mass: Tensor, octaves: Tensor) -> Tensor:
    """Histograms `[M, B]` for units that are so many octaves larger; what leaves them stays at their ends."""
    bins = torch.arange(BINS, device=mass.device)
    target = (bins - (octaves * PER_OCTAVE).to(torch.int64)[:, None]).clamp_(0, BINS - 1)
    return torch.zeros_like(mass).scatter_add_(1, target, mass)
