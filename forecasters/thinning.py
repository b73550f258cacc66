"""Learning thinned where readings come faster than networks are to learn: a rule of the log, not of load.

An allowance of readings grows by ``max_rate`` a second of the shard clock and is spent at ticks, by the
origins of the chunks that are trained. What is over waits for the next tick, and those that have waited
longest go first; a chunk that still waits when its series has completed another is left out for good. Both
the clock and the ticks are places of the log, so a replay thins alike, however fast it runs and however it is
cut.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from forecasters.rows import TILE

Ints = npt.NDArray[np.int64]

BURST_S = 60.0
"""Seconds whose allowance is kept: sensors that all report at the top of a minute are not thinned for it."""
NO_CLOCK = -(2**63)


class Thinning:
    """Which of the chunks that are due are trained at a tick."""

    def __init__(self, max_rate: float, chunk: int) -> None:
        """max_rate: readings a second of the shard clock. Raises ValueError if it is not above 0."""
        if not 0 < max_rate < float("inf"):
            raise ValueError(f"max_rate: expected a number of readings above 0, got {max_rate}")
        self.max_rate, self.chunk = max_rate, chunk
        # at least enough for one step of learning, which takes a tile of chunks
        self._most = max(max_rate * BURST_S, float(TILE * chunk))
        self._allowance = self._most
        self.clock_ms = NO_CLOCK
        self._refilled_ms = NO_CLOCK
        self._is_short = False
        self._left_out = self._overtaken = 0  # readings: of series trained since, of those that wait

    def hear(self, clock_ms: int) -> None:
        """How far the shard clock is at the readings that come next."""
        self.clock_ms = max(self.clock_ms, clock_ms)

    @property
    def thinned(self) -> int:
        """Readings so far whose chunks were overtaken while they waited."""
        return self._left_out + self._overtaken

    def choose(self, due: Ints, waited: Ints) -> Ints:
        """Those of the due slots, in their order, that are trained now. To be asked once a tick.

        waited: how many chunks each of them has completed since it was trained. None are trained where there
        is no allowance for a whole tile of them: steps on few series do harm.
        """
        if self._refilled_ms != NO_CLOCK:
            seconds = (self.clock_ms - self._refilled_ms) / 1000.0
            self._allowance = min(self._allowance + seconds * self.max_rate, self._most)
        self._refilled_ms = self.clock_ms
        most = int(self._allowance // self.chunk)
        if most >= due.size:
            chosen = np.arange(due.size)
        elif most >= TILE:
            chosen = np.sort(np.argsort(-waited, kind="stable")[:most])
        else:
            chosen = np.arange(0)
        self._allowance -= chosen.size * self.chunk
        if due.size:
            overtaken = int((waited[chosen] - 1).sum()) * self.chunk
            self._left_out += overtaken if self._is_short else 0
            self._is_short = chosen.size < due.size
            self._overtaken = int((waited - 1).sum()) * self.chunk - overtaken if self._is_short else 0
        return due[chosen]

    def save(self) -> dict[str, torch.Tensor]:
        numbers = (self.clock_ms, self._refilled_ms, int(self._is_short), self._left_out, self._overtaken)
        return {
            "thinning.allowance": torch.tensor(self._allowance, dtype=torch.float64),
            "thinning.counts": torch.tensor(numbers),
        }

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """What an earlier run without thinning did not save begins anew."""
        if "thinning.counts" not in state:
            return
        self._allowance = min(float(state["thinning.allowance"]), self._most)
        counts = state["thinning.counts"].tolist()
        self.clock_ms, self._refilled_ms, is_short, self._left_out, self._overtaken = counts
        self._is_short = bool(is_short)
