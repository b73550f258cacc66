"""Per-series state in columns: one row per slot, many named fields, gathered and written back at once.

Letters: S slots, R rows of a wave (padded to whole tiles).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch

Tensor = torch.Tensor

TILE = 64
"""Rows per tile. BLAS kernels and vectorised `sigmoid` round differently for the last rows of a block than
for its body, so every wave is padded to whole tiles: what a series gets then depends on its own numbers
alone, and not on how many others share its wave."""


@dataclass(frozen=True, slots=True)
class Field:
    """One named per-series quantity: trailing `shape`, `dtype`, and the `initial` value of a fresh slot."""

    shape: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float32
    initial: float = 0.0


@dataclass(slots=True)
class Fields:
    """Growable tensors `[S + 1, *shape]` by name. The last row is the scratch row that padding points to.

    `take` gathers rows (copies), `put` writes them back; a caller changes the copies in between.
    """

    spec: Mapping[str, Field]
    device: torch.device
    capacity: int = 0
    data: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, f in self.spec.items():
            self.data[name] = self._fresh(f, self.capacity + 1)

    def _fresh(self, f: Field, rows: int) -> Tensor:
        return torch.full((rows, *f.shape), f.initial, dtype=f.dtype, device=self.device)

    def grow(self, capacity: int) -> None:
        """Room for `capacity` slots; the rows that exist keep their values."""
        for name, f in self.spec.items():
            grown = self._fresh(f, capacity + 1)
            grown[: self.capacity] = self.data[name][: self.capacity]
            self.data[name] = grown
        self.capacity = capacity

    def reset(self, rows: Tensor) -> None:
        """Put the slots `rows` back to their initial values."""
        for name, f in self.spec.items():
            self.data[name][rows] = f.initial

    def take(self, rows: Tensor) -> dict[str, Tensor]:
        return {name: t.index_select(0, rows) for name, t in self.data.items()}

    def put(self, rows: Tensor, block: Mapping[str, Tensor]) -> None:
        for name, values in block.items():
            self.data[name].index_copy_(0, rows, values)

    def __getitem__(self, name: str) -> Tensor:
        return self.data[name]

    def bytes_per_series(self) -> int:
        return sum(math.prod(f.shape) * _size(f.dtype) for f in self.spec.values())

    def save(self, prefix: str, num_slots: int) -> Iterator[tuple[str, Tensor]]:
        for name, t in self.data.items():
            yield f"{prefix}.{name}", t[:num_slots].detach().clone().cpu()

    def load(self, prefix: str, state: Mapping[str, Tensor], num_slots: int) -> None:
        """Raises KeyError where a field is missing, ValueError where its shape or dtype is another."""
        for name, f in self.spec.items():
            saved = state[f"{prefix}.{name}"]
            if tuple(saved.shape) != (num_slots, *f.shape) or saved.dtype != f.dtype:
                raise ValueError(
                    f"{prefix}.{name}: expected {(num_slots, *f.shape)} of {f.dtype}, "
                    f"found {tuple(saved.shape)} of {saved.dtype}"
                )
            self.data[name][:num_slots] = saved.to(self.device)


def _size(dtype: torch.dtype) -> int:
    return torch.empty((), dtype=dtype).element_size()


def padded(rows: Tensor, scratch: int) -> Tensor:
    """`rows` followed by the scratch row up to a whole number of tiles."""
    missing = -rows.numel() % TILE
    if not missing:
        return rows
    return torch.cat([rows, rows.new_full((missing,), scratch)])
