"""Whose forecasts alerts and expected values follow: one forecaster for all series, or for each its leader.

The leader of a series is the forecaster with the smallest mean loss over the path, by the running means
that the comparison keeps of every series. It takes over only where it is MATERIAL better than who leads now:
the name does not change with every reading, and going back takes as much. What a series gets follows from its
own readings alone, so neither slots nor the cut of the log matter.

Letters: S slots, N rows as given, E forecasters, Q scored steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from forecasters.columns import Column, Columns
from forecasters.comparison import Comparison
from forecasters.registry import BLEND
from forecasters.verdict import MATERIAL

Ints = npt.NDArray[np.int64]

LEADER = "leader"
"""In place of a name: each series follows its own leader."""
FEWEST = 100
"""Targets at every step before a series may leave the first champion: fewer say little about it."""


def first_champion(names: Sequence[str]) -> str:
    """Whom to follow where nothing is known yet, and where nobody is named: the blend, else the last."""
    return BLEND if BLEND in names else names[-1]


class Champion:
    """`at`: place in `names` of the one that all follow, None where each series has its own; these are the
    column `at` of `fields`, one byte a series."""

    def __init__(self, names: Sequence[str], champion: str) -> None:
        """Raises ValueError where the champion is none of the names and not `leader`."""
        if champion != LEADER and champion not in names:
            raise ValueError(f"champion: expected {LEADER} or one of {', '.join(names)}, got {champion!r}")
        self.names = tuple(names)
        first = champion if champion != LEADER else first_champion(names)
        self.at = None if champion == LEADER else self.names.index(first)
        spec = {"at": Column(np.uint8, float(self.names.index(first)))} if self.at is None else {}
        self.fields = Columns(spec)

    def places(self, slots: Ints) -> Ints:
        """`[N]` place in `names` of whom each of these series follows."""
        if self.at is not None:
            return np.full(slots.size, self.at, np.int64)
        places: Ints = self.fields["at"][slots].astype(np.int64)
        return places

    def pick(self, column_EQN: npt.NDArray[np.float32], slots: Ints) -> npt.NDArray[np.float32]:
        """`[Q, N]`: of a column by forecaster, what is the champion's."""
        if self.at is not None:
            own: npt.NDArray[np.float32] = column_EQN[self.at]
        else:
            own = np.take_along_axis(column_EQN, self.places(slots)[None, None], 0)[0]
        return own

    def follow(self, slots: Ints, comparison: Comparison) -> None:
        """After readings of these series were compared: who leads from the next one on."""
        if self.at is not None:
            return
        loss_EQN = comparison.fields["loss"][:, :, slots]
        path_EN = np.zeros_like(loss_EQN[:, 0])
        for q, weight in enumerate(comparison.standings.path_Q.tolist()):
            path_EN += loss_EQN[:, q] * weight
        known = (comparison.fields["targets"][:, slots] >= FEWEST).all(0)
        held, best, everyone = self.places(slots), path_EN.argmin(0), np.arange(slots.size)
        limit = path_EN[held, everyone] * (1.0 - MATERIAL)
        self.fields["at"][slots] = np.where(known & (path_EN[best, everyone] < limit), best, held)

    def list_names(self, slots: Ints) -> list[str]:
        """Whom these series follow."""
        return [self.names[at] for at in self.places(slots).tolist()]

    def count(self, slots: Ints) -> dict[str, int]:
        """How many of these series follow each; whom nobody follows is left out where one is fixed."""
        if self.at is not None:
            return {self.names[self.at]: int(slots.size)}
        counts = np.bincount(self.places(slots), minlength=len(self.names)).tolist()
        return dict(zip(self.names, counts, strict=True))
