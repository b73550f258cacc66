"""Per-series state in columns: one row per slot, many named fields, gathered and written back at once.

Letters: S slots, R rows of a wave (padded to whole tiles), W floats of a slab.
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
    """One named per-series quantity: trailing `shape`, `dtype`, and the `initial` value of a fresh slot.

    `apart`: kept in a tensor of its own, for what is read and written by itself.
    """

    shape: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float32
    initial: float = 0.0
    apart: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def packed(self) -> bool:
        return self.dtype == torch.float32 and not self.apart


@dataclass(slots=True)
class Fields:
    """Growable tensors `[S + 1, *shape]` by name. The last row is the scratch row that padding points to.

    `take` gathers rows (copies), `put` writes them back; a caller changes the copies in between. All float32
    fields that are not `apart` are columns of one slab `[S + 1, W]`, so that both are one operation whatever
    their number.
    """

    spec: Mapping[str, Field]
    device: torch.device
    capacity: int = 0
    data: dict[str, Tensor] = field(default_factory=dict)
    _slab: Tensor = field(default_factory=lambda: torch.zeros(1, 0))
    _packed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._packed = tuple(name for name, f in self.spec.items() if f.packed)
        self._bind(self._fresh_slab(1))
        for name, f in self.spec.items():
            if not f.packed:
                self.data[name] = self._fresh(f, 1)

    def _fresh(self, f: Field, rows: int) -> Tensor:
        return torch.full((rows, *f.shape), f.initial, dtype=f.dtype, device=self.device)

    def _fresh_slab(self, rows: int) -> Tensor:
        parts = [self._fresh(self.spec[name], rows).view(rows, -1) for name in self._packed]
        return torch.cat(parts, 1) if parts else torch.zeros(rows, 0, device=self.device)

    def _bind(self, slab: Tensor) -> None:
        self._slab = slab
        self.data.update(self._columns(slab))

    def _columns(self, slab: Tensor) -> dict[str, Tensor]:
        views, at = {}, 0
        for name in self._packed:
            f = self.spec[name]
            column = slab[:, at : at + f.size]
            views[name] = column[:, 0] if not f.shape else column.unflatten(1, f.shape)
            at += f.size
        return views

    def grow(self, capacity: int) -> None:
        """Room for `capacity` slots; the rows that exist keep their values."""
        slab = self._fresh_slab(capacity + 1)
        slab[: self.capacity] = self._slab[: self.capacity]
        self._bind(slab)
        for name, f in self.spec.items():
            if not f.packed:
                grown = self._fresh(f, capacity + 1)
                grown[: self.capacity] = self.data[name][: self.capacity]
                self.data[name] = grown
        self.capacity = capacity

    def reset(self, rows: Tensor) -> None:
        """Put the slots `rows` back to their initial values."""
        for name, f in self.spec.items():
            self.data[name][rows] = f.initial

    def take(self, rows: Tensor) -> dict[str, Tensor]:
        """The packed fields of `rows`, as copies; each column lies whole in memory."""
        block = self._slab.index_select(0, rows).t().contiguous()
        views, at = {}, 0
        for name in self._packed:
            f = self.spec[name]
            part = block[at] if not f.shape else block[at : at + f.size].t().unflatten(1, f.shape)
            views[name] = part
            at += f.size
        return views

    def put(self, rows: Tensor, block: Mapping[str, Tensor]) -> None:
        """Write back what `take` gave: every packed field."""
        num = rows.numel()
        parts = [block[name].reshape(num, -1) for name in self._packed]
        self._slab.index_copy_(0, rows, torch.cat(parts, 1))

    def __getitem__(self, name: str) -> Tensor:
        return self.data[name]

    def bytes_per_series(self) -> int:
        return sum(f.size * _size(f.dtype) for f in self.spec.values())

    def save(self, prefix: str, num_slots: int) -> Iterator[tuple[str, Tensor]]:
        for name, t in self.data.items():
            yield (
                f"{prefix}.{name}",
                t[:num_slots].detach().clone(memory_format=torch.contiguous_format).cpu(),
            )

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
