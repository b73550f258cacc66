"""How rare a number is for its own series: ranks within a long memory, from histograms.

A series has KINDS lanes, each a histogram of a quantity ≥ 0 with PER_OCTAVE bins an octave of the quantity
over the lane's unit. Old readings are forgotten over MEMORY readings. What `surprise` needs of a histogram is
four quantiles and the mean excess over the last; they are drawn from it every REFRESH readings, so that most
readings touch one bin only.

Beyond the last quantile the tail is the predictive one of an exponential tail in log units whose mean was
estimated from few, dependent readings: a Lomax tail. So a young series can't be sure of anything.

Host work, in arrays. Letters: S slots, N rows as given, L = 2 lanes that a row is about, M lanes at hand, B
bins, D what is drawn of a lane.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from forecasters.columns import Column, Columns, add_up

Ints = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

KINDS = 3
ERROR, ABOVE, BELOW = range(KINDS)
"""Mean of the last one-step errors; deviation of the value above its long-running level, and below it."""
BINS = 72
PER_OCTAVE = 8
MEMORY = 8640.0
"""Readings: six days of minutes, a month of five minutes."""
REFRESH = 16  # a power of two
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
LARGEST, LOWEST_RATIO = np.float32(1e38), np.float32(2.0 ** (-HOME / PER_OCTAVE))
SHARE_OF_UNIT, SMALLEST_UNIT = np.float32(1e-36), np.float32(1e-37)
"""A unit is taken to be at least this, and this share of what is measured in it."""

HEADS = 2
UNIT, TOTAL = range(HEADS)
"""What every reading may change of a lane: its unit, and how many readings it remembers."""
EXCESS = len(LEVELS)
DRAWN = EXCESS + 1
"""What is drawn anew now and then: the quantiles, then the mean excess over the last of them."""


@dataclass(slots=True)
class Sides:
    """The two lanes that each row of a wave is about: errors first, then values above or below.

    Columns `[L, N]`, float32. here: the rows as `Rows.host` has them. unit: where it was not known, the size
    itself; all_known: it was known everywhere. x: where sizes lie in their histograms, in bins from 0 on,
    beyond BINS at will. lanes: places of their first bins in the flattened histograms.
    """

    here: slice | Ints
    is_above_N: Bools
    lanes: Ints
    unit: Singles
    all_known: bool
    total: Singles
    drawn_DLN: Singles
    x: Singles


class Ranks:
    """Histograms of all slots. `look` and `surprise` read, `learn` and `refresh` write."""

    def __init__(self) -> None:
        self.fields = Columns(
            {
                "bins": Column(np.float32, shape=(KINDS, BINS)),
                "heads": Column(np.float32, shape=(KINDS, HEADS)),
                "drawn": Column(np.float32, shape=(KINDS, DRAWN)),
            }
        )
        steps = [math.log(before / after) for before, after in pairwise((1.0, *LEVELS))]
        self._steps = np.array(steps, np.float32)[:, None, None]

    def look(self, here: slice | Ints, slots: Ints, mean: Singles, away: Singles) -> Sides:
        """Where mean errors `[N]` ≥ 0 and deviations of values `[N]` lie."""
        is_above, lanes = away >= 0, np.empty((2, slots.size), np.int64)
        lanes[0] = slots
        np.multiply(is_above, (ABOVE - BELOW) * BINS * self.fields.capacity, out=lanes[1])
        lanes[1] += slots
        lanes[1] += BELOW * BINS * self.fields.capacity
        size = np.empty((2, slots.size), np.float32)
        size[0], size[1] = mean, np.abs(away)
        is_endless = None if size.max() < np.inf else np.isinf(size)
        head = self._pick("heads", here, is_above)
        known = head[UNIT] > 0
        all_known = bool(known.all())
        unit = head[UNIT] if all_known else np.where(known, head[UNIT], size)
        # a ratio beyond these bounds would raise warnings; to silence them takes longer
        np.minimum(size, LARGEST, out=size)
        x = np.maximum(size * SHARE_OF_UNIT, SMALLEST_UNIT)
        np.maximum(unit, x, out=x)
        np.divide(size, x, out=x)
        np.fmax(x, LOWEST_RATIO, out=x)  # of the first bin; so for NaN
        np.log2(x, out=x)
        x *= PER_OCTAVE
        x += HOME
        if is_endless is not None:
            x[is_endless & known] = FARTHEST
        return Sides(
            here=here, is_above_N=is_above, lanes=lanes, unit=unit, all_known=all_known, total=head[TOTAL],
            drawn_DLN=self._pick("drawn", here, is_above), x=x,
        )  # fmt: skip

    def _pick(self, name: str, here: slice | Ints, is_above: Bools) -> Singles:
        """Of each row the lane of errors and that of its value's side, `[…, L, N]`."""
        every = self.fields[name][..., here]
        picked = np.empty((every.shape[1], 2, is_above.size), np.float32)
        picked[:, 0] = every[ERROR]
        picked[:, 1] = np.where(is_above, every[ABOVE], every[BELOW])
        return picked

    def surprise(self, at: Sides) -> Singles:
        """-ln p `[L, N]`, where p is the share of remembered readings at or beyond their places."""
        knots = at.drawn_DLN[:EXCESS]
        before = np.concatenate([knots[:1] - PER_OCTAVE, knots[:-1]])
        inside = at.x - before
        np.subtract(knots, before, out=before)
        inside /= np.maximum(before, 1e-3, out=before)
        np.clip(inside, 0.0, 1.0, out=inside)
        inside *= self._steps
        weight = np.maximum(at.total * (LEVELS[-1] / DEPENDENT), 1.0)
        beyond = np.maximum(at.x - knots[-1], 0.0)
        beyond /= np.maximum(at.drawn_DLN[EXCESS], LEAST_EXCESS) * weight
        told: Singles = add_up(inside) + np.log1p(beyond) * weight
        return told

    def learn(self, at: Sides, errors: Bools, values: Bools) -> None:
        """Take errors and values in, where these `[N]` say so. A deviation above counts for the lane below as
        a reading without one, and the other way round."""
        bins = self.fields["bins"].reshape(-1)
        places = np.minimum(at.x, BINS - 1.0).astype(np.int64)
        places *= self.fields.capacity
        places += at.lanes
        for row, learns in zip(places, (errors, values), strict=True):
            bins[row] += learns
        heads = self.fields["heads"]
        heads[ERROR, TOTAL, at.here] += errors
        heads[ABOVE:, TOTAL, at.here] += values
        if at.all_known:
            return
        of_error, of_value = at.unit
        for lane, learnt, unit in (
            (ERROR, errors, of_error),
            (ABOVE, values & at.is_above_N, of_value),
            (BELOW, values & ~at.is_above_N, of_value),
        ):
            heads[lane, UNIT, at.here] = np.where(learnt, unit, heads[lane, UNIT, at.here])

    def refresh(self, here: slice | Ints) -> None:
        """Draw the quantiles of these series anew, and forget as much as REFRESH readings do."""
        keep = np.float32((1.0 - 1.0 / MEMORY) ** REFRESH)
        fields = self.fields
        # [BINS, KINDS, N], whole in memory
        mass = np.multiply(fields["bins"].swapaxes(0, 1)[..., here], keep, order="C")
        unit, total = fields["heads"][:, UNIT, here], fields["heads"][:, TOTAL, here] * keep
        # mass of the last 0, 1 … BINS bins; of an edge between two bins: that of all above it
        above = np.zeros((BINS + 1, *total.shape), np.float32)
        for k in range(BINS):
            np.add(above[k], mass[BINS - 1 - k], out=above[k + 1])
        drawn = np.empty((KINDS, DRAWN, total.shape[1]), np.float32)
        lane = np.arange(total.size).reshape(total.shape)  # of bin 0, [KINDS, N]
        for k, level in enumerate(LEVELS):
            wanted = total * np.float32(level)
            behind = (above <= wanted).view(np.int8).sum(0, dtype=np.int8).astype(np.int64) - 1
            edge = BINS - np.maximum(behind, 0)  # the first one with no more above it than wanted
            inside = wanted - above.take(lane + (BINS - edge) * lane.size)
            inside /= np.clip(mass.take(lane + np.maximum(edge - 1, 0) * lane.size), 1e-9, np.inf)
            np.clip(inside, 0.0, 1.0, out=inside)
            drawn[:, k] = np.where(edge > 0, edge - inside, 0.0)
        start = drawn[:, EXCESS - 1]
        beyond = _MIDDLES - start
        np.clip(beyond, 0.0, np.inf, out=beyond)
        beyond *= mass
        drawn[:, EXCESS] = add_up(beyond) / np.maximum(total * LEVELS[-1], 1e-9)
        # units that don't fit the series any more are moved by whole octaves; of too few readings for a tail
        # nothing says where it should begin
        moves = (np.abs(start - HOME) > ASTRAY) & (unit > 0) & (start > 0)
        if moves.any():
            self._move(moves, mass, drawn, unit)
        fields["bins"][..., here], fields["drawn"][..., here] = mass.swapaxes(0, 1), drawn
        fields["heads"][:, UNIT, here], fields["heads"][:, TOTAL, here] = unit, total

    @staticmethod
    def _move(moves: Bools, mass: Singles, drawn: Singles, unit: Singles) -> None:
        """Lanes `[KINDS, N]` whose tail lies astray get units so many octaves larger that it begins at HOME;
        all in place."""
        octaves = np.rint((drawn[:, EXCESS - 1] - HOME) / PER_OCTAVE).astype(np.int64)
        for many in np.unique(octaves[moves]).tolist():
            kind, row = np.nonzero(moves & (octaves == many))
            mass[:, kind, row] = _lowered(mass[:, kind, row], many * PER_OCTAVE)
            knots = drawn[kind, :EXCESS, row] - many * PER_OCTAVE
            drawn[kind, :EXCESS, row] = np.maximum(knots, 0.0)
            unit[kind, row] *= 2.0**many

    def tail_start(self, slots: Ints, kind: Ints) -> Singles:
        """Sizes `[K]` that one reading in fifty exceeds, of one kind `[K]` each of these slots."""
        unit = self.fields["heads"][kind, UNIT, slots]
        last = self.fields["drawn"][kind, EXCESS - 1, slots]
        start: Singles = unit * np.exp2((last - HOME) / PER_OCTAVE)
        return start


_MIDDLES = (np.arange(BINS, dtype=np.float32) + np.float32(0.5))[:, None, None]


def _lowered(mass: Singles, bins: int) -> Singles:
    """Histograms `[B, M]`, each lowered by so many bins; what leaves them stays at their ends."""
    lowered, far = np.zeros_like(mass), min(abs(bins), BINS - 1)
    if bins > 0:
        lowered[: BINS - far] = mass[far:]
        lowered[0] += add_up(mass[:far])
    else:
        lowered[far:] = mass[: BINS - far]
        lowered[-1] += add_up(mass[BINS - far :])
    return lowered
