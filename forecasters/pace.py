"""When shared weights change: at ticks, after so many readings.

The number is fixed by the log alone, whatever the calls in which its readings came.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch

Tensor = torch.Tensor
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MAX_TICK = 1024
NEVER = np.iinfo(np.int64).min
IN_STEP = 0.75
"""Share of the live series that must have been read at the same times to count as in step."""


class Pace:
    """live: series with a reading; ticks: so far."""

    def __init__(self) -> None:
        self.live = 0
        self.ticks = 0
        self._quota = 1
        self._since_tick = 0

    @property
    def readings_to_tick(self) -> int:
        """How many more readings with a value until the next tick."""
        return self._quota - self._since_tick

    @property
    def is_due(self) -> bool:
        return self.readings_to_tick <= 0

    def find_tick(self, seen: Bools, *, all_seen: bool) -> int:
        """How many of these rows come before the next tick, the one that completes it among them."""
        if all_seen:
            return min(self.readings_to_tick, seen.size)
        return min(int(np.searchsorted(np.cumsum(seen), self.readings_to_tick)) + 1, seen.size)

    def count(self, readings: int) -> None:
        """So many with a value were taken."""
        self._since_tick += readings

    def tick(self, last_ms: Ints, *, are_even: bool = False) -> None:
        """It has come; last_ms: time of the last reading of each series; are_even: it is the same for all."""
        self.ticks += 1
        self._since_tick = 0
        self._quota = min(last_ms.size, MAX_TICK) if are_even else self._next_quota(last_ms)

    def _next_quota(self, last_ms: Ints) -> int:
        """Readings until the next tick: one of each live series, at most 1 024.

        Where the series are in step (most of them last read at one or two common times), the tick is made to
        fall between two rounds and not inside one: half the work for a small shard. It looks at times alone,
        so it does not depend on how the log was cut.
        """
        live = max(self.live, 1)
        on_time = last_ms == last_ms.max(initial=NEVER)
        ahead = int(np.count_nonzero(on_time))
        if ahead >= IN_STEP * live:
            return min(ahead, MAX_TICK)
        behind = np.count_nonzero(last_ms == last_ms[~on_time].max()) if ahead < last_ms.size else 0
        return min(int(behind) if ahead + behind >= IN_STEP * live else live, MAX_TICK)

    def save(self) -> Iterator[tuple[str, Tensor]]:
        yield "counts", torch.tensor([self.live, self._quota, self._since_tick, self.ticks])

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Raises KeyError where something is missing."""
        self.live, self._quota, self._since_tick, self.ticks = (int(v) for v in state["counts"])
