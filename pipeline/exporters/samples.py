"""The values of one metric family: an array, with a row for each set of label values."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.exporters.catalogue import Metric
from pipeline.exporters.exposition import ArrayFamily, Heads
from pipeline.records import Float64Array

Row = tuple[str, ...]


class Table:
    """Rows by label values; `values` `[R, W]` is written in place.

    W is 1 for counters and gauges; buckets (not yet cumulated, `+Inf` last) and sum for a histogram; sum and
    count for a summary. Rows whose labels are all known exist from the start, at 0, in the order of
    `itertools.product`. Not thread-safe, but for `Frozen.family`.
    """

    def __init__(self, metric: Metric, known: Mapping[str, Sequence[str]] | None = None) -> None:
        """known: values of labels beside those that the metric declares."""
        self.metric = metric
        self.width = {"histogram": len(metric.buckets) + 2, "summary": 2}.get(metric.kind, 1)
        values = {**metric.known, **(known or {})}
        self.values: Float64Array = np.zeros((0, self.width))
        self.rows: tuple[Row, ...] = ()
        self._at: dict[Row, int] = {}
        if all(label in values for label in metric.labels):
            self.append(list(itertools.product(*(values[label] for label in metric.labels))))
        self._heads = Heads(metric, self.rows)

    def append(self, rows: Sequence[Row]) -> None:
        self.rows += tuple(rows)  # a new tuple: a frozen table keeps the old one
        self.values = np.concatenate([self.values, np.zeros((len(rows), self.width))])
        self._at = {row: at for at, row in enumerate(self.rows)}

    def at(self, *labels: str) -> int:
        """The row of these label values, made at 0 if it is not there."""
        place = self._at.get(labels)
        if place is None:
            self.append([labels])
            place = len(self.rows) - 1
        return place

    def add(self, amount: float, *labels: str) -> None:
        at = self.at(*labels)  # before `values` is looked up: a new row replaces it
        self.values[at, -1] += amount

    def put(self, value: float, *labels: str) -> None:
        at = self.at(*labels)
        self.values[at, -1] = value

    def remove(self, *labels: str) -> None:
        """Forget a row, if it is there."""
        place = self._at.get(labels)
        if place is not None:
            self.replace(self.rows[:place] + self.rows[place + 1 :], np.delete(self.values, place, axis=0))

    def clear(self) -> None:
        self.replace((), np.zeros((0, self.width)))

    def replace(self, rows: tuple[Row, ...], values: Float64Array) -> None:
        """All rows at once, with values `[R, W]`."""
        self.values = values
        if rows is not self.rows and rows != self.rows:
            self.rows = rows
            self._at = {row: at for at, row in enumerate(rows)}

    def observe(self, values: Float64Array, *labels: str) -> None:
        """Take values `[K]` into a histogram."""
        at = self.at(*labels)
        row = self.values[at]
        place = np.searchsorted(self.metric.buckets, values)  # a value at a bound is within it
        row[:-1] += np.bincount(place, minlength=self.width - 1)
        row[-1] += values.sum()

    def freeze(self) -> Frozen:
        """What it is now: a copy of the numbers, quickly made."""
        return Frozen(table=self, rows=self.rows, values=self.values.copy())

    def heads(self, rows: tuple[Row, ...]) -> Heads:
        """Made anew only when rows came or went. Two scrapes at once may both make them."""
        heads = self._heads
        if heads.rows is not rows:
            heads = Heads(self.metric, rows)
            self._heads = heads
        return heads


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """A table at one moment; what takes time is done here, without the exporter's lock."""

    table: Table
    rows: tuple[Row, ...]
    values: Float64Array

    def family(self) -> ArrayFamily:
        values = self.values
        if self.table.metric.kind == "histogram":
            buckets = values[:, :-1].cumsum(axis=1)
            values = np.concatenate([buckets, values[:, -1:], buckets[:, -1:]], axis=1)
        return ArrayFamily(self.table.heads(self.rows), values.reshape(-1))
