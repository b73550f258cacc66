"""What every benchmark reports: cases beside a yardstick that ran in turn with them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from pipeline.bench import Row, commit, machine

Work = Callable[[], int]
"""Does something once; returns how many units of it."""


def measure(works: Mapping[str, Work], runs: int) -> dict[str, float]:
    """Units per second of each, the median of `runs`. They take turns, so that a busy machine hits all."""
    rates: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(runs):
        for name, work in works.items():
            start = time.perf_counter()
            done = work()
            rates[name].append(done / (time.perf_counter() - start))
    return {name: statistics.median(found) for name, found in rates.items()}


def make_rows(
    rates: Mapping[str, float],
    yardstick: str,
    described: str,
    *,
    series: int,
    unit: str,
    runs: int,
    share: Mapping[str, Mapping[str, float]] | None = None,
) -> list[Row]:
    """A row for each case but the yardstick itself."""
    base = rates[yardstick]
    return [
        Row(
            case=case, series=series, value=round(rate, 1), unit=unit, yardstick=described,
            yardstick_value=round(base, 1), ratio=round(rate / base, 2), runs=runs,
            share=dict((share or {}).get(case, {})),
        )
        for case, rate in rates.items()
        if case != yardstick
    ]  # fmt: skip


def make_report(rows: Sequence[Row], **more: object) -> dict[str, object]:
    """All cases, as the contract's JSON; more: what else belongs to the run, such as its configuration."""
    return {
        "version": 1, "machine": machine(), "commit": commit(), **more,
        "results": [asdict(row) for row in rows],
    }  # fmt: skip
