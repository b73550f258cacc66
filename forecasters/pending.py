"""Forecasts that wait for their targets, at the scored steps only, as float16 in units of the scale at issue.

Letters: R rows, E tracked forecasts, Q scored steps, T = sum of the scored steps.

Step h keeps the last h forecasts in a ring of its own: the one due now lies where the new one will go. Where
none was made, NaN takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from forecasters.fields import Field, Fields
from forecasters.rows import Rows
from forecasters.timetable import modulo

Tensor = torch.Tensor
Ints = npt.NDArray[np.int64]

FINITE = 60_000.0


class Pending:
    def __init__(self, tracked: int, bounded: int, scored: tuple[int, ...], device: torch.device) -> None:
        """tracked: forecasts kept; bounded: how many of them (the first) have an interval."""
        self.device = device
        self._num_scored = len(scored)
        self._steps = scored
        self.starts = np.cumsum(scored) - scored
        self._total = total = sum(scored)
        self.tracked = tracked
        # means of what is tracked, then half-widths
        self.fields = Fields({"said": Field((total, tracked + bounded), torch.float16)}, device)

    def places(self, rows: Rows, step: Ints) -> Tensor:
        """Where `[Q · R]` in the flattened rings the forecasts due at `step` lie, and those made now will."""
        block = np.empty((self._num_scored, rows.padded), np.int64)
        block[:, rows.num :] = 0
        self._find(step, block[:, : rows.num])
        return (torch.from_numpy(block).to(self.device, non_blocking=True) + rows.times(self._total)).view(-1)

    def _find(self, steps: Ints, out_QN: Ints) -> None:
        """The places of these steps in the rings of a slot."""
        for row, start, length in zip(out_QN, self.starts.tolist(), self._steps, strict=True):
            np.add(modulo(steps, length), start, out=row)

    def due(self, places: Tensor, *, all_made: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """(means `[E, Q, R]`, half-widths `[E', Q, R]`, whether there are `[Q, R]`) of the forecasts whose
        target is that step; a mean is 0 where there is none. all_made: there are, and None says so."""
        read = self._ring().index_select(0, places).t()
        said = read.to(torch.float32, memory_format=torch.contiguous_format)
        mean, half = said.view(-1, self._num_scored, said.shape[1] // self._num_scored).tensor_split(
            (self.tracked,)
        )
        if all_made:
            return mean, half, None
        made = ~torch.isnan(mean[0])
        return torch.where(made, mean, 0.0), half, made

    def pass_over(self, slots: Ints, steps: Ints) -> None:
        """No forecast is made at these steps of these slots."""
        at_QN = np.empty((self._num_scored, slots.size), np.int64)
        self._find(steps, at_QN)
        at_QN += slots * self._total
        places = torch.from_numpy(at_QN.ravel()).to(self.device)
        self._ring()[:, : self.tracked].index_fill_(0, places, float("nan"))

    def put(self, places: Tensor, said: Sequence[Tensor]) -> None:
        """Keep what was forecast after that step's reading: means, then half-widths, in parts `[…, Q, R]`;
        its targets are step + 1, step + 2 …"""
        kept = torch.cat(list(said)).flatten(1).clamp_(-FINITE, FINITE).to(torch.float16)
        self._ring().index_copy_(0, places, kept.t())

    def _ring(self) -> Tensor:
        return self.fields["said"].flatten(0, 1)
