"""Metrics of single series, for the bounded set that is shown.

Letters: P shown series of a shard, E forecasters, L steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np

from pipeline.exporters import catalogue
from pipeline.exporters.samples import Frozen, Row, Table
from pipeline.records import Float64Array, Int64Array, Profile, Shown

Shard = tuple[str, int]
SAID = (catalogue.SERIES_FORECAST, catalogue.SERIES_LOWER, catalogue.SERIES_UPPER)
"""In the order of `Shown.said`."""


class _Values:
    """The newest values of the shown series of a shard."""

    def __init__(self, profiles: Sequence[Profile], num_steps: int, num_forecasters: int) -> None:
        self.profiles = tuple(profiles)
        size = len(self.profiles)
        self.value: Float64Array = np.full(size, np.nan)
        self.learned: Float64Array = np.full(size, np.nan)
        self.score: Float64Array = np.full(size, np.nan)
        self.fault: Int64Array = np.full(size, -1)
        self.said: Float64Array = np.full((size, num_steps, num_forecasters, 3), np.nan)

    def adopt(self, other: _Values) -> None:
        """Take over what is known of series that were shown before."""
        places = {profile.series: at for at, profile in enumerate(other.profiles)}
        for at, profile in enumerate(self.profiles):
            if (there := places.get(profile.series)) is not None:
                for mine, theirs in zip(self._columns(), other._columns(), strict=True):
                    mine[at] = theirs[there]

    def take(self, shown: Shown) -> None:
        at, known = shown.places, ~np.isnan(shown.value)
        self.value[at[known]] = shown.value[known]
        self.learned[at] = shown.readings_learned
        if shown.score is not None:
            judged = ~np.isnan(shown.score)
            self.score[at[judged]] = shown.score[judged]
        self.fault[at] = shown.fault
        self.said[at] = shown.said

    def _columns(self) -> tuple[Float64Array | Int64Array, ...]:
        return self.value, self.learned, self.score, self.fault, self.said


class ShownSeries:
    """A series that is no longer shown is gone at the next scrape. Not thread-safe."""

    METRICS = (
        catalogue.SERIES_INFO, catalogue.SERIES_VALUE, *SAID, catalogue.SERIES_SCORE,
        catalogue.SERIES_LEARNED, catalogue.SERIES_QUALITY,
    )  # fmt: skip

    def __init__(self, forecasters: Sequence[str], steps: Sequence[int]) -> None:
        """forecasters, steps: E and L of `Shown`."""
        self._forecasters, self._steps = tuple(forecasters), tuple(map(str, steps))
        self._shards: dict[Shard, _Values] = {}
        self._tables = {metric.name: Table(metric) for metric in self.METRICS}
        self._set = 0  # which series are shown, by number of the choice
        self._rows: dict[str, tuple[tuple[int, bytes], tuple[Row, ...]]] = {}

    def choose(self, shard: Shard, profiles: Sequence[Profile]) -> None:
        values = _Values(profiles, len(self._steps), len(self._forecasters))
        if (before := self._shards.get(shard)) is not None:
            values.adopt(before)
        self._shards[shard] = values
        self._set += 1

    def take(self, shard: Shard, shown: Shown) -> None:
        if (values := self._shards.get(shard)) is not None:
            values.take(shown)

    def forget(self, shard: Shard) -> None:
        self._shards.pop(shard, None)
        self._set += 1

    def freeze(self) -> list[Frozen]:
        self._put(catalogue.SERIES_INFO, _list_infos, lambda v: np.ones(len(v.profiles)))
        self._put(catalogue.SERIES_VALUE, _list_ids, lambda v: v.value)
        self._put(catalogue.SERIES_LEARNED, _list_ids, lambda v: v.learned)
        self._put(catalogue.SERIES_SCORE, _list_ids, lambda v: v.score)
        for part, metric in enumerate(SAID):
            self._put(metric, self._list_forecasts, partial(_take_said, part))
        self._put(catalogue.SERIES_QUALITY, _list_qualities, _find_qualities)
        return [table.freeze() for table in self._tables.values()]

    def _put(
        self,
        metric: catalogue.Metric,
        list_rows: Callable[[_Values], Iterable[Row]],
        find: Callable[[_Values], Float64Array],
    ) -> None:
        """Values of all shards, without those that are not known. Labels are made anew only when the set of
        series or what is known of them has changed: they are the dear part of a scrape."""
        values = np.concatenate([np.empty(0), *(find(shard) for shard in self._shards.values())])
        known = ~np.isnan(values)
        key = (self._set, known.tobytes())
        cached = self._rows.get(metric.name)
        if cached is None or cached[0] != key:
            every = itertools.chain.from_iterable(list_rows(shard) for shard in self._shards.values())
            cached = self._rows[metric.name] = (key, tuple(itertools.compress(every, known.tolist())))
        self._tables[metric.name].replace(cached[1], values[known, None])

    def _list_forecasts(self, values: _Values) -> Iterable[Row]:
        ids = (profile.series for profile in values.profiles)
        for series, step, forecaster in itertools.product(ids, self._steps, self._forecasters):
            yield series, forecaster, step


def _list_ids(values: _Values) -> Iterable[Row]:
    return ((profile.series,) for profile in values.profiles)


def _list_infos(values: _Values) -> Iterable[Row]:
    for profile in values.profiles:
        labels = (profile.labels.get(name, "") for name in ("site", "area", "equipment", "owner"))
        yield (profile.series, profile.name, profile.unit, *labels)


def _list_qualities(values: _Values) -> Iterable[Row]:
    return itertools.product((profile.series for profile in values.profiles), catalogue.QUALITIES)


def _find_qualities(values: _Values) -> Float64Array:
    is_now = (values.fault[:, None] == np.arange(len(catalogue.QUALITIES))).astype(np.float64)
    is_now[values.fault < 0] = np.nan
    return is_now.reshape(-1)


def _take_said(part: int, values: _Values) -> Float64Array:
    return values.said[..., part].reshape(-1)
