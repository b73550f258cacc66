"""Tells of waves that were stepped: what became of earlier forecasts, the shown series, and the page.

Nobody waits for it as one does for forecasts, so it is done for several waves in a row: what runs once in a
wave finds neither its code nor its data in the processor's caches any more.
"""

from __future__ import annotations

from forecasters import Result
from forecasters.backlog import MOST_READINGS, MOST_WAVES
from pipeline.engine.observer import Observer
from pipeline.engine.shard import SteppedWave
from pipeline.issued import find_scores
from pipeline.live.view import LiveView
from pipeline.ports import Partition
from pipeline.records import Int64Array
from pipeline.showcase import Showcase


class WaveTeller:
    """Of one batch of one partition at a time; call `tell` at its end, and before anybody else looks at the
    shard or takes it away. Not thread-safe."""

    def __init__(self, observer: Observer, showcase: Showcase, view: LiveView | None) -> None:
        self._observer, self._showcase, self._view = observer, showcase, view
        self._waiting: list[tuple[Partition, SteppedWave[Result]]] = []
        self._readings = 0

    def add(self, partition: Partition, stepped: SteppedWave[Result]) -> None:
        """Tells of all that wait, where they are enough."""
        self._waiting.append((partition, stepped))
        self._readings += len(stepped.series)
        if len(self._waiting) >= MOST_WAVES or self._readings >= MOST_READINGS:
            self.tell()

    def tell(self) -> None:
        """Of all that wait, in their order. One kind after the other, not one wave after the other."""
        waiting, self._waiting, self._readings = self._waiting, [], 0
        for partition, stepped in waiting:
            self._observer.on_wave(*partition, find_scores(stepped.wave))
        shown = [(partition, self._showcase.take(partition, stepped)) for partition, stepped in waiting]
        for partition, find_shown in shown:
            if find_shown is not None:
                self._observer.on_shown(*partition, find_shown())
        if self._view is not None:
            for partition, stepped in waiting:
                self._view.see(partition, stepped)

    def tell_freed(self, partition: Partition, freed: Int64Array) -> None:
        """Slots of forgotten series: after the waves that had them, before one in which others have them."""
        if freed.size:
            self.tell()
            self._observer.on_series_left(*partition, freed)
            self._showcase.leave(partition, freed)
