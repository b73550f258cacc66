"""Faults that a simulated plant has on purpose, each with its label."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.demo.layout import BoolArray, Float64Array, Layout

# Length in steps, from and to. A spike is one or two steps; what detectors have to dwell on is longer.
LENGTHS = {
    "stuck": (60, 240),
    "spike": (1, 3),
    "level_shift": (60, 300),
    "drift": (90, 360),
    "dropout": (30, 180),
    "bad_quality": (5, 60),
    "out_of_range": (5, 60),
}
FAULT_KINDS = tuple(LENGTHS)
# Sizes in spreads of the sensor, from and to: plain to see, yet no lightning strike.
SIZES = {"spike": (5.0, 10.0), "level_shift": (3.0, 6.0), "drift": (4.0, 8.0)}
BROKEN_LOOP_MA = 0.0  # what a 4–20 mA loop reads with its wire cut
# After a fault a sensor is left alone, so that one label ends before the next begins.
REST_STEPS = 30
_HOUR_MS = 3_600_000
_ATTEMPTS = 8  # to find a sensor that has no fault yet; in a crowded plant the fault is left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A label: what is wrong with which series, from its first faulty step to before ``end_ms``."""

    series: int  # place in the layout
    kind: str
    start_ms: int
    end_ms: int
    size: float  # in the sensor's unit; 0 where it has none


class FaultSchedule:
    """Faults in the order in which they start; depends on the generator and the times alone.

    Arrivals are a Poisson process of ``per_hour`` faults an hour of simulated time, from ``first_ms`` on.
    """

    def __init__(
        self, layout: Layout, rng: np.random.Generator, *, per_hour: float, first_ms: int, cadence_ms: int
    ) -> None:
        self._rng = rng
        self._cadence_ms = cadence_ms
        self._gap_ms = _HOUR_MS / per_hour if per_hour > 0 else np.inf
        self._next_ms = first_ms + self._draw_gap()
        self._spread = layout.spread
        self._free_from_ms = np.full(len(layout.series), np.iinfo(np.int64).min)
        eligible = _find_eligible(layout)
        self._eligible = {kind: np.flatnonzero(mask) for kind, mask in eligible.items() if mask.any()}
        self.faults: list[Fault] = []
        """All that have started."""
        self.active: list[Fault] = []

    def advance(self, now_ms: int) -> None:
        """Start what is due at this step and end what is over. Times never go back."""
        self.active = [fault for fault in self.active if fault.end_ms > now_ms]
        while self._next_ms <= now_ms:
            self._next_ms += self._draw_gap()
            fault = self._draw(now_ms)
            if fault is not None:
                self.faults.append(fault)
                self.active.append(fault)

    def _draw_gap(self) -> float:
        return float(self._rng.exponential(1.0)) * self._gap_ms

    def _draw(self, now_ms: int) -> Fault | None:
        kinds = tuple(self._eligible)
        if not kinds:
            return None
        kind = kinds[int(self._rng.integers(len(kinds)))]
        for _ in range(_ATTEMPTS):
            series = int(self._rng.choice(self._eligible[kind]))
            if self._free_from_ms[series] <= now_ms:
                break
        else:
            return None
        steps = int(self._rng.integers(*LENGTHS[kind]))
        low, high = SIZES.get(kind, (0.0, 0.0))
        sign = 1 if self._rng.random() < 0.5 else -1
        size = sign * float(self._rng.uniform(low, high)) * float(self._spread[series]) + 0.0
        end_ms = now_ms + steps * self._cadence_ms
        self._free_from_ms[series] = end_ms + REST_STEPS * self._cadence_ms
        return Fault(series=series, kind=kind, start_ms=now_ms, end_ms=end_ms, size=size)


def _find_eligible(layout: Layout) -> dict[str, BoolArray]:
    """Where a fault of each kind can be told from health: not on what rests or sends on change alone."""
    kind = np.array(layout.kind)
    sampled = ~layout.by_exception
    steady = sampled & (layout.machine < 0)
    loops = sampled & (kind == "current")
    return {
        "stuck": steady,
        "spike": steady,
        "level_shift": steady,
        "drift": steady,
        "dropout": sampled,
        "bad_quality": sampled,
        "out_of_range": loops,
    }


def apply_faults(
    active: list[Fault], now_ms: int, value: Float64Array, stuck_at: Float64Array
) -> tuple[BoolArray, BoolArray]:
    """Change ``value`` [S] in place; return which sensors are silent [S] and which of bad quality [S].

    ``stuck_at`` [S] holds the values at which sensors stick, NaN where they do not, and is kept up to date.
    """
    silent, bad, stuck = (np.zeros(value.size, bool) for _ in range(3))
    for fault in active:
        if fault.kind == "stuck":
            stuck[fault.series] = True
        elif fault.kind == "dropout":
            silent[fault.series] = True
        elif fault.kind == "bad_quality":
            bad[fault.series] = True
        else:
            _CHANGES[fault.kind](fault, now_ms, value)
    fresh = stuck & np.isnan(stuck_at)
    stuck_at[fresh] = value[fresh]
    stuck_at[~stuck] = np.nan
    value[stuck] = stuck_at[stuck]
    return silent, bad


def _shift(fault: Fault, now_ms: int, value: Float64Array) -> None:
    value[fault.series] += fault.size


def _drift(fault: Fault, now_ms: int, value: Float64Array) -> None:
    value[fault.series] += fault.size * (now_ms - fault.start_ms) / (fault.end_ms - fault.start_ms)


def _break_loop(fault: Fault, now_ms: int, value: Float64Array) -> None:
    value[fault.series] = BROKEN_LOOP_MA


_CHANGES: dict[str, Callable[[Fault, int, Float64Array], None]] = {
    "spike": _shift,
    "level_shift": _shift,
    "drift": _drift,
    "out_of_range": _break_loop,
}
