"""Where each series stands in time: on its grid, in its chunk, in its season. Kept on the host, as arrays.

Event times reach the bank as host arrays, and nothing here depends on values but for whether there was one.
So decisions such as "does any row end a chunk" cost no wait for the device; what the device needs of them
goes there with the values.

Letters: S slots, N rows of a wave, B bins (24).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from forecasters.season import BINS, PROFILE_RATE

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SETTLED = 2
"""Steps of a fresh series whose forecasts are not judged: before the third value there is no scale."""
NEVER = np.iinfo(np.int64).min
FAST_SEASONS = 1.0 / 3.0
SLOW_SEASONS = 7.0
EPSILON = 1e-9
"""Of a bin: cell / width may come out just below a whole number."""

COLUMNS: Mapping[str, tuple[Any, float]] = {
    "step": (np.int64, -1),
    "restart": (np.int64, SETTLED),
    "last_time_ms": (np.int64, NEVER),
    "cadence_ms": (np.int64, 60_000),
    "anchor_ms": (np.int64, NEVER),
    "season_steps": (np.float64, 0.0),
    "origin": (np.float64, 0.0),
    "good": (np.int32, 0),
    "bin": (np.int64, -1),
    "bin_count": (np.int32, 0),
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """One reading of each of N series, as far as time alone tells. All `[N]`.

    good: readings with a value before this one; first: this is the first; origin: the first value.
    now: bin of this cell, counted from the anchor; forgotten: (rows, bins of the ring) that were jumped over;
    phase: place of the cell relative to bin `now`, in bins, from the bin's mean time. The last five are the
    weights of this reading in the scale, in the two averages, in its bin's mean and in the profile; 0 where
    nothing was seen.
    """

    slots: Ints
    step: Ints
    since: Ints  # steps since the series (re)started
    restarted: Bools
    seen: Bools
    first: Bools
    good: Ints
    origin: Floats
    season_steps: Floats  # BINS where there is no season
    width: Floats
    bins: Ints
    now: Ints
    forgotten: tuple[Ints, Ints]
    phase: Floats
    knows_season: Bools
    spread_weight: Floats
    fast_rate: Floats
    slow_rate: Floats
    bin_share: Floats
    profile_rate: Floats

    newest: None = None  # every bin up to `now` has been entered

    def rows_of_season(self, width: int) -> tuple[Ints, Ints]:
        """Places of this bin's mean and of its profile in the flattened rings of `season`, `width` a slot."""
        start = self.slots * width
        return start + self.now % (2 * self.bins), start + 2 * BINS + self.now % self.bins


@dataclass(frozen=True, slots=True)
class Stretch:
    """Steps without a reading, taken at once: P steps of N series, the first of each, then the second …

    num: how many series have a first, a second … step; the columns are [P], as in `Arrival`. newest: the bin
    that was entered last before the stretch; those between it and `now` are empty.
    """

    num: list[int]
    slots: Ints
    nth: Ints  # from 1
    left: Ints  # steps of the stretch that follow
    step: Ints
    origin: Floats
    season_steps: Floats
    width: Floats
    bins: Ints
    now: Ints
    newest: Ints
    phase: Floats
    knows_season: Bools
    forgotten: tuple[Ints, Ints]  # as in `Arrival`, of the N series


@dataclass(frozen=True, slots=True)
class Place:
    """Where cells lie in their season, [N]."""

    season_steps: Floats
    bins: Ints
    width: Floats
    now: Ints
    phase: Floats
    knows_season: Bools


