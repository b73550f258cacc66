"""Whether the budget of alerts holds on series in which nothing is wrong, and whether faults still page.

    python -m tests.bench.alert_budget [--fleet 2000] [--days 7] [--single 100] [--single-days 30]
        [--forecaster naive|linear] [--json OUT]

Simulated series at a reading a minute, through the bank; the fleet with the naive forecaster (the scoring
is the same for all). Each has a daily season, noise that remembers and noise that doesn't, a level and
sizes of its own. A fleet shares a budget for the deployment; single series have one each, in a shard of
their own. In a second run of the fleet, on its last day, ten series break.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from forecasters import Bank, build
from forecasters.anomaly import SEASONS, YOUNG, AlertOptions
from forecasters.budget import DAY_MS, Budget, Cut
from forecasters.episodes import BEGINS

DAY = 1440
FLEET_BUDGET = 5.0
SINGLE_BUDGET = 0.1
FAULTS = 10


@dataclass
class Plant:
    """Clean series, a step at a time. Rows [S]."""

    size: int
    seed: int
    day: int = DAY  # readings in it

    def __post_init__(self) -> None:
        rng = self.rng = np.random.default_rng(self.seed)
        self.level = rng.uniform(-50, 200, self.size)
        self.noise = np.exp(rng.normal(0, 1, self.size))
        self.season = self.noise * rng.uniform(0, 8, self.size)
        self.phase = rng.uniform(0, 2 * np.pi, self.size)
        self.memory = rng.uniform(0.0, 0.98, self.size)
        self.walk = np.zeros(self.size)

    def read(self, step: int) -> np.ndarray:
        fresh = self.rng.normal(size=(2, self.size))
        self.walk = self.memory * self.walk + np.sqrt(1 - self.memory**2) * fresh[0]
        wave = self.season * np.sin(2 * np.pi * step / self.day + self.phase)
        return self.level + wave + self.noise * (self.walk + 0.5 * fresh[1])


def break_series(values: np.ndarray, plant: Plant, since: int) -> None:
    """Ten faults, `since` steps after their start, in the first ten series."""
    size = plant.noise
    values[0] = 0.0 if abs(plant.level[0]) > 20 * size[0] else plant.level[0] - 30 * size[0]
    values[1] += 15 * size[1] + plant.season[1]
    values[2] -= 15 * size[2] + plant.season[2]
    values[3] += min(since, 60) * 0.5 * size[3]  # a fast drift
    values[4] += (20 * size[4]) * (since < 5)  # a spike
    values[5] += 10 * size[5] * plant.rng.normal()  # noise
    values[6] = plant.level[6] + 40 * size[6]
    values[7] += 12 * size[7] * (1 if since % 2 else -1)  # hunting
    values[8] = plant.level[8] * 10 + 100 * size[8]  # a unit that was mixed up
    values[9] -= 25 * size[9]


def make_bank(budget: float, per_series: bool, forecaster: str = "naive") -> Bank:
    return build(
        (forecaster,), horizon=1, device="cpu",
        alerts=AlertOptions(champion=forecaster, episodes_per_day=budget, per_series=per_series),
    )  # fmt: skip


def run(
    size: int, days: int, seed: int, budget: float, per_series: bool, faulty: bool, day: int = DAY
) -> list[list[int]]:
    """Per day, the series whose episodes begin; `day`: readings in it."""
    torch.set_num_threads(1)
    bank, plant, cadence_ms = make_bank(budget, per_series), Plant(size, seed, day), DAY_MS // day
    slots = bank.add([f"s{k}" for k in range(size)], cadence_ms=cadence_ms)
    pages: list[list[int]] = [[] for _ in range(days)]
    start = (days - 1) * day + day // 2
    for step in range(days * day):
        values = plant.read(step)
        if faulty and step >= start:
            break_series(values, plant, step - start)
        alarms = bank.step(slots, np.full(size, step * cadence_ms), values).alarms
        assert alarms is not None
        pages[step // day] += np.flatnonzero(alarms.event == BEGINS).tolist()
    return pages


class OwnCuts:
    """A cut for each series, as if each had a shard of its own: steered after each of its readings."""

    def __init__(self, size: int, budget: float, cadence_ms: int) -> None:
        self.cuts = [Cut(Budget(budget, per_series=True)) for _ in range(size)]
        self.cadence_ms = cadence_ms
        self.is_known = False

    @property
    def value(self) -> np.ndarray:
        """`[S]`; the first readings, before the bank's ticks fall between rounds, come a few at a time."""
        return np.array([cut.value for cut in self.cuts] if self.is_known else np.inf)

    def count(self, judged: int, judged_ms: int, exposed_ms: int, pages: int) -> None:
        """Sums over series: not of use here."""

    def tick(self, live: int) -> None:
        """Likewise."""

    def take(self, is_young: bool, begins: np.ndarray) -> None:
        for cut, page in zip(self.cuts, begins.tolist(), strict=True):
            cut.count(1, self.cadence_ms, 0 if is_young else self.cadence_ms, int(page))
            cut.tick(1)


