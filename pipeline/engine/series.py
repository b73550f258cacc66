"""The series that a shard knows: their ids, and what the intake knows of each."""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from pipeline.engine.columns import Columns
from pipeline.engine.settings import OPERATORS, SeriesSettings
from pipeline.records import Int64Array

NO_SLOT = -1
NO_CELL = -(2**62)  # below every cell, and far enough from the end of int64 to be subtracted
NO_ANCHOR = -(2**63)
NO_CADENCE = 0

_COLUMNS: Mapping[str, int | float] = {
    "slot": NO_SLOT,  # in the bank, once the cadence is known
    "cadence_ms": NO_CADENCE,
    "season_ms": 0,
    "anchor_ms": NO_ANCHOR,  # the time of cell 0
    "last_cell": NO_CELL,  # the last that has become a step
    "last_time_ms": 0,  # as read, of the reading that has the last cell
    "newest_ms": NO_ANCHOR,  # latest event time that the open cells have seen
    "max_gap": 0,  # missing steps that are filled
    "by_exception": 0,
    "silent_after_ms": 0,  # 0: not declared
    "minimum": -math.inf,
    "maximum": math.inf,
    "off_outcomes": 0,  # of comparing with the threshold; none: never off
    "off_threshold": 0.0,
}


class SeriesTable:
    """Ids and columns by place. The place of a forgotten series goes to the next new one, lowest first."""

    def __init__(self) -> None:
        self.columns = Columns(_COLUMNS)
        self._places: dict[str, int] = {}
        self._ids: list[str | None] = []  # by place
        self._free: list[int] = []  # a heap
        self._last_names: tuple[Int64Array, list[str]] = (np.empty(0, np.int64), [])

    def __len__(self) -> int:
        return len(self._places)

    @property
    def size(self) -> int:
        """How many places there are, free ones included."""
        return len(self._ids)

    @property
    def ids(self) -> tuple[str, ...]:
        """Of all series, in order of their places."""
        return tuple(name for name in self._ids if name is not None)

    @property
    def places(self) -> Int64Array:
        """Of all series, ascending."""
        return np.array([at for at, name in enumerate(self._ids) if name is not None], np.int64)

    def find(self, name: str) -> int:
        """The place of a series, -1 where it is not known."""
        return self._places.get(name, -1)

    def name(self, place: int) -> str:
        name = self._ids[place]
        assert name is not None, f"place {place} is free"
        return name

    def names(self, places: Int64Array) -> list[str]:
        """In this order; the list of the last call where places are the same, so leave it as it is."""
        if not np.array_equal(self._last_names[0], places):
            self._last_names = places, [self.name(at) for at in places.tolist()]
        return self._last_names[1]

    def add(self, name: str, settings: SeriesSettings) -> int:
        """A place for a new series."""
        if self._free:
            place = heapq.heappop(self._free)
            self._ids[place] = name
        else:
            place = len(self._ids)
            self._ids.append(name)
            self.columns.extend(place + 1)
        self._places[name] = place
        self.declare(place, settings)
        return place

    def declare(self, place: int, settings: SeriesSettings) -> None:
        """Take over what is declared and may change while the series runs: all but cadence and season."""
        c, off = self.columns, settings.off_when
        c["by_exception"][place] = settings.by_exception
        c["silent_after_ms"][place] = settings.silent_after_ms or 0
        c["minimum"][place] = -math.inf if settings.minimum is None else settings.minimum
        c["maximum"][place] = math.inf if settings.maximum is None else settings.maximum
        c["off_outcomes"][place] = 0 if off is None else OPERATORS[off[0]]
        c["off_threshold"][place] = 0.0 if off is None else off[1]

    def forget(self, places: Sequence[int]) -> None:
        for place in places:
            del self._places[self.name(place)]
            self._ids[place] = None
            heapq.heappush(self._free, place)
        self._last_names = (np.empty(0, np.int64), [])  # another one may come to such a place
        self.columns.reset(np.array(places, np.int64))

    def save(self, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
        text = json.dumps(self._ids).encode()
        yield f"{prefix}.ids", torch.from_numpy(np.frombuffer(text, np.uint8).copy())
        yield from self.columns.save(prefix)

    def load(self, prefix: str, state: Mapping[str, torch.Tensor]) -> None:
        """Raises KeyError or ValueError where the state is of another make."""
        self._ids = json.loads(state[f"{prefix}.ids"].numpy().tobytes())
        self._places = {name: at for at, name in enumerate(self._ids) if name is not None}
        self._free = [at for at, name in enumerate(self._ids) if name is None]
        self._last_names = (np.empty(0, np.int64), [])
        self.columns.load(prefix, state)
        if self.columns.size != len(self._ids):
            raise ValueError(
                f"{prefix}: expected a place for each of {len(self._ids)} ids, found {self.columns.size}"
            )
