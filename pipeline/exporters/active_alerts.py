"""Which paging episodes are shown: a bounded number, each for long enough to be scraped and routed."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.exporters.samples import Row
from pipeline.records import Alert

Shard = tuple[str, int]

MOST = 500
SHOWN_AT_LEAST_S = 180.0
"""Some scrapes and evaluations, so that a short episode is not lost between two of them."""


@dataclass(slots=True, kw_only=True)
class _Episode:
    id: str
    row: Row
    shard: Shard
    began_s: float
    goes_on: bool


class ActiveAlerts:
    """Episodes by series and kind, in the order in which they began. Not thread-safe."""

    def __init__(self) -> None:
        self._episodes: dict[tuple[str, str], _Episode] = {}

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
        self._episodes[key] = _Episode(id=alert.id, row=row, shard=shard, began_s=now_s, goes_on=True)
        return True, True

    def end(self, alert: Alert) -> None:
        episode = self._episodes.get((alert.series, alert.kind))
        if episode is not None and episode.id == alert.id:
            episode.goes_on = False

    def forget(self, shard: Shard) -> None:
        """The shard is another worker's, which shows its episodes from now on."""
        self._episodes = {key: e for key, e in self._episodes.items() if e.shard != shard}

    def rows(self, now_s: float) -> tuple[Row, ...]:
        """Label values of what is shown."""
        self.prune(now_s)
        return tuple(episode.row for episode in self._episodes.values())

    def prune(self, now_s: float) -> None:
        """Let go of what is over and was shown for long enough."""
        over = [
            key
            for key, episode in self._episodes.items()
            if not episode.goes_on and now_s - episode.began_s >= SHOWN_AT_LEAST_S
        ]
        for key in over:
            del self._episodes[key]