class Timetable:
    """Per-series times and counts. What it holds of a slot is saved with the bank."""

    def __init__(self) -> None:
        self.capacity = 0
        self.data: dict[str, npt.NDArray[Any]] = {n: np.zeros(0, kind) for n, (kind, _) in COLUMNS.items()}
        self.profile_count = np.zeros((0, BINS), np.int32)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.data[name]

    def grow(self, capacity: int) -> None:
        for name, (kind, initial) in COLUMNS.items():
            grown = np.full(capacity, initial, kind)
            grown[: self.capacity] = self.data[name]
            self.data[name] = grown
        counts = np.zeros((capacity, BINS), np.int32)
        counts[: self.capacity] = self.profile_count
        self.profile_count = counts
        self.capacity = capacity

    def reset(self, rows: torch.Tensor) -> None:
        """A fresh start for these slots, given as `Fields.reset` has them."""
        slots = rows.cpu().numpy()
        for name, (_, initial) in COLUMNS.items():
            self.data[name][slots] = initial
        self.profile_count[slots] = 0

    def arrive(self, slots: Ints, time_ms: Ints, values: Floats, seen: Bools) -> Arrival:
        """Count one reading of each slot in; its time is later than the slot's last one."""
        d = self.data
        step = d["step"][slots] + 1
        d["step"][slots] = step
        d["last_time_ms"][slots] = time_ms
        anchor = d["anchor_ms"][slots]
        fresh = anchor == NEVER
        if fresh.any():
            anchor = np.where(fresh, time_ms, anchor)
            d["anchor_ms"][slots] = anchor
        good = d["good"][slots]
        first = seen & (good == 0)
        if first.any():
            d["origin"][slots[first]] = values[first]
        d["good"][slots] = good + seen
        restart = d["restart"][slots]

        at = self._find_place(slots, time_ms)
        steps, bins, width, now = at.season_steps, at.bins, at.width, at.now
        forgotten = self._move(slots, now, 2 * bins)
        count = d["bin_count"][slots] + seen
        d["bin_count"][slots] = count
        profile_bin = now % bins
        learnt = self.profile_count[slots, profile_bin]
        self.profile_count[slots, profile_bin] = learnt + seen
        slow_rate = 1.0 / (SLOW_SEASONS * steps)
        fast_rate = 1.0 / np.maximum(FAST_SEASONS * steps, 1.0)
        least = 1.0 / (good + 1)
        return Arrival(
            slots=slots, step=step, since=step - restart, restarted=(step == restart) & (step > SETTLED),
            seen=seen, first=first, good=good, origin=d["origin"][slots], season_steps=steps, width=width,
            bins=bins, now=now, forgotten=forgotten, phase=at.phase, knows_season=at.knows_season,
            spread_weight=seen * np.maximum(slow_rate, 1.0 / np.maximum(good, 1)),
            fast_rate=np.maximum(fast_rate, least) * seen, slow_rate=np.maximum(slow_rate, least) * seen,
            bin_share=seen / np.maximum(count, 1),
            profile_rate=seen * np.maximum(1.0 / (learnt + 1.0), PROFILE_RATE / width),
        )  # fmt: skip

    def hold(self, slots: Ints, counts: Ints) -> Stretch:
        """Take `counts` steps [N] of these slots without a reading, from the largest number to the smallest;
        each slot has had a reading before."""
        d = self.data
        num = np.searchsorted(-counts, -np.arange(counts[0]))  # series with more steps than 0, 1 …
        nth = np.repeat(np.arange(1, num.size + 1), num)
        row = np.arange(nth.size) - (np.cumsum(num) - num)[nth - 1]
        slot = slots[row]
        at = self._find_place(slot, d["last_time_ms"][slot] + nth * d["cadence_ms"][slot])
        newest, step = d["bin"][slot], d["step"][slot] + nth
        d["step"][slots] += counts
        d["last_time_ms"][slots] += counts * d["cadence_ms"][slots]
        left = counts[row] - nth
        last = np.flatnonzero(left == 0)
        last = last[np.argsort(row[last])]
        return Stretch(
            num=num.tolist(), slots=slot, nth=nth, left=left, step=step, origin=d["origin"][slot],
            season_steps=at.season_steps, width=at.width, bins=at.bins, now=at.now, newest=newest,
            phase=at.phase, knows_season=at.knows_season,
            forgotten=self._move(slots, at.now[last], 2 * at.bins[last]),
        )  # fmt: skip

    def _find_place(self, slots: Ints, time_ms: Ints) -> Place:
        d = self.data
        cadence = d["cadence_ms"][slots]
        cell = (time_ms - d["anchor_ms"][slots] + cadence // 2) // cadence
        steps = d["season_steps"][slots]
        has_season = steps >= 2
        steps = np.where(has_season, steps, float(BINS))
        bins = np.minimum(np.rint(steps), BINS).astype(np.int64)
        width = steps / bins
        place = cell / width
        now = np.floor(place + EPSILON).astype(np.int64)
        return Place(
            season_steps=steps, bins=bins, width=width, now=now,
            phase=place - (width - 1.0) / (2.0 * width) - now, knows_season=has_season & (cell >= steps),
        )  # fmt: skip

    def _move(self, slots: Ints, now: Ints, ring: Ints) -> tuple[Ints, Ints]:
        """Enter the bins `now`; returns (rows, ring places) of the bins that an old season may still fill."""
        d = self.data
        moved = now - d["bin"][slots]
        rows = np.flatnonzero(moved > 0)
        if not rows.size:
            return rows, rows
        d["bin"][slots[rows]] = now[rows]
        d["bin_count"][slots[rows]] = 0
        num = np.minimum(moved[rows], ring[rows])
        source = np.repeat(rows, num)
        back = np.arange(source.size) - np.repeat(np.cumsum(num) - num, num)
        return source, (now[source] - back) % ring[source]

    def bytes_per_series(self) -> int:
        return int(sum(np.dtype(kind).itemsize for kind, _ in COLUMNS.values())) + 4 * BINS

    def save(self, prefix: str, num_slots: int) -> Iterator[tuple[str, torch.Tensor]]:
        for name, column in (*self.data.items(), ("profile_count", self.profile_count)):
            yield f"{prefix}.{name}", torch.from_numpy(column[:num_slots].copy())

    def load(self, prefix: str, state: Mapping[str, torch.Tensor], num_slots: int) -> None:
        """Raises KeyError where a column is missing, ValueError where its shape or dtype is another."""
        for name, column in (*self.data.items(), ("profile_count", self.profile_count)):
            saved = state[f"{prefix}.{name}"].numpy()
            if saved.shape != (num_slots, *column.shape[1:]) or saved.dtype != column.dtype:
                raise ValueError(
                    f"{prefix}.{name}: expected {(num_slots, *column.shape[1:])} of {column.dtype}, "
                    f"found {saved.shape} of {saved.dtype}"
                )
            column[:num_slots] = saved
