"""An anomaly score per reading: how rare are its last errors, and its own value, for this series.

Two ranks within the series' long memory are joined: that of the mean of the last WINDOW one-step errors of
the champion, and that of the value's deviation from its long-running level. Both are kept in the series'
units and not in those of its scale: a scale that grows with the trouble would hide it. The joined surprise is
divided by the cut, which is steered to a budget of episodes (`budget.py`); 1.0 pages. Readings that come
faster than `grid_ms` are judged together.

The bank's device does the ranks; what is rare, and decisions, are host work.

Letters: R rows of a wave (padded), N rows as given, K rows worth a closer look, E forecasters, Q scored
steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from forecasters.budget import Budget, Cut
from forecasters.champion import Champion
from forecasters.episodes import BEGINS, CAPPED, NOTE, PAGES, RESTS, EpisodeOptions, Episodes
from forecasters.fields import Field, Fields
from forecasters.memory import Memory, Wave
from forecasters.ranks import ABOVE, BELOW, REFRESH, Ranks
from forecasters.rows import TILE, padded

Tensor = torch.Tensor
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

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
    not as part of its hold. event, sticks: see `episodes`. Where score ≥ 0.5: expected, lower and upper are
    the forecast that the reading contradicts most, in the series' units; NaN elsewhere.
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


def join_surprises(of_error: Tensor, of_value: Tensor) -> Tensor:
    """-ln P(w A + B ≥ w a + b) of two surprises a and b, w being ERROR_WEIGHT, were A and B independent and
    each the -ln of a uniform number: a sum of two exponential ones (hypoexponential)."""
    total = of_error * ERROR_WEIGHT + of_value
    smaller = torch.exp(total * (1.0 - 1.0 / ERROR_WEIGHT)) * ERROR_WEIGHT
    return total - torch.log((1.0 - smaller) / (1.0 - ERROR_WEIGHT))


class Anomaly:
    """Ranks, cut and episodes of one shard. Depends on the log alone, not on how it is cut into waves."""

    def __init__(self, names: Sequence[str], memory: Memory, options: AlertOptions):
        """Raises ValueError where the champion is none of the names."""
        self.options = options
        self.champion = Champion(names, options.champion, memory.device)
        self._memory, self._device = memory, memory.device
        self.ranks = Ranks(memory.device)
        # within a cell of the grid: sums of |error| and of the deviation, each with its number
        self.fields = Fields(
            {"errors": Field((WINDOW,), apart=True), "cell": Field((4,), apart=True)}, memory.device
        )
        self.episodes = Episodes(EpisodeOptions(options.hold, options.per_hour))
        self.cut = Cut(Budget(options.episodes_per_day, options.per_series))

    def parts(self) -> dict[str, Fields | Episodes]:
        """Per-series state, by name."""
        parts: dict[str, Fields | Episodes] = {
            "ranks": self.ranks.fields,
            "window": self.fields,
            "episodes": self.episodes,
        }
        return parts if self.champion.at is not None else {**parts, "champion": self.champion.fields}

    # -- one wave ----------------------------------------------------------------------------------------

    def observe(
        self, wave: Wave, time_ms: Ints, values: Floats, error_EQR: Tensor, half_EQR: Tensor, valid_QR: Tensor
    ) -> Alarms:
        """Judge a wave. error, half: in units of the scale at issue; valid: where there was a forecast."""
        arrival, episodes = wave.arrival, self.episodes
        slots, seen, season_steps = arrival.slots, arrival.seen, arrival.place.season_steps
        error_QR, half_QR = (self.champion.pick(of, wave.rows) for of in (error_EQR, half_EQR))
        cadence_ms = self._memory.timetable["cadence_ms"][slots]
        per = np.ones_like(cadence_ms)
        if cadence_ms.min() <= self.options.grid_ms // 2:
            per = np.maximum(self.options.grid_ms // cadence_ms, 1)
        cell, number = (arrival.step + 1) // per, episodes["judged"][slots]
        judged = cell > episodes["cell"][slots]
        episodes["cell"][slots], episodes["judged"][slots] = cell, number + judged
        awake = episodes["run"][slots] < RESTS
        rested = arrival.step - episodes["seen"][slots]
        episodes["seen"][slots] = np.where(seen, arrival.step, episodes["seen"][slots])
        joined, moved, valid = self._rank(wave, error_QR, valid_QR, per, number, judged, awake, rested)
        stuck_ms = episodes["run_ms"][slots]
        sticks = episodes.rest(slots, time_ms, valid, moved, arrival.good, season_steps)

        judged &= seen
        habit = episodes.habit(slots, time_ms)
        season = SEASONS * np.minimum(season_steps / per, LONGEST_SEASON)
        untried = UNTRIED * np.maximum(1.0 - number / season, 0.0)
        young = np.maximum(untried, np.log(np.maximum(YOUNG / (number + 1.0), 1.0)))
        score = np.where(judged, joined / (self.cut.value + habit + young), 0.0)
        warm = (arrival.good >= WARM) & (number >= WARM) & (episodes["moves"][slots] >= FEWEST_MOVES)
        score = np.where(warm, score, np.minimum(score, CAPPED))
        told = np.full((5, slots.size), np.nan)  # expected, lower, upper, level, band
        near = np.flatnonzero(score >= NOTE)
        if near.size:
            closer = self._look_closer(wave, near, error_QR, half_QR, valid_QR)
            told[:, near], sides = closer[:-1], closer[-1]
            allowed = episodes.allows(slots[near], values[near] - told[0, near], told[0, near], sides)
            score[near] = np.where(allowed, score[near], CAPPED)
        event = np.zeros(slots.size, np.int64)
        rows = np.flatnonzero(judged)
        if rows.size:
            event[rows] = episodes.judge(
                slots[rows], time_ms[rows], score[rows], values[rows], told[3, rows], told[4, rows]
            )
            stands_ms = per[rows] * cadence_ms[rows]
            exposed_ms = int(stands_ms[young[rows] == 0.0].sum())
            self.cut.count(rows.size, int(stands_ms.sum()), exposed_ms, int((event == BEGINS).sum()))
        return Alarms(
            score=np.where(judged, score, np.nan).astype(np.float32),
            exceeds=(score >= 1.0) & (episodes["state"][slots] == PAGES),
            event=event, sticks=sticks, expected=told[0], lower=told[1], upper=told[2],
            began_ms=episodes["began_ms"][slots], last_ms=episodes["last_ms"][slots],
            peak=episodes["peak"][slots], rests_ms=episodes["run_ms"][slots],
            champion=self._find_champions(wave),
            stuck_ms=stuck_ms,
        )  # fmt: skip

    def _rank(
        self, wave: Wave, error_QR: Tensor, valid_QR: Tensor, per: Ints, number: Ints, judged: Bools,
        awake: Bools, rested: Ints,
    ) -> tuple[Floats, Bools, Bools]:  # fmt: skip
        """(joined surprise, whether the value changed, whether there was one to compare it with) `[N]`."""
        rows, ranks = wave.rows.index, self.ranks
        scale = self._memory.rings["level"].view(-1, 2).index_select(0, wave.past_QR[0])[:, 1]
        judged_R, awake_R, recent_R, has_value = self._send(
            np.bool_, judged, awake, rested <= STALE, wave.arrival.seen
        )
        (at_R,) = self._send(np.int64, number % WINDOW)
        has_error, away = valid_QR[0] & recent_R, wave.departure
        size = error_QR[0].mul(scale).abs_()
        size = torch.where(has_error, size.nan_to_num_(nan=0.0, posinf=0.0), 0.0)
        if (per > 1).any():
            size, has_error, away, has_value = self._gather_cells(
                rows, judged_R, (size, has_error, away, has_value)
            )
        counts_error, counts_value = has_error & judged_R, has_value & judged_R
        mean = self._mean_error(wave, at_R, size, counts_error, rested)
        sides = ranks.look(rows, mean, away)
        of_error, of_value = ranks.surprise(sides).view(2, -1).unbind(0)
        joined = join_surprises(of_error.mul_(counts_error), of_value.mul_(counts_value))
        ranks.learn(sides, counts_error & awake_R, counts_value & awake_R)
        due = np.flatnonzero(judged & (number % REFRESH == REFRESH - 1))
        if due.size:
            some = torch.from_numpy(wave.arrival.slots[due]).to(self._device)
            ranks.refresh(padded(some, self.fields.capacity))
        # the host waits here, once a wave
        known = wave.valid_QR[0].float()
        told = torch.stack([joined, known.add_(known * (wave.dep_QR[0] != 0))])
        host = told[:, : wave.rows.num].cpu().numpy()
        return host[0].astype(np.float64), host[1] > 1, host[1] > 0

    def _gather_cells(
        self, rows: Tensor, judged: Tensor, columns: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Means over the cells of the grid that end with these readings; cells that go on take them in."""
        size, has_error, away, has_value = columns
        new = [size, has_error.float(), torch.where(has_value, away, 0.0), has_value.float()]
        cell = self.fields["cell"].index_select(0, rows) + torch.stack(new, 1)
        self.fields["cell"].index_copy_(0, rows, torch.where(judged[:, None], 0.0, cell))
        errors, values = cell[:, 1], cell[:, 3]
        means = cell[:, 0] / errors.clamp(min=1.0), cell[:, 2] / values.clamp(min=1.0)
        return means[0], errors > 0, means[1], values > 0

    def _mean_error(self, wave: Wave, at: Tensor, size: Tensor, counts: Tensor, rested: Ints) -> Tensor:
        """`[R]` over the last WINDOW judged steps; those that are missing since a restart count as 0."""
        rows, errors = wave.rows.index, self.fields["errors"]
        anew = rested > WINDOW
        if wave.arrival.restarted is not None:
            anew |= wave.arrival.restarted
        if anew.any():
            errors[torch.from_numpy(wave.arrival.slots[anew]).to(self._device)] = 0.0
        places, flat = rows * WINDOW + at, errors.view(-1)
        flat.index_copy_(0, places, torch.where(counts, size, flat.index_select(0, places)))
        columns = errors.index_select(0, rows).t().contiguous()
        total = columns[0]
        for column in columns[1:].unbind(0):
            total.add_(column)  # a sum over rows rounds by their number
        return total.div_(WINDOW)

    def _look_closer(
        self, wave: Wave, near: Ints, error_QR: Tensor, half_QR: Tensor, valid_QR: Tensor
    ) -> Floats:
        """`[6, K]` expected, lower, upper: of the forecast that the value contradicts most; level, band; on
        which side of the oldest forecast it lies, 0 within its interval."""
        at = torch.from_numpy(near).to(self._device)
        rows = wave.rows.index[at]
        error, half, valid = (t.index_select(1, at).t() for t in (error_QR, half_QR, valid_QR))
        contradiction = torch.where(valid, error.abs() / half.clamp(min=1e-6), -1.0)
        most, step = contradiction.max(1)
        scale = self._memory.rings["level"].view(-1, 2)[wave.past_QR[step, at], 1].double()
        base, away = wave.base[at], wave.departure[at].double()
        pick = (torch.arange(at.numel(), device=self._device), step)
        said = most >= 0
        expected = torch.where(said, base - error[pick].double() * scale, base - away)
        width = torch.where(said, half[pick].double() * scale, float("nan"))
        band = self.ranks.tail_start(rows, torch.where(away >= 0, ABOVE, BELOW)).double()
        # the newest forecasts may have been made from what was wrong
        oldest = valid.long().cumsum(1).argmax(1)
        old = (pick[0], oldest)
        side = torch.where(error[old].abs() > half[old], error[old].sign(), 0.0)
        side = torch.where(said, side, away.sign().float()).double()
        told = torch.stack([expected, expected - width, expected + width, base - away, band, side])
        host: Floats = told.cpu().numpy()
        return host

    def _send(self, dtype: type[np.generic], *columns: npt.NDArray[np.generic]) -> tuple[Tensor, ...]:
        """Host columns `[N]` to the device in one go, filled up to whole tiles with 0."""
        num = columns[0].size
        block = np.zeros((len(columns), num + -num % TILE), dtype)
        for row, column in zip(block, columns, strict=True):
            row[:num] = column
        return torch.from_numpy(block).to(self._device).unbind(0)

    def _find_champions(self, wave: Wave) -> Ints:
        num, at = wave.rows.num, self.champion.at
        if at is not None:
            return np.full(num, at, np.int64)
        places: Ints = self.champion.places(wave.rows.index[:num]).cpu().numpy()
        return places

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
