"""Two seeds of one forecaster: how often the comparison finds one of them better, which it must not.

    python -m tests.bench.two_seeds --runs 100 --json tests/bench/results/two-seeds.json

Each run has a simulated plant of its own and two banks of the same network with other seeds; their errors
meet in one comparison. Wrong is a run in which the verdict was ever `better`, at any step or over the path,
looked at every LOOK readings and at the end: looking often must not help to find a leader.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from forecasters import build
from forecasters.comparison import Comparison
from pipeline.demo.plant import DAY_MS
from pipeline.study.plant import STEPS_PER_DAY, make_plant

HORIZON = 3
SERIES = 12
DAYS = 6
HIDDEN = 16
LOOK = 48
CADENCE_MS = DAY_MS // STEPS_PER_DAY


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    runs = []
    for number in range(options.runs):
        runs.append(run_pair(("rnn", "lstm")[number % 2], number))
        print(f"{number + 1}: {runs[-1]}", flush=True)
    report = summarise(runs) | {"seconds": round(time.perf_counter() - started, 1)}
    print(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def run_pair(net: str, number: int) -> dict[str, Any]:
    """One plant, two seeds. ended: the verdict over the path at the end; wrong: whether any was `better`
    at any look."""
    history = make_plant(SERIES, DAYS, number, warmup=0.2, score_from=0.25)
    banks = [
        build([net], horizon=HORIZON, seed=2 * number + k, device="cpu", hidden=HIDDEN) for k in range(2)
    ]
    slots = np.arange(SERIES)
    for bank in banks:
        bank.add(history.series, cadence_ms=CADENCE_MS, season_ms=DAY_MS)
    pair = ("first", "second")
    comparison = Comparison(pair, [pair], horizon=HORIZON)
    comparison.fields.grow(SERIES)
    comparison.irregular.fields.grow(SERIES)
    comparison.add(slots, np.full(SERIES, CADENCE_MS))
    values = history.value.reshape(-1, SERIES)
    wrong, verdict = False, "undecided"
    for step, row in enumerate(values):
        times = np.full(SERIES, int(history.event_time_ms[step * SERIES]))
        mask = np.isnan(row)
        results = [bank.step(slots, times, np.where(mask, 0.0, row), mask) for bank in banks]
        errors = torch.cat([result.error for result in results], 1).permute(1, 2, 0).numpy()
        comparison.observe(slots, times, errors, results[0].scored.t().numpy())
        comparison.close()
        if step % LOOK == LOOK - 1 or step == len(values) - 1:
            figures = comparison.summary().pairs[pair]
            verdict = figures[-1].verdict
            wrong |= any(one.verdict == "better" for one in figures)
    last = comparison.summary().pairs[pair][-1]
    return {"net": net, "number": number, "ended": verdict, "wrong": wrong,
            "difference": round(last.difference, 5), "blocks": last.blocks}  # fmt: skip


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "runs": len(runs),
        "ended": dict(Counter(run["ended"] for run in runs)),
        "ever_better": sum(run["wrong"] for run in runs),
        "largest_difference": max(abs(run["difference"]) for run in runs),
        "series": SERIES, "days": DAYS, "horizon": HORIZON, "hidden": HIDDEN, "look": LOOK,
        "all": runs,
    }  # fmt: skip


if __name__ == "__main__":
    main()
