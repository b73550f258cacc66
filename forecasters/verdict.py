"""What the evidence on a pair of forecasters amounts to, for one shard and over several.

A difference is relative to the second of a pair: -0.03 says that the first one's error is 3 % below the
second's. Shards share nothing but the plant, and each has a seed of its own, so that several are
replications.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from forecasters.confidence import FIRST_BLOCKS, count_needed

Verdict = Literal["better", "no material difference", "undecided"]

MATERIAL = 0.02
"""A difference of mean error below 2 % is not worth a change of forecaster."""
TIE = 0.005
"""A series is won by more than half a percent of its mean error."""
NAIVE = "naive"
T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086,
)  # fmt: skip
"""Student's t, two-sided 95 %, for 1 … 20 degrees of freedom."""


def verdict(difference: float, low: float, high: float, material: float = MATERIAL) -> Verdict:
    """`better` where the interval leaves out zero and the difference is material: the first of the pair where
    it is negative, else the second. `no material difference` where the whole interval is immaterial."""
    if (high < 0 or low > 0) and abs(difference) >= material:
        return "better"
    if -material <= low and high <= material:
        return "no material difference"
    return "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One pair at one step (None: the path 1 … H) in one shard.

    difference, low, high: relative, of mean losses, with the 95 % confidence sequence (infinite below 20
    blocks); needed: readings of each series until a verdict, 0 with one, None where that is too far off to
    say; standard_error: of the difference, from block means, None below two; statistic, p: Diebold–Mariano
    over the window, None until it is full; leader: by the confidence sequence, material or not; won, lost,
    tied: series.
    """

    step: int | None
    buckets: int
    blocks: int
    difference: float
    low: float
    high: float
    verdict: Verdict
    needed: int | None
    statistic: float | None
    p: float | None
    leader: str | None
    won: int
    lost: int
    tied: int
    standard_error: float | None = None

    @classmethod
    def of(
        cls,
        *,
        step: int | None,
        buckets: int,
        blocks: int,
        block_length: int,
        difference: float,
        half_width: float,
        deviation: float,
        reference: float,
        statistic: float | None,
        p: float | None,
        leader: str | None,
        won: tuple[int, int, int],
    ) -> Figures:
        """From absolute figures: difference, half width and deviation in units of loss, reference the mean
        loss of the second (of the first where the second has none)."""
        unit = reference if reference > 0 else max(difference, 0.0) or 1.0
        middle, half = difference / unit, half_width / unit
        says = verdict(middle, middle - half, middle + half)
        needed: int | None = 0
        if blocks < FIRST_BLOCKS:
            needed = FIRST_BLOCKS * block_length - buckets
        elif says == "undecided":
            wanted = abs(middle) if abs(middle) >= MATERIAL else MATERIAL - abs(middle)
            count = count_needed(deviation / unit, wanted, blocks + 1)
            needed = None if count is None else count * block_length - buckets
        return cls(
            step=step, buckets=buckets, blocks=blocks, difference=middle, low=middle - half,
            high=middle + half, verdict=says, needed=needed, statistic=statistic, p=p, leader=leader,
            won=won[0], lost=won[1], tied=won[2],
            standard_error=deviation / unit / math.sqrt(blocks) if blocks > 1 else None,
        )  # fmt: skip

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2.0 if math.isfinite(self.high) else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that one shard knows: figures by pair, per scored step and then for the path; mean losses by
    forecaster likewise (NaN without a target), in units of scale."""

    names: tuple[str, ...]
    steps: tuple[int, ...]
    pairs: Mapping[tuple[str, str], tuple[Figures, ...]]
    loss: Mapping[str, tuple[float, ...]]
    series: int
    span_ms: int
    bucket_ms: int
    left_out: int

    def skill(self, name: str, column: int = -1) -> float | None:
        """1 - mean loss / mean loss of naive, at a scored step or (-1) over the path."""
        if NAIVE not in self.loss or not self.loss[NAIVE][column] > 0:
            return None
        return 1.0 - self.loss[name][column] / self.loss[NAIVE][column]


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined:
    """One pair over several shards. ahead, behind: shards in which the first, the second has the lower error;
    young: shards with too little evidence for an interval, left out where others have enough."""

    first: str
    second: str
    shards: int
    young: int
    series: int
    span_ms: int
    difference: float
    low: float
    high: float
    verdict: Verdict
    needed: int | None
    ahead: int
    behind: int


def combine(evidence: Sequence[Evidence], pair: tuple[str, str], column: int = -1) -> Combined | None:
    """The pair over all shards, weighted by their series; None where nothing has been compared yet.

    The interval is the wider of two: the shards' confidence sequences joined as independent (time is the
    source of chance), and Student's t on the spread between shards (seeds are). A single shard keeps its own.
    Raises KeyError for a pair that a shard does not watch.
    """
    begun = [e for e in evidence if e.pairs[pair][column].buckets and e.series]
    if not begun:
        return None
    grown = [e for e in begun if e.pairs[pair][column].blocks >= FIRST_BLOCKS]
    used = grown or begun
    figures = [e.pairs[pair][column] for e in used]
    total = sum(e.series for e in used)
    share = [e.series / total for e in used]
    difference = sum(w * f.difference for w, f in zip(share, figures, strict=True))
    half = math.sqrt(sum((w * f.half_width) ** 2 for w, f in zip(share, figures, strict=True)))
    if len(used) > 1:
        half = max(half, _spread(share, [f.difference for f in figures], difference))
    says = verdict(difference, difference - half, difference + half)
    waits = [f.needed for f in figures]
    needed = None if None in waits else max(w for w in waits if w is not None)
    return Combined(
        first=pair[0],
        second=pair[1],
        shards=len(used),
        young=len(evidence) - len(used),
        series=total,
        span_ms=max(e.span_ms for e in used),
        difference=difference,
        low=difference - half,
        high=difference + half,
        verdict=says,
        needed=0 if says != "undecided" else needed or None,
        ahead=sum(f.difference < 0 for f in figures),
        behind=sum(f.difference > 0 for f in figures),
    )


def find_t(freedom: int) -> float:
    """Student's t, two-sided 95 %; beyond the table within .2 %."""
    return T_975[freedom - 1] if freedom <= len(T_975) else 1.96 + 2.4 / freedom


def _spread(share: Sequence[float], differences: Sequence[float], mean: float) -> float:
    """t · standard error of a weighted mean, from the spread of what is averaged."""
    n = len(differences)
    squares = sum((w * (d - mean)) ** 2 for w, d in zip(share, differences, strict=True))
    return find_t(n - 1) * math.sqrt(squares * n / (n - 1))
