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
    """By wave: slots and steps `[N]`; said `[N, X, Q]` by the experts, what happened and whether it is valid
    `[N, Q]`."""

    slots: list[Ints] = field(default_factory=list)
    steps: list[Ints] = field(default_factory=list)
    said: list[Tensor] = field(default_factory=list)
    happened: list[Tensor] = field(default_factory=list)
    valid: list[Tensor] = field(default_factory=list)

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
        kept = [np.isin(column, slots) for column in self.slots]
        if not any(k.any() for k in kept):
            self.clear()
            return
        rows = [torch.from_numpy(k).to(column.device) for k, column in zip(kept, self.valid, strict=True)]
        self.slots = [column[k] for column, k in zip(self.slots, kept, strict=True)]
        self.steps = [column[k] for column, k in zip(self.steps, kept, strict=True)]
        self.said = [column[k] for column, k in zip(self.said, rows, strict=True)]
        self.happened = [column[k] for column, k in zip(self.happened, rows, strict=True)]
        self.valid = [column[k] for column, k in zip(self.valid, rows, strict=True)]

    def joined(self, order: npt.NDArray[np.uint64]) -> tuple[Ints, Ints, Tensor, Tensor, Tensor]:
        """The columns sorted by the keys of their series (`order` by slot) and by step, whatever the cut."""
        slots, steps = np.concatenate(self.slots), np.concatenate(self.steps)
        by_series = np.lexsort((steps, order[slots]))
        rows = torch.from_numpy(by_series).to(self.valid[0].device)
        said, happened, valid = (torch.cat(c)[rows] for c in (self.said, self.happened, self.valid))
        return slots[by_series], steps[by_series], said, happened, valid

    def clear(self) -> None:
        for column in (self.slots, self.steps, self.said, self.happened, self.valid):
            column.clear()

    def save(self, order: npt.NDArray[np.uint64]) -> dict[str, Tensor]:
        if not self:
            return {}
        slots, steps, said, happened, valid = self.joined(order)
        return {
            "journal.slots": torch.from_numpy(slots), "journal.steps": torch.from_numpy(steps),
            "journal.said": said.cpu(), "journal.happened": happened.cpu(), "journal.valid": valid.cpu(),
        }  # fmt: skip

    def load(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        self.clear()
        if "journal.slots" in state:
            slots, steps = (state[f"journal.{name}"].numpy().copy() for name in ("slots", "steps"))
            said, happened, valid = (
                state[f"journal.{name}"].to(device) for name in ("said", "happened", "valid")
            )
            self.enter(slots, steps, said, happened, valid)
