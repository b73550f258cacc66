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

from forecasters.rows import Rows
from forecasters.season import BINS, PROFILE_RATE

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SETTLED = 2
"""Steps of a fresh series whose forecasts are not judged: before the third value there is no scale."""
NEVER, FOREVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max
NOT_PASSED = NEVER // 2
FAST_SEASONS = 1.0 / 3.0
SLOW_SEASONS = 7.0
EPSILON = 1e-9
"""Of a bin: cell / width may come out just below a whole number."""

COLUMNS: Mapping[str, tuple[Any, float]] = {
    "step": (np.int64, -1),
    "restart": (np.int64, SETTLED),
    "learnt": (np.int64, -1),  # the step up to which `linear` has learnt
    "last_time_ms": (np.int64, NEVER),
    "cadence_ms": (np.int64, 60_000),
    "anchor_ms": (np.int64, NEVER),
    "season_steps": (np.float64, 0.0),
    "origin": (np.float64, 0.0),
    "good": (np.int32, 0),
    "bin": (np.int64, -1),
    "bin_count": (np.int32, 0),
}
DERIVED: Mapping[str, Any] = {
    "has_season": np.bool_,
    "steps": np.float64,  # of the season, BINS where there is none
    "bins": np.int64,
    "width": np.float64,  # steps per bin
    "knows_ms": np.int64,  # from when on a season was seen
    "until_ms": np.int64,  # before it the cells are in the bin of the last one, whose places these are:
    "at": np.int64,
    "at_profile": np.int64,
}
"""Follow from the others; not saved."""


SPREAD, FAST, SLOW, BIN, PROFILE = RATES = range(5)
"""What a reading weighs in the scale, in the two averages, in its bin's mean and in the profile."""

_NO_ROWS: Ints = np.zeros(0, np.int64)
_NO_PHASE: Floats = np.zeros(0)


def modulo(numbers: Ints, by: int) -> Ints:
    """`numbers % by` of numbers from 0 on, several times as fast: NumPy turns a whole-number division by one
    number into a product."""
    rest: Ints
    if by & (by - 1) == 0:
        rest = numbers & (by - 1)
        return rest
    rest = numbers // by
    rest *= -by
    rest += numbers
    return rest


@dataclass(frozen=True, slots=True)
class Place:
    """Where cells lie in their season, [N].

    season_steps: BINS where there is no season; width: steps per bin; now: bin of the cell, counted from the
    anchor; at, at_profile: its places in the ring of two seasons and in the profile; phase: place of the cell
    relative to bin `now`, in bins, from the bin's mean time; left out where no row knows its season, as is
    then knows_season. common_ms: the time, where all rows have the same place and lie side by side
    (`Rows.span`); then phase is left out, and knows_season may be the first row's alone. Some of the columns
    are the timetable's own, and hold until the next wave.
    """

    season_steps: Floats
    bins: Ints
    width: Floats
    now: Ints
    at: Ints
    at_profile: Ints
    phase: Floats
    knows_season: Bools | None
    common_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """One reading of each of N series, as far as time alone tells. Columns are `[N]`.

    since: steps since the series (re)started; common: the step, where all are at the same one and lie side by
    side, see `Rows.span`; unbroken: for how many steps forecasts were made of all of these series, without a
    gap or a restart; values: finite where `seen`; good: readings with a value before this one, least_good:
    the fewest; origin: the first value; forgotten: (rows, bins of the ring) that were jumped over. rates
    `[5, N]`: what the reading weighs, in the order of `RATES`; 0 where nothing was seen.
    """

    rows: Rows
    step: Ints
    since: Ints
    unbroken: int
    restarted: Bools | None  # None where no row did
    common: int | None
    values: Floats
    seen: Bools
    all_seen: bool
    good: Ints
    least_good: int
    origin: Floats
    place: Place
    forgotten: tuple[Ints, Ints]
    rates: Floats

    @property
    def slots(self) -> Ints:
        return self.rows.slots


@dataclass(frozen=True, slots=True)
class Stretch:
    """Steps without a reading, taken at once: P steps of N series, the first of each, then the second …

    num: how many series have a first, a second … step; the columns are [P], as in `Arrival`. empty: bins up
    to the step's that nothing was seen of, whatever their places hold.
    """

    num: list[int]
    slots: Ints
    nth: Ints  # from 1
    left: Ints  # steps of the stretch that follow
    step: Ints
    origin: Floats
    place: Place
    empty: Ints
    forgotten: tuple[Ints, Ints]  # as in `Arrival`, of the N series


