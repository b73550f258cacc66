"""Cuts steps at ticks and groups what lies between two ticks into waves.

Waves only group work; shared weights change only at ticks. So what is learnt depends on the log alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from pipeline.engine.rows import Steps
from pipeline.records import BoolArray, Int64Array


class Ticks(Protocol):
    """When the next tick is; see `pipeline.engine.engine.Bank`."""

    @property
    def readings_to_tick(self) -> int: ...

    def find_round_end(self, event_time_ms: Int64Array, masked: BoolArray) -> int | None: ...

    def end_round(self) -> None: ...


def waves(steps: Steps, ticks: Ticks) -> Iterator[Int64Array]:
    """Yield the rows of one wave after the other: within a wave no slot comes twice.

    They are in the order of slots, whose state then lies side by side in whatever order readings came; in
    that of the log where masked steps come before a tick.

    ``ticks`` is asked how many unmasked steps are still missing until the next tick; it is asked anew only
    after all waves before that tick were taken, so each must be stepped before the next is drawn. Where it
    finds a tick at the end of a round, it is told so once all steps before that were taken.
    Raises ValueError if fewer than one step is missing.
    """
    unmasked = np.flatnonzero(~steps.masked)
    start = num_done = 0
    while start < len(steps):
        num_missing = ticks.readings_to_tick
        if num_missing < 1:
            raise ValueError(f"expected at least 1 reading until the next tick, but got {num_missing}")
        num_done += num_missing
        # Masked steps behind the last reading before a tick belong to what follows it.
        ends_with_tick = num_done <= unmasked.size
        end = int(unmasked[num_done - 1]) + 1 if ends_with_tick else len(steps)
        round_end = ticks.find_round_end(steps.event_time_ms[start:end], steps.masked[start:end])
        if round_end is not None:
            end, ends_with_tick = start + round_end, False
            num_done = int(np.searchsorted(unmasked, end))
        if end > start:
            for rows in _group(steps.slot[start:end], steps.masked[start:end], ends_with_tick):
                yield rows + start
        if round_end is not None:
            ticks.end_round()
        start = end


def _group(slot: Int64Array, masked: BoolArray, ends_with_tick: bool) -> Iterator[Int64Array]:
    """Yield rows of the first step of each slot, then of the second, and so on.

    No masked step may come after the reading that completes a tick, which is the last row: where one would,
    that reading ends the last wave instead.
    """
    row, keeps_order = np.arange(slot.size), ends_with_tick and bool(masked.any())
    order = np.argsort(slot, kind="stable")
    is_first = np.ones(slot.size, np.bool_)
    is_first[1:] = slot[order][1:] != slot[order][:-1]
    if is_first.all():
        yield row if keeps_order else order
        return
    rank = np.empty(slot.size, np.int64)
    rank[order] = row - np.maximum.accumulate(np.where(is_first, row, 0))
    if keeps_order:
        by_wave = np.argsort(rank, kind="stable")
        if masked[by_wave[-1]]:
            rank[-1] = rank.max()
            by_wave = np.argsort(rank, kind="stable")
    else:
        by_wave = order[np.argsort(rank[order], kind="stable")]
    yield from np.split(by_wave, np.cumsum(np.bincount(rank))[:-1])