def run_singles(
    size: int, days: int, budget: float = SINGLE_BUDGET, seed: int = 2, day: int = DAY,
    forecaster: str = "naive",
) -> int:  # fmt: skip
    """Pages of so many shards of one series each. The naive and the linear forecaster share nothing, so they
    can be rows of one bank, each with a cut of its own."""
    torch.set_num_threads(1)
    cadence_ms = DAY_MS // day
    bank, plant = make_bank(budget, True, forecaster), Plant(size, seed, day)
    cuts = OwnCuts(size, budget, cadence_ms)
    assert bank.anomaly is not None
    bank.anomaly.cut = cuts  # type: ignore[assignment]
    slots = bank.add([f"s{k}" for k in range(size)], cadence_ms=cadence_ms)
    pages = 0
    for step in range(days * day):
        alarms = bank.step(slots, np.full(size, step * cadence_ms), plant.read(step)).alarms
        assert alarms is not None
        begins = alarms.event == BEGINS
        cuts.is_known = step > 2
        cuts.take(step < max(SEASONS * day, YOUNG), begins)
        pages += int(begins.sum())
    return pages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--fleet", type=int, default=2000)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--single", type=int, default=100)
    parser.add_argument("--single-days", type=int, default=30)
    parser.add_argument("--forecaster", default="naive", choices=("naive", "linear"), help="of the singles")
    parser.add_argument("--json")
    given = parser.parse_args()
    started = time.perf_counter()
    result: dict[str, object] = {"cadence": "1 min", "forecaster": "naive"}
    if given.fleet:
        for name, faulty in (("clean", False), ("faulty", True)):
            pages = run(given.fleet, given.days, 1, FLEET_BUDGET, per_series=False, faulty=faulty)
            total = sum(map(len, pages))
            told = {
                "series": given.fleet, "days": given.days, "budget": f"{FLEET_BUDGET:g}/day",
                "pages_by_day": [len(day) for day in pages], "pages": total,
                "share_of_budget": round(total / (FLEET_BUDGET * given.days), 3),
            }  # fmt: skip
            if faulty:
                told["faults_found"] = len(set(pages[-1]) & set(range(FAULTS)))
            result[f"fleet_{name}"] = told
            print(name, told, flush=True)
    if given.single:
        total = run_singles(given.single, given.single_days, forecaster=given.forecaster)
        result["single"] = {
            "series": given.single, "days": given.single_days, "forecaster": given.forecaster,
            "budget": f"{SINGLE_BUDGET:g}/series/day",
            "pages": total,
            "share_of_budget": round(total / (SINGLE_BUDGET * given.single * given.single_days), 3),
        }  # fmt: skip
        print("single", result["single"], flush=True)
    result["seconds"] = round(time.perf_counter() - started, 1)
    if given.json:
        Path(given.json).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
