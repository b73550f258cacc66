"""How errors grow with the share of masked steps: sums by band of that share, in constant memory.

Letters: N rows of a wave, S slots, E forecasters, Q scored steps, B bands, T = 2 told steps, first and last.

A series' share is a running mean over about MEMORY of its steps, those without a reading among them. Each
loss is counted in the band that its series is in. Bands hold other series and other hours, so their errors
are to be compared between forecasters, or with naive in the same band.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from forecasters.buckets import Sums
from forecasters.columns import Column, Columns

Tensor = torch.Tensor
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Singles = npt.NDArray[np.float32]

MEMORY = 96
EDGES = (0.01, 0.05, 0.1, 0.25, 0.5)
"""Upper ends of the bands but the last, which goes to 1; a single step lost leaves the first within a day of
quarters of an hour."""
_EDGES = np.array(EDGES, np.float32)
RATE = np.float32(1.0 / MEMORY)
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


def pool(parts: Sequence[Bands]) -> Bands:
    """Of several shards, which have the same forecasters and steps."""
    count = np.stack([part.count for part in parts])
    total = np.stack([np.nan_to_num(part.loss) for part in parts]) * count[:, :, None]
    mean = total.sum(0) / np.where(count.sum(0) > 0, count.sum(0), np.nan)[:, None]
    return Bands(parts[0].names, parts[0].steps, parts[0].upper, count.sum(0), mean)


class Irregular:
    """Depends on the log alone: sums are exact in any order, and halved at ticks."""

    def __init__(self, names: tuple[str, ...], steps: tuple[int, ...], unit: float) -> None:
        """unit: losses come as whole numbers of 1 / unit."""
        self.names, self.steps, self.unit = names, (steps[0], steps[-1]), unit
        self.fields = Columns({"share": Column(np.float32)})
        bands = len(EDGES) + 1
        self._sum = np.zeros((bands, 2, len(names)))
        self._count = np.zeros((bands, 2))
        self._is_broken = False  # whether any step was ever without a value

    def advance(self, slots: Ints, masked_N: Bools, filled_N: Ints | None) -> None:
        """A step of each series, after `filled` steps that had no reading; None: none had any. Before their
        losses are added."""
        if not (self._is_broken or masked_N.any() or filled_N is not None):
            return
        self._is_broken = True
        share = self.fields["share"][slots]
        if filled_N is not None:
            for step in range(min(int(filled_N.max(initial=0)), LONGEST)):
                # as if each had come masked, bit for bit
                share = np.where(filled_N > step, share + (1.0 - share) * RATE, share)
        share += (masked_N - share) * RATE
        self.fields["share"][slots] = share

    def add(self, slots: Ints, loss_EQN: Singles, counted_QN: Bools, sums: Sums) -> None:
        """Losses of readings, zero where not counted, and their sums."""
        share = self.fields["share"][slots] if self._is_broken else _EDGES[:1]
        if share.max() <= EDGES[0]:
            self._add(0, sums)
            return
        band = np.searchsorted(_EDGES, share)
        for here in np.unique(band).tolist():
            loss, counted = loss_EQN[..., band == here], counted_QN[:, band == here]
            self._add(here, Sums.of(loss, counted))

    def _add(self, band: int, sums: Sums) -> None:
        for t, q in enumerate((0, -1)):
            self._sum[band, t] += sums.loss_EQ[:, q]
            self._count[band, t] += sums.count_Q[q]

    def tick(self) -> None:
        if self._count.max() >= MOST:
            self._sum = np.round(self._sum * 0.5)
            self._count = np.round(self._count * 0.5)

    def summary(self) -> Bands:
        count = self._count.copy()
        total = self._sum.transpose(0, 2, 1) / self.unit
        mean = total / np.where(count > 0, count, np.nan)[:, None, :]
        return Bands(self.names, self.steps, (*EDGES, 1.0), count, mean)

    def save(self) -> Iterator[tuple[str, Tensor]]:
        """All but `fields`."""
        yield "sum", torch.from_numpy(self._sum.reshape(len(self._sum), -1).copy())
        yield "count", torch.from_numpy(self._count.copy())

    def load(self, state: Mapping[str, Tensor]) -> None:
        """All but `fields`, which are loaded before. Raises KeyError where something is missing, ValueError
        for other forecasters."""
        for name, own in (("sum", self._sum.reshape(len(self._sum), -1)), ("count", self._count)):
            if tuple(state[name].shape) != own.shape:
                raise ValueError(f"irregular {name}: expected {own.shape}, found {tuple(state[name].shape)}")
            own[...] = state[name].numpy()
        self._is_broken = bool(self.fields["share"].any())
