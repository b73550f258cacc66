"""`gatecast bench engine`: readings per second of forecast and learn on one core, beside two yardsticks.

Every case runs several times; the median is reported. A case's ratio is its rate over that of the yardstick
measured in the same process: a plain one-series network (32 units, window 32, Adam) that is trained on its
whole window at every observation, which is what River-style libraries around PyTorch do.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from forecasters import Bank, build
from forecasters.anomaly import AlertOptions
from forecasters.bank import ALERTS, COMPARISON
from pipeline.benches.rows import Row

HIDDEN = 32
WINDOW = 32
CADENCE_MS = 60_000
DEFAULTS = ("naive", "seasonal_naive", "linear", "rnn", "lstm", "blend")
SECONDS_PER_RUN = 1.0
GEMM_SIZE = 1024
DRAWN = 1_000_000  # values at a time


def _rate(work: Callable[[], int], runs: int) -> float:
    """Median over `runs` of units of work per second; each run lasts about a second."""
    rates = []
    for _ in range(runs):
        done, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < SECONDS_PER_RUN:
            done += work()
        rates.append(done / spent)
    return statistics.median(rates)


def gemm_rate(runs: int) -> float:
    """GFLOP/s of a float32 matrix product on one thread."""
    a, b = torch.randn(GEMM_SIZE, GEMM_SIZE), torch.randn(GEMM_SIZE, GEMM_SIZE)

    def work() -> int:
        torch.mm(a, b)
        return 2 * GEMM_SIZE**3

    return _rate(work, runs) / 1e9


def one_series_rate(kind: str, runs: int) -> float:
    """Observations per second of the plain one-series network."""
    torch.manual_seed(0)
    net = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM}[kind](1, HIDDEN, batch_first=True)
    head = torch.nn.Linear(HIDDEN, 1)
    adam = torch.optim.Adam([*net.parameters(), *head.parameters()], lr=1e-3)
    values = torch.randn(WINDOW + 4096).cumsum(0)
    at = 0

    def work() -> int:
        nonlocal at
        at = (at + 1) % 4096
        window = values[at : at + WINDOW + 1]
        x, y = window[:-1].view(1, WINDOW, 1), window[1:].view(1, WINDOW, 1)
        with torch.no_grad():
            head(net(x)[0][:, -1])
        adam.zero_grad()
        torch.nn.functional.mse_loss(head(net(x)[0]), y).backward()
        adam.step()
        return 1

    return _rate(work, runs)


def _waves(bank: Bank, num_series: int) -> Iterator[int]:
    """Endless rounds of readings, one of each series; yields how many. Values are drawn many rounds ahead,
    as the yardstick's are."""
    slots = bank.add([f"sensor/{k}" for k in range(num_series)], cadence_ms=CADENCE_MS)
    rng = np.random.default_rng(0)
    level, many = rng.normal(size=num_series), max(DRAWN // num_series, 1)
    for first in range(0, 10**9, many):
        walk = level + rng.normal(size=(many, num_series)).cumsum(0)
        level = walk[-1]
        walk += 5 * np.sin(2 * np.pi * np.arange(first, first + many)[:, None] / 1440)
        for k, value in enumerate(walk, first):
            bank.step(slots, np.full(num_series, k * CADENCE_MS), value)
            yield num_series


def bank_case(
    names: tuple[str, ...], num_series: int, runs: int, alerts: AlertOptions | None = None, **options: float
) -> tuple[float, dict[str, float]]:
    """(readings per second, share of the time by part), after a warm-up that has begun to learn."""
    bank = build(names, seed=0, device="cpu", alerts=alerts, **options)  # type: ignore[arg-type]
    rounds = _waves(bank, num_series)
    for _ in range(100 if num_series < 5000 else 50):
        next(rounds)
    parts = (*names, COMPARISON, ALERTS)
    before = {part: bank.seconds(part) for part in parts}
    start = time.perf_counter()
    rate = _rate(lambda: next(rounds), runs)
    spent = time.perf_counter() - start
    share = {part: round((bank.seconds(part) - before[part]) / spent, 3) for part in parts}
    return rate, {**share, "shared": round(1.0 - sum(share.values()), 3)}


def run_engine(series: tuple[int, ...], runs: int) -> list[Row]:
    """All cases."""
    torch.set_num_threads(1)
    rows: list[Row] = []
    gemm = gemm_rate(runs)
    for kind in ("rnn", "lstm"):
        yardstick = one_series_rate(kind, runs)
        for count in series:
            rate, share = bank_case((kind,), count, runs, horizon=1, hidden=HIDDEN, replay=0)
            rows.append(
                Row(
                    case=kind, series=count, value=round(rate, 1), yardstick_value=round(yardstick, 1),
                    yardstick=f"one-series nn.{kind.upper()}, window {WINDOW}",
                    ratio=round(rate / yardstick, 2),
                    runs=runs, share=share,
                )
            )  # fmt: skip
    for count in series:
        rate, share = bank_case(DEFAULTS, count, runs, alerts=AlertOptions(champion=DEFAULTS[-1]))
        judging = share[COMPARISON] + share[ALERTS]
        rows.append(
            Row(
                case="comparison and alerts", series=count, value=round(1e6 * judging / rate, 3),
                unit="µs a reading", yardstick="all of the defaults, µs a reading",
                yardstick_value=round(1e6 / rate, 3), ratio=round(judging, 3), runs=runs, share={},
            )
        )  # fmt: skip
        rows.append(
            Row(
                case="defaults", series=count, value=round(rate, 1), yardstick="fp32 GEMM, GFLOP/s",
                yardstick_value=round(gemm, 1), ratio=round(rate / gemm, 2), runs=runs, share=share,
            )
        )  # fmt: skip
    return rows
