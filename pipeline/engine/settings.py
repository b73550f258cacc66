"""What is declared of one series, as the engine needs it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

LESS, EQUAL, GREATER = 1, 2, 4
OPERATORS: Mapping[str, int] = {
    "<": LESS,
    "<=": LESS | EQUAL,
    "==": EQUAL,
    "!=": LESS | GREATER,
    ">=": EQUAL | GREATER,
    ">": GREATER,
}
"""Comparisons of `off_when`, each as the set of outcomes in which it is true."""


DIRECTIONS: Mapping[str, int] = {"both": 0, "above": 1, "below": -1}
"""Deviations that count, by their sign; 0 is either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesSettings:
    """What is declared of a series. None leaves a key to the options of the intake and of the alerts.

    Raises ValueError for a value out of range.
    """

    cadence_ms: int | None = None
    """Distance of two steps."""
    season_ms: int | None = None
    """0 means no season."""
    by_exception: bool = False
    """Unchanged values are left out: a missing step holds the last good value."""
    silent_after_ms: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    off_when: tuple[str, float] | None = None
    """An operator and a threshold, such as ("<", 5.0): a reading for which it is true is neither scored nor
    learnt."""
    min_abs: float = 0.0
    """A deviation below it, in the series' unit, is no alert."""
    min_rel: float = 0.0
    """Likewise, as a share of the expected value."""
    direction: str = "both"
    """Which deviations count: a key of DIRECTIONS."""
    name: str = ""
    unit: str = ""
    severity: str = "page"
    """page, ticket or info."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """site, area, equipment, owner."""

    def __post_init__(self) -> None:
        for name, least in (("cadence_ms", 1), ("season_ms", 0), ("silent_after_ms", 1)):
            number = getattr(self, name)
            if number is not None and (isinstance(number, bool) or not number >= least):
                raise ValueError(f"expected {name} to be a whole number of at least {least}, got {number!r}")
        for name in ("min_abs", "min_rel"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"expected {name} of at least 0, got {getattr(self, name)!r}")
        if self.direction not in DIRECTIONS:
            raise ValueError(
                f"expected direction to be one of {', '.join(DIRECTIONS)}, got {self.direction!r}"
            )
        low, high = self.minimum, self.maximum
        if any(limit is not None and math.isnan(limit) for limit in (low, high)) or (
            low is not None and high is not None and not low <= high
        ):
            raise ValueError(f"expected a minimum of at most the maximum, got {low!r} and {high!r}")
        if self.off_when is not None and (self.off_when[0] not in OPERATORS or math.isnan(self.off_when[1])):
            raise ValueError(
                f"expected off_when to be one of {' '.join(OPERATORS)} and a number, got {self.off_when!r}"
            )


DEFAULT = SeriesSettings()
Settings = Callable[[str], SeriesSettings]
"""What is declared of the series with this id."""
