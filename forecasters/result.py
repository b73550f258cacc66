"""What a wave brought.

Letters: N rows as given, R rows of a wave (padded), E forecasters, H horizon, Q scored steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from forecasters.anomaly import Alarms
from forecasters.outcome import Made

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True)
class Result:
    """What one wave brought, rows as given, the first `num` of R. E in the order of `Bank.names`.

    mean, half `[N, E, H]`: forecasts issued now as departures from `base`, in units of the series (float32);
    base `[N]`: the last value (float64). error `[N, E, Q]`: value less forecast, for the forecasts whose
    target was this reading, in units of the scale at issue; scored `[N, Q]` says where there was one.
    due_half `[N, E, Q]` is the half-width of those; scale, naive_error `[N]`: of the series now, its
    long-running scale and its mean one-step change (floored), in its own units.
    replaced `[E]`: forecasts that were not believable and were replaced by naive. find_alarms: works out what
    the wave means for alerts, and those before it, which take less time together; None where the bank was
    built without alerts; until then nobody changes these arrays. champion `[N]`, whom each series follows
    from now on, likewise.
    """

    num: int
    base_R: Tensor
    scale_R: Tensor
    naive_error_R: Tensor
    departure_EHR: Tensor
    half_EHR: Tensor
    error_EQR: Tensor
    missed_EQR: Tensor
    scored_QR: Tensor
    due_half_EQR: Tensor
    replaced: Tensor
    find_alarms: Callable[[], Alarms] | None = None
    champion: Tensor | None = None

    @classmethod
    def of(
        cls, made: Made, num: int, find_alarms: Callable[[], Alarms] | None, champion: Tensor | None
    ) -> Result:
        return cls(
            num=num,
            base_R=made.base_R,
            scale_R=made.scale_R,
            naive_error_R=made.naive_error_R,
            departure_EHR=made.departure_EHR,
            half_EHR=made.half_EHR,
            error_EQR=made.error_EQR,
            missed_EQR=made.missed_EQR,
            scored_QR=made.scored_QR,
            due_half_EQR=made.due_half_EQR,
            replaced=made.replaced_E,
            find_alarms=find_alarms,
            champion=champion,
        )

    @property
    def base(self) -> Tensor:
        return self.base_R[: self.num]

    @property
    def scale(self) -> Tensor:
        return self.scale_R[: self.num]

    @property
    def naive_error(self) -> Tensor:
        return self.naive_error_R[: self.num]

    @property
    def departure(self) -> Tensor:
        return by_row(self.departure_EHR, self.num)

    @property
    def half(self) -> Tensor:
        return by_row(self.half_EHR, self.num)

    @property
    def error(self) -> Tensor:
        return by_row(self.error_EQR, self.num)

    @property
    def missed(self) -> Tensor:
        return by_row(self.missed_EQR, self.num)

    @property
    def scored(self) -> Tensor:
        return by_row(self.scored_QR, self.num)

    @property
    def due_half(self) -> Tensor:
        return by_row(self.due_half_EQR, self.num)

    @property
    def alarms(self) -> Alarms | None:
        """Worked out now."""
        return self.find_alarms() if self.find_alarms else None

    @property
    def mean(self) -> Tensor:
        """`[N, E, H]` float64, in the series' own units."""
        return self.base[:, None, None] + self.departure

    @property
    def lower(self) -> Tensor:
        return self.base[:, None, None] + (self.departure - self.half)

    @property
    def upper(self) -> Tensor:
        return self.base[:, None, None] + (self.departure + self.half)


def join(results: Sequence[Result]) -> Result:
    """One result of the rows of all, in their order."""
    if len(results) == 1:
        return results[0]
    columns = (
        "base_R", "scale_R", "naive_error_R", "departure_EHR", "half_EHR", "error_EQR", "missed_EQR",
        "scored_QR", "due_half_EQR",
    )  # fmt: skip
    parts = {c: torch.cat([getattr(r, c)[..., : r.num] for r in results], -1) for c in columns}
    finders = [r.find_alarms for r in results if r.find_alarms is not None]
    return Result(
        **parts,
        num=sum(r.num for r in results),
        replaced=torch.stack([r.replaced for r in results]).sum(0),
        find_alarms=(lambda: Alarms.join([find() for find in finders])) if finders else None,
        champion=torch.cat([r.champion for r in results if r.champion is not None]) if finders else None,
    )


def by_row(columns: Tensor, num: int) -> Tensor:
    """`[…, R]` to `[N, …]`, as a view."""
    rows = columns.narrow(-1, 0, num)
    return rows.permute(-1, *range(columns.dim() - 1))
