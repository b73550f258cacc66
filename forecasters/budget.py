"""The cut above which a score pages, steered so that episodes come as often as the budget says.

The surprise of a reading is -ln of how rare it is, roughly; were it exact and readings independent, a cut at
ln(readings judged / episodes wanted) would do. It is neither, so the cut is moved: up with every episode,
down as time passes without. All that enters are counts, and they enter at ticks: whole numbers, so that the
order within a tick does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

DAY_MS = 86_400_000
SETTLE_DAYS = 3.0
"""A rate of twice the budget raises the cut by one, that is by a factor of e in rarity, in so many days."""
FIRST_DAYS = 0.5
"""At the start it moves as fast as this, for the first cut is a guess."""
MOST_AN_EPISODE = 1.0
"""No single episode moves the cut further: one series alone has few to go by."""
LOWEST_CUT = 3.0


@dataclass(frozen=True, slots=True)
class Budget:
    """Episodes a day: of each series, or of all series of the shard together."""

    episodes_per_day: float
    per_series: bool

    def of_series(self, live: int) -> float:
        """Episodes a day of one series, where `live` share the budget."""
        return self.episodes_per_day / (1 if self.per_series else max(live, 1))


class Cut:
    """`value` is in units of -ln p. Depends on the counts between two ticks and on nothing else."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.shift = 0.0
        self.judged = self.judged_ms = self.exposed_ms = 0  # since the start
        self._new_judged = self._new_judged_ms = self._new_exposed_ms = self._new_pages = 0
        self.value = math.inf

    def count(self, judged: int, judged_ms: int, exposed_ms: int, pages: int) -> None:
        """Readings judged, the time that they stand for summed over series, that of them in which the cut
        was the only one (young series have a higher one), and episodes begun."""
        self._new_judged += judged
        self._new_judged_ms += judged_ms
        self._new_exposed_ms += exposed_ms
        self._new_pages += pages

    def tick(self, live: int) -> None:
        """Move the cut. live: series that are read now."""
        self.judged += self._new_judged
        self.judged_ms += self._new_judged_ms
        self.exposed_ms += self._new_exposed_ms
        if not self.judged:
            return
        allowed = self.budget.of_series(live)
        days = self._new_exposed_ms / DAY_MS
        elapsed = self.exposed_ms / DAY_MS / max(live, 1)
        settle = min(max(elapsed, FIRST_DAYS), SETTLE_DAYS)
        step = min(1.0 / (allowed * max(live, 1) * settle), MOST_AN_EPISODE)
        self.shift += step * (self._new_pages - allowed * days)
        guess = math.log(max(self.judged / (self.judged_ms / DAY_MS) / allowed, 1.0))
        self.shift = max(self.shift, LOWEST_CUT - guess)
        self.value = guess + self.shift
        self._new_judged = self._new_judged_ms = self._new_exposed_ms = self._new_pages = 0

    def save(self) -> Iterator[tuple[str, torch.Tensor]]:
        yield "cut", torch.tensor([self.shift, self.value], dtype=torch.float64)
        counts = [self.judged, self.judged_ms, self.exposed_ms, self._new_judged, self._new_judged_ms]
        yield "counts", torch.tensor([*counts, self._new_exposed_ms, self._new_pages])

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Raises KeyError where something is missing."""
        self.shift, self.value = state["cut"].tolist()
        counts = [int(v) for v in state["counts"]]
        self.judged, self.judged_ms, self.exposed_ms, self._new_judged, self._new_judged_ms = counts[:5]
        self._new_exposed_ms, self._new_pages = counts[5:]
