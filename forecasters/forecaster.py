"""What every forecaster promises: `forecast` reads, `observe` and `learn` write.

Letters: R rows, H horizon.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch

from forecasters.chunks import Batch
from forecasters.fields import Fields
from forecasters.memory import Held, Wave
from forecasters.timetable import Arrival

Tensor = torch.Tensor


class Forecaster:
    """A named model that forecasts all steps of many series, in units of each series' scale.

    `fields` is its state per series. A forecast is a departure from the last value; zero is the naive one.
    """

    fields: Fields
    parameters: int = 0
    """Shared weights, 0 where there are none."""

    def reset(self, rows: Tensor) -> None:
        """A fresh start for the slots `rows`."""
        self.fields.reset(rows)

    def form(self, a: Arrival) -> Hashable | None:
        """What decides, beside `Memory.form`, which operations this reading takes; None: they are a matter of
        it alone."""
        return ()

    def observe(self, wave: Wave) -> None:
        """Learn what one reading per series says, series by series; shared weights stay as they are. Changes
        nothing on the host."""

    def note(self, a: Arrival) -> None:
        """What of that is kept on the host, afterwards."""

    def catch_up(self, slots: npt.NDArray[np.int64]) -> None:
        """Learn what was put off of these series: what comes next is no step like others."""

    def hold(self, held: Held) -> None:
        """Pass over steps without a reading, of which no forecast is asked for."""

    def forecast(self, wave: Wave) -> Tensor:
        """Departures `[H, R]` from the last value. Changes nothing."""
        raise NotImplementedError

    def learn(self, batch: Batch) -> None:
        """One step of the shared weights, at a tick. Changes nothing on the host."""

    def tick(self, live: int) -> None:
        """The end of a tick; live: series with a reading."""

    def rebuild(self, rows: Tensor, steps: Tensor) -> None:
        """After a gap, make the state of `rows` anew from what is remembered; `steps`: their last steps."""

    def save(self) -> Iterator[tuple[str, Tensor]]:
        """What is shared by all series."""
        return iter(())

    def load(self, state: Mapping[str, Tensor]) -> None:
        """The reverse of `save`. Raises KeyError or ValueError where it does not fit."""
