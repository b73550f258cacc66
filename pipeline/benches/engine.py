"""`gatecast bench engine`: readings per second of forecast and learn on one core, beside two yardsticks.

Cases and yardstick take turns several times; medians are reported. A case's ratio is its rate over that of
the yardstick a moment before: a plain one-series network (32 units, window 32, Adam) that is trained on its
whole window at every observation, which is what River-style libraries around PyTorch do. On a GPU the
defaults alone are measured, beside themselves on one core.
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
from forecasters.chunks import YOUNG
from forecasters.timetable import SETTLED
from pipeline.benches.rows import Row
from pipeline.one_core import use_one_core

HIDDEN = 32
WINDOW = 32
CADENCE_MS = 60_000
DEFAULTS = ("naive", "seasonal_naive", "linear", "rnn", "lstm", "blend")
SECONDS_PER_RUN = 1.0
WARM_UP = YOUNG + 50
"""Rounds of readings: by then no series is young, of which more is learnt."""
MOST_WARM_UP = 4_000_000
"""Readings, of larger cases; their series are young then, and more is learnt of them than later."""
BESIDE_GPU = 1_000
"""Series of the yardstick on one core."""
GEMM_SIZE = 1024
DRAWN = 4_000_000  # values at a time: most runs need no more, so that none are drawn while the clock runs


Work = Callable[[], int]
"""Does some work; returns how much it was."""


def _rate(work: Work) -> float:
    """Units of work per second, over about a second."""
    done, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < SECONDS_PER_RUN:
        done += work()
    return done / spent


def make_gemm() -> Work:
    """Floating-point operations of a float32 matrix product."""
    a, b = torch.randn(GEMM_SIZE, GEMM_SIZE), torch.randn(GEMM_SIZE, GEMM_SIZE)

    def work() -> int:
        torch.mm(a, b)
        return 2 * GEMM_SIZE**3

    return work


def make_one_series(kind: str) -> Work:
    """Observations of the plain one-series network."""
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

    return work


def _waves(bank: Bank, num_series: int) -> Iterator[int]:
    """Endless rounds of readings, one of each series; yields how many at each tick, as the engine cuts them.
    Values are drawn many rounds ahead, as the yardstick's are."""
    slots = bank.add([f"sensor/{k}" for k in range(num_series)], cadence_ms=CADENCE_MS)
    rng = np.random.default_rng(0)
    level, many = rng.normal(size=num_series), max(DRAWN // num_series, 1)
    for first in range(0, 10**9, many):
        walk = level + rng.normal(size=(many, num_series)).cumsum(0)
        level = walk[-1]
        walk += 5 * np.sin(2 * np.pi * np.arange(first, first + many)[:, None] / 1440)
        for k, value in enumerate(walk, first):
            times, start = np.full(num_series, k * CADENCE_MS), 0
            while start < num_series:
                stop = min(start + bank.readings_to_tick, num_series)
                own = slots if stop - start == num_series else slots[start:stop]
                bank.step(own, times[start:stop], value[start:stop])
                yield stop - start
                start = stop


class BankCase:
    """A bank that is read to, warmed up until it learns as it will for good."""

    def __init__(
        self, names: tuple[str, ...], num_series: int, alerts: AlertOptions | None = None,
        device: str = "cpu", **options: float,
    ) -> None:  # fmt: skip
        self.num_series, self.parts = num_series, (*names, COMPARISON, ALERTS)
        self.bank = build(names, seed=0, device=device, alerts=alerts, **options)  # type: ignore[arg-type]
        self._rounds = _waves(self.bank, num_series)
        self.warm_up = min(WARM_UP, max(MOST_WARM_UP // num_series, SETTLED + 1))
        left = self.warm_up * num_series
        while left > 0:
            left -= next(self._rounds)
        self._spent, self._before = 0.0, self._seconds()

    def work(self) -> int:
        return next(self._rounds)

    def rate(self) -> float:
        """Readings per second, over about a second."""
        start = time.perf_counter()
        rate = _rate(self.work)
        self._spent += time.perf_counter() - start
        return rate

    def share(self) -> dict[str, float]:
        """Of the time so far, by part."""
        now = self._seconds()
        share = {part: round((now[part] - self._before[part]) / self._spent, 3) for part in self.parts}
        return {**share, "shared": round(1.0 - sum(share.values()), 3)}

    def _seconds(self) -> dict[str, float]:
        return {part: self.bank.seconds(part) for part in self.parts}


def _take_turns(yardstick: Work, cases: list[BankCase], runs: int) -> tuple[float, list[tuple[float, float]]]:
    """(median rate of the yardstick, median rate of each case and median of its ratios). Both are measured in
    each turn, one after the other: a machine's speed drifts by a third within minutes."""
    turns = [(_rate(yardstick), [case.rate() for case in cases]) for _ in range(runs)]
    medians = [
        (
            statistics.median(rates[at] for _, rates in turns),
            statistics.median(rates[at] / unit for unit, rates in turns),
        )
        for at in range(len(cases))
    ]
    return statistics.median(unit for unit, _ in turns), medians


def run_engine(series: tuple[int, ...], runs: int) -> list[Row]:
    """All cases."""
    use_one_core()
    rows: list[Row] = []
    for kind in ("rnn", "lstm"):
        cases = [BankCase((kind,), count, horizon=1, hidden=HIDDEN, replay=0) for count in series]
        yardstick, medians = _take_turns(make_one_series(kind), cases, runs)
        for case, (rate, ratio) in zip(cases, medians, strict=True):
            rows.append(
                Row(
                    case=kind, series=case.num_series, value=round(rate, 1),
                    yardstick_value=round(yardstick, 1),
                    yardstick=f"one-series nn.{kind.upper()}, window {WINDOW}", ratio=round(ratio, 2),
                    runs=runs, share=case.share(),
                )
            )  # fmt: skip
    alerts = AlertOptions(champion=DEFAULTS[-1])
    cases = [BankCase(DEFAULTS, count, alerts) for count in series]
    gemm, medians = _take_turns(make_gemm(), cases, runs)
    for case, (rate, ratio) in zip(cases, medians, strict=True):
        share = case.share()
        judging = share[COMPARISON] + share[ALERTS]
        rows.append(
            Row(
                case="comparison and alerts", series=case.num_series, value=round(1e6 * judging / rate, 3),
                unit="µs a reading", yardstick="all of the defaults, µs a reading",
                yardstick_value=round(1e6 / rate, 3), ratio=round(judging, 3), runs=runs, share={},
            )
        )  # fmt: skip
        rows.append(
            Row(
                case="defaults", series=case.num_series, value=round(rate, 1),
                yardstick="fp32 GEMM, GFLOP/s", yardstick_value=round(gemm / 1e9, 1),
                ratio=round(1e9 * ratio, 2), runs=runs, share=share,
            )
        )  # fmt: skip
    return rows


def run_engine_on(device: str, series: tuple[int, ...], runs: int) -> tuple[list[Row], dict[str, object]]:
    """The defaults on a GPU, one number of series after the other; and what else the report says."""
    use_one_core()
    torch.cuda.get_device_properties(device)  # raises where there is none, before minutes are spent
    alerts = AlertOptions(champion=DEFAULTS[-1])
    core = BankCase(DEFAULTS, BESIDE_GPU, alerts)
    rows: list[Row] = []
    rounds, memory = {}, {}
    for count in series:
        free = torch.cuda.memory_allocated(device)
        case = BankCase(DEFAULTS, count, alerts, device)
        base, ((rate, ratio),) = _take_turns(core.work, [case], runs)
        rows.append(
            Row(
                case="defaults", series=count, value=round(rate, 1), yardstick_value=round(base, 1),
                yardstick=f"the same on one core, {BESIDE_GPU:,} series", ratio=round(ratio, 2), runs=runs,
                share=case.share(),
            )
        )  # fmt: skip
        rounds[count] = case.warm_up
        memory[count] = round((torch.cuda.memory_allocated(device) - free) / count)
        del case
    return rows, {"device": device, "rounds_of_warm_up": rounds, "device_bytes_per_series": memory}
