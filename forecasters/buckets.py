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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

Tensor = torch.Tensor
Floats = npt.NDArray[np.float64]
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
    """Buckets closed at one tick, oldest first: mean loss by step and forecaster `[B, Q, E]`, NaN at a step
    without a target."""

    number: Ints
    loss_BQE: Floats


class Buckets:
    """Open buckets of one shard. `bucket_ms` is 0 until the first tick has shown the cadences."""

    def __init__(self, num_forecasters: int, num_steps: int, device: torch.device) -> None:
        self.device = device
        self.bucket_ms = 0
        self.closed_through = NEVER
        self.late = 0
        self.ahead = 0
        self._since_look = 0
        self._look = 0
        self._sum = torch.zeros(OPEN, num_forecasters, num_steps, dtype=torch.float64, device=device)
        self._weight = torch.zeros(OPEN, num_steps, dtype=torch.float64, device=device)
        self._touched = np.zeros(OPEN, bool)
        self.cadence_ms = np.zeros(0, np.int64)  # [S], 0 where there is no series
        self._time_ms = np.zeros(0, np.int64)  # [S], of the last reading
        self._seen = np.zeros(0, np.int64)  # [S], the look after which it came

    def add(self, slots: Ints, cadence_ms: Ints) -> None:
        """Series with their cadences; a slot may be taken anew."""
        more = int(slots.max(initial=-1)) + 1 - self.cadence_ms.size
        if more > 0:
            more = max(more, self.cadence_ms.size)
            self.cadence_ms = np.concatenate([self.cadence_ms, np.zeros(more, np.int64)])
            self._time_ms = np.concatenate([self._time_ms, np.full(more, NEVER)])
            self._seen = np.concatenate([self._seen, np.full(more, NEVER)])
        self.cadence_ms[slots] = cadence_ms
        self._time_ms[slots] = self._seen[slots] = NEVER

    def remove(self, slots: Ints) -> None:
        self.cadence_ms[slots] = 0
        self._time_ms[slots] = self._seen[slots] = NEVER

    def observe(self, slots: Ints, time_ms: Ints, loss_NEQ: Tensor, counted_NQ: Tensor) -> None:
        """Add the losses (whole numbers of 1 / UNIT, zero where not counted) of readings, each of another
        series and of a later time than that series' last."""
        self._time_ms[slots] = time_ms
        self._seen[slots] = self._look
        self._since_look += slots.size
        if self.closed_through == NEVER:
            return
        bucket = time_ms // self.bucket_ms
        first, last = int(bucket.min()), int(bucket.max())
        # a faster series has several readings in a bucket, which together count as one
        weight = np.minimum(self.cadence_ms[slots] / self.bucket_ms, 1.0)
        weight_N = None if weight.min() == 1.0 else torch.from_numpy(weight).to(self.device)
        if first == last:
            self._put(first, slots.size, loss_NEQ, counted_NQ, weight_N)
            return
        for number in np.unique(bucket):
            rows = torch.from_numpy(np.flatnonzero(bucket == number)).to(self.device)
            part = None if weight_N is None else weight_N[rows]
            self._put(int(number), rows.numel(), loss_NEQ[rows], counted_NQ[rows], part)

    def _put(
        self, number: int, readings: int, loss_NEQ: Tensor, counted_NQ: Tensor, weight_N: Tensor | None
    ) -> None:
        if number <= self.closed_through:
            self.late += readings
            return
        if number > self.closed_through + OPEN:
            self.ahead += readings
            return
        at = number % OPEN
        if weight_N is None:
            self._sum[at] += loss_NEQ.sum(0, dtype=torch.float64)
            self._weight[at] += counted_NQ.sum(0)
        else:
            # rounded again, so that these sums are exact too: in 1 / UNIT of a loss and of a reading
            loss = (loss_NEQ.double() * weight_N[:, None, None]).round()
            self._sum[at] += loss.sum(0)
            self._weight[at] += ((weight_N * UNIT).round()[:, None] * counted_NQ).sum(0) / UNIT
        self._touched[at] = True

    def close(self) -> tuple[Closed | None, bool]:
        """At a tick: what can be closed, and whether the bucket length has changed, which starts all anew."""
        known = self.cadence_ms > 0
        if self._since_look < max(1, int(known.sum()) // LOOKS):
            return None, False
        self._since_look = 0
        self._look += 1
        changed = self._renew_length(self.cadence_ms[known])
        if not self.bucket_ms:
            return None, changed
        reporting = known & (self._look - self._seen <= LOOKS * OPEN)  # not for long silent
        reached = self._time_ms[reporting] // self.bucket_ms
        if not reached.size:
            return None, changed
        if self.closed_through == NEVER:
            # the first bucket summed is the next one: parts of the earlier ones have gone by
            self.closed_through = _quantile(reached, QUORUM)
            return None, changed
        # a series that fell silent is waited for until the others are as far ahead as buckets stay open
        waited_for = reached[reached > _quantile(reached, 0.5) - OPEN]
        through = max(int(waited_for.min()), _quantile(waited_for, 1.0 - QUORUM) - GRACE) - 1
        if through <= self.closed_through:
            return None, changed
        span = range(self.closed_through + 1, min(through, self.closed_through + OPEN) + 1)
        self.closed_through = through
        return self._take([n for n in span if self._touched[n % OPEN]]), changed

    def _take(self, numbers: list[int]) -> Closed | None:
        if not numbers:
            return None
        at = np.array(numbers) % OPEN
        rows = torch.from_numpy(at).to(self.device)
        total = self._sum[rows].cpu().numpy() / UNIT
        weight = self._weight[rows].cpu().numpy()
        self._sum[rows] = 0.0
        self._weight[rows] = 0.0
        self._touched[at] = False
        mean = total / np.where(weight > 0, weight, np.nan)[:, None, :]
        return Closed(np.array(numbers), np.ascontiguousarray(mean.transpose(0, 2, 1)))

    def _renew_length(self, cadences: Ints) -> bool:
        """The bucket length is the cadence that nine in ten series keep; True where it has changed for good.

        A half more or less is no change: series with a few odd cadences come and go.
        """
        if not cadences.size:
            return False
        length = _quantile(cadences, QUORUM)
        if 2 * self.bucket_ms <= 3 * length and 2 * length <= 3 * self.bucket_ms:
            return False
        changed = self.bucket_ms != 0
        self.bucket_ms = length
        self.closed_through = NEVER
        self._sum.zero_()
        self._weight.zero_()
        self._touched[:] = False
        return changed

    def save(self, num_slots: int) -> Iterator[tuple[str, Tensor]]:
        """Open buckets that hold something, and where each series stands."""
        at = np.flatnonzero(self._touched)
        rows = torch.from_numpy(at).to(self.device)
        yield "open_at", torch.from_numpy(at)
        yield "open_sum", self._sum[rows].cpu()
        yield "open_weight", self._weight[rows].cpu()
        counts = [getattr(self, name) for name in _COUNTS]
        yield "bucket_counts", torch.tensor(counts)
        for name in _COLUMNS:
            yield name.lstrip("_"), torch.from_numpy(getattr(self, name)[:num_slots].copy())

    def load(self, state: Mapping[str, Tensor]) -> None:
        num_slots = state["cadence_ms"].numel()
        self.add(np.arange(num_slots), state["cadence_ms"].numpy())
        for name in _COLUMNS:
            getattr(self, name)[:num_slots] = state[name.lstrip("_")].numpy()
        for name, value in zip(_COUNTS, state["bucket_counts"].tolist(), strict=True):
            setattr(self, name, value)
        at = state["open_at"]
        self._sum.zero_()
        self._weight.zero_()
        self._sum[at.to(self.device)] = state["open_sum"].to(self.device)
        self._weight[at.to(self.device)] = state["open_weight"].to(self.device)
        self._touched[:] = False
        self._touched[at.numpy()] = True


def _quantile(values: Ints, share: float) -> int:
    """The value that this share of the values does not exceed, one of them."""
    at = int(share * (values.size - 1))
    return int(np.partition(values, at)[at])
