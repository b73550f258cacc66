"""How errors grow with the share of masked steps: sums by band of that share, in constant memory.

Letters: N rows of a wave, S slots, E forecasters, Q scored steps, B bands, T = 2 told steps, first and last.

A series' share is a running mean over about MEMORY of its steps, those without a reading among them. Each
loss is counted in the band that its series is in. Bands hold other series and other hours, so their errors
are to be compared between forecasters, or with naive in the same band.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from forecasters.fields import Field, Fields

Tensor = torch.Tensor
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MEMORY = 96
EDGES = (0.01, 0.05, 0.1, 0.25, 0.5)
"""Upper ends of the bands but the last, which goes to 1; a single step lost leaves the first within a day of
quarters of an hour."""
LONGEST = 2048
"""Steps without a reading; after so many the share has come to where more change nothing."""
MOST = 2.0**28
"""Losses in a band before all sums are halved: whole numbers of 2^-20 stay exact in float64."""


@dataclass(frozen=True, slots=True)
class Bands:
    """steps: the two that are told. upper `[B]`: largest share of each band; count `[B, T]`: losses, older
    ones perhaps halved; loss `[B, E, T]`: their mean, in units of scale, NaN without any."""

    names: tuple[str, ...]
    steps: tuple[int, int]
    upper: tuple[float, ...]
    count: npt.NDArray[np.float64]
    loss: npt.NDArray[np.float64]


class Irregular:
    """Depends on the log alone: sums are exact in any order, and halved at ticks."""

    def __init__(self, names: tuple[str, ...], steps: tuple[int, ...], unit: float, device: torch.device):
        """unit: losses come as whole numbers of 1 / unit."""
        self.names, self.steps, self.unit = names, (steps[0], steps[-1]), unit
        self.fields = Fields({"share": Field()}, device)
        bands = len(EDGES) + 1
        self._sum = torch.zeros(bands, len(names) * 2, dtype=torch.float64, device=device)
        self._count = torch.zeros(bands, 2, dtype=torch.float64, device=device)
        self._edges = torch.tensor(EDGES, device=device)

    def advance(self, slots: Ints, masked_N: Bools, filled_N: Ints) -> None:
        """A step of each series, after `filled` steps that had no reading. Before their losses are added."""
        device = self.fields.device
        rows = torch.from_numpy(slots).to(device)
        share = self.fields["share"].index_select(0, rows)
        if filled_N.any():
            gone = torch.from_numpy(filled_N).to(device)
            for step in range(min(int(filled_N.max()), LONGEST)):  # as if each had come masked, bit for bit
                share = torch.where(gone > step, share + (1.0 - share) * (1.0 / MEMORY), share)
        toward = torch.from_numpy(masked_N.astype(np.float32)).to(device)
        share = share + (toward - share) * (1.0 / MEMORY)
        self.fields["share"].index_copy_(0, rows, share)

    def add(self, rows: Tensor, loss_NEQ: Tensor, counted_NQ: Tensor) -> None:
        """Losses of readings, zero where not counted."""
        band = torch.bucketize(self.fields["share"].index_select(0, rows), self._edges)
        loss = torch.cat([loss_NEQ[:, :, 0], loss_NEQ[:, :, -1]], 1)
        self._sum.index_add_(0, band, loss.double())
        counted = torch.stack([counted_NQ[:, 0], counted_NQ[:, -1]], 1)
        self._count.index_add_(0, band, counted.double())

    def tick(self) -> None:
        full = self._count.max() >= MOST
        self._sum = torch.where(full, (self._sum * 0.5).round(), self._sum)
        self._count = torch.where(full, (self._count * 0.5).round(), self._count)

    def summary(self) -> Bands:
        count = self._count.cpu().numpy()
        total = self._sum.cpu().numpy().reshape(len(count), 2, -1).transpose(0, 2, 1) / self.unit
        mean = total / np.where(count > 0, count, np.nan)[:, None, :]
        return Bands(self.names, self.steps, (*EDGES, 1.0), count, mean)

    def save(self) -> Iterator[tuple[str, Tensor]]:
        """All but `fields`."""
        yield "sum", self._sum.cpu().clone()
        yield "count", self._count.cpu().clone()

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Raises KeyError where something is missing, ValueError for other forecasters."""
        for name, own in (("sum", self._sum), ("count", self._count)):
            if state[name].shape != own.shape:
                raise ValueError(
                    f"irregular {name}: expected {tuple(own.shape)}, found {tuple(state[name].shape)}"
                )
            own.copy_(state[name])
