"""How much the quality of alerts depends on each chosen number: one varied at a time.

    python -m tests.bench.alert_sensitivity FOLDER WINDOWS.json --record FILE.npz [--json OUT]

FOLDER and WINDOWS.json as for `gatecast backtest --labels` with `--warmup 0 --score-from 0.15`. Forecasts
do not depend on these numbers: they are made once, with the files as series of one shard, and their errors
kept in FILE (made where it is not there). Then the errors of each champion are scored anew for each choice,
every series with a cut of its own, as in a shard of its own. So minutes and not hours; but networks that
learn from all files are not those of the backtest, where each file has its own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from forecasters import anomaly, build, ranks
from forecasters.anomaly import SEASONS, YOUNG, AlertOptions, Anomaly
from forecasters.budget import DAY_MS, Budget, Cut
from forecasters.episodes import BEGINS
from forecasters.outcome import Outcome
from pipeline.alert_log import Episode
from pipeline.alert_quality import LabelledFile, find_windows, measure, read_labels
from pipeline.backtest import DEFAULT_FORECASTERS, DEFAULT_HORIZON
from pipeline.backtest_files import expand_folders
from pipeline.engine.intake import Intake, IntakeOptions
from pipeline.histories import read_history
from pipeline.records import Readings
from pipeline.sources.tables import TableOptions

SCORE_FROM = 0.15
CHAMPIONS = ("blend", "naive")
Arrays = dict[str, Any]
BUDGET = 0.2
BUDGETS = (0.1, 0.15, 0.2, 0.25, 0.3)
"""Episodes per series and day."""
DEFAULTS: Mapping[str, float] = {"hold": 100, "short": 10, "long": 8640.0}
"""Judged steps; errors that are averaged; readings that the ranks remember."""
VARIANTS: Mapping[str, tuple[float, ...]] = {
    "hold": (50, 200), "short": (5, 20), "long": (4320.0, 17280.0),
}  # fmt: skip


class _Cadence:
    """What Intake asks of a bank; keeps the cadence that it found."""

    cadence_ms = 0

    def add(self, ids: Sequence[str], *, cadence_ms: Any, season_ms: Any) -> np.ndarray:
        self.cadence_ms = int(np.ravel(cadence_ms)[0])
        return np.arange(len(ids))


def place(file: str) -> tuple[Arrays, int]:
    """The steps of a file on its grid, missing ones masked, and its cadence."""
    history, found = read_history([file], TableOptions(), rows=None, warmup=0.0, score_from=0.0), _Cadence()
    intake = Intake(IntakeOptions(), found)
    readings = Readings(
        series=("x",), series_index=np.zeros(len(history.value), np.int32),
        event_time_ms=history.event_time_ms, value=history.value,
    )  # fmt: skip
    parts = [intake.place(readings).steps, intake.flush()]
    names = ("event_time_ms", "value", "masked", "restart")
    return {n: np.concatenate([getattr(part, n) for part in parts]) for n in names}, found.cadence_ms


def record(files: Sequence[str]) -> Arrays:
    """One-step errors of all forecasters, and what the scoring needs beside them: [series, step]."""
    torch.set_num_threads(1)
    placed = [place(file) for file in files]
    steps, cadence_ms = [one for one, _ in placed], [cadence for _, cadence in placed]
    names = DEFAULT_FORECASTERS
    bank = build(names, horizon=DEFAULT_HORIZON, seed=0, device="cpu")
    bank.add([str(k) for k in range(len(files))], cadence_ms=cadence_ms)
    shape = len(files), max(len(one["value"]) for one in steps)
    kept = {key: np.full((*shape, len(names)), np.nan) for key in ("E1", "HW")}
    kept |= {key: np.full(shape, np.nan) for key in ("SC", "V")} | {"TM": np.zeros(shape, np.int64)}
    for step in range(shape[1]):
        rows = np.array([k for k, one in enumerate(steps) if step < len(one["value"])])
        column = {n: np.array([steps[k][n][step] for k in rows]) for n in steps[0]}
        if column["restart"].any():
            bank.restart(rows[column["restart"]])
        result = bank.step(rows, column["event_time_ms"], column["value"], column["masked"])
        scored = result.scored[:, :1].numpy()
        kept["E1"][rows, step] = np.where(scored, result.error[:, :, 0].numpy(), np.nan)
        kept["HW"][rows, step] = result.due_half[:, :, 0].numpy()
        kept["SC"][rows, step], kept["TM"][rows, step] = result.scale.numpy(), column["event_time_ms"]
        kept["V"][rows, step] = np.where(column["masked"], np.nan, column["value"])
    return {**kept, "N": np.array([len(one["value"]) for one in steps]), "cad": np.array(cadence_ms),
            "names": np.array(names), "files": np.array(files)}  # fmt: skip


class Scoring:
    """The scoring of the record of several champions under several budgets at once.

    Rows are files for the first budget and champion, then for its second champion, … then the next budget.
    """

    def __init__(self, kept: Arrays, champions: Sequence[str], budgets: Sequence[float], hold: int) -> None:
        at = [list(kept["names"]).index(name) for name in champions] * len(budgets)
        times = len(at)
        self.error, self.half = (np.concatenate([kept[key][:, :, k] for k in at]) for key in ("E1", "HW"))
        self.scale, self.value, self.time = (np.concatenate([kept[k]] * times) for k in ("SC", "V", "TM"))
        self.length = np.concatenate([kept["N"]] * times)
        self.cadence_ms = np.concatenate([kept["cad"]] * times).astype(np.int64)
        size = self.size = len(self.length)
        options, timetable = AlertOptions(champion="x", hold=hold), {"cadence_ms": self.cadence_ms}
        self.anomaly = Anomaly(["x"], timetable, options)  # type: ignore[arg-type]
        for part in self.anomaly.parts().values():
            part.grow(size)
        each = len(champions) * len(kept["N"])
        self.cuts = [Cut(Budget(budget, per_series=True)) for budget in budgets for _ in range(each)]
        ignored = SimpleNamespace(value=None, count=lambda *_: None)
        self.anomaly.cut = self._shown = ignored  # type: ignore[assignment]
        self.season = DAY_MS / self.cadence_ms
        self.center, self.origin, self.last = np.zeros((3, size))
        self.good = np.zeros(size, np.int64)
        self.episodes: list[list[list[int]]] = [[] for _ in range(size)]

    def play(self) -> None:
        for step in range(self.value.shape[1]):
            self._judge(step, np.flatnonzero(step < self.length))

    def _judge(self, step: int, rows: np.ndarray) -> None:
        value, time_ms, error = (column[rows, step] for column in (self.value, self.time, self.error))
        seen, valid = ~np.isnan(value), ~np.isnan(error)
        first = rows[seen & (self.good[rows] == 0)]
        self.origin[first] = self.value[first, step]
        y = np.where(seen, value - self.origin[rows], self.last[rows])
        departure = y - self.center[rows]
        arrival = SimpleNamespace(
            rows=SimpleNamespace(slots=rows, host=rows), slots=rows, seen=seen, all_seen=bool(seen.all()),
            step=np.full(len(rows), step), good=self.good[rows], restarted=None,
            place=SimpleNamespace(season_steps=self.season[rows]),
        )  # fmt: skip
        outcome = Outcome(
            error_EQN=np.nan_to_num(error).astype(np.float32)[None, None],
            half_EQN=np.nan_to_num(self.half[rows, step], nan=1.0).astype(np.float32)[None, None],
            valid_QN=valid[None],
            scale_QN=np.nan_to_num(self.scale[rows, max(step - 1, 0)], nan=1.0).astype(np.float32)[None],
            known_N=valid, moved_N=valid & (y != self.last[rows]), departure_N=departure.astype(np.float32),
        )  # fmt: skip
        number = self.anomaly.episodes.read("judged", rows)
        self._shown.value = np.array([self.cuts[k].value for k in rows])
        alarms = self.anomaly.observe(arrival, time_ms, np.nan_to_num(value), outcome)  # type: ignore[arg-type]
        is_young = (number < SEASONS * np.minimum(self.season[rows], 1440.0)) | (number + 1 < YOUNG)
        for at in np.flatnonzero(seen).tolist():
            stands_ms = int(self.cadence_ms[rows[at]])
            cut = self.cuts[rows[at]]
            cut.count(1, stands_ms, 0 if is_young[at] else stands_ms, int(alarms.event[at] == BEGINS))
            cut.tick(1)
        for at in np.flatnonzero(alarms.exceeds).tolist():
            episodes = self.episodes[rows[at]]
            if alarms.event[at] == BEGINS or not episodes:
                episodes.append([int(time_ms[at]), 0])
            episodes[-1][1] = int(time_ms[at])
        rate = np.maximum(1 / (7 * self.season[rows]), 1 / (self.good[rows] + 1.0))
        self.center[rows] += np.where(seen, rate * departure, 0.0)
        self.good[rows] += seen
        self.last[rows] = y


def score(
    kept: Arrays, windows: Sequence[Any], budgets: Sequence[float], chosen: Mapping[str, float]
) -> list[dict[str, Any]]:
    """For each budget: quality by champion, under one choice of the other numbers."""
    anomaly.WINDOW, ranks.MEMORY = int(chosen["short"]), chosen["long"]
    scoring = Scoring(kept, CHAMPIONS, budgets, int(chosen["hold"]))
    scoring.play()
    files = []
    for row, found in enumerate(scoring.episodes):
        k = row % len(windows)
        length = int(kept["N"][k])
        from_ms, until_ms = int(kept["TM"][k, int(SCORE_FROM * length)]), int(kept["TM"][k, length - 1])
        scored = [Episode(series="", first_ms=a, last_ms=b, score=1.0) for a, b in found if b >= from_ms]
        files.append(LabelledFile(episodes=scored, windows=windows[k], from_ms=from_ms, until_ms=until_ms))
    parts = [measure(files[at : at + len(windows)]) for at in range(0, len(files), len(windows))]
    num = len(CHAMPIONS)
    return [dict(zip(CHAMPIONS, parts[at : at + num], strict=True)) for at in range(0, len(parts), num)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("windows")
    parser.add_argument("--record", required=True)
    parser.add_argument("--json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    files, labels = expand_folders([given.folder])[0], read_labels(given.windows)
    if not Path(given.record).exists():
        np.savez(given.record, **record(files))
    kept = dict(np.load(given.record))
    windows = [find_windows(labels, file, given.windows) for file in kept["files"].tolist()]
    told: dict[str, Any] = {"files": [PurePath(file).name for file in kept["files"].tolist()]}

    def tell(name: str, quality: Mapping[str, Any]) -> None:
        told[name] = quality
        for champion, one in quality.items():
            print(
                f"{name:14} {champion:6} recall {one['recall']:.3f}  precision {one['precision']:.3f}"
                f"  false/day {one['false_alerts_per_day']:.3f}",
                flush=True,
            )
        if given.json:
            Path(given.json).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")

    for budget, quality in zip(BUDGETS, score(kept, windows, BUDGETS, DEFAULTS), strict=True):
        tell("default" if budget == BUDGET else f"budget {budget:g}", quality)
    for name, values in VARIANTS.items():
        for value in values:
            tell(f"{name} {value:g}", score(kept, windows, [BUDGET], {**DEFAULTS, name: value})[0])


if __name__ == "__main__":
    main()
