"""The life of a series: cold, warming, live, stale, retired.

Columns are [S] by place in the series table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch

from pipeline.engine.columns import Columns
from pipeline.engine.intake import Intake
from pipeline.engine.options import LifeOptions
from pipeline.engine.rows import Steps
from pipeline.records import BoolArray, Int64Array

STATES = ("cold", "warming", "live", "stale", "retired")
HOUR_MS = 3_600_000
"""Retirement is decided where the shard clock crosses a whole hour: a place of the log, not of a batch."""


class Lives:
    """How many readings each series has learnt from, and when it was last heard of.

    Cold: none accepted yet, its cadence may be unknown. Warming: some, fewer than `warm_readings`. Live: as
    many. Stale: live before, silent now. Retired: forgotten after a long silence.
    """

    def __init__(self, options: LifeOptions, intake: Intake) -> None:
        self.options = options
        self.num_retired = 0
        self._intake = intake
        self._columns = Columns({"accepted": 0, "heard_ms": 0})

    def _extend(self) -> Columns:
        self._columns.extend(self._intake.table.size)
        return self._columns

    @property
    def accepted(self) -> Int64Array:
        """[S] readings that the forecasters have learnt from."""
        return self._extend()["accepted"]

    @property
    def heard_ms(self) -> Int64Array:
        """[S] the shard clock at the last reading that was not rejected."""
        return self._extend()["heard_ms"]

    @property
    def is_warm(self) -> BoolArray:
        """[S] whether a series is live or stale."""
        warm: BoolArray = self.accepted >= self.options.warm_readings
        return warm

    def hear(self, series: Int64Array, clock_ms: Int64Array) -> None:
        """Take note of readings that were not rejected, of whatever other fate."""
        np.maximum.at(self.heard_ms, series, clock_ms)

    def learn(self, steps: Steps) -> None:
        """Take note of what the bank has stepped through."""
        accepted = self.accepted
        accepted += np.bincount(steps.series[~steps.masked], minlength=accepted.size)

    def find_retired(self, clock_ms: int) -> list[int]:
        """Places of the series that are to be retired at this time of the shard clock."""
        if self.options.retire_after_ms is None:
            return []
        places = self._intake.table.places
        silent = clock_ms - self.heard_ms[places] > self.options.retire_after_ms
        retired: list[int] = places[silent].tolist()
        return retired

    def forget(self, places: list[int]) -> None:
        """Forget series that are retired."""
        self._extend().reset(np.array(places, np.int64))
        self.num_retired += len(places)

    def find_states(self, is_silent: BoolArray) -> npt.NDArray[np.int8]:
        """[S] place of each series' state in `STATES`; `is_silent` [S] makes live ones stale."""
        states = (self.accepted > 0).astype(np.int8)
        states[self.is_warm] = STATES.index("live")
        states[self.is_warm & is_silent] = STATES.index("stale")
        return states

    def count(self, is_silent: BoolArray) -> dict[str, int]:
        """Series by state. Retired are those of all time."""
        states = self.find_states(is_silent)[self._intake.table.places]
        numbers = np.bincount(states, minlength=len(STATES))
        numbers[STATES.index("retired")] = self.num_retired
        return dict(zip(STATES, numbers.tolist(), strict=True))

    def count_needed(self) -> dict[str, int]:
        """How many readings each cold or warming series still needs, by id."""
        table, accepted = self._intake.table, self.accepted
        needed = {}
        for place in table.places[~self.is_warm[table.places]].tolist():
            known = int(accepted[place]) + self._intake.count_held(place)
            needed[table.name(place)] = max(self.options.warm_readings - known, 1)
        return needed

    def save(self, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
        yield from self._extend().save(prefix)
        yield f"{prefix}.retired", torch.tensor([self.num_retired])

    def load(self, prefix: str, state: Mapping[str, torch.Tensor]) -> None:
        self._columns.load(prefix, state)
        (self.num_retired,) = state[f"{prefix}.retired"].tolist()
