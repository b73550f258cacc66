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
from forecasters.episodes import BEGINS, CAPPED, LOOSENS, NOTE, PAGES, QUIET, RESTS, EpisodeOptions, Episodes
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
class Told:
    """What there is to tell of K rows of a wave, those with an event or a value that sticks or comes loose.

    expected, lower, upper: the forecast that the reading contradicts most, in the series' units, worked out
    where an episode begins and mostly NaN elsewhere. champion: place among the forecasters of whom it was
    judged by; rests_ms: the first reading of those that have not changed; stuck_ms: that of the rest which
    ends here, 0 where none does.
    """

    rows: Ints
    expected: Floats
    lower: Floats
    upper: Floats
    began_ms: Ints
    last_ms: Ints
    peak: Floats
    champion: Ints
    rests_ms: Ints
    stuck_ms: Ints


@dataclass(frozen=True, slots=True)
class Alarms:
    """What a wave means for alerts, rows [N] as given.

    score: 1.0 pages; NaN where a reading was not judged. exceeds: it belongs to an episode that pages, and
    not as part of its hold. event, sticks: see `episodes`.
    """

    score: npt.NDArray[np.float32]
    exceeds: Bools
    event: Ints
    sticks: Ints
    told: Told

    @staticmethod
    def join(parts: Sequence[Alarms]) -> Alarms:
        """Of pieces of one wave, in their order."""
        told = [part.told for part in parts]
        starts = np.cumsum([0, *(part.event.size for part in parts[:-1])]).tolist()
        rows = [one.rows + start for one, start in zip(told, starts, strict=True)]
        columns = Told.__slots__[1:]
        return Alarms(
            score=np.concatenate([part.score for part in parts]),
            exceeds=np.concatenate([part.exceeds for part in parts]),
            event=np.concatenate([part.event for part in parts]),
            sticks=np.concatenate([part.sticks for part in parts]),
            told=Told(
                np.concatenate(rows), *(np.concatenate([getattr(o, name) for o in told]) for name in columns)
            ),
        )


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
        error_QN, half_QN = (self.champion.pick(of, slots) for of in (outcome.error_EQN, outcome.half_EQN))
        cadence_ms = self._timetable["cadence_ms"][here]
        per = judged = None  # readings to a cell of the grid; whose cell ends: None is one, and everyone's
        cell, number, stands_ms = arrival.step + 1, episodes.read("judged", here), cadence_ms
        if cadence_ms.min() <= self.options.grid_ms // 2:
            per = np.maximum(self.options.grid_ms // cadence_ms, 1)
            cell, stands_ms = cell // per, per * cadence_ms
            judged = cell > episodes["cell"][here]
        episodes["cell"][here] = cell
        episodes["judged"][here] = number + (1 if judged is None else judged)
        last = episodes["seen"][here]
        rested = arrival.step - last
        episodes["seen"][here] = arrival.step if arrival.all_seen else np.where(seen, arrival.step, last)
        joined = self._rank(arrival, outcome, error_QN[0], per, number, judged, rested)
        sticks, stuck_ms = episodes.rest(
            arrival.rows, time_ms, outcome.known_N, outcome.moved_N, arrival.good, arrival.place.season_steps
        )

        if not arrival.all_seen:
            judged = seen if judged is None else judged & seen
        if judged is not None and judged.all():
            judged = None
        young = self._find_young(arrival, number, per)
        cut = self.cut.value + episodes.habit(here, time_ms)
        score = joined / (cut if young is None else young + cut)
        if judged is not None:
            score = np.where(judged, score, 0.0)
        warm = (arrival.good >= WARM) & (number >= WARM) & (episodes["moves"][here] >= FEWEST_MOVES)
        if not warm.all():
            score = np.where(warm, score, np.minimum(score, CAPPED))
        near, closer = np.flatnonzero(score >= NOTE), np.empty((3, 0))
        if near.size:
            near, is_limited = self._choose(slots, near, score)
        if near.size:
            closer = self._look_closer(slots, near, values, outcome, error_QN, half_QN)
            if is_limited:
                expected = closer[0]
                allowed = self._allow(
                    slots, near, values[near] - expected, expected, outcome, error_QN, half_QN
                )
                score[near] = np.where(allowed, score[near], CAPPED)
        usual = partial(self._find_usual, slots, values, outcome.departure_N)
        if judged is None:
            event = episodes.judge(slots, here, time_ms, score, values, usual)
        else:
            event, rows = np.zeros(slots.size, np.int64), np.flatnonzero(judged)
            some = slots[rows]
            event[rows] = episodes.judge(
                some, some, time_ms[rows], score[rows], values[rows], lambda at: usual(rows[at])
            )
            stands_ms, young = stands_ms[rows], None if young is None else young[rows]
            score = np.where(judged, score, np.nan)
        judged_ms = int(stands_ms.sum())
        exposed_ms = judged_ms if young is None else int(stands_ms[young == 0.0].sum())
        self.cut.count(stands_ms.size, judged_ms, exposed_ms, int((event == BEGINS).sum()))
        return Alarms(
            score=score.astype(np.float32),
            exceeds=(score >= 1.0) & (episodes["state"][here] == PAGES),
            event=event,
            sticks=sticks,
            told=self._tell(slots, np.flatnonzero(event | sticks), near, closer, sticks, stuck_ms),
        )

    def _tell(
        self, slots: Ints, rows: Ints, near: Ints, closer_3K: Floats, sticks: Ints, stuck_ms: Ints | None
    ) -> Told:
        """Of these rows. near, closer: those that were looked at closely, and what was found."""
        d, at = self.episodes, slots[rows]
        expected, lower, upper = told = np.full((3, rows.size), np.nan)
        place = np.searchsorted(near, rows)
        place[place == near.size] = 0
        if near.size:
            found = near[place] == rows
            told[:, found] = closer_3K[:, place[found]]
        return Told(
            rows=rows, expected=expected, lower=lower, upper=upper, began_ms=d["began_ms"][at],
            last_ms=d["last_ms"][at], peak=d["peak"][at], champion=self.champion.places(at),
            rests_ms=d["run_ms"][at],
            stuck_ms=np.where(sticks[rows] == LOOSENS, 0 if stuck_ms is None else stuck_ms[rows], 0),
        )  # fmt: skip

    def _rank(
        self, arrival: Arrival, outcome: Outcome, error_N: Singles, per: Ints | None, number: Ints,
        judged: Bools | None, rested: Ints,
    ) -> Floats:  # fmt: skip
        """The joined surprise `[N]`. error: of the first step; judged: None is all."""
        slots, here, ranks = arrival.slots, arrival.rows.host, self.ranks
        awake, longest_rest = self.episodes["run"][here] < RESTS, int(rested.max())
        has_error, has_value = outcome.valid_QN[0], arrival.seen
        if longest_rest > STALE:
            has_error = has_error & (rested <= STALE)
        size, away = np.abs(error_N * outcome.scale_QN[0]), outcome.departure_N
        size = np.where(has_error & np.isfinite(size), size, np.float32(0.0))
        if judged is not None:
            size, has_error, away, has_value = self._gather_cells(
                slots, judged, (size, has_error, away, has_value)
            )
            has_error, has_value = has_error & judged, has_value & judged
        in_step = bool((number == number[0]).all())
        anew = rested > WINDOW if longest_rest > WINDOW else None
        if arrival.restarted is not None:
            anew = arrival.restarted if anew is None else anew | arrival.restarted
        at = int(number[0]) % WINDOW if in_step else number % WINDOW
        mean = self._mean_error(slots, here, at, size, has_error, anew)
        sides = ranks.look(here, slots, mean, away)
        of_error, of_value = ranks.surprise(sides)
        joined = join_surprises(of_error * has_error, of_value * has_value)
        ranks.learn(sides, has_error & awake, has_value & awake)
        if not in_step or (int(number[0]) + 1) % REFRESH == 0:
            is_due = (number + 1) & (REFRESH - 1) == 0
            due = np.flatnonzero(is_due if judged is None else is_due & judged)
            if due.size:
                ranks.refresh(here if due.size == slots.size else slots[due])
        return joined.astype(np.float64)

    def _find_young(self, arrival: Arrival, number: Ints, per: Ints | None) -> Floats | None:
        """`[N]` by how much the cut is higher for series that have been judged so few times; None: by
        nothing."""
        fewest = number.min()
        if fewest >= max(SEASONS * LONGEST_SEASON, YOUNG):
            return None
        steps = arrival.place.season_steps
        season = SEASONS * np.minimum(steps if per is None else steps / per, LONGEST_SEASON)
        young: Floats = np.maximum(UNTRIED - number * (UNTRIED / season), 0.0)
        if fewest < YOUNG:
            young = np.maximum(young, np.log(np.maximum(YOUNG / (number + 1.0), 1.0)))
        return young

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

    def _mean_error(
        self, slots: Ints, here: slice | Ints, at: int | Ints, size: Singles, counts: Bools,
        anew: Bools | None,
    ) -> Singles:  # fmt: skip
        """`[N]` over the last WINDOW judged steps; those that are missing since a restart count as 0. at: of
        this step in the window; anew: which begin it again."""
        errors = self.fields["errors"]
        if anew is not None:
            errors[:, slots[anew]] = 0.0
        place = (at, here) if isinstance(at, int) else (at, slots)
        errors[place] = np.where(counts, size, errors[place])
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
