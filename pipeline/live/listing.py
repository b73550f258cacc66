"""The series of a worker as rows: searched, by state, the worst first, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.engine.lives import STATES
from pipeline.engine.settings import Settings
from pipeline.live.snapshots import ShardSnapshot, Snapshot
from pipeline.ports import QuestionError
from pipeline.records import Float64Array

MOST_ROWS = 500
ORDERS = ("worst", "name")
FIRING = "alert"
"""As a state to ask for: series that alert, whatever their state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What rows are wanted. step: of the errors; state: one of `STATES` or `alert`, empty for all."""

    search: str = ""
    state: str = ""
    order: str = "worst"
    step: int | None = None
    offset: int = 0
    limit: int = 100

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Query:
        """From the parameters of an address. Raises QuestionError."""
        numbers = {}
        for name, least, most in (("step", 1, 10**6), ("offset", 0, 10**9), ("limit", 0, MOST_ROWS)):
            if name in given:
                text = given[name]
                if not (text.isascii() and text.isdigit() and least <= int(text[:10]) <= most):
                    raise QuestionError(
                        f"{name}: expected a whole number from {least} to {most}, got {text!r}"
                    )
                numbers[name] = int(text)
        state, order = given.get("state", ""), given.get("order", "worst")
        if state not in ("", FIRING, *STATES):
            raise QuestionError(f"state: expected one of {', '.join((FIRING, *STATES))}, got {state!r}")
        if order not in ORDERS:
            raise QuestionError(f"order: expected one of {', '.join(ORDERS)}, got {order!r}")
        return cls(search=given.get("search", "").casefold(), state=state, order=order, **numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """All series of a snapshot, as columns [S]."""

    shard: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]  # in the survey of its shard
    state: npt.NDArray[np.int8]
    error: Float64Array  # NaN where nothing was scored
    naive: Float64Array
    firing: npt.NDArray[np.bool_]


class Declared:
    """Names and units of series, looked up once: globs are not free at 10 000 series."""

    def __init__(self) -> None:
        self._settings: Settings | None = None
        self._known: dict[str, tuple[str, str, str]] = {}

    def find(self, settings: Settings, series: str) -> tuple[str, str, str]:
        """(name, unit, what is searched)."""
        if settings is not self._settings:
            self._settings, self._known = settings, {}
        found = self._known.get(series)
        if found is None:
            declared = settings(series)
            text = f"{series}\n{declared.name}".casefold()
            self._known[series] = found = (declared.name or series, declared.unit, text)
        return found


class Listing:
    """Not thread-safe; champion: whose errors are shown."""

    def __init__(self, champion: str) -> None:
        self._champion = champion
        self._declared = Declared()

    def describe(self, snapshot: Snapshot | None, query: Query) -> dict[str, object]:
        """{"version", "total", "found", "offset", "rows": [{"series", "name", "unit", "topic", "partition",
        "state", "firing", "error", "skill", "needed"}]}: error is the champion's mean absolute error in
        naive one-step errors, skill 1 less that over naive's."""
        if snapshot is None or not snapshot.shards:
            return {"version": 1, "total": 0, "found": 0, "offset": 0, "rows": []}
        table = _gather(snapshot, self._champion, query.step)
        chosen = self._choose(snapshot, table, query)
        ordered = self._order(snapshot, table, chosen, query.order)
        rows = ordered[query.offset : query.offset + query.limit].tolist()
        return {
            "version": 1,
            "total": table.row.size,
            "found": ordered.size,
            "offset": query.offset,
            "rows": [self._describe_row(snapshot, table, at) for at in rows],
        }

    def _choose(self, snapshot: Snapshot, table: _Table, query: Query) -> npt.NDArray[np.int64]:
        wanted = np.ones(table.row.size, bool)
        if query.state == FIRING:
            wanted = table.firing
        elif query.state:
            wanted = table.state == STATES.index(query.state)
        chosen = np.flatnonzero(wanted)
        if not query.search:
            return chosen
        kept = [at for at in chosen.tolist() if query.search in self._find(snapshot, table, at)[2]]
        return np.array(kept, np.int64)

    def _order(
        self, snapshot: Snapshot, table: _Table, chosen: npt.NDArray[np.int64], order: str
    ) -> npt.NDArray[np.int64]:
        if order == "name":
            names = [self._find(snapshot, table, at)[0].casefold() for at in chosen.tolist()]
            return chosen[np.argsort(np.array(names, object), kind="stable")]
        error = np.nan_to_num(table.error[chosen], nan=-1.0)
        return chosen[np.lexsort((chosen, -error, ~table.firing[chosen]))]

    def _find(self, snapshot: Snapshot, table: _Table, at: int) -> tuple[str, str, str]:
        shard = snapshot.shards[table.shard[at]]
        return self._declared.find(shard.settings, shard.survey.ids[table.row[at]])

    def _describe_row(self, snapshot: Snapshot, table: _Table, at: int) -> dict[str, object]:
        shard, row = snapshot.shards[table.shard[at]], int(table.row[at])
        name, unit, _ = self._find(snapshot, table, at)
        series, survey = shard.survey.ids[row], shard.survey
        error, naive = float(table.error[at]), float(table.naive[at])
        return {
            "series": series,
            "name": name,
            "unit": unit,
            "topic": shard.partition.topic,
            "partition": shard.partition.partition,
            "state": STATES[survey.state[row]],
            "firing": [alert.kind for alert in shard.firing if alert.series == series],
            "error": error if np.isfinite(error) else None,
            "skill": 1.0 - error / naive if naive > 0 else None,
            "needed": max(survey.warm_readings - int(survey.accepted[row]), 0),
        }


def _gather(snapshot: Snapshot, champion: str, step: int | None) -> _Table:
    quality = snapshot.quality
    columns = [quality.steps.index(step)] if step in quality.steps else list(range(len(quality.steps)))
    experts = [champion, "naive"]
    places = [quality.forecasters.index(name) if name in quality.forecasters else -1 for name in experts]
    parts = [
        _gather_shard(shard, quality.by_shard.get(shard.partition), places, columns)
        for shard in snapshot.shards
    ]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    shard = np.repeat(np.arange(len(parts)), [part["row"].size for part in parts])
    return _Table(shard=shard, **joined)


def _gather_shard(
    shard: ShardSnapshot,
    windows: tuple[np.ndarray, np.ndarray] | None,
    places: list[int],
    columns: list[int],
) -> dict[str, np.ndarray]:
    size = len(shard.survey.ids)
    error, naive = np.full(size, np.nan), np.full(size, np.nan)
    if windows is not None:
        mean_SEL, count_SL = windows
        slot = shard.survey.slot
        known = (slot >= 0) & (slot < len(mean_SEL))
        known[known] = (count_SL[slot[known]][:, columns] > 0).all(1)
        for found, place in ((error, places[0]), (naive, places[1])):
            if place >= 0:
                found[known] = mean_SEL[slot[known], place][:, columns].mean(1)
    firing = {alert.series for alert in shard.firing}
    return {
        "row": np.arange(size),
        "state": shard.survey.state,
        "error": error,
        "naive": naive,
        "firing": np.array([series in firing for series in shard.survey.ids], bool)
        if firing
        else np.zeros(size, bool),
    }
