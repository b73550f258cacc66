"""Which series has which slot, its place in the state. Removed ones leave theirs to others, lowest first."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

NONE: Ints = np.zeros(0, np.int64)
FREE = "\0free/"
"""Begins what stands in `Slots.ids` for a slot without a series; the slot's number follows."""


class Slots:
    """ids: by slot. order `[S]` uint64: keys by which series are put into an order that does not depend on
    their slots; 0 where there is none."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.order: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._at: dict[str, int] = {}
        self._free: list[int] = []
        self._row: Ints = np.zeros(0, np.int64)  # scratch
        self._wave: Ints = NONE  # of the last wave, checked

    def __len__(self) -> int:
        """Slots up to the last one that ever had a series."""
        return len(self.ids)

    def find_room(self, ids: Sequence[str]) -> Ints:
        """Slots for new series; changes nothing. Raises ValueError for an id that is there already or twice
        in `ids`."""
        for series in ids:
            if series in self._at:
                raise ValueError(f"series {series!r}: expected a new id, but it has a slot already")
        if len(set(ids)) != len(ids):
            raise ValueError("expected every new id once, but one was given twice")
        more = max(len(ids) - len(self._free), 0)
        return np.array([*self._free[: len(ids)], *range(len(self), len(self) + more)], np.int64)

    def enter(self, slots: Ints, ids: Sequence[str]) -> None:
        """Give out what `find_room` found; room was made, see `grow`."""
        self._free = self._free[slots.size :]
        self.ids += [""] * (int(slots.max(initial=-1)) + 1 - len(self))
        for slot, series in zip(slots.tolist(), ids, strict=True):
            self.ids[slot] = series
            self._at[series] = slot
            digest = hashlib.blake2b(series.encode(), digest_size=8).digest()
            self.order[slot] = int.from_bytes(digest, "big")

    def leave(self, slots: Ints) -> None:
        self._wave = NONE
        for slot in slots.tolist():
            del self._at[self.ids[slot]]
            self.ids[slot] = f"{FREE}{slot}"
        self._free = sorted([*self._free, *slots.tolist()])

    def grow(self, capacity: int) -> None:
        self.order = np.concatenate([self.order, np.zeros(capacity - self.order.size, np.uint64)])
        self._row = np.zeros(capacity, np.int64)

    def free_unused(self) -> None:
        """After the ids of a saved bank were entered: those that stand for no series are free."""
        self._wave = NONE
        self._free = [slot for slot, series in enumerate(self.ids) if series.startswith(FREE)]
        for slot in self._free:
            del self._at[self.ids[slot]]

    def checked(self, slots: npt.ArrayLike) -> Ints:
        """A copy, int64. Raises ValueError where one has no series."""
        found = np.array(slots, np.int64)
        if found.ndim != 1 or (found.size and (found.min() < 0 or found.max() >= len(self))):
            raise ValueError(f"slots: expected one dimension of 0 … {len(self) - 1}, got {found!r:.100}")
        if self._free and np.isin(found, self._free).any():
            raise ValueError(f"slots: expected slots of series, got {found!r:.100}, where one was removed")
        return found

    def checked_wave(self, slots: npt.ArrayLike) -> Ints:
        """Likewise, each at most once; the very array of the last wave where that was of the same slots, as
        most waves are of series that are read in step. Nobody changes it."""
        asked = np.asarray(slots)
        if self._wave.shape == asked.shape and self._wave.size and bool((self._wave == asked).all()):
            return self._wave
        self._wave = NONE
        found = self.checked(slots)
        if not self._are_unique(found):
            raise ValueError("slots: expected each series at most once in a wave; split the readings first")
        self._wave = found
        return found

    def _are_unique(self, slots: Ints) -> bool:
        if slots.size < 2 or (slots[1:] - slots[:-1]).min() > 0:
            return True
        row = np.arange(slots.size)
        self._row[slots] = row
        return bool((self._row[slots] == row).all())
