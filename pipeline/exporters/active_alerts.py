"""Which paging episodes are shown: a bounded number, each for long enough to be scraped and routed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.exporters import catalogue
from pipeline.exporters.samples import Row
from pipeline.records import Alert, Float64Array

Shard = tuple[str, int]

MOST = 500
MOST_DETAILED = 100
"""So many have more than `alert_active`: whoever gets five hundred at once reads no details."""
SHOWN_AT_LEAST_S = 180.0
"""Some scrapes and evaluations, so that a short episode is not lost between two of them."""
ENDED_FOR_S = 60.0
"""Likewise for how it ended: whoever is told that it is over is told so from the last of these scrapes."""
NUMBERS = (
    (catalogue.ALERT_VALUE, "value"), (catalogue.ALERT_EXPECTED, "expected"),
    (catalogue.ALERT_LOWER, "lower"), (catalogue.ALERT_UPPER, "upper"),
    (catalogue.ALERT_SCORE, "score"), (catalogue.ALERT_LEARNED, "readings_learned"),
)  # fmt: skip
"""Metrics that an alert has as numbers, and its fields."""


@dataclass(slots=True, kw_only=True)
class _Episode:
    began: Alert
    shard: Shard
    shown_s: float  # monotonic, since when it is shown
    ended: Alert | None = None
    ended_s: float = 0.0  # monotonic, when its end was told

    @property
    def row(self) -> Row:
        """Label values of `alert_active`."""
        alert, labels = self.began, self.began.labels
        place = (labels.get(name, "") for name in ("site", "area", "owner"))
        return (*place, alert.severity, alert.series, alert.kind)

    def is_over(self, now_s: float) -> bool:
        """Whether it has ended, and that was shown for long enough."""
        if self.ended is None:
            return False
        return now_s - self.shown_s >= SHOWN_AT_LEAST_S and now_s - self.ended_s >= ENDED_FOR_S


class ActiveAlerts:
    """Episodes by series and kind, in the order in which they began. Not thread-safe."""

    def __init__(self) -> None:
        self._episodes: dict[tuple[str, str], _Episode] = {}

    def begin(self, shard: Shard, alert: Alert, now_s: float) -> tuple[bool, bool]:
        """(whether the episode is new, whether it is shown); there is room for `MOST`, see `prune`."""
        key = alert.series, alert.kind
        before = self._episodes.get(key)
        if before is not None and before.began.id == alert.id:
            return False, True
        if before is None and len(self._episodes) >= MOST:
            return True, False
        self._episodes[key] = _Episode(began=alert, shard=shard, shown_s=now_s)
        return True, True

    def end(self, alert: Alert, now_s: float) -> None:
        episode = self._episodes.get((alert.series, alert.kind))
        if episode is not None and episode.began.id == alert.id and episode.ended is None:
            episode.ended, episode.ended_s = alert, now_s

    def forget(self, shard: Shard) -> None:
        """The shard is another worker's, which shows its episodes from now on."""
        self._episodes = {key: e for key, e in self._episodes.items() if e.shard != shard}

    def prune(self, now_s: float) -> None:
        """Let go of what is over and was shown for long enough."""
        self._episodes = {key: e for key, e in self._episodes.items() if not e.is_over(now_s)}

    def rows(self, now_s: float) -> Iterator[tuple[catalogue.Metric, tuple[Row, ...], Float64Array]]:
        """Each metric with its rows and values `[R, 1]` now; a number that an alert lacks has no row."""
        self.prune(now_s)
        every = list(self._episodes.items())
        detailed = every[:MOST_DETAILED]
        yield _column(catalogue.ALERT_ACTIVE, [(episode.row, 1.0) for _, episode in every])
        info = [((*key, e.began.name, e.began.unit), 1.0) for key, e in detailed]
        yield _column(catalogue.ALERT_INFO, info)
        yield _column(catalogue.ALERT_STARTED, [(key, e.began.started / 1000) for key, e in detailed])
        ended = [
            ((*key, e.ended.resolution or ""), (e.ended.ended or e.ended.time) / 1000)
            for key, e in detailed
            if e.ended is not None
        ]
        yield _column(catalogue.ALERT_ENDED, ended)
        for metric, field in NUMBERS:
            found = [(key, getattr(e.began, field)) for key, e in detailed]
            yield _column(metric, [(key, float(value)) for key, value in found if value is not None])


def _column(
    metric: catalogue.Metric, found: Sequence[tuple[Row, float]]
) -> tuple[catalogue.Metric, tuple[Row, ...], Float64Array]:
    values = np.array([value for _, value in found], np.float64).reshape(-1, 1)
    return metric, tuple(row for row, _ in found), values
