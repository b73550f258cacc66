"""Whose forecasts alerts and expected values follow: one forecaster for all series, or for each its leader.

The leader of a series is the forecaster with the smallest mean loss over the path, by the running means
that the comparison keeps of every series. It takes over only where it is MATERIAL better than who leads now:
the name does not change with every reading, and going back takes as much. What a series gets follows from its
own readings alone, so neither slots nor the cut of the log matter.

Letters: S slots, N rows as given, R rows of a wave (padded), E forecasters, Q scored steps, H horizon.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from forecasters.comparison import Comparison
from forecasters.fields import Field, Fields
from forecasters.registry import BLEND
from forecasters.rows import Rows
from forecasters.verdict import MATERIAL

Tensor = torch.Tensor

LEADER = "leader"
"""In place of a name: each series follows its own leader."""
FEWEST = 100
"""Targets at every step before a series may leave the first champion: fewer say little about it."""


def first_champion(names: Sequence[str]) -> str:
    """Whom to follow where nothing is known yet, and where nobody is named: the blend, else the last."""
    return BLEND if BLEND in names else names[-1]


class Champion:
    """`at`: place in `names` of the one that all follow, None where each series has its own; these are the
    field `at` of `fields`, one byte a series."""

    def __init__(self, names: Sequence[str], champion: str, device: torch.device) -> None:
        """Raises ValueError where the champion is none of the names and not `leader`."""
        if champion != LEADER and champion not in names:
            raise ValueError(f"champion: expected {LEADER} or one of {', '.join(names)}, got {champion!r}")
        self.names = tuple(names)
        first = champion if champion != LEADER else first_champion(names)
        self.at = None if champion == LEADER else self.names.index(first)
        spec = {"at": Field((), torch.uint8, float(self.names.index(first)))} if self.at is None else {}
        self.fields = Fields(spec, device)

    def places(self, rows: Tensor) -> Tensor:
        """`[R]` int64: place in `names` of whom each row follows."""
        if self.at is not None:
            return torch.full_like(rows, self.at)
        return self.fields["at"].index_select(0, rows).long()

    def pick(self, column_EQR: Tensor, rows: Rows) -> Tensor:
        """`[Q, R]`: of a column by forecaster, what is the champion's."""
        if self.at is not None:
            return column_EQR[self.at]
        everyone = torch.arange(rows.padded, device=rows.device)
        return column_EQR[self.places(rows.index), :, everyone].t()

    def follow(self, slots: npt.NDArray[np.int64], comparison: Comparison) -> None:
        """After readings of these series were compared: who leads from the next one on."""
        if self.at is not None:
            return
        rows = torch.from_numpy(slots).to(self.fields.device)
        loss_NEQ = comparison.fields["loss"].index_select(0, rows)
        path_NE = torch.zeros_like(loss_NEQ[:, :, 0])
        for q, weight in enumerate(comparison.standings.path_Q.tolist()):
            path_NE += loss_NEQ[:, :, q] * weight  # a sum over columns rounds by their number
        known = (comparison.fields["targets"].index_select(0, rows) >= FEWEST).all(1)
        held = self.fields["at"].index_select(0, rows).long()
        loss, best = path_NE.min(1)
        limit = path_NE.gather(1, held[:, None])[:, 0] * (1.0 - MATERIAL)
        now = torch.where(known & (loss < limit), best, held)
        self.fields["at"].index_copy_(0, rows, now.to(torch.uint8))

    def list_names(self, slots: npt.NDArray[np.int64]) -> list[str]:
        """Whom these series follow."""
        rows = torch.from_numpy(slots).to(self.fields.device)
        return [self.names[at] for at in self.places(rows).tolist()]

    def count(self, slots: npt.NDArray[np.int64]) -> dict[str, int]:
        """How many of these series follow each; whom nobody follows is left out where one is fixed."""
        if self.at is not None:
            return {self.names[self.at]: int(slots.size)}
        places = self.places(torch.from_numpy(slots).to(self.fields.device))
        counts = torch.bincount(places, minlength=len(self.names)).tolist()
        return dict(zip(self.names, counts, strict=True))
