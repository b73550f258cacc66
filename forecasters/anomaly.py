"""An anomaly score per reading: how rare are its last errors, and its own value, for this series.

Two ranks within the series' long memory are joined: that of the mean of the last WINDOW one-step errors of
the champion, and that of the value's deviation from its long-running level. Both are kept in the series'
units and not in those of its scale: a scale that grows with the trouble would hide it. The joined surprise is
divided by the cut, which is steered to a budget of episodes (`budget.py`); 1.0 pages. Readings that come
faster than `grid_ms` are judged together.

All of it is host work, in arrays: whatever the device, its results come to the host anyway.

Letters: N rows as given, K rows worth a closer look, E forecasters, Q scored steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from forecasters.budget import Budget, Cut
from forecasters.champion import Champion
from forecasters.columns import Column, Columns, add_up
from forecasters.episodes import BEGINS, CAPPED, NOTE, PAGES, QUIET, RESTS, EpisodeOptions, Episodes
from forecasters.outcome import Outcome
from forecasters.ranks import ABOVE, BELOW, REFRESH, Ranks
from forecasters.timetable import Arrival, Timetable

Tensor = torch.Tensor
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Singles = npt.NDArray[np.float32]

WINDOW = 10
"""Judged steps whose errors are averaged: 1 and 40 were both worse."""
ERROR_WEIGHT = 0.75
"""Of the errors' surprise; that of the value weighs 1."""
WARM = 40
"""Readings, and judged steps, before which nothing pages."""
FEWEST_MOVES = 20
"""A series that has changed fewer times than this has shown nothing that a change could be compared with."""
YOUNG = 300
"""Judged steps: before them the cut is higher, by the log of how many are missing."""
UNTRIED = 6.0
"""So much higher is the cut of a series that has seen nothing of its season yet: what comes with the time of
day is new to it, and to the forecasters."""
SEASONS = 1.5
LONGEST_SEASON = 1440.0
"""Judged steps of a season at most: SEASONS of them are enough for any series."""
STALE = 3
"""Steps since the last value up to which the next error is one of a step: a machine that starts after a rest
is no surprise to be averaged with others."""


