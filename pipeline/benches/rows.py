"""What every benchmark reports: cases beside a yardstick that ran in turn with them."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch

LIBRARIES = (
    "gatecast",
    "numpy",
    "kafka-python",
    "confluent-kafka",
    "msgspec",
    "pyarrow",
    "prometheus-client",
)


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


Work = Callable[[], int | float]
"""Does something once; returns how many units of it (int), or its own rate in units per second (float)."""


def measure(works: Mapping[str, Work], runs: int) -> dict[str, float]:
    """Units per second of each, the median of `runs`. They take turns, so that a busy machine hits all."""
    rates: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(runs):
        for name, work in works.items():
            start = time.perf_counter()
            done = work()
            spent = time.perf_counter() - start
            rates[name].append(done if isinstance(done, float) else done / spent)
    return {name: statistics.median(found) for name, found in rates.items()}


class Pace:
    """Units per second from the first units on: connecting and joining a group are no part of a stream."""

    def __init__(self) -> None:
        self.done = self._first = 0
        self._started_s = self._ended_s = 0.0

    def add(self, units: int) -> None:
        if not units:
            return
        self._ended_s = time.perf_counter()
        if not self.done:
            self._first, self._started_s = units, self._ended_s
        self.done += units

    @property
    def rate(self) -> float:
        """Of what came after the first units. Raises RuntimeError where nothing did."""
        if self.done == self._first:
            raise RuntimeError(
                f"expected more than one lot of units, got {self.done} at once: take more of them by --scale"
            )
        return (self.done - self._first) / (self._ended_s - self._started_s)


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
        "cpu": _find_processor(),
        "cores": os.cpu_count(),
        "load": [
            round(each, 2) for each in os.getloadavg()
        ],  # what else ran: figures of a busy machine are low
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "versions": {name: version(name) for name in LIBRARIES},
    }


def _find_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


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