class Timetable:
    """Per-series times and counts. What it holds of a slot is saved with the bank."""

    def __init__(self) -> None:
        self.capacity = 0
        self.data: dict[str, npt.NDArray[Any]] = {n: np.zeros(0, kind) for n, (kind, _) in COLUMNS.items()}
        self.derived: dict[str, npt.NDArray[Any]] = {n: np.zeros(0, kind) for n, kind in DERIVED.items()}
        self.profile_count = np.zeros((0, BINS), np.int32)
        self._least_rates = np.zeros((len(RATES), 0))  # likewise derived
        # the last step that was passed over without a forecast; not saved: after a load the newest
        self.passed = np.zeros(0, np.int64)
        self._has_passed = False  # any of them
        # rows that were asked for last, and whether they have the same seasons at the same times
        self._are_alike: tuple[Rows, bool] | None = None

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.data[name]

    def grow(self, capacity: int) -> None:
        for name, (kind, initial) in COLUMNS.items():
            grown = np.full(capacity, initial, kind)
            grown[: self.capacity] = self.data[name]
            self.data[name] = grown
        for name, kind in DERIVED.items():
            self.derived[name] = np.zeros(capacity, kind)
        self._least_rates = np.zeros((len(RATES), capacity))
        counts = np.zeros((capacity, BINS), np.int32)
        counts[: self.capacity] = self.profile_count
        self.profile_count = counts
        self.passed = np.concatenate([self.passed, np.full(capacity - self.capacity, NOT_PASSED)])
        self.capacity = capacity
        self._derive(slice(None))

    def reset(self, rows: torch.Tensor) -> None:
        """A fresh start for these slots, given as `Fields.reset` has them."""
        slots = rows.cpu().numpy()
        for name, (_, initial) in COLUMNS.items():
            self.data[name][slots] = initial
        self.profile_count[slots] = 0
        self.passed[slots] = NOT_PASSED
        self._derive(slots)

    def declare(self, slots: Ints, cadence_ms: Ints, season_ms: Ints) -> None:
        """Cadence and season of these slots."""
        self.data["cadence_ms"][slots] = cadence_ms
        self.data["season_steps"][slots] = season_ms / cadence_ms
        self._derive(slots)

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
        self.passed[slots] = d["step"][slots]
        self._has_passed = True
        self.derived["until_ms"][slots] = NEVER
        left = counts[row] - nth
        last = np.flatnonzero(left == 0)
        last = last[np.argsort(row[last])]
        return Stretch(
            num=num.tolist(), slots=slot, nth=nth, left=left, step=step, origin=d["origin"][slot], place=at,
            empty=at.now - newest, forgotten=self._move(slots, at.now[last], 2 * at.bins[last]),
        )  # fmt: skip

    def _derive(self, slots: Ints | slice) -> None:
        self._are_alike = None
        steps = self.data["season_steps"][slots]
        has_season = steps >= 2
        steps = np.where(has_season, steps, float(BINS))
        bins = np.minimum(np.rint(steps), BINS)
        columns = {
            "has_season": has_season, "steps": steps, "bins": bins, "width": steps / bins,
            "until_ms": np.full(steps.size, NEVER), "knows_ms": self._find_known(slots, steps, has_season),
        }  # fmt: skip
        for name, column in columns.items():
            self.derived[name][slots] = column
        least = self._least_rates
        least[SPREAD, slots] = least[SLOW, slots] = 1.0 / (SLOW_SEASONS * steps)
        least[FAST, slots] = 1.0 / np.maximum(FAST_SEASONS * steps, 1.0)
        least[PROFILE, slots] = PROFILE_RATE * bins / steps

    def _find_known(self, slots: Ints | slice, steps: Floats, has_season: Bools) -> Ints:
        """When the first cell of the second season begins."""
        anchor, cadence = self.data["anchor_ms"][slots], self.data["cadence_ms"][slots]
        is_known = has_season & (anchor != NEVER)
        after = np.where(is_known, np.ceil(steps), 0.0).astype(np.int64) * cadence - cadence // 2
        return np.where(is_known, anchor + after, FOREVER)

    def arrive(self, rows: Rows, time_ms: Ints, values: Floats, seen: Bools) -> Arrival:
        """Count one reading of each slot in; its time is later than the slot's last one."""
        d, here = self.data, rows.host
        all_seen = bool(seen.all())
        step = d["step"][here] + 1
        d["step"][here] = step
        d["last_time_ms"][here] = time_ms
        since = step - d["restart"][here]
        earliest, restarted = int(since.min()), None
        if earliest <= 0:
            is_fresh = step == 0
            fresh = rows.slots[is_fresh]
            d["anchor_ms"][fresh] = time_ms[is_fresh]
            self._derive(fresh)
            restarted = (since == 0) & (step > SETTLED)
        good = d["good"][here].astype(np.int64)
        least_good = int(good.min())
        if not least_good:
            first = seen & (good == 0)
            d["origin"][rows.slots[first]] = values[first]
        d["good"][here] += seen

        place, forgotten = self._enter(rows, time_ms)
        count = d["bin_count"][here] + seen
        d["bin_count"][here] = count
        counts, at = self.profile_count.reshape(-1), rows.starts(BINS) + place.at_profile
        learnt = counts[at]
        counts[at] = learnt + seen
        # one in so many, until the least rate is reached
        rates = np.empty((len(RATES), step.size))
        np.maximum(good, 1, out=rates[SPREAD])
        np.add(good, 1, out=rates[FAST])
        rates[SLOW] = rates[FAST]
        np.maximum(count, 1, out=rates[BIN])
        np.add(learnt, 1, out=rates[PROFILE])
        np.reciprocal(rates, out=rates)
        np.maximum(rates, self._least_rates[:, here], out=rates)
        if not all_seen:
            rates *= seen
        unbroken = earliest
        if self._has_passed:
            unbroken = min(unbroken, int((step - self.passed[here]).min()) - 1)
        common = int(step[0]) if rows.span is not None and (step == step[0]).all() else None
        return Arrival(
            rows=rows, step=step, since=since, restarted=restarted, common=common, unbroken=unbroken,
            values=values, seen=seen, all_seen=all_seen, good=good, least_good=least_good,
            origin=d["origin"][here], place=place, forgotten=forgotten, rates=rates,
        )  # fmt: skip

    def _enter(self, rows: Rows, time_ms: Ints) -> tuple[Place, tuple[Ints, Ints]]:
        """(the places of cells that have come, bins that are forgotten as in `_move`)."""
        d, own, here = self.data, self.derived, rows.host
        common_ms = self._find_common(rows, time_ms)
        if (time_ms >= own["until_ms"][here]).any():
            place = self._find_place(here, time_ms, common_ms)
            forgotten = self._move(rows.slots, place.now, 2 * place.bins)
            if place.width.max() > 1.0:
                own["at"][here], own["at_profile"][here] = place.at, place.at_profile
                cadence = d["cadence_ms"][here]
                # a cell early: where rounding may decide, it is looked up
                cells = np.floor((place.now + 1) * place.width).astype(np.int64) - 1
                own["until_ms"][here] = d["anchor_ms"][here] - cadence // 2 + cells * cadence
            return place, forgotten
        now, phase = d["bin"][here], _NO_PHASE
        if common_ms is not None:
            knows = time_ms[:1] >= own["knows_ms"][here][:1]
            is_asked = bool(knows[0])
        else:
            knows = time_ms >= own["knows_ms"][here]
            is_asked = bool(knows.any())
            if is_asked:
                phase = self._find_phase(here, self._find_cell(here, time_ms), now)
        place = Place(
            season_steps=own["steps"][here], bins=own["bins"][here], width=own["width"][here], now=now,
            at=own["at"][here], at_profile=own["at_profile"][here], phase=phase,
            knows_season=knows if is_asked else None, common_ms=common_ms,
        )  # fmt: skip
        return place, (_NO_ROWS, _NO_ROWS)

    def find_places(self, slot: int, time_ms: Ints) -> Place:
        """Of cells of one slot at these times."""
        return self._find_place(slice(slot, slot + 1), time_ms)

    def _find_common(self, rows: Rows, time_ms: Ints) -> int | None:
        """The time, where one place in the season stands for all of these."""
        if rows.span is None:
            return None
        if self._are_alike is None or self._are_alike[0] is not rows:
            columns = (self.data[name][rows.host] for name in ("cadence_ms", "season_steps", "anchor_ms"))
            self._are_alike = rows, all(bool((column == column[0]).all()) for column in columns)
        return int(time_ms[0]) if self._are_alike[1] and (time_ms == time_ms[0]).all() else None

    def _find_cell(self, here: slice | Ints, time_ms: Ints) -> Floats:
        """Counted from the anchor."""
        # float64 holds these whole numbers exactly, and divides them several times faster than int64
        cadence = self.data["cadence_ms"][here]
        cell: Floats = np.floor((time_ms - self.data["anchor_ms"][here] + cadence // 2) / cadence)
        return cell

    def _find_phase(self, here: slice | Ints, cell: Floats, now: Ints | Floats) -> Floats:
        width = self.derived["width"][here]
        phase: Floats = cell / width - (width - 1.0) / (2.0 * width) - now
        return phase

    def _find_place(self, here: slice | Ints, time_ms: Ints, common_ms: int | None = None) -> Place:
        """Of cells at these times, of the slots that `here` picks."""
        own, cell = self.derived, self._find_cell(here, time_ms)
        steps, bins, width = own["steps"][here], own["bins"][here], own["width"][here]
        now = np.floor(cell / width + EPSILON)
        season = np.floor(now / bins)
        at_profile = (now - season * bins).astype(np.int64)
        odd = season.astype(np.int64) & 1
        return Place(
            season_steps=steps, bins=bins, width=width, now=now.astype(np.int64), at_profile=at_profile,
            at=at_profile + odd * bins, phase=self._find_phase(here, cell, now),
            knows_season=knows if (knows := time_ms >= own["knows_ms"][here]).any() else None,
            common_ms=common_ms,
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
        kinds = [*(kind for kind, _ in COLUMNS.values()), *DERIVED.values(), self.passed.dtype]
        return int(sum(np.dtype(kind).itemsize for kind in kinds)) + 4 * BINS + 8 * len(RATES)

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
        self.passed[:num_slots] = self.data["step"][:num_slots]
        self._has_passed = True
        self._derive(slice(None))
