"""What a plant knows about a series."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesProfile:
    """All that the series file says of one series; None where it says nothing."""

    name: str | None = None
    unit: str | None = None
    site: str | None = None
    area: str | None = None
    equipment: str | None = None
    owner: str | None = None
    severity: str | None = None
    """Of its alerts: page (wake somebody), ticket (next working day), info (only for the record)."""
    minimum: float | None = None
    maximum: float | None = None
    """Values outside are out of range. minimum is at most maximum."""
    min_abs: float | None = None
    """A deviation below it, in the series' unit, is no alert."""
    min_rel: float | None = None
    """Likewise, as a share of the expected value."""
    direction: str | None = None
    """Which deviations count: both, above or below."""
    cadence_ms: int | None = None
    mode: str | None = None
    """sampled or by_exception."""
    season_ms: int | None = None
    """0: it has none."""
    silent_after_ms: int | None = None
    off_when: tuple[str, float] | None = None
    """A comparison such as ("<", 5.0): a value for which it is true is neither scored nor learnt."""
    watch: bool | None = None
    """Whether it is always shown on /metrics."""


UNKNOWN = SeriesProfile()
"""Of a series that the series file does not mention."""
