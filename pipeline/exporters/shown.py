"""Metrics of single series, for the bounded set that is shown.

Letters: P shown series of a shard, E forecasters, L steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from pipeline.exporters import catalogue
from pipeline.exporters.samples import Frozen, Row, Table
from pipeline.records import BoolArray, Float64Array, Int64Array, Profile, Shown

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
        self.fault[at] = shown.fault
        self.said[at] = shown.said

    def _columns(self) -> tuple[Float64Array | Int64Array, ...]:
        return self.value, self.learned, self.fault, self.said


class ShownSeries:
    """A series that is no longer shown is gone at the next scrape. Not thread-safe."""

    METRICS = (
        catalogue.SERIES_INFO, catalogue.SERIES_VALUE, *SAID, catalogue.SERIES_LEARNED,
        catalogue.SERIES_QUALITY,
    )  # fmt: skip

    def __init__(self, forecasters: Sequence[str], steps: Sequence[int]) -> None:
        """forecasters, steps: E and L of `Shown`."""
        self._forecasters, self._steps = tuple(forecasters), tuple(map(str, steps))
        self._shards: dict[Shard, _Values] = {}
        self._tables = {metric.name: Table(metric) for metric in self.METRICS}

    def choose(self, shard: Shard, profiles: Sequence[Profile]) -> None:
        values = _Values(profiles, len(self._steps), len(self._forecasters))
        if (before := self._shards.get(shard)) is not None:
            values.adopt(before)
        self._shards[shard] = values

    def take(self, shard: Shard, shown: Shown) -> None:
        if (values := self._shards.get(shard)) is not None:
            values.take(shown)

    def forget(self, shard: Shard) -> None:
        self._shards.pop(shard, None)

    def freeze(self) -> list[Frozen]:
        self._put(catalogue.SERIES_INFO, lambda v: ([_info(p) for p in v.profiles], np.ones(len(v.profiles))))
        self._put(catalogue.SERIES_VALUE, lambda v: (_ids(v), v.value))
        self._put(catalogue.SERIES_LEARNED, lambda v: (_ids(v), v.learned))
        for part, metric in enumerate(SAID):
            self._put(metric, partial(self._find_said, part))
        self._put(catalogue.SERIES_QUALITY, _qualities)
        return [table.freeze() for table in self._tables.values()]

    def _put(
        self, metric: catalogue.Metric, find: Callable[[_Values], tuple[list[Row], Float64Array]]
    ) -> None:
        """Rows of all shards; without those whose value is not known."""
        rows: list[Row] = []
        values: list[Float64Array] = [np.empty(0)]
        for shard in self._shards.values():
            found, numbers = find(shard)
            known: BoolArray = ~np.isnan(numbers)
            rows += itertools.compress(found, known.tolist())
            values.append(numbers[known])
        self._tables[metric.name].replace(tuple(rows), np.concatenate(values)[:, None])

    def _find_said(self, part: int, values: _Values) -> tuple[list[Row], Float64Array]:
        ids = [profile.series for profile in values.profiles]
        rows: list[Row] = [
            (series, forecaster, step)
            for series, step, forecaster in itertools.product(ids, self._steps, self._forecasters)
        ]
        return rows, values.said[..., part].reshape(-1)


def _ids(values: _Values) -> list[Row]:
    return [(profile.series,) for profile in values.profiles]


def _info(profile: Profile) -> Row:
    labels = (profile.labels.get(name, "") for name in ("site", "area", "equipment", "owner"))
    return (profile.series, profile.name, profile.unit, *labels)


def _qualities(values: _Values) -> tuple[list[Row], Float64Array]:
    series = (profile.series for profile in values.profiles)
    rows: list[Row] = list(itertools.product(series, catalogue.QUALITIES))
    places = np.arange(len(catalogue.QUALITIES))
    is_now = (values.fault[:, None] == places).astype(np.float64)
    is_now[values.fault < 0] = np.nan
    return rows, is_now.reshape(-1)
