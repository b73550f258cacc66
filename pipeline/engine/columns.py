"""Columns by series: what the engine knows of each, one place a series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

FIRST_CAPACITY = 64

Array = npt.NDArray[Any]


class Columns:
    """Growable arrays [S] by name. `columns[name]` has the places that exist; write into it in place."""

    def __init__(self, initial: Mapping[str, int | float]) -> None:
        """initial: the value of a new place by name; a float makes a column float64, an int int64."""
        self._initial = dict(initial)
        self._data: dict[str, Array] = {name: self._fresh(name, 0) for name in initial}
        self.size = 0

    def _fresh(self, name: str, size: int) -> Array:
        value = self._initial[name]
        return np.full(size, value, np.float64 if isinstance(value, float) else np.int64)

    def __getitem__(self, name: str) -> Array:
        return self._data[name][: self.size]

    def extend(self, size: int) -> None:
        """Have at least `size` places; those that exist keep their values."""
        if size <= self.size:
            return
        capacity = next(iter(self._data.values())).size
        if size > capacity:
            more = max(size, 2 * capacity, FIRST_CAPACITY) - capacity
            for name, old in self._data.items():
                self._data[name] = np.concatenate([old, self._fresh(name, more)])
        self.size = size

    def reset(self, places: Array) -> None:
        """Put places back to their initial values."""
        for name, value in self._initial.items():
            self[name][places] = value

    def save(self, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
        for name in self._data:
            yield f"{prefix}.{name}", torch.from_numpy(self[name].copy())

    def load(self, prefix: str, state: Mapping[str, torch.Tensor]) -> None:
        """Raises KeyError where a column is missing, ValueError where its kind or length is another."""
        sizes = set()
        for name in self._initial:
            saved, kind = state[f"{prefix}.{name}"].numpy(), self._fresh(name, 0).dtype
            if saved.dtype != kind or saved.ndim != 1:
                raise ValueError(
                    f"{prefix}.{name}: expected one column of {kind}, found {saved.dtype} {saved.shape}"
                )
            self._data[name] = saved.copy()
            sizes.add(saved.size)
        if len(sizes) != 1:
            raise ValueError(f"{prefix}: expected columns of one length, found {sorted(sizes)}")
        self.size = sizes.pop()
