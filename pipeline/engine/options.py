"""Options of the engine: the grid of readings, the life of a series, the faults of a sensor."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.engine.cells import WITHIN_STEP

PLACEMENTS = ("producer", "murmur2")
DAY_MS = 86_400_000


def _check_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"expected {name} to be a whole number of at least {least}, but got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeOptions:
    """How readings are laid on a grid. Raises ValueError at a value out of range."""

    cadence_ms: int | None = None
    """Distance of two steps; None infers it from the first readings of each series."""
    season_ms: int = DAY_MS
    max_gap: int = 24
    """So many missing steps in a row are filled with masked ones; after more the series is restarted."""
    cadence_readings: int = 8
    """Readings with times of their own that are held back until their cadence is inferred."""
    max_series: int = 100_000
    """Readings of further series are rejected: invented ids must not use up the memory."""
    within_step: str = "first"
    """Which of several readings in a cell counts: first, last or mean. The last two hold a step back until
    its cell is over."""
    lateness_ms: int = 0
    """So long after its end a cell still takes readings; above 0 every step is held back as long."""
    max_ahead_ms: int = 3_600_000
    """Readings whose event time lies further beyond the shard clock are rejected."""
    placement: str = "producer"
    """producer trusts that a series is in one partition; murmur2 rejects readings of series whose id belongs
    into another."""

    def __post_init__(self) -> None:
        lowest = {"cadence_ms": 1, "season_ms": 1, "max_gap": 0, "cadence_readings": 2, "max_series": 1}
        for name, low in {**lowest, "lateness_ms": 0, "max_ahead_ms": 0}.items():
            value = getattr(self, name)
            if value is None and name == "cadence_ms":
                continue
            _check_whole(name, value, low)
        for name, choices in (("within_step", WITHIN_STEP), ("placement", PLACEMENTS)):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"expected {name} to be one of {', '.join(choices)}, but got {getattr(self, name)!r}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeOptions:
    """How long a series is new, and when it is forgotten. Raises ValueError at a value out of range."""

    warm_readings: int = 40
    """Accepted readings from which on a series is live: at the defaults its first chunk of 16 has been learnt
    with all of its 24 targets."""
    retire_after_ms: int | None = 7 * DAY_MS
    """Silent for so long on the shard clock, a series is forgotten; None never does."""

    def __post_init__(self) -> None:
        _check_whole("warm_readings", self.warm_readings, 1)
        if self.retire_after_ms is not None:
            _check_whole("retire_after_ms", self.retire_after_ms, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorAlertOptions:
    """When a sensor is at fault. Raises ValueError at a value out of range."""

    masked_in_a_row: int = 3
    """Readings without a usable value that fire an alert."""
    silent_after_ms: int = 300_000
    """Of series that declare none and don't report by exception."""
    silent_cadences: int = 5
    """No series is silent before so many of its cadences have passed."""

    def __post_init__(self) -> None:
        for name in ("masked_in_a_row", "silent_after_ms", "silent_cadences"):
            _check_whole(name, getattr(self, name), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardOptions:
    """All options of a shard."""

    intake: IntakeOptions = field(default_factory=IntakeOptions)
    life: LifeOptions = field(default_factory=LifeOptions)
    alerts: SensorAlertOptions = field(default_factory=SensorAlertOptions)
    champion: str = "blend"
    """Whose forecasts alerts tell of."""
