"""The worker as one value: what the page, the terminal of the demo and `/api/v1/overview` show.

{"version", "time" (epoch milliseconds), "ready", "obstacles": [sentence],
 "worker": {"topic", "partitions": [number], "num_partitions", "series", "states": {state: series}},
 "readings_per_second", "lag" (records, null: not known), "last_reading" (shard clock, null before the first),
 "sentence", "horizon", "champion", "steps": [step],
 "forecasters": [{"name", "recurrent", "parameters", "seconds_per_reading", "won",
                  "steps": {step: {"mae" (MASE), "skill", "coverage"}}}],
 "comparison": [{"a", "b", "step" (null: the path), "difference", "lower", "upper", "dm", "p", "won",
                 "leader", "verdict", "needs"}],
 "alerts": [messages of the alerts topic, the newest first]}

won: share of the series at which the forecaster errs least over the steps; null before any was scored.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from forecasters.sentence import sentence
from forecasters.verdict import Evidence
from pipeline.engine.lives import STATES
from pipeline.evidence import list_comparisons, say_who_leads
from pipeline.exporters.quality import QualityFigures
from pipeline.live.snapshots import ShardSnapshot, Snapshot
from pipeline.live.view import LiveView
from pipeline.ports import Partition
from pipeline.readiness import Readiness
from pipeline.records import Alert

NAIVE = "naive"
COMPARING_SHARE = 0.04
"""Of the time that may go into comparing, while somebody looks."""
NOTHING_TO_COMPARE = "Nothing to compare: that takes two recurrent forecasters, such as rnn and lstm"


class Overview:
    """Describes a worker, from any thread. What a snapshot says is worked out once, and the comparison, which
    takes a fifth of a second at 10 000 series, only as often as that is a small share of the time."""

    def __init__(
        self,
        view: LiveView,
        readiness: Readiness,
        *,
        horizon: int,
        champion: str,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._view, self._readiness, self._now, self._clock = view, readiness, now, clock
        self._fixed: dict[str, object] = {"horizon": horizon, "champion": champion}
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._described = describe_snapshot(None)
        self._compared = compare(())
        self._compared_shards: list[Partition] = []
        self._compare_next_s = float("-inf")

    def describe(self) -> dict[str, object]:
        """See the module. At most 1.5 s pass where nobody has asked for a while."""
        snapshot = self._view.snapshot()
        with self._lock:
            if snapshot is not self._snapshot:
                self._snapshot, self._described = snapshot, describe_snapshot(snapshot)
                self._compare(snapshot.shards if snapshot else ())
            found = {**self._described, **self._compared}
        obstacles = [str(each) for each in self._readiness.obstacles()]
        return {
            "version": 1,
            "time": int(self._now() * 1000),
            "ready": not obstacles,
            "obstacles": obstacles,
            **found,
            **self._fixed,
            "alerts": [describe_alert(alert) for alert in self._view.alerts()],
        }

    def _compare(self, shards: Sequence[ShardSnapshot]) -> None:
        partitions, started_s = [shard.partition for shard in shards], self._clock()
        if partitions == self._compared_shards and started_s < self._compare_next_s:
            return
        self._compared, self._compared_shards = compare(shards), partitions
        ended_s = self._clock()
        self._compare_next_s = ended_s + (ended_s - started_s) / COMPARING_SHARE


def compare(shards: Sequence[ShardSnapshot]) -> dict[str, object]:
    """The sentence of the comparison and its figures, over all shards as replications."""
    evidence = [shard.comparison.summary() for shard in shards if shard.comparison]
    return {"sentence": say(shards, evidence), "comparison": list_comparisons(evidence)}


def describe_snapshot(snapshot: Snapshot | None) -> dict[str, object]:
    """What follows from a snapshot without much work; of a worker without shards where there is none."""
    shards = snapshot.shards if snapshot else ()
    lags = [shard.lag for shard in shards if shard.lag is not None]
    heard = [shard.clock_ms for shard in shards if shard.survey.heard_ms.size]
    return {
        "worker": describe_worker(shards),
        "readings_per_second": snapshot.readings_per_second if snapshot else 0.0,
        "lag": sum(lags) if lags else None,
        "last_reading": max(heard, default=None),
        "steps": list(snapshot.quality.steps) if snapshot else [],
        "forecasters": describe_forecasters(snapshot) if snapshot else [],
    }


def describe_worker(shards: Sequence[ShardSnapshot]) -> dict[str, object]:
    counts = np.zeros(len(STATES), np.int64)
    for shard in shards:
        counts += np.bincount(shard.survey.state, minlength=len(STATES))
        counts[STATES.index("retired")] += shard.survey.num_retired
    topics = {shard.partition.topic: shard.num_partitions for shard in shards}
    return {
        "topic": ", ".join(sorted(topics)),
        "partitions": sorted(shard.partition.partition for shard in shards),
        "num_partitions": sum(topics.values()),
        "series": sum(len(shard.survey.ids) for shard in shards),
        "states": dict(zip(STATES, counts.tolist(), strict=True)),
    }


def say(shards: Sequence[ShardSnapshot], evidence: Sequence[Evidence]) -> str:
    """The sentence of the comparison, over all shards as replications."""
    if not evidence:
        return NOTHING_TO_COMPARE if shards else sentence(None)
    return say_who_leads(evidence, sum_seconds(shards)) or NOTHING_TO_COMPARE


def sum_seconds(shards: Sequence[ShardSnapshot]) -> dict[str, float]:
    spent: dict[str, float] = {}
    for shard in shards:
        for name, seconds in shard.seconds.items():
            spent[name] = spent.get(name, 0.0) + seconds
    return spent


def describe_forecasters(snapshot: Snapshot) -> list[dict[str, object]]:
    quality, shards = snapshot.quality, snapshot.shards
    spent, learned = sum_seconds(shards), sum(shard.learned for shard in shards)
    won = find_won(quality)
    parameters: Mapping[str, int] = shards[0].parameters if shards else {}
    nets = set(shards[0].training) if shards else set()
    return [
        {
            "name": name,
            "recurrent": name in nets,
            "parameters": parameters.get(name, 0),
            "seconds_per_reading": spent[name] / learned if learned and name in spent else None,
            "won": won.get(name),
            "steps": {
                str(step): describe_step(quality, at, column) for column, step in enumerate(quality.steps)
            },
        }
        for at, name in enumerate(quality.forecasters)
    ]


def describe_step(quality: QualityFigures, at: int, column: int) -> dict[str, float | None]:
    """Of the forecaster at that place."""
    series, scored = quality.series_L[column], quality.scored_EL[at, column]
    naive = None
    if NAIVE in quality.forecasters:
        naive = float(quality.error_EL[quality.forecasters.index(NAIVE), column])
    error = float(quality.error_EL[at, column])
    return {
        "mae": error / float(series) if series else None,
        "skill": 1.0 - error / naive if naive else None,
        "coverage": 1.0 - float(quality.missed_EL[at, column] / scored) if scored else None,
    }


def find_won(quality: QualityFigures) -> dict[str, float]:
    """By forecaster: share of the series at which it has the least mean error over the steps."""
    best = []
    for mean_SEL, count_SL in quality.by_shard.values():
        known_S = count_SL.all(axis=1) if count_SL.size else np.zeros(0, bool)
        best.append(mean_SEL[known_S].mean(axis=2).argmin(axis=1))
    winners = np.concatenate([np.empty(0, np.int64), *best])
    if not winners.size:
        return {}
    shares = np.bincount(winners, minlength=len(quality.forecasters)) / winners.size
    return dict(zip(quality.forecasters, shares.tolist(), strict=True))


def describe_alert(alert: Alert) -> dict[str, Any]:
    """The fields of the alerts topic."""
    found = {field.name: getattr(alert, field.name) for field in fields(alert)}
    return {"version": 1, **found, "labels": dict(alert.labels)}
