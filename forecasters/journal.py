"""What arrived since the last tick, for the sums over the shard that a tick makes in an order of its own.

Letters: N rows, X experts of the blend, Q scored steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

Tensor = torch.Tensor
Ints = npt.NDArray[np.int64]


@dataclass(slots=True)
class Journal:
    """By wave: slots and steps `[N]`; said `[X, Q, N]` by the experts, what happened and whether it is valid
    `[Q, N]`. In a state the rows come first."""

    slots: list[Ints] = field(default_factory=list)
    steps: list[Ints] = field(default_factory=list)
    said: list[Tensor] = field(default_factory=list)
    happened: list[Tensor] = field(default_factory=list)
    valid: list[Tensor] = field(default_factory=list)
    _sorted: tuple[Ints, Ints] | None = None  # slots of the last wave that came alone, and their order

    def __bool__(self) -> bool:
        return bool(self.slots)

    def enter(self, slots: Ints, steps: Ints, said: Tensor, happened: Tensor, valid: Tensor) -> None:
        self.slots.append(slots)
        self.steps.append(steps)
        self.said.append(said)
        self.happened.append(happened)
        self.valid.append(valid)

    def keep(self, slots: Ints) -> None:
        """Drop what other slots than these brought."""
        self._sorted = None  # they may go to other series
        kept = [np.isin(column, slots) for column in self.slots]
        if not any(k.any() for k in kept):
            self.clear()
            return
        rows = [torch.from_numpy(k).to(column.device) for k, column in zip(kept, self.valid, strict=True)]
        self.slots = [column[k] for column, k in zip(self.slots, kept, strict=True)]
        self.steps = [column[k] for column, k in zip(self.steps, kept, strict=True)]
        self.said = [column[..., k] for column, k in zip(self.said, rows, strict=True)]
        self.happened = [column[:, k] for column, k in zip(self.happened, rows, strict=True)]
        self.valid = [column[:, k] for column, k in zip(self.valid, rows, strict=True)]

    def joined(self, order: npt.NDArray[np.uint64]) -> tuple[Tensor, Tensor, Tensor]:
        """Said, happened and valid, sorted by the keys of their series (`order` by slot) and by step, however
        the log was cut."""
        rows = torch.from_numpy(self._sort(order)).to(self.valid[0].device, non_blocking=True)
        columns = self.said, self.happened, self.valid
        said, happened, valid = (_join(parts).index_select(-1, rows) for parts in columns)
        return said, happened, valid

    def _sort(self, order: npt.NDArray[np.uint64]) -> Ints:
        """Rows in that order. A wave has a series once, so that steps do not matter within one; and of series
        in step, which bring one wave a tick, all waves are sorted alike."""
        if len(self.slots) > 1:
            rows: Ints = np.lexsort((np.concatenate(self.steps), order[np.concatenate(self.slots)]))
            return rows
        (slots,) = self.slots
        if self._sorted is None or self._sorted[0] is not slots:
            self._sorted = slots, np.argsort(order[slots], kind="stable")
        return self._sorted[1]

    def clear(self) -> None:
        for column in (self.slots, self.steps, self.said, self.happened, self.valid):
            column.clear()

    def save(self, order: npt.NDArray[np.uint64]) -> dict[str, Tensor]:
        if not self:
            return {}
        said, happened, valid = (column.movedim(-1, 0).contiguous().cpu() for column in self.joined(order))
        rows = self._sort(order)
        slots, steps = (np.concatenate(parts)[rows] for parts in (self.slots, self.steps))
        return {
            "journal.slots": torch.from_numpy(slots), "journal.steps": torch.from_numpy(steps),
            "journal.said": said, "journal.happened": happened, "journal.valid": valid,
        }  # fmt: skip

    def load(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        self.clear()
        if "journal.slots" in state:
            slots, steps = (state[f"journal.{name}"].numpy().copy() for name in ("slots", "steps"))
            said, happened, valid = (
                state[f"journal.{name}"].to(device).movedim(0, -1).contiguous()
                for name in ("said", "happened", "valid")
            )
            self.enter(slots, steps, said, happened, valid)


def _join(columns: list[Tensor]) -> Tensor:
    return columns[0] if len(columns) == 1 else torch.cat(columns, -1)
