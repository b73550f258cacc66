"""Forecasts that wait for their targets, at the scored steps only, as float16 in units of the scale at issue.

Letters: R rows, E tracked forecasts, C numbers kept of each step (E, then half-widths), Q scored steps,
T = sum of the scored steps.

Step h keeps the last h forecasts in a ring of its own: the one due now lies where the new one will go. Where
none was made, NaN takes its place. Each number of a forecast has a place of its own, so that it lies side by
side for all series: they come and go without being turned round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from forecasters.fields import Field, Fields, Places
from forecasters.host import is_host
from forecasters.programs import Courier
from forecasters.timetable import Arrival, modulo

Tensor = torch.Tensor
Ints = npt.NDArray[np.int64]

FINITE = 60_000.0
LONGEST_PERIOD = 4_096


class Pending:
    _at_QP: Ints | None = None
    """Places by step, in the period after which they repeat; None where that is a long one."""

    def __init__(self, tracked: int, bounded: int, scored: tuple[int, ...], courier: Courier) -> None:
        """tracked: forecasts kept; bounded: how many of them (the first) have an interval."""
        self.device = device = courier.device
        self._courier = courier
        self._num_scored = len(scored)
        self._steps = scored
        self.starts = np.cumsum(scored) - scored
        self._rings = list(zip(self.starts.tolist(), scored, strict=True))
        total, self._kept = sum(scored), tracked + bounded
        self._steps_Q1 = torch.tensor(scored, device=device)[:, None]
        self._starts_Q1 = torch.from_numpy(self.starts).to(device)[:, None]
        self._each_C11 = torch.arange(self._kept, device=device)[:, None, None]
        period = math.lcm(*scored)  # after so many steps all rings are where they were
        self._at_QP = self._find(np.arange(period)) if period <= LONGEST_PERIOD else None
        self.tracked = tracked
        # means of what is tracked, then half-widths; a ring of T · C places
        self.fields = Fields({"said": Field((total * self._kept,), torch.float16, ring=True)}, device)

    def places(self, a: Arrival) -> Places:
        """Where the forecasts due at this step lie in the rings, and those made now will."""
        rows, common = a.rows, a.common
        if common is not None and rows.span is not None:
            first = [(start + common % h) * self._kept for start, h in self._rings]
            return Places(pieces=([at + c for c in range(self._kept) for at in first], rows.span))
        if is_host(self.device):
            return self.fields.places(rows, self._spread(self._find(a.step), self._kept))
        # many times as many numbers as steps: made where they are needed
        step = self._courier.send(lambda a: a.rows.fill(a.step, 0))
        first_QR = torch.remainder(step, self._steps_Q1).add_(self._starts_Q1).mul_(self._kept)
        return self.fields.find(rows, (first_QR + self._each_C11).flatten(0, 1))

    def _spread(self, at_QN: Ints, numbers: int) -> Ints:
        """Places in the ring of the first so many numbers of these forecasts, `[C · Q, N]`."""
        first = at_QN * self._kept
        spread: Ints = (first + np.arange(numbers)[:, None, None]).reshape(-1, first.shape[-1])
        return spread

    def _find(self, steps: Ints) -> Ints:
        """The places `[Q, N]` of these steps in the rings of a slot."""
        if self._at_QP is not None:
            known: Ints = self._at_QP.take(modulo(steps, self._at_QP.shape[1]), axis=1)
            return known
        found = np.empty((self._num_scored, steps.size), np.int64)
        for row, start, length in zip(found, self.starts.tolist(), self._steps, strict=True):
            np.add(modulo(steps, length), start, out=row)
        return found

    def due(self, places: Places, *, all_made: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """(means `[E, Q, R]`, half-widths `[E', Q, R]`, whether there are `[Q, R]`) of the forecasts whose
        target is that step; a mean is 0 where there is none. all_made: there are, and None says so."""
        said = self.fields.take_ring("said", places).to(torch.float32).unflatten(0, (-1, self._num_scored))
        mean, half = said.tensor_split((self.tracked,))
        if all_made:
            return mean, half, None
        made = ~torch.isnan(mean[0])
        return torch.where(made, mean, 0.0), half, made

    def pass_over(self, slots: Ints, steps: Ints) -> None:
        """No forecast is made at these steps of these slots."""
        at = self._spread(self._find(steps), self.tracked) * self.fields.stride + slots
        self.fields.rows("said").index_fill_(0, torch.from_numpy(at.ravel()).to(self.device), float("nan"))

    def put(self, places: Places, said: Sequence[Tensor]) -> None:
        """Keep what was forecast after that step's reading: means, then half-widths, in parts `[…, Q, R]`;
        its targets are step + 1, step + 2 …"""
        kept = torch.cat(list(said)).clamp_(-FINITE, FINITE).to(torch.float16)
        self.fields.put_ring("said", places, kept.flatten(0, 1))

    def of(self, slot: int) -> npt.NDArray[np.float64]:
        """All that is kept of a series `[T, C]`."""
        own: npt.NDArray[np.float64] = (
            self.fields["said"][slot].cpu().double().numpy().reshape(-1, self._kept)
        )
        return own
