"""Mean losses of a shard by time bucket, whatever the order in which readings came.

Letters: S slots, N rows of a wave, E forecasters, Q scored steps, O open buckets.

Sensors of a plant share their shocks, so at one time they are one piece of evidence and not a thousand: a
bucket is one grid time, `event_time_ms // bucket_ms`, and yields one mean over the shard's series.

A bucket's sums must not depend on how the log was cut into waves. So losses are rounded to whole numbers of
2^-20 and summed as float64 integers, which is exact in any order, and buckets are closed at ticks only,
where the set of readings before them is fixed by the log. A bucket is closed when every series that is waited
for has a reading of a later one, or nine in ten have one that is GRACE later. What comes for a closed bucket,
or too far ahead of the oldest open one, is left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

Tensor = torch.Tensor
Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

OPEN = 512
"""Open buckets: how far, in buckets, one series may run ahead of the others, as it does where a message
carries hundreds of readings of one series."""
QUORUM = 0.9
"""Share of the series that must have passed a bucket to close it, and whose cadence a bucket spans. The rest
may be slower, silent, or have wrong clocks."""
GRACE = 64
"""Buckets that the last tenth of the series may lag behind: messages of up to so many readings of one series
lose nothing, and a series that falls silent holds the others up for so long."""
LOOKS = 4
"""Looks for closed buckets in the time that brings as many readings as there are series."""
UNIT = float(2**20)
"""Losses are whole numbers of 1 / UNIT. Losses up to 8 are then exact in float32, and sums of 10^9 of them in
float64."""
NEVER = np.iinfo(np.int64).min // 2

_COUNTS = ("bucket_ms", "closed_through", "late", "ahead", "_since_look", "_look")
_COLUMNS = ("cadence_ms", "_time_ms", "_seen")


@dataclass(frozen=True, slots=True)
class Closed:
    """Buckets closed at one tick, oldest first: sums of losses in 1 / UNIT, and of weights of readings."""

    number: Ints
    loss_BEQ: Floats
    weight_BQ: Floats

    @staticmethod
    def means(parts: Sequence[Closed]) -> Floats:
        """Mean losses by step and forecaster `[B, Q, E]`, NaN at a step without a target."""
        loss = np.concatenate([part.loss_BEQ for part in parts]) / UNIT
        weight = np.concatenate([part.weight_BQ for part in parts])
        mean = loss / np.where(weight > 0, weight, np.nan)[:, None, :]
        return np.ascontiguousarray(mean.transpose(0, 2, 1))


@dataclass(frozen=True, slots=True)
class Sums:
    """Over readings: of losses, in 1 / UNIT, and how many there are."""

    loss_EQ: Floats
    count_Q: Ints | Floats

    @classmethod
    def of(cls, loss_EQN: Singles, counted_QN: Bools | None) -> Sums:
        """counted: where there is a loss; None: everywhere."""
        _, num_q, num = loss_EQN.shape
        count = np.full(num_q, num) if counted_QN is None else counted_QN.sum(-1)
        return cls(np.add.reduce(loss_EQN, -1, dtype=np.float64), count)


class Buckets:
    """Open buckets of one shard. `bucket_ms` is 0 until the first tick has shown the cadences."""

    def __init__(self, num_forecasters: int, num_steps: int) -> None:
        self.bucket_ms = 0
        self.closed_through = NEVER
        self.late = 0
        self.ahead = 0
        self._since_look = 0
        self._look = 0
        self._sum = np.zeros((OPEN, num_forecasters, num_steps))
        self._weight = np.zeros((OPEN, num_steps))
        self._touched = np.zeros(OPEN, bool)
        self.cadence_ms = np.zeros(0, np.int64)  # [S], 0 where there is no series
        self._time_ms = np.zeros(0, np.int64)  # [S], of the last reading
        self._seen = np.zeros(0, np.int64)  # [S], the look after which it came
        # from the cadences, anew where a series comes or goes: who there is, how many, what length they want
        self._known: Bools | None = None
        self._num_known = self._wanted = self._fastest_ms = 0
        self._are_first = False  # whether the slots without a series are the last ones
        self._is_even = False  # whether no series is faster than the buckets

    def add(self, slots: Ints, cadence_ms: Ints) -> None:
        """Series with their cadences; a slot may be taken anew."""
        more = int(slots.max(initial=-1)) + 1 - self.cadence_ms.size
        if more > 0:
            more = max(more, self.cadence_ms.size)
            self.cadence_ms = np.concatenate([self.cadence_ms, np.zeros(more, np.int64)])
            self._time_ms = np.concatenate([self._time_ms, np.full(more, NEVER)])
            self._seen = np.concatenate([self._seen, np.full(more, NEVER)])
        self.cadence_ms[slots] = cadence_ms
        self._known, self._is_even = None, False
        self._time_ms[slots] = self._seen[slots] = NEVER

    def remove(self, slots: Ints) -> None:
        self.cadence_ms[slots] = 0
        self._known, self._is_even = None, False
        self._time_ms[slots] = self._seen[slots] = NEVER

    def observe(self, slots: Ints, time_ms: Ints, loss_EQN: Singles, counted_QN: Bools, sums: Sums) -> None:
        """Add the losses (whole numbers of 1 / UNIT, zero where not counted) of readings, each of another
        series and of a later time than that series' last; sums: over all of them."""
        self._time_ms[slots] = time_ms
        self._seen[slots] = self._look
        self._since_look += slots.size
        if self.closed_through == NEVER:
            return
        first = int(time_ms.min()) // self.bucket_ms
        if self._is_even and int(time_ms.max()) // self.bucket_ms == first:
            self._put(first, slots.size, sums)
            return
        # a faster series has several readings in a bucket, which together count as one
        weight = np.minimum(self.cadence_ms[slots] / self.bucket_ms, 1.0)
        is_even, bucket = weight.min() == 1.0, time_ms // self.bucket_ms
        for number in np.unique(bucket).tolist():
            rows = bucket == number
            loss, counted = loss_EQN[..., rows], counted_QN[:, rows]
            if is_even:
                part = Sums.of(loss, counted)
            else:
                # rounded again, so that these sums are exact too: in 1 / UNIT of a loss and of a reading
                some = weight[rows]
                count = (np.rint(some * UNIT) * counted).sum(-1) / UNIT
                part = Sums(np.rint(loss * some).sum(-1), count)
            self._put(number, int(rows.sum()), part)

    def _put(self, number: int, readings: int, sums: Sums) -> None:
        if number <= self.closed_through:
            self.late += readings
            return
        if number > self.closed_through + OPEN:
            self.ahead += readings
            return
        at = number % OPEN
        self._sum[at] += sums.loss_EQ
        self._weight[at] += sums.count_Q
        self._touched[at] = True

    def close(self) -> tuple[Closed | None, bool]:
        """At a tick: what can be closed, and whether the bucket length has changed, which starts all anew."""
        if self._known is None:
            self._known = self.cadence_ms > 0
            cadence_ms = self.cadence_ms[self._known]
            self._num_known, self._wanted = cadence_ms.size, 0
            self._are_first = bool(self._known[: self._num_known].all())
            if self._num_known:
                self._wanted, self._fastest_ms = _quantile(cadence_ms, QUORUM), int(cadence_ms.min())
        if self._since_look < max(1, self._num_known // LOOKS):
            return None, False
        self._since_look = 0
        self._look += 1
        changed = self._renew_length(self._wanted)
        self._is_even = self._fastest_ms >= self.bucket_ms
        if not self.bucket_ms:
            return None, changed
        times = self._find_times()
        if not times.size:
            return None, changed
        if times.min() == times.max():  # as where all are in step
            through = reached = int(times[0]) // self.bucket_ms
            through -= 1
        else:
            reached, through = self._find_through(times // self.bucket_ms)
        if self.closed_through == NEVER:
            # the first bucket summed is the next one: parts of the earlier ones have gone by
            self.closed_through = reached
            return None, changed
        if through <= self.closed_through:
            return None, changed
        span = range(self.closed_through + 1, min(through, self.closed_through + OPEN) + 1)
        self.closed_through = through
        return self._take([n for n in span if self._touched[n % OPEN]]), changed

    def _find_times(self) -> Ints:
        """Of the last readings of all series but those for long silent."""
        assert self._known is not None
        heard = self._look - LOOKS * OPEN
        if self._are_first and self._seen[: self._num_known].min(initial=heard) >= heard:
            return self._time_ms[: self._num_known]
        times: Ints = self._time_ms[self._known & (self._seen >= heard)]
        return times

    @staticmethod
    def _find_through(reached: Ints) -> tuple[int, int]:
        """(the bucket that nine in ten series have reached, the last one that can be closed)."""
        # a series that fell silent is waited for until the others are as far ahead as buckets stay open
        waited_for = reached[reached > _quantile(reached, 0.5) - OPEN]
        through = max(int(waited_for.min()), _quantile(waited_for, 1.0 - QUORUM) - GRACE) - 1
        return _quantile(reached, QUORUM), through

    def _take(self, numbers: list[int]) -> Closed | None:
        if not numbers:
            return None
        places = [number % OPEN for number in numbers]
        at = places if len(numbers) > 1 else slice(places[0], places[0] + 1)
        closed = Closed(np.array(numbers), self._sum[at].copy(), self._weight[at].copy())
        self._sum[at] = self._weight[at] = 0.0
        self._touched[at] = False
        return closed

    def _renew_length(self, length: int) -> bool:
        """The bucket length is the cadence that nine in ten series keep; True where it has changed for good.

        A half more or less is no change: series with a few odd cadences come and go.
        """
        if not length:
            return False
        if 2 * self.bucket_ms <= 3 * length and 2 * length <= 3 * self.bucket_ms:
            return False
        changed = self.bucket_ms != 0
        self.bucket_ms = length
        self.closed_through = NEVER
        self._sum[...] = 0.0
        self._weight[...] = 0.0
        self._touched[:] = False
        return changed

    def save(self, num_slots: int) -> Iterator[tuple[str, Tensor]]:
        """Open buckets that hold something, and where each series stands."""
        at = np.flatnonzero(self._touched)
        yield "open_at", torch.from_numpy(at)
        yield "open_sum", torch.from_numpy(self._sum[at])
        yield "open_weight", torch.from_numpy(self._weight[at])
        counts = [getattr(self, name) for name in _COUNTS]
        yield "bucket_counts", torch.tensor(counts)
        for name in _COLUMNS:
            yield name.lstrip("_"), torch.from_numpy(getattr(self, name)[:num_slots].copy())

    def load(self, state: Mapping[str, Tensor]) -> None:
        num_slots = state["cadence_ms"].numel()
        self.add(np.arange(num_slots), state["cadence_ms"].numpy())
        for name in _COLUMNS:
            getattr(self, name)[:num_slots] = state[name.lstrip("_")].numpy()
        self._known, self._is_even = None, False
        for name, value in zip(_COUNTS, state["bucket_counts"].tolist(), strict=True):
            setattr(self, name, value)
        at = state["open_at"].numpy()
        self._sum[...] = 0.0
        self._weight[...] = 0.0
        self._sum[at] = state["open_sum"].numpy()
        self._weight[at] = state["open_weight"].numpy()
        self._touched[:] = False
        self._touched[at] = True


def _quantile(values: Ints, share: float) -> int:
    """The value that this share of the values does not exceed, one of them."""
    at = int(share * (values.size - 1))
    return int(np.partition(values, at)[at])
