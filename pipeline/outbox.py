"""Forecasts of waves on their way to the emitter, sent for a few waves in a row.

What runs once in a wave finds neither its code nor its data in the processor's caches any more, and takes
half as long again; and the broker gets one request for all of them.
"""

from __future__ import annotations

from forecasters import Result
from pipeline.engine.shard import SteppedWave
from pipeline.issued import Selection
from pipeline.ports import Emitter

MOST_WAVES = 4
"""Forecasts wait for three more waves at most, and only while readings of those waves are there already."""


class Outbox:
    """Call `send` when a batch ends, and before anything is waited for. Not thread-safe."""

    def __init__(self, emitter: Emitter, selection: Selection) -> None:
        self._emitter, self._selection = emitter, selection
        self._waiting: list[SteppedWave[Result]] = []

    def add(self, stepped: SteppedWave[Result]) -> None:
        """Sends all that wait, where they are enough. Raises what the emitter raises."""
        self._waiting.append(stepped)
        if len(self._waiting) >= MOST_WAVES:
            self.send()

    def send(self) -> None:
        """All that wait, in their order. Raises what the emitter raises."""
        waiting, self._waiting = self._waiting, []
        for forecasts in [self._selection.take(stepped) for stepped in waiting]:
            self._emitter.forecasts(forecasts)
