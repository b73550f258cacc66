"""Per-series state on the host: named columns of every slot, as numpy arrays.

For what is decided on the host whatever the bank's device is: on some thousand numbers an operation of numpy
costs a third of one of torch. Saved and loaded as `Fields` are.

Letters: S slots.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch


@dataclass(frozen=True, slots=True)
class Column:
    """One named per-series quantity: `dtype`, the `initial` value of a fresh slot, further dimensions."""

    dtype: Any
    initial: float = 0.0
    shape: tuple[int, ...] = ()


class Columns:
    """Growable arrays by name."""

    def __init__(self, spec: Mapping[str, Column]) -> None:
        self.spec = spec
        self.capacity = 0
        self.data: dict[str, npt.NDArray[Any]] = {name: _fresh(c, 0) for name, c in spec.items()}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """`[*shape, S]`."""
        return self.data[name]

    def read(self, name: str, here: slice | npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """`[*shape, N]` of these rows, as `Rows.host` has them; a copy."""
        column = self.data[name][..., here]
        return column.copy() if isinstance(here, slice) else column

    def by_slot(self, name: str) -> npt.NDArray[Any]:
        """`[S, *shape]`, a view."""
        return np.moveaxis(self.data[name], -1, 0)

    def grow(self, capacity: int) -> None:
        """Room for `capacity` slots; those that exist keep their values."""
        for name, column in self.spec.items():
            old = self.by_slot(name)
            self.data[name] = _fresh(column, capacity)
            self.by_slot(name)[: self.capacity] = old
        self.capacity = capacity

    def reset(self, rows: torch.Tensor) -> None:
        """A fresh start for these slots, given as `Fields.reset` has them."""
        slots = rows.cpu().numpy()
        for name, column in self.spec.items():
            self.by_slot(name)[slots] = column.initial

    def bytes_per_series(self) -> int:
        return sum(np.dtype(c.dtype).itemsize * math.prod(c.shape) for c in self.spec.values())

    def save(self, prefix: str, num_slots: int) -> Iterator[tuple[str, torch.Tensor]]:
        for name in self.spec:
            yield f"{prefix}.{name}", torch.from_numpy(self.by_slot(name)[:num_slots].copy())

    def load(self, prefix: str, state: Mapping[str, torch.Tensor], num_slots: int) -> None:
        """Raises KeyError where a column is missing, ValueError where its shape or dtype is another."""
        for name, column in self.spec.items():
            saved = state[f"{prefix}.{name}"].numpy()
            if saved.shape != (num_slots, *column.shape) or saved.dtype != column.dtype:
                raise ValueError(
                    f"{prefix}.{name}: expected {(num_slots, *column.shape)} of {np.dtype(column.dtype)}, "
                    f"found {saved.shape} of {saved.dtype}"
                )
            self.by_slot(name)[:num_slots] = saved


def add_up(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The sum over the first dimension, one after the other: what a series gets must not depend on its
    company. `np.sum` rounds otherwise where a single number remains, or where the rows are not the outermost
    dimension in memory."""
    if rows[0].size > 1 and rows[0].flags.c_contiguous and rows.strides[0] >= rows[0].nbytes:
        whole: npt.NDArray[np.float32] = np.add.reduce(rows, 0)
        return whole
    total: npt.NDArray[np.float32] = rows[0].copy()
    for row in rows[1:]:
        total += row
    return total


def _fresh(column: Column, num: int) -> npt.NDArray[Any]:
    return np.full((*column.shape, num), column.initial, column.dtype)
