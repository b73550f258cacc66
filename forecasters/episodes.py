"""When scores become an episode, and when it is over: per series, on the host.

A score of 1 begins an episode. It holds until `hold` judged steps have passed without another, and longer
while the value stays displaced, that is beyond what was usual before: an outage is one episode, its end
included. What stays displaced for RELEARN holds is taken as normal from then on, and the episode ends as
`shifted`.

A value that has not changed for far longer than ever before is stuck, until it changes. Nothing is learnt
from it meanwhile, and its return does not begin an episode.

Letters: S slots, N rows of a wave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forecasters.columns import Column, Columns
from forecasters.rows import Rows

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Usual = Callable[[Ints], tuple[Floats, npt.NDArray[np.float32]]]
"""Of some rows: the level that was usual before, and how far around it, in the series' units."""

QUIET, NOTED, PAGES = range(3)
"""States of an episode."""
NOTHING, BEGINS_NOTED, BEGINS, RECOVERS, SHIFTS = range(5)
"""What a reading does to the episode of its series."""
STICKS, LOOSENS = 1, 2
"""What it does to a value that is stuck."""

NOTE = 0.5
RELEARN = 10
"""Holds after which a displaced value is taken as normal."""
CAPPED = 0.49
"""Score of what must not page, whatever its rank: neither does it get noted."""
RESTS = 16
"""Readings without a change after which nothing is learnt: the ranks are those of a series that moves."""
STUCK = 60
"""Readings without a change that are stuck at the earliest; of slow series half a season, at least 12."""
LONGER = 4
"""Times the longest rest before; each time that it fires the next one must be twice as long."""
KNOWN = 5
"""Times that length must have been seen before, and a season."""
HABIT = 0.25
"""By so much an episode raises the cut of its series, on top of the shard's."""
HABIT_MS = 5.0 * 86_400_000
HOUR_MS = 3_600_000

COLUMNS: Mapping[str, Column] = {
    "seen": Column(np.int64, -1),  # step of the last value
    "judged": Column(np.int64, 0),  # steps of the alert grid so far
    "cell": Column(np.int64, 0),  # of that grid, the last
    "state": Column(np.int8, QUIET),
    "quiet": Column(np.int32, 0),  # judged steps without exceedance and not displaced
    "since": Column(np.int32, 0),  # judged steps without exceedance
    "age": Column(np.int32, 0),  # judged steps since it began
    "began_ms": Column(np.int64, 0),
    "last_ms": Column(np.int64, 0),  # the last exceedance
    "peak": Column(np.float64, 0.0),
    "level": Column(np.float64, 0.0),  # what was usual when it began …
    "band": Column(np.float64, 0.0),  # … and how far around it
    "hour": Column(np.int64, 0),
    "in_hour": Column(np.int32, 0),
    "habit": Column(np.float64, 0.0),
    "habit_ms": Column(np.int64, 0),
    "muted": Column(np.int32, 0),  # judged steps in which none begins
    "run": Column(np.int64, 0),  # readings since the value changed
    "run_ms": Column(np.int64, 0),  # the first of them
    "longest": Column(np.int64, 1),
    "moves": Column(np.int64, 0),
    "stuck": Column(np.int8, 0),
    "min_abs": Column(np.float64, 0.0),
    "min_rel": Column(np.float64, 0.0),
    "direction": Column(np.int8, 0),  # 1 above, -1 below, 0 both
    "may_stick": Column(np.int8, 1),
}


@dataclass(frozen=True, slots=True)
class Standing:
    """Where series stand, by slot as asked: whether an episode pages, its beginning and highest score;
    whether the value is stuck, and since when."""

    pages: Bools
    began_ms: Ints
    peak: Floats
    is_stuck: Bools
    rests_ms: Ints


@dataclass(frozen=True, slots=True)
class EpisodeOptions:
    """hold: judged steps; per_hour: episodes of one series that may begin in an hour."""

    hold: int
    per_hour: int


