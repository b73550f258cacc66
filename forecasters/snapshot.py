"""The whole state of a bank as one flat mapping of tensors, and a bank from it.

Names: `<part>.<field>` for what is kept of each series, `shared.<forecaster>.…` for weights and optimizer,
`bank.…` for ids, generator and the count of readings to the next tick.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from forecasters.migration import Migration
from forecasters.registry import BLEND
from forecasters.rows import padded

if TYPE_CHECKING:
    from forecasters.bank import Bank

Tensor = torch.Tensor


def take(bank: Bank) -> dict[str, Tensor]:
    """Copies, on the CPU."""
    n = len(bank.ids)
    state: dict[str, Tensor] = {}
    for prefix, part in bank.parts().items():
        state.update(part.save(prefix, n))
    for name, model in bank.models.items():
        state.update({f"shared.{name}.{k}": v for k, v in model.save()})
    if bank.blend:
        state.update({f"shared.{BLEND}.{k}": v for k, v in bank.blend.save()})
    state.update(bank.chunks.save(n))
    if bank.comparison:
        state.update({f"comparison.{k}": v for k, v in bank.comparison.save(n)})
        state.update({f"irregular.{k}": v for k, v in bank.comparison.irregular.save()})
    if bank.anomaly:
        state.update({f"alerts.{k}": v for k, v in bank.anomaly.save()})
    if bank.thinning is not None:
        state.update(bank.thinning.save())
    state["bank.ids"] = torch.from_numpy(np.frombuffer(json.dumps(bank.ids).encode(), np.uint8).copy())
    state["bank.generator"] = bank.generator.get_state()
    state.update({f"bank.{k}": v for k, v in bank.pace.save()})
    return state


def restore(bank: Bank, state: Mapping[str, Tensor], signatures: Mapping[str, str] | None) -> list[str]:
    """See `Bank.load`."""
    if bank.ids:
        raise ValueError(f"expected a bank without series, this one has {len(bank.ids)}")
    ids = json.loads(state["bank.ids"].numpy().tobytes())
    bank.add(ids, cadence_ms=1)
    if signatures is None or dict(signatures) == bank.signatures():
        _fill(bank, state)
        return []
    migration = Migration(bank, state, signatures)
    _fill(bank, migration.state)
    if bank.blend and migration.mixed_anew:
        bank.blend.solve()
    known_steps = bank.timetable["step"][: len(ids)]
    rows = padded(torch.arange(len(ids), device=bank.device), bank.capacity)
    steps = torch.from_numpy(np.pad(known_steps, (0, rows.numel() - len(ids))))
    for name in migration.cold:
        bank.models[name].rebuild(rows, steps.to(bank.device))
    if bank.comparison and migration.compares_anew:
        known = np.flatnonzero(known_steps >= 0)
        bank.comparison.add(known, bank.timetable["cadence_ms"][known])
    return migration.notes


def _fill(bank: Bank, state: Mapping[str, Tensor]) -> None:
    n = len(bank.ids)
    for prefix, part in bank.parts().items():
        part.load(prefix, state, n)
    for name in bank.names:
        own = _below(f"shared.{name}.", state)
        if name in bank.models:
            bank.models[name].load(own)
        elif bank.blend:
            bank.blend.load(own)
    bank.chunks.load(state, n)
    if bank.comparison:
        bank.comparison.load(_below("comparison.", state))
        bank.comparison.irregular.load(_below("irregular.", state))
    if bank.anomaly:
        bank.anomaly.load(_below("alerts.", state))
    if bank.thinning is not None:
        bank.thinning.load(state)
    bank.generator.set_state(state["bank.generator"])
    bank.pace.load(_below("bank.", state))
    bank.slots.free_unused()


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
