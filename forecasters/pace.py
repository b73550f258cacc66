"""When shared weights change: at ticks, after so many readings, or where a round of them ends.

Both are places of the log, whatever the calls in which its readings came.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch

from forecasters.timetable import NEVER

Tensor = torch.Tensor
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MAX_TICK = 1024
IN_STEP = 0.75
"""Share of the live series that must have been read at the same times to count as in step."""
PARTLY = 0.5
"""Share from which the ends of rounds are looked for."""
STEADY = 8
"""Rounds of the same number of readings after which the next is expected to bring as many."""


class Pace:
    """live: series with a reading; ticks: so far."""

    def __init__(self) -> None:
        self.live = 0
        self.ticks = 0
        self._quota = 1
        self._size = 0  # readings that the last round brought; 0: there are no rounds
        self._alike = 0  # rounds before it that brought as many
        self._since_tick = 0

    @property
    def readings_to_tick(self) -> int:
        """How many more readings with a value until the next tick."""
        return self._quota - self._since_tick

    @property
    def readings_a_tick(self) -> int:
        """How many come between the last tick and the next."""
        return self._quota

    @property
    def _fewest(self) -> int:
        """Readings after which the end of a round is a tick: half a round, or half of the longest tick."""
        return min(self._size, MAX_TICK) // 2

    @property
    def is_due(self) -> bool:
        return self.readings_to_tick <= 0

    def find_tick(self, seen: Bools, *, all_seen: bool) -> int:
        """How many of these rows come before the next tick, the one that completes it among them."""
        if all_seen:
            return min(self.readings_to_tick, seen.size)
        return min(int(np.searchsorted(np.cumsum(seen), self.readings_to_tick)) + 1, seen.size)

    def find_round_end(self, times_ms: Ints, seen: Bools, newest_ms: int) -> int | None:
        """Before which of these rows, in the order of the log, a tick falls because the round is over; None:
        before none of them.

        A round is over where a reading is later than all before it. So sensors that report by exception, of
        which each round brings another number, do not have the next round cut in two.
        newest_ms: time of the latest reading so far.
        """
        fewest = self._fewest
        if not fewest or self._since_tick + seen.size <= fewest:
            return None
        before = np.maximum.accumulate(np.concatenate([[newest_ms], times_ms[:-1]]))
        done = self._since_tick + np.cumsum(seen) - seen
        ends = np.flatnonzero((times_ms > before) & (done >= fewest))
        return int(ends[0]) if ends.size else None

    def count(self, readings: int) -> None:
        """So many with a value were taken."""
        self._since_tick += readings

    def tick(self, last_ms: Ints, *, are_even: bool = False) -> None:
        """It has come, with the last reading that was missing; last_ms: time of the last reading of each
        series; are_even: it is the same for all."""
        if are_even:
            self._begin(last_ms.size, last_ms.size)
        else:
            self._begin(*self._next_quota(last_ms))

    def end_round(self, last_ms: Ints) -> None:
        """It has come, at the end of a round. The next round waits for it; so where eight brought as many
        readings, the tick after comes at once with the last of as many."""
        size = int(np.count_nonzero(last_ms == last_ms.max(initial=NEVER)))
        self._alike = self._alike + 1 if size == self._size else 0
        quota = size if self._alike >= STEADY else max(self.live, 1)
        self._begin(quota, size if size >= PARTLY * self.live else 0)

    def _begin(self, quota: int, size: int) -> None:
        self.ticks += 1
        self._since_tick = 0
        self._quota, self._size = min(quota, MAX_TICK), size

    def _next_quota(self, last_ms: Ints) -> tuple[int, int]:
        """(readings until the next tick: one of each live series; those that its round is expected to bring,
        0 where there are no rounds).

        Where the series are in step (most of them last read at one or two common times), the tick is made to
        fall between two rounds and not inside one: half the work for a small shard. It looks at times alone,
        so it does not depend on how the log was cut.
        """
        live = max(self.live, 1)
        on_time = last_ms == last_ms.max(initial=NEVER)
        ahead = int(np.count_nonzero(on_time))
        if ahead >= IN_STEP * live:
            return ahead, ahead
        behind = int(np.count_nonzero(last_ms == last_ms[~on_time].max())) if ahead < last_ms.size else 0
        if ahead + behind >= IN_STEP * live:  # inside a round, of which so many are still to come
            return behind, behind
        return live, ahead + behind if ahead + behind >= PARTLY * live else 0

    def save(self) -> Iterator[tuple[str, Tensor]]:
        yield "counts", torch.tensor([self.live, self._quota, self._since_tick, self.ticks])
        yield "rounds", torch.tensor([self._size, self._alike])

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Raises KeyError where something is missing."""
        self.live, self._quota, self._since_tick, self.ticks = (int(v) for v in state["counts"])
        # an earlier build did not save them: no round's end is a tick before the next tick
        self._size, self._alike = (int(v) for v in state["rounds"]) if "rounds" in state else (0, 0)