class Episodes(Columns):
    """Columns by slot, and how a wave changes them."""

    def __init__(self, options: EpisodeOptions) -> None:
        super().__init__(COLUMNS)
        self.options = options

    def habit(self, here: slice | Ints, time_ms: Ints) -> Floats:
        """`[N]` what episodes of late add to the cuts of these series."""
        d = self.data
        habit: Floats = d["habit"][here]
        if habit.any():
            habit = habit * np.exp((d["habit_ms"][here] - time_ms) / HABIT_MS)
        return habit

    # -- values that don't change ------------------------------------------------------------------------

    def rest(
        self, rows: Rows, time_ms: Ints, seen: Bools, moved: Bools, good: Ints, season: Floats
    ) -> tuple[Ints, Ints | None]:
        """Count readings without a change; returns STICKS or LOOSENS by row, and where some come loose, when
        each row's rest began. good: readings before."""
        d, here, slots = self.data, rows.host, rows.slots
        run, what, began_ms = d["run"][here], np.zeros(slots.size, np.int64), None
        if moved.any():
            longest, was = d["longest"][here], d["stuck"][here] > 0
            grown = np.maximum(longest, run)
            if was.any():
                loosens = moved & was
                what[loosens] = LOOSENS
                began_ms = self.read("run_ms", here)
                # of a fault nothing is learnt but that it was heard
                grown = np.where(was, 2 * longest, grown)
                d["stuck"][slots[loosens]] = 0
                d["muted"][slots[loosens]] = self.options.hold
            d["longest"][here] = np.where(moved, grown, longest)
            d["moves"][here] += moved
            d["run_ms"][here] = np.where(moved, time_ms, d["run_ms"][here])
        again = seen & ~moved
        run = np.where(moved, 1, run + again)
        d["run"][here] = run
        if run.max() >= 12:
            least = np.minimum(STUCK, np.maximum(season / 2.0, 12.0))
            limit = np.maximum(least, LONGER * d["longest"][here])
            known = good - run >= np.maximum(season, KNOWN * limit)
            sticks = again & (run >= limit) & known & (d["stuck"][here] == 0) & (d["may_stick"][here] > 0)
            what[sticks] = STICKS
            d["stuck"][slots[sticks]] = 1
        return what, began_ms

    # -- episodes ----------------------------------------------------------------------------------------

    def judge(
        self, slots: Ints, here: slice | Ints, time_ms: Ints, score: Floats, value: Floats, usual: Usual
    ) -> Ints:
        """Take the scores of judged rows; returns what they do to their episodes.

        here: the rows as `Rows.host` has them. value, and what is usual for rows that are asked for: in the
        series' units.
        """
        d = self.data
        what = np.zeros(slots.size, np.int64)
        muted = self.read("muted", here)
        if muted.any():
            d["muted"][here] = np.maximum(muted - 1, 0)
        state, near = d["state"][here], score >= NOTE
        waits = np.flatnonzero((state == NOTED) & ~near)
        pages = (state == PAGES) | (score >= 1.0)
        noted = np.flatnonzero(near & ~pages)
        at = np.flatnonzero(pages)
        if waits.size:
            self._wait(slots[waits])
        if noted.size:
            what[noted] = self._note(slots[noted], time_ms[noted], score[noted], muted[noted])
        if at.size:
            what[at] = self._judge(
                slots[at], time_ms[at], score[at], value[at], muted[at], lambda rows: usual(at[rows])
            )
        return what

    def _wait(self, slots: Ints) -> None:
        """Of those that were noted, and have no score worth it now: most of all that have an episode."""
        d = self.data
        quiet = d["quiet"][slots] + 1
        d["quiet"][slots] = quiet
        d["since"][slots] += 1
        d["age"][slots] += 1
        d["state"][slots[quiet >= self.options.hold]] = QUIET

    def _note(self, slots: Ints, time_ms: Ints, score: Floats, muted: Ints) -> Ints:
        """Of those that do not page, with a score that is worth to be noted."""
        d = self.data
        new = (d["state"][slots] == QUIET) & (muted == 0) & (d["stuck"][slots] == 0)
        d["quiet"][slots] = d["since"][slots] = 0
        d["age"][slots] = np.where(new, 0, d["age"][slots] + 1)
        d["last_ms"][slots] = time_ms
        d["peak"][slots] = np.where(new, score, np.maximum(d["peak"][slots], score))
        begins = slots[new]
        d["began_ms"][begins] = time_ms[new]
        d["state"][begins] = NOTED
        return np.where(new, BEGINS_NOTED, NOTHING)

    def _judge(
        self, slots: Ints, time_ms: Ints, score: Floats, value: Floats, muted: Ints, usual: Usual
    ) -> Ints:
        """Of those that page, or have a score that does."""
        d, hold = self.data, self.options.hold
        state, what = d["state"][slots], np.zeros(slots.size, np.int64)
        near = score >= NOTE
        exceeds = score >= 1.0
        firing = state == PAGES
        stuck = d["stuck"][slots] > 0
        hour = time_ms // HOUR_MS
        in_hour = np.where(d["hour"][slots] == hour, d["in_hour"][slots], 0)
        begins = exceeds & ~firing & (muted == 0) & ~stuck & (in_hour < self.options.per_hour)
        notes = near & (state == QUIET) & ~begins & (muted == 0) & ~stuck
        what[begins], what[notes] = BEGINS, BEGINS_NOTED

        displaced = firing & (np.abs(value - d["level"][slots]) > d["band"][slots])
        counts = np.where(firing | begins, exceeds, near)
        quiet = np.where(counts | displaced | (firing & stuck), 0, d["quiet"][slots] + 1)
        since = np.where(counts, 0, d["since"][slots] + 1)
        age = np.where(begins | notes, 0, d["age"][slots] + 1)
        shifts = firing & ~stuck & displaced & (since >= hold) & (age >= RELEARN * hold)
        over = (state != QUIET) & ~begins & ((quiet >= hold) | shifts)
        what[firing & over] = np.where(shifts, SHIFTS, RECOVERS)[firing & over]

        first = begins | notes
        keeps = first & (state == NOTED)  # what was noted before goes on under its own beginning
        new = first & ~keeps
        d["began_ms"][slots[new]] = time_ms[new]
        d["last_ms"][slots[counts]] = time_ms[counts]
        d["peak"][slots] = np.where(new, score, np.maximum(d["peak"][slots], score))
        d["hour"][slots[begins]], d["in_hour"][slots[begins]] = hour[begins], in_hour[begins] + 1
        if begins.any():
            rows = slots[begins]
            d["level"][rows], d["band"][rows] = usual(np.flatnonzero(begins))
            d["habit"][rows] = self.habit(rows, time_ms[begins]) + HABIT
            d["habit_ms"][rows] = time_ms[begins]
        for name, column in (("quiet", quiet), ("since", since), ("age", age)):
            d[name][slots] = column
        d["state"][slots] = np.where(over, QUIET, np.where(begins, PAGES, np.where(notes, NOTED, state)))
        return what

    def standing(self, slots: Ints) -> Standing:
        d = self.data
        return Standing(
            pages=d["state"][slots] == PAGES, began_ms=d["began_ms"][slots], peak=d["peak"][slots],
            is_stuck=d["stuck"][slots] > 0, rests_ms=d["run_ms"][slots],
        )  # fmt: skip

    def declare(
        self, slots: Ints, min_abs: Floats, min_rel: Floats, direction: Ints, may_stick: Bools
    ) -> None:
        d = self.data
        d["min_abs"][slots], d["min_rel"][slots] = min_abs, min_rel
        d["direction"][slots], d["may_stick"][slots] = direction, may_stick

    def limits(self, slots: Ints) -> Bools:
        """For which series not every deviation counts."""
        d = self.data
        limited: Bools = (d["min_abs"][slots] > 0) | (d["min_rel"][slots] > 0) | (d["direction"][slots] != 0)
        return limited

    def allows(self, slots: Ints, deviation: Floats, expected: Floats, side: Floats) -> Bools:
        """Whether a deviation is large enough, and in a direction that counts, as is the side of the oldest
        forecast on which the value lies: the return from a deviation upwards is none downwards."""
        d, size = self.data, np.abs(deviation)
        direction = d["direction"][slots]
        allowed: Bools = (
            (size >= d["min_abs"][slots])
            & (size >= d["min_rel"][slots] * np.abs(expected))
            & ((direction == 0) | ((np.sign(deviation) == direction) & (side == direction)))
        )
        return allowed
