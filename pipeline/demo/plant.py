"""A simulated plant: what its sensors send, step by step, vectorised over sensors.

Arrays are [S] sensors, [A] areas, [M] machines. Each step is computed from the one before, so neither the
values nor the faults depend on how the iterator is cut, and a seed gives one plant.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.demo.faults import Fault, FaultSchedule, apply_faults
from pipeline.demo.layout import KINDS, BoolArray, Float64Array, build_layout
from pipeline.records import BAD_QUALITY, GOOD, Readings

DAY_MS = 86_400_000
HEARTBEAT_STEPS = 60  # who sends by exception shows at least so often that it lives
LOSS_RATIO = 2e-4  # of steps at which a sensor's next one to five readings get lost on the way
MAX_LOST_STEPS = 5
_AREA_NOISE, _AREA_MEMORY_DAYS = 0.08, 0.08  # of the load around its daily shape
_AIR_NOISE, _AIR_MEMORY_DAYS = 0.35, 0.5  # weather, in units of the daily swing
_WEEKEND = 0.6  # of the load
_MEAN_LOAD = 0.55
_RUN_UP_DAYS = 0.0015  # two minutes, until a machine that starts has come to its level
_WARM_UP_DAYS = 0.02  # its temperatures take longer


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantOptions:
    """Raises ValueError at a value out of range."""

    num_series: int
    start_ms: int
    cadence_ms: int = 60_000
    seed: int = 0
    day_ms: int = DAY_MS
    """A demonstration may have shorter days."""
    faults_per_hour: float = 0.0
    calm_ms: int = 0
    """From the start, without faults."""
    by_exception: bool = True
    """Whether there are sensors that send only what is new; False: all send at each step."""

    def __post_init__(self) -> None:
        lowest = {
            "num_series": 1,
            "cadence_ms": 1,
            "seed": 0,
            "day_ms": 1,
            "faults_per_hour": 0,
            "calm_ms": 0,
        }
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise ValueError(f"expected {name} of at least {low}, but got {getattr(self, name)!r}")


class Plant:
    """Iterates without end over steps; each is the readings of one time, ordered by sensor.

    A reading of bad quality has ``fault`` BAD_QUALITY and still the value that its sender would send.
    """

    def __init__(self, options: PlantOptions) -> None:
        self.options = options
        streams = np.random.SeedSequence(options.seed).spawn(5)
        plan, faults, self._rng, self._machine_rng, self._loss_rng = map(np.random.default_rng, streams)
        self.layout = layout = build_layout(options.num_series, plan)
        if not options.by_exception:
            layout.by_exception[:] = False
        self.time_ms = options.start_ms
        """Of the next step."""
        self._schedule = FaultSchedule(
            layout,
            faults,
            per_hour=options.faults_per_hour,
            first_ms=options.start_ms + options.calm_ms,
            cadence_ms=options.cadence_ms,
        )
        size = len(layout.series)
        self._area_shift = plan.uniform(-0.04, 0.04, layout.num_areas)  # shifts begin up to an hour apart
        self._age_days = plan.uniform(10, 40, size)  # period of the slow drift
        self._age_size = np.where(plan.random(size) < 0.15, layout.spread, 0.0)
        self._age_size[layout.machine >= 0] = 0.0
        steady = plan.random(layout.num_machines) < 0.4
        self._mean_on_days = np.where(steady, 3.0, 1 / 5)
        self._mean_off_days = np.where(steady, 1 / 6, 1 / 10)
        self._on = layout.machine >= 0
        self._is_signal = np.array(layout.kind) == "running"
        self._keep = np.exp(-1 / layout.gather("memory"))
        self._scale = 10.0 ** layout.gather("decimals")
        self._rest, self._deadband = layout.gather("rest"), layout.gather("deadband")
        self._low, self._high = np.array([_find_limits(kind) for kind in layout.kind]).T
        self._rate = self._find_rates()
        self._noise = self._rng.standard_normal(size)
        self._load_noise, self._air_noise = self._rng.standard_normal((2, layout.num_areas))
        self._running = self._machine_rng.random(layout.num_machines) < self._mean_on_days / (
            self._mean_on_days + self._mean_off_days
        )
        self._level = self._find_targets()  # 1 at its running level, 0 at rest
        self._stuck_at = np.full(size, np.nan)
        self._sent = np.full(size, np.nan)
        self._sent_bad = np.zeros(size, bool)
        self._sent_ms = np.full(size, options.start_ms)
        self._lost_until_ms = np.full(size, options.start_ms)

    @property
    def faults(self) -> list[Fault]:
        """Labels of all faults that have started so far."""
        return self._schedule.faults

    @property
    def num_active_faults(self) -> int:
        return len(self._schedule.active)

    def __iter__(self) -> Iterator[Readings]:
        return self

    def __next__(self) -> Readings:
        now_ms = self.time_ms
        value = self._measure(now_ms)
        self._schedule.advance(now_ms)
        silent, bad = apply_faults(self._schedule.active, now_ms, value, self._stuck_at)
        np.clip(value, self._low, self._high, out=value)
        value = np.rint(value * self._scale) / self._scale + 0.0  # no negative zero
        sent = self._choose(now_ms, value, bad) & ~silent & ~self._lose(now_ms)
        index = np.flatnonzero(sent).astype(np.int32)
        self.time_ms += self.options.cadence_ms
        return Readings(
            series=self.layout.series,
            series_index=index,
            event_time_ms=np.full(index.size, now_ms),
            value=value[index],
            fault=np.where(bad[index], BAD_QUALITY, GOOD).astype(np.int8),
        )

    def _measure(self, now_ms: int) -> Float64Array:
        """Healthy values [S] at a time; moves the state of noise and machines on by one step."""
        layout, days = self.layout, now_ms / self.options.day_ms
        load, air = self._find_load(days), self._find_air(days)
        self._switch()
        np.multiply(self._noise, self._keep, out=self._noise)
        self._noise += np.sqrt(1 - self._keep**2) * self._rng.standard_normal(self._noise.size)
        noise = layout.noise * self._noise
        running = layout.base + layout.load * load[layout.area] + layout.ambient * air[layout.area] + noise
        running += self._age_size * np.sin(2 * np.pi * days / self._age_days)
        return self._level * running + (1 - self._level) * (self._rest + 0.1 * noise)

    def _find_load(self, days: float) -> Float64Array:
        """Departure [A] from the mean load: two humps a day, less at weekends, and what nobody planned."""
        at = days + self._area_shift
        shape = 0.62 + 0.28 * np.sin(2 * np.pi * (at - 0.3)) + 0.12 * np.sin(4 * np.pi * (at - 0.2))
        weekday = (np.floor(at) + 3) % 7  # 1970 began on a Thursday; 0 is Monday
        self._load_noise = self._move_on(self._load_noise, _AREA_MEMORY_DAYS)
        load = shape * np.where(weekday >= 5, _WEEKEND, 1.0) - _MEAN_LOAD
        return np.asarray(load + _AREA_NOISE * self._load_noise)

    def _find_air(self, days: float) -> Float64Array:
        """Ambience [A]: warmest in the afternoon, with weather."""
        self._air_noise = self._move_on(self._air_noise, _AIR_MEMORY_DAYS)
        return np.asarray(np.sin(2 * np.pi * (days - 0.375)) + _AIR_NOISE * self._air_noise)

    def _move_on(self, noise: Float64Array, memory_days: float) -> Float64Array:
        """The next step of unit noise that forgets with this memory."""
        keep = np.exp(-self.options.cadence_ms / (memory_days * self.options.day_ms))
        return np.asarray(keep * noise + np.sqrt(1 - keep**2) * self._rng.standard_normal(noise.size))

    def _switch(self) -> None:
        """Switch machines by chance, and let their sensors follow."""
        step_days = self.options.cadence_ms / self.options.day_ms
        mean_days = np.where(self._running, self._mean_on_days, self._mean_off_days)
        self._running ^= self._machine_rng.random(self._running.size) < -np.expm1(-step_days / mean_days)
        self._level += self._rate * (self._find_targets() - self._level)

    def _find_targets(self) -> Float64Array:
        return np.where(self._on, self._running[self.layout.machine] if self._running.size else 1.0, 1.0)

    def _find_rates(self) -> Float64Array:
        slow = np.array(self.layout.kind) == "temperature"
        memory_days = np.where(slow, _WARM_UP_DAYS, _RUN_UP_DAYS)
        rate = -np.expm1(-self.options.cadence_ms / (memory_days * self.options.day_ms))
        return np.where(self._is_signal, 1.0, rate)

    def _choose(self, now_ms: int, value: Float64Array, bad: BoolArray) -> BoolArray:
        """Which sensors send at this step: those who sample, and those with something new."""
        still = np.abs(value - self._sent) < self._deadband  # false while nothing was sent
        still &= (bad == self._sent_bad) & (
            now_ms - self._sent_ms < HEARTBEAT_STEPS * self.options.cadence_ms
        )
        sent = ~(self.layout.by_exception & still)
        self._sent[sent], self._sent_bad[sent], self._sent_ms[sent] = value[sent], bad[sent], now_ms
        return sent

    def _lose(self, now_ms: int) -> BoolArray:
        """Which readings of this step get lost on the way."""
        begins = self._loss_rng.random(self._lost_until_ms.size) < LOSS_RATIO
        steps = self._loss_rng.integers(1, MAX_LOST_STEPS + 1, int(begins.sum()))
        self._lost_until_ms[begins] = now_ms + steps * self.options.cadence_ms
        return self._lost_until_ms > now_ms


def _find_limits(kind: str) -> tuple[float, float]:
    """Between which values an instrument shows anything; a loop also less than its valid 4 mA."""
    low, high = KINDS[kind].valid
    return (0.0 if kind == "current" else low), high
