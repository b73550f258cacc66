"""Which slots a wave touches, and the cheapest way to reach them: on a CPU as a view where they lie side by
side.

Letters: N rows with a series, R rows padded to whole tiles.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from forecasters.host import is_host

Tensor = torch.Tensor
Ints = npt.NDArray[np.int64]

TILE = 64
"""Rows per tile. BLAS kernels and vectorised `sigmoid` round differently for the last rows of a block than
for its body, so every wave is padded to whole tiles: what a series gets then depends on its own numbers
alone, and not on how many others share its wave."""


class Rows:
    """N slots, each at most once where rows are written, and padding up to R rows.

    Where the slots follow one another, and padding falls on slots that no series has, `span` says so on a
    CPU: state is then read and written in place, without gathering. Elsewhere padding points to the scratch
    row. What a series gets is the same either way. `host` picks the N rows out of a host array, as cheaply.
    """

    __slots__ = (
        "_index",
        "_starts",
        "device",
        "host",
        "num",
        "num_slots",
        "padded",
        "scratch",
        "slots",
        "span",
    )

    def __init__(
        self, slots: Ints, num_slots: int, scratch: int, device: torch.device, room: int | None = None
    ) -> None:
        """num_slots: slots that series may have; those from there on, up to a tile beyond `scratch`, are free
        for padding. room: rows with padding; None: as few as make whole tiles."""
        self.slots = slots
        self.num_slots = num_slots
        self.num = slots.size
        self.padded = self.num + -self.num % TILE if room is None else room
        self.scratch = scratch
        self.device = device
        run = self._find_run()
        self.host: slice | Ints = slots if run is None else run
        self.span = self._find_span(run) if is_host(device) else None
        self._index: Tensor | None = None
        self._starts: dict[int, Ints] = {}

    def are(self, slots: Ints, num_slots: int, scratch: int) -> bool:
        """Whether these would be the same rows; slots: the very array."""
        return self.slots is slots and self.num_slots == num_slots and self.scratch == scratch

    def _find_run(self) -> slice | None:
        """Where the slots follow one another, from the first to the last."""
        first, last = int(self.slots[0]), int(self.slots[-1])
        if last - first != self.num - 1:
            return None
        # ends that far apart leave no other way than steps of one, unless some step is longer
        if self.num > 2 and (self.slots[1:] - self.slots[:-1]).max() > 1:
            return None
        return slice(first, last + 1)

    def _find_span(self, run: slice | None) -> slice | None:
        if run is None or (self.padded > self.num and run.stop != self.num_slots):
            return None
        return slice(run.start, run.start + self.padded)

    @property
    def index(self) -> Tensor:
        """Slots `[R]` int64 on the device; made where first asked for."""
        if self._index is None:
            self._index = torch.from_numpy(self.fill(self.slots, self.scratch)).to(self.device)
        return self._index

    @index.setter
    def index(self, index: Tensor) -> None:
        self._index = index

    def starts(self, length: int) -> Ints:
        """`[N]`, where each slot begins, if all have so many places one after another."""
        if length not in self._starts:
            self._starts[length] = self.slots * length
        return self._starts[length]

    def fill(self, column_N: npt.NDArray[np.generic], filling: float) -> npt.NDArray[np.generic]:
        """The column with `filling` at the padding."""
        filled = np.full(self.padded, filling, column_N.dtype)
        filled[: self.num] = column_N
        return filled


def padded(rows: Tensor, scratch: int) -> Tensor:
    """`rows` followed by the scratch row up to a whole number of tiles."""
    missing = -rows.numel() % TILE
    if not missing:
        return rows
    return torch.cat([rows, rows.new_full((missing,), scratch)])
