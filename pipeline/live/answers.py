"""What the page asks beside the overview, as values for the HTTP port; made in the server's threads."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np

from pipeline.evidence import list_masked
from pipeline.live.listing import Listing, Query
from pipeline.live.networks import describe_reach
from pipeline.live.overview import describe_alert, sum_seconds
from pipeline.live.snapshots import ShardSnapshot
from pipeline.live.tracks import Course
from pipeline.live.view import LiveView
from pipeline.ports import Partition, QuestionError
from pipeline.records import Float64Array, Int64Array
from pipeline.runner import Runner

MOST_POINTS = 120
"""Of errors over time: a point each two or three pixels."""


class Answers:
    """Parameters come as the texts of an address. QuestionError says what was expected of one."""

    def __init__(self, runner: Runner, view: LiveView, *, champion: str) -> None:
        self._runner, self._view = runner, view
        self._lock = threading.Lock()
        self._listing = Listing(champion)

    def list_series(self, given: Mapping[str, str]) -> object:
        """Without parameters all ids by partition, else rows; see `Listing`."""
        if not given:
            return self._list_ids()
        query = Query.read(given)
        with self._lock:
            return self._listing.describe(self._view.snapshot(), query)

    def _list_ids(self) -> object:
        """Reads the shards while the runner changes them: figures of one answer may be a poll apart."""
        partitions = [
            {
                "topic": partition.topic,
                "partition": partition.partition,
                "states": holding.shard.count_states(),
                "series": sorted(holding.shard.list_series()),
            }
            for partition, holding in list(self._runner.holdings.items())
            if holding.loaded is not None
        ]
        return {"version": 1, "partitions": partitions}

    def describe_series(self, series: str, given: Mapping[str, str]) -> object | None:
        """What is known of one series, None where no shard of this worker has it.

        step: asks for `history` too, with what was said so many steps before each time, and has the series
        followed; null where nothing is there yet, or nothing later than `after` (epoch milliseconds).
        """
        step, after = (read_whole(given, name) for name in ("step", "after"))
        steps = self._view.tracks.steps
        if step is not None and step not in steps:
            raise QuestionError(f"step: expected one of {', '.join(map(str, steps))}, got {step}")
        for partition, holding in list(self._runner.holdings.items()):
            found = None if holding.loaded is None else holding.shard.describe(series)
            if found is None:
                continue
            answer = {"version": 1, "topic": partition.topic, "partition": partition.partition, **found}
            if step is None:
                return answer
            alerts = [alert for alert in self._view.alerts() if alert.series == series]
            return {
                **answer,
                "alerts": [describe_alert(alert) for alert in alerts],
                "history": self._describe_course(partition, series, step, after, found["mode"] != "sampled"),
            }
        return None

    def _describe_course(
        self, partition: Partition, series: str, step: int, after: int | None, is_held: bool
    ) -> dict[str, object] | None:
        self._view.tracks.want(partition, series)
        course = self._view.tracks.course(partition, series, step)
        if course is None:
            return None
        newest_ms = int(course.event_time_ms[np.flatnonzero(course.is_past)[-1]])
        if after is not None and newest_ms <= after:
            return None
        return {
            "step": step,
            "newest": newest_ms,
            "time": course.event_time_ms.tolist(),
            # who reports by exception holds its value at the steps between
            "value": shorten(np.where(course.is_past, course.base, np.nan) if is_held else course.value),
            "forecasts": {
                name: {
                    "mean": shorten(course.mean[:, at]),
                    "lower": shorten(course.lower[:, at]),
                    "upper": shorten(course.upper[:, at]),
                }
                for at, name in enumerate(course.forecasters)
            },
            "errors": describe_course_errors(course),
        }

    def describe_errors(self, given: Mapping[str, str]) -> object:
        """{"version", "step", "time", "errors": {forecaster: [mean |error| in units of scale]}} over all
        series, in the newest stretch that the comparison keeps, as at most 120 means."""
        step = read_whole(given, "step") or 1
        snapshot = self._view.snapshot()
        shards = [shard for shard in snapshot.shards if shard.comparison] if snapshot else []
        time_W, error_WE, names = join_errors(shards, step)
        size = -(-len(time_W) // MOST_POINTS) or 1
        starts = np.arange(len(time_W) % size, len(time_W), size)
        means_PE = np.stack([error_WE[at : at + size].mean(0) for at in starts]) if starts.size else error_WE
        return {
            "version": 1,
            "step": step,
            "time": time_W[starts + size - 1].tolist() if starts.size else [],
            "errors": {name: shorten(means_PE[:, at]) for at, name in enumerate(names)},
        }

    def describe_networks(self) -> object:
        """{"version", "needed", "reach": {network: see `describe_reach`}, "training", "cost",
        "masked": see `list_masked`}; needed: readings of a series before there is a reach."""
        copies, snapshot = self._view.networks(), self._view.snapshot()
        shards = snapshot.shards if snapshot else ()
        spent, learned = sum_seconds(shards), sum(shard.learned for shard in shards)
        training = {name: sum_training(shards, name) for name in (shards[0].training if shards else ())}
        bytes_by = shards[0].bytes_per_series if shards else {}
        return {
            "version": 1,
            "needed": copies.needed if copies else None,
            "reach": describe_reach(copies),
            "training": training,
            "cost": {
                name: {
                    "parameters": shards[0].parameters[name],
                    "seconds_per_reading": spent[name] / learned if learned else None,
                    "bytes_per_series": bytes_by.get(f"forecaster.{name}"),
                }
                for name in training
            },
            "masked": list_masked(
                [each.comparison.irregular.summary() for each in shards if each.comparison]
            ),
        }


def read_whole(given: Mapping[str, str], name: str) -> int | None:
    """Raises QuestionError."""
    text = given.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise QuestionError(f"{name}: expected a whole number, got {text[:40]!r}")
    return int(text)


def shorten(values: Float64Array) -> list[float | None]:
    """Numbers as JSON has them, to seven digits: beyond these the forecasts have none."""
    return [float(f"{value:.7g}") if np.isfinite(value) else None for value in values.tolist()]


def describe_course_errors(course: Course) -> dict[str, float | None]:
    """By forecaster, and of naive: mean |error| over the stretch, where all of them have said something."""
    said = np.column_stack([course.mean, course.naive])
    known = np.isfinite(said).all(1) & np.isfinite(course.value)
    if not known.any():
        return {}
    error = np.abs(said[known] - course.value[known, None]).mean(0)
    return dict(zip((*course.forecasters, "naive"), shorten(error), strict=True))


def join_errors(shards: list[ShardSnapshot], step: int) -> tuple[Int64Array, Float64Array, tuple[str, ...]]:
    """Times `[W]` and mean losses `[W, E]`, by the series of each shard; the newest of all shards together.

    Raises QuestionError for a step that is not scored.
    """
    parts, weights = [], []
    names: tuple[str, ...] = ()
    for shard in shards:
        assert shard.comparison is not None
        steps = shard.comparison.standings.steps
        if step not in steps:
            raise QuestionError(f"step: expected one of {', '.join(map(str, steps))}, got {step}")
        names = shard.comparison.standings.names
        time_W, error_WE = shard.comparison.recent(step)
        if time_W.size:
            parts.append((time_W, error_WE))
            weights.append(len(shard.survey.ids))
    if not parts:
        return np.empty(0, np.int64), np.empty((0, len(names))), names
    size = min(time_W.size for time_W, _ in parts)
    longest = max(parts, key=lambda part: int(part[0][-1]))[0]
    mean_WE = np.average([error_WE[-size:] for _, error_WE in parts], axis=0, weights=weights)
    return longest[-size:], mean_WE, names


def sum_training(shards: tuple[ShardSnapshot, ...], name: str) -> dict[str, float | None]:
    """Steps of all shards; norm and loss as means over the shards that have one."""
    told = [shard.training[name] for shard in shards]
    found: dict[str, float | None] = {
        key: sum(each[key] for each in told) for key in ("applied", "clipped", "skipped")
    }
    for key in ("norm", "loss"):
        finite = [each[key] for each in told if np.isfinite(each[key])]
        found[key] = float(np.mean(finite)) if finite else None
    return found
