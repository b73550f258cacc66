"""What a large shard loses by training each chunk once and replaying nothing (`forecasters.chunks.LARGE`).

    python -m tests.bench.large_shard ../shared/data/ett/ETTh1.csv ../shared/data/ett/ETTm1.csv

A shard of many series is made of the columns of a real file, read from as many places of it as it takes, in
step. Two banks read it in turn, one as it is, one that learns as a small shard does. Skill is 1 less mean
|error| over that of naive, errors in units of scale and at most LARGEST; from reading FROM of each series on.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch

from forecasters import Bank, build, chunks
from pipeline.one_core import use_one_core

SERIES = (500, 1_000)
ROUNDS, FROM = 1_300, 500
NAMES = ("naive", "linear", "rnn", "lstm", "blend")
SHOWN_STEPS = (1, 4, 8, 24)
LARGEST = 20.0
NEVER_LARGE = 4 * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    use_one_core()
    found = []
    for path in options.files:
        for series in SERIES:
            found.append(compare(path, series))
            print(json.dumps(found[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def compare(path: Path, series: int) -> dict[str, Any]:
    table = pd.read_csv(path, index_col=0, parse_dates=True)
    values = table.to_numpy(float)
    cadence_ms = int((table.index[1] - table.index[0]).total_seconds() * 1000)
    copies = -(-series // values.shape[1])
    begins = np.linspace(0, len(values) - ROUNDS, copies).astype(int)
    rounds = np.concatenate([values[at : at + ROUNDS] for at in begins], 1)[:, :series]
    report: dict[str, Any] = {"file": path.name, "series": series}
    for name, large in (("as it is", chunks.LARGE), ("as a small shard", NEVER_LARGE)):
        with patch.object(chunks, "LARGE", large):
            report[name] = run(rounds, cadence_ms)
    return report


def run(rounds: np.ndarray, cadence_ms: int) -> dict[str, Any]:
    """Skill by forecaster at SHOWN_STEPS, and microseconds a reading."""
    bank = build(NAMES, seed=0, device="cpu")
    num = rounds.shape[1]
    slots = bank.add([f"sensor/{k}" for k in range(num)], cadence_ms=cadence_ms)
    at = [bank.scored.index(step) for step in SHOWN_STEPS]
    sums, spent = np.zeros((len(bank.names), len(at))), 0.0
    for k, values in enumerate(rounds):
        started = time.perf_counter()
        result = bank.step(slots, np.full(num, k * cadence_ms), values)
        if k >= FROM:
            spent += time.perf_counter() - started
            sums += sum_errors(result.error_EQR[:, at, :num], result.scored_QR[at, :num])
    skill = 1.0 - sums / sums[bank.names.index("naive")]
    return {
        "us_a_reading": round(1e6 * spent / num / (ROUNDS - FROM), 2),
        "updates": updates(bank),
        "skill": {
            name: dict(zip(map(str, SHOWN_STEPS), skill[row].round(4).tolist(), strict=True))
            for row, name in enumerate(bank.names) if name in ("rnn", "lstm", "blend")
        },
    }  # fmt: skip


def sum_errors(error_EQN: torch.Tensor, valid_QN: torch.Tensor) -> np.ndarray:
    size = error_EQN.abs().clamp(max=LARGEST)
    return torch.where(valid_QN, size, 0.0).sum(-1, dtype=torch.float64).numpy()


def updates(bank: Bank) -> int:
    return int(sum(bank.training()["rnn"][kind] for kind in ("applied", "clipped")))


if __name__ == "__main__":
    main()
