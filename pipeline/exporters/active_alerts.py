"""Which paging episodes are shown: a bounded number, each for long enough to be scraped and routed."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.exporters.samples import Row
from pipeline.records import Alert

Shard = tuple[str, int]

MOST = 500
SHOWN_AT_LEAST_S = 180.0
"""Some scrapes and evaluations, so that a short episode is not lost between two of them."""
ENDED_FOR_S = 60.0
"""Likewise for how it ended: whoever is told that it is over is told so from the last of these scrapes."""


@dataclass(slots=True, kw_only=True)
class Episode:
    """One paging episode: label values of `alert_active`, and when it began and ended."""

    id: str
    row: Row
    shard: Shard
    series: str
    kind: str
    shown_s: float  # monotonic, since when it is shown
    started_ms: int
    ended_s: float | None = None  # monotonic, when its end was told
    ended_ms: int = 0
    resolution: str = ""

    def is_over(self, now_s: float) -> bool:
        """Whether it has ended, and that was shown for long enough."""
        if self.ended_s is None:
            return False
        return now_s - self.shown_s >= SHOWN_AT_LEAST_S and now_s - self.ended_s >= ENDED_FOR_S


class ActiveAlerts:
    """Episodes by series and kind, in the order in which they began. Not thread-safe."""

    def __init__(self) -> None:
        self._episodes: dict[tuple[str, str], Episode] = {}

    def begin(self, shard: Shard, alert: Alert, now_s: float) -> tuple[bool, bool]:
        """(whether the episode is new, whether it is shown); there is room for `MOST`, see `prune`."""
        key = alert.series, alert.kind
        before = self._episodes.get(key)
        if before is not None and before.id == alert.id:
            return False, True
        if before is None and len(self._episodes) >= MOST:
            return True, False
        labels = alert.labels
        row = (
            labels.get("site", ""), labels.get("area", ""), labels.get("owner", ""), alert.severity,
            alert.series, alert.kind,
        )  # fmt: skip
        self._episodes[key] = Episode(
            id=alert.id, row=row, shard=shard, series=alert.series, kind=alert.kind, shown_s=now_s,
            started_ms=alert.started,
        )  # fmt: skip
        return True, True

    def end(self, alert: Alert, now_s: float) -> None:
        episode = self._episodes.get((alert.series, alert.kind))
        if episode is not None and episode.id == alert.id and episode.ended_s is None:
            episode.ended_s = now_s
            episode.ended_ms = alert.time if alert.ended is None else alert.ended
            episode.resolution = alert.resolution or ""

    def forget(self, shard: Shard) -> None:
        """The shard is another worker's, which shows its episodes from now on."""
        self._episodes = {key: e for key, e in self._episodes.items() if e.shard != shard}

    def shown(self, now_s: float) -> tuple[Episode, ...]:
        """The episodes that are shown now."""
        self.prune(now_s)
        return tuple(self._episodes.values())

    def prune(self, now_s: float) -> None:
        """Let go of what is over and was shown for long enough."""
        self._episodes = {key: e for key, e in self._episodes.items() if not e.is_over(now_s)}