@dataclass(frozen=True, slots=True)
class AlertOptions:
    """What a bank needs to know of alerts. Raises ValueError for a value out of range.

    champion: whose errors count; `leader`: of each series those of its leader. episodes_per_day: of each
    series where per_series, else of this shard. grid_ms: readings are judged no more often; hold: judged
    steps; per_hour: of one series.
    """

    champion: str
    episodes_per_day: float = 0.2
    per_series: bool = True
    grid_ms: int = 60_000
    hold: int = 100
    per_hour: int = 1

    def __post_init__(self) -> None:
        if not self.episodes_per_day > 0:
            raise ValueError(f"expected episodes_per_day above 0, got {self.episodes_per_day!r}")
        for name in ("grid_ms", "hold", "per_hour"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of at least 1, got {getattr(self, name)!r}")


@dataclass(frozen=True, slots=True)
class Alarms:
    """What a wave means for alerts, rows [N] as given.

    score: 1.0 pages; NaN where a reading was not judged. exceeds: it belongs to an episode that pages, and
    not as part of its hold. event, sticks: see `episodes`. expected, lower and upper: the forecast that the
    reading contradicts most, in the series' units; worked out where score ≥ 1 or an episode begins, elsewhere
    mostly NaN.
    """

    score: npt.NDArray[np.float32]
    exceeds: Bools
    event: Ints
    sticks: Ints
    expected: Floats
    lower: Floats
    upper: Floats
    began_ms: Ints
    last_ms: Ints
    peak: Floats
    rests_ms: Ints  # the first reading of those that have not changed
    champion: Ints  # place among the forecasters of whom it was judged by
    stuck_ms: Ints  # that of the rest which ends with this reading

    @staticmethod
    def join(parts: Sequence[Alarms]) -> Alarms:
        names = Alarms.__slots__
        return Alarms(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def join_surprises(of_error: Singles, of_value: Singles) -> Singles:
    """-ln P(w A + B ≥ w a + b) of two surprises a and b, w being ERROR_WEIGHT, were A and B independent and
    each the -ln of a uniform number: a sum of two exponential ones (hypoexponential)."""
    total = of_error * ERROR_WEIGHT + of_value
    smaller = np.exp(total * (1.0 - 1.0 / ERROR_WEIGHT)) * ERROR_WEIGHT
    joined: Singles = total - np.log((1.0 - smaller) / (1.0 - ERROR_WEIGHT))
    return joined


class Anomaly:
    """Ranks, cut and episodes of one shard. Depends on the log alone, not on how it is cut into waves."""

    def __init__(self, names: Sequence[str], timetable: Timetable, options: AlertOptions):
        """Raises ValueError where the champion is none of the names."""
        self.options = options
        self.champion = Champion(names, options.champion)
        self._timetable = timetable
        self.ranks = Ranks()
        # within a cell of the grid: sums of |error| and of the deviation, each with its number
        self.fields = Columns(
            {"errors": Column(np.float32, shape=(WINDOW,)), "cell": Column(np.float32, shape=(4,))}
        )
        self.episodes = Episodes(EpisodeOptions(options.hold, options.per_hour))
        self.cut = Cut(Budget(options.episodes_per_day, options.per_series))

    def parts(self) -> dict[str, Columns]:
        """Per-series state, by name."""
        parts = {"ranks": self.ranks.fields, "window": self.fields, "episodes": self.episodes}
        return parts if self.champion.at is not None else {**parts, "champion": self.champion.fields}

    # -- one wave ----------------------------------------------------------------------------------------

    def observe(self, arrival: Arrival, time_ms: Ints, values: Floats, outcome: Outcome) -> Alarms:
        """Judge a wave by the forecasts that were made for it."""
        episodes, slots, here, seen = self.episodes, arrival.slots, arrival.rows.host, arrival.seen
        season_steps, champions = arrival.place.season_steps, self.champion.places(slots)
        error_QN, half_QN = (self.champion.pick(of, slots) for of in (outcome.error_EQN, outcome.half_EQN))
        cadence_ms = self._timetable["cadence_ms"][here]
        per = None  # readings to a cell of the grid; None: one everywhere
        cell, number, stands_ms = arrival.step + 1, episodes.read("judged", here), cadence_ms
        if cadence_ms.min() <= self.options.grid_ms // 2:
            per = np.maximum(self.options.grid_ms // cadence_ms, 1)
            cell, stands_ms = cell // per, per * cadence_ms
        judged = cell > episodes["cell"][here]
        all_judged = bool(judged.all())
        episodes["cell"][here], episodes["judged"][here] = cell, number + judged
        last = episodes["seen"][here]
        rested = arrival.step - last
        episodes["seen"][here] = arrival.step if arrival.all_seen else np.where(seen, arrival.step, last)
        joined = self._rank(arrival, outcome, error_QN[0], per, number, judged, rested)
        stuck_ms = episodes.read("run_ms", here)
        sticks = episodes.rest(
            arrival.rows, time_ms, outcome.known_N, outcome.moved_N, arrival.good, season_steps
        )

        if not arrival.all_seen:
            judged &= seen
            all_judged = bool(judged.all())
        season = SEASONS * np.minimum(season_steps if per is None else season_steps / per, LONGEST_SEASON)
        young = np.maximum(UNTRIED - number * (UNTRIED / season), 0.0)
        if number.min() < YOUNG:
            young = np.maximum(young, np.log(np.maximum(YOUNG / (number + 1.0), 1.0)))
        score = joined / (young + (self.cut.value + episodes.habit(here, time_ms)))
        if not all_judged:
            score = np.where(judged, score, 0.0)
        warm = (arrival.good >= WARM) & (number >= WARM) & (episodes["moves"][here] >= FEWEST_MOVES)
        if not warm.all():
            score = np.where(warm, score, np.minimum(score, CAPPED))
        told = np.full((3, slots.size), np.nan)  # expected, lower, upper
        near = np.flatnonzero(score >= NOTE)
        if near.size:
            near, is_limited = self._choose(slots, near, score)
        if near.size:
            told[:, near] = closer = self._look_closer(slots, near, values, outcome, error_QN, half_QN)
            if is_limited:
                expected = closer[0]
                allowed = self._allow(
                    slots, near, values[near] - expected, expected, outcome, error_QN, half_QN
                )
                score[near] = np.where(allowed, score[near], CAPPED)
        usual = partial(self._find_usual, slots, values, outcome.departure_N)
        if all_judged:
            event = episodes.judge(slots, here, time_ms, score, values, usual)
        else:
            event, rows = np.zeros(slots.size, np.int64), np.flatnonzero(judged)
            some = slots[rows]
            event[rows] = episodes.judge(
                some, some, time_ms[rows], score[rows], values[rows], lambda at: usual(rows[at])
            )
            stands_ms, young = stands_ms[rows], young[rows]
        exposed_ms = int(stands_ms[young == 0.0].sum())
        self.cut.count(stands_ms.size, int(stands_ms.sum()), exposed_ms, int((event == BEGINS).sum()))
        return Alarms(
            score=(score if all_judged else np.where(judged, score, np.nan)).astype(np.float32),
            exceeds=(score >= 1.0) & (episodes["state"][here] == PAGES),
            event=event, sticks=sticks, expected=told[0], lower=told[1], upper=told[2],
            began_ms=episodes.read("began_ms", here), last_ms=episodes.read("last_ms", here),
            peak=episodes.read("peak", here), rests_ms=episodes.read("run_ms", here),
            champion=champions, stuck_ms=stuck_ms,
        )  # fmt: skip

    def _rank(
        self, arrival: Arrival, outcome: Outcome, error_N: Singles, per: Ints | None, number: Ints,
        judged: Bools, rested: Ints,
    ) -> Floats:  # fmt: skip
        """The joined surprise `[N]`. error: of the first step."""
        slots, here, ranks = arrival.slots, arrival.rows.host, self.ranks
        awake = self.episodes["run"][here] < RESTS
        has_error, has_value = outcome.valid_QN[0] & (rested <= STALE), arrival.seen
        size, away = np.abs(error_N * outcome.scale_QN[0]), outcome.departure_N
        size = np.where(has_error & np.isfinite(size), size, np.float32(0.0))
        if per is not None:
            size, has_error, away, has_value = self._gather_cells(
                slots, judged, (size, has_error, away, has_value)
            )
        counts_error, counts_value = has_error & judged, has_value & judged
        mean = self._mean_error(arrival, number % WINDOW, size, counts_error, rested)
        sides = ranks.look(here, slots, mean, away)
        of_error, of_value = ranks.surprise(sides)
        joined = join_surprises(of_error * counts_error, of_value * counts_value)
        ranks.learn(sides, counts_error & awake, counts_value & awake)
        due = np.flatnonzero(judged & ((number + 1) & (REFRESH - 1) == 0))
        if due.size:
            ranks.refresh(here if due.size == slots.size else slots[due])
        return joined.astype(np.float64)

    def _gather_cells(
        self, slots: Ints, judged: Bools, columns: tuple[Singles, Bools, Singles, Bools]
    ) -> tuple[Singles, Bools, Singles, Bools]:
        """Means over the cells of the grid that end with these readings; cells that go on take them in."""
        size, has_error, away, has_value = columns
        new = np.stack([size, has_error, np.where(has_value, away, 0.0), has_value], dtype=np.float32)
        cell = self.fields["cell"][:, slots] + new
        self.fields["cell"][:, slots] = np.where(judged, np.float32(0.0), cell)
        errors, values = cell[1], cell[3]
        means = cell[0] / np.maximum(errors, 1.0), cell[2] / np.maximum(values, 1.0)
        return means[0], errors > 0, means[1], values > 0

    def _mean_error(self, arrival: Arrival, at: Ints, size: Singles, counts: Bools, rested: Ints) -> Singles:
        """`[N]` over the last WINDOW judged steps; those that are missing since a restart count as 0."""
        slots, errors = arrival.slots, self.fields["errors"]
        anew = rested > WINDOW
        if arrival.restarted is not None:
            anew |= arrival.restarted
        if anew.any():
            errors[:, slots[anew]] = 0.0
        here, only = arrival.rows.host, at[0]
        if (at == only).all():  # as where all are in step
            errors[only, here] = np.where(counts, size, errors[only, here])
        else:
            errors[at, slots] = np.where(counts, size, errors[at, slots])
        mean = add_up(errors[:, here])
        mean /= WINDOW
        return mean

    def _find_usual(
        self, slots: Ints, values: Floats, departure_N: Singles, at: Ints
    ) -> tuple[Floats, Singles]:
        """`[K]` each, of these rows: the level that was usual before, and how far around it."""
        away = departure_N[at]
        return values[at] - away, self.ranks.tail_start(slots[at], np.where(away >= 0, ABOVE, BELOW))

    def _choose(self, slots: Ints, near: Ints, score: Floats) -> tuple[Ints, bool]:
        """Which of the rows that are near an episode are worth a closer look: those that may begin one, and
        all that not every deviation counts for; whether there are any of these."""
        here = slots[near]
        limited = self.episodes.limits(here)
        is_limited = bool(limited.any())
        looked = (score[near] >= 1.0) | (self.episodes["state"][here] == QUIET)
        return near[looked | limited if is_limited else looked], is_limited

    def _look_closer(
        self, slots: Ints, near: Ints, values: Floats, outcome: Outcome, error_QN: Singles, half_QN: Singles
    ) -> Floats:
        """`[3, K]` expected, lower, upper: of the forecast that the value contradicts most."""
        error, half, valid = (of[:, near] for of in (error_QN, half_QN, outcome.valid_QN))
        contradiction = np.where(valid, np.abs(error) / np.maximum(half, 1e-6), -1.0)
        most = (contradiction.argmax(0), np.arange(near.size))
        scale = outcome.scale_QN[most[0], near].astype(np.float64)
        value, said, told = values[near], contradiction[most] >= 0, np.empty((3, near.size))
        told[0] = value - np.where(said, error[most] * scale, outcome.departure_N[near])
        width = np.where(said, half[most] * scale, np.nan)
        told[1], told[2] = told[0] - width, told[0] + width
        return told

    def _allow(
        self, slots: Ints, near: Ints, deviation: Floats, expected: Floats, outcome: Outcome,
        error_QN: Singles, half_QN: Singles,
    ) -> Bools:  # fmt: skip
        """`[K]` whether these deviations are large enough, and on the side that counts: that on which the
        value lies of the oldest forecast, none within its interval."""
        error, half, valid = (of[:, near] for of in (error_QN, half_QN, outcome.valid_QN))
        # the newest forecasts may have been made from what was wrong
        oldest = (valid.cumsum(0).argmax(0), np.arange(near.size))
        side = np.where(np.abs(error[oldest]) > half[oldest], np.sign(error[oldest]), 0.0)
        side = np.where(valid.any(0), side, np.sign(outcome.departure_N[near]))
        return self.episodes.allows(slots[near], deviation, expected, side)

    # -- state -------------------------------------------------------------------------------------------

    def tick(self, live: int) -> None:
        """Move the cut; live: series of the shard."""
        self.cut.tick(live)

    def save(self) -> Iterator[tuple[str, Tensor]]:
        """What is shared by all series."""
        yield from self.cut.save()

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Raises KeyError where something is missing."""
        self.cut.load(state)
