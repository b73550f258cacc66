"""Metrics of who forecasts better, from the evidence of the assigned shards; and how far gradients reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from forecasters.verdict import Evidence, Figures
from pipeline.exporters import catalogue
from pipeline.exporters.quality import label_steps
from pipeline.exporters.samples import Frozen, Row, Table
from pipeline.records import Float64Array

Shard = tuple[str, int]
PATH = "path"
MOST_WINS = 10
"""Each way."""


class Standing:
    """Gauges are of the shards that are here; a shard's figures go when it does. Not thread-safe."""

    PAIRS = (
        catalogue.COMPARISON_DIFFERENCE, catalogue.COMPARISON_ERROR, catalogue.COMPARISON_MARGIN,
        catalogue.COMPARISON_STATISTIC, catalogue.COMPARISON_LEADER,
    )  # fmt: skip
    METRICS = (
        catalogue.COMPARISON_SERIES, *PAIRS, catalogue.COMPARISON_SERIES_DIFFERENCE,
        catalogue.GRADIENT_REACH, catalogue.MEMORY_LENGTH,
    )  # fmt: skip

    def __init__(self, pairs: Sequence[tuple[str, str]], scored: Sequence[int]) -> None:
        """pairs: that are compared; scored: the steps of `Scores`, ascending."""
        steps = (*map(str, label_steps(scored)), PATH)
        results = catalogue.COMPARISON_RESULTS
        self._none_yet = [
            ((a, b, step, result), 0.0) for a, b in pairs for step in steps for result in results
        ]
        self._evidence: dict[Shard, Evidence] = {}
        self._wins: dict[tuple[Shard, tuple[str, str]], dict[str, float]] = {}
        self._reach: dict[tuple[Shard, str], tuple[Float64Array, int | None]] = {}
        self._tables = {metric.name: Table(metric) for metric in self.METRICS}

    def take(self, shard: Shard, evidence: Evidence) -> None:
        self._evidence[shard] = evidence

    def take_wins(self, shard: Shard, pair: tuple[str, str], by_series: Mapping[str, float]) -> None:
        """Of a shard, the series that the first of the pair wins or loses by most."""
        self._wins[shard, pair] = dict(by_series)

    def take_reach(
        self, shard: Shard, forecaster: str, inputs: Float64Array, memory_length: int | None
    ) -> None:
        """inputs [K]: by lag from 0, NaN without a gradient."""
        self._reach[shard, forecaster] = np.array(inputs), memory_length

    def forget(self, shard: Shard) -> None:
        self._evidence.pop(shard, None)
        self._reach = {key: value for key, value in self._reach.items() if key[0] != shard}
        self._wins = {key: value for key, value in self._wins.items() if key[0] != shard}

    def freeze(self) -> list[Frozen]:
        self._set_series()
        rows: dict[str, list[tuple[Row, float]]] = {metric.name: [] for metric in self.PAIRS}
        for (topic, partition), evidence in self._evidence.items():
            for (a, b), columns in evidence.pairs.items():
                for step, figures in _labelled(evidence, columns):
                    row = (a, b, step, topic, str(partition))
                    for metric, value in zip(self.PAIRS, _list_figures(a, b, figures), strict=True):
                        if value is not None and np.isfinite(value):
                            rows[metric.name].append((row, value))
        for metric in self.PAIRS:
            self._replace(metric, rows[metric.name])
        self._set_wins()
        self._set_reach()
        return [table.freeze() for table in self._tables.values()]

    def _set_series(self) -> None:
        """Sums over shards."""
        counts: dict[Row, float] = dict(self._none_yet)
        for evidence in self._evidence.values():
            for (a, b), columns in evidence.pairs.items():
                for step, figures in _labelled(evidence, columns):
                    for result in catalogue.COMPARISON_RESULTS:
                        row = (a, b, step, result)
                        counts[row] = counts.get(row, 0.0) + getattr(figures, result)
        self._replace(catalogue.COMPARISON_SERIES, list(counts.items()))

    def _set_wins(self) -> None:
        """The largest of all shards."""
        by_pair: dict[tuple[str, str], list[tuple[float, str]]] = {}
        for (_, pair), by_series in self._wins.items():
            by_pair.setdefault(pair, []).extend((value, series) for series, value in by_series.items())
        rows: dict[Row, float] = {}
        for pair, found in by_pair.items():
            found.sort()
            rows |= {(*pair, series): value for value, series in (*found[:MOST_WINS], *found[-MOST_WINS:])}
        self._replace(catalogue.COMPARISON_SERIES_DIFFERENCE, list(rows.items()))

    def _set_reach(self) -> None:
        by_lag: dict[Row, list[float]] = {}
        lengths: dict[Row, list[float]] = {}
        for (_, forecaster), (inputs, length) in self._reach.items():
            for lag in _list_lags(inputs.size):
                if np.isfinite(inputs[lag]):
                    by_lag.setdefault((forecaster, str(lag)), []).append(float(inputs[lag]))
            if length is not None:
                lengths.setdefault((forecaster,), []).append(length)
        for metric, found in ((catalogue.GRADIENT_REACH, by_lag), (catalogue.MEMORY_LENGTH, lengths)):
            self._replace(metric, [(row, float(np.mean(values))) for row, values in found.items()])

    def _replace(self, metric: catalogue.Metric, found: Sequence[tuple[Row, float]]) -> None:
        values = np.array([value for _, value in found], np.float64).reshape(-1, 1)
        self._tables[metric.name].replace(tuple(row for row, _ in found), values)


def _labelled(evidence: Evidence, columns: Sequence[Figures]) -> list[tuple[str, Figures]]:
    """Figures of the steps that are labels, and of the path."""
    steps = label_steps(evidence.steps)
    found = [(str(f.step), f) for f in columns if f.step in steps]
    return [*found, (PATH, columns[-1])]


def _list_figures(a: str, b: str, figures: Figures) -> tuple[float | None, ...]:
    """In the order of `Standing.PAIRS`; None where it is not known yet."""
    leader = {a: 1.0, b: -1.0}.get(figures.leader or "", 0.0)
    difference = figures.difference if figures.buckets else None
    return difference, figures.standard_error, figures.half_width, figures.statistic, leader


def _list_lags(size: int) -> list[int]:
    """Lags that become labels: 1, 2, 4, … and the last."""
    lags = [2**k for k in range(size.bit_length()) if 2**k < size]
    return lags if not lags or lags[-1] == size - 1 else [*lags, size - 1]
