"""What every benchmark reports: cases beside a yardstick that ran in turn with them."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured case; `value` in `unit`, `ratio` over `yardstick_value`."""

    case: str
    series: int
    value: float
    unit: str = "readings/s"
    yardstick: str
    yardstick_value: float
    ratio: float
    runs: int
    share: dict[str, float]


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


def machine() -> dict[str, object]:
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def commit() -> str | None:
    """The checked-out commit, or None outside a checkout."""
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
            cwd=os.path.dirname(__file__),
        )
    except FileNotFoundError:
        return None
    return asked.stdout.strip() or None
